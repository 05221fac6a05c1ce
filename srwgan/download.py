"""Fetching DIV2K (Agustsson and Timofte, NTIRE 2017), 800 photographs of 2K resolution for training."""

import os

import keras

URL = "http://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_train_HR.zip"
MD5 = "bdc2d9338d4e574fe81bf7d158758658"


def download_div2k(datapath, url=URL, md5=MD5):
    """Fetch and unpack the high-resolution training photographs; what is already there is kept.

    Returns:
        The folder that holds them.

    Raises:
        ValueError: the download failed or is not what was expected.
    """
    os.makedirs(datapath, exist_ok=True)
    archive = os.path.join(datapath, "DIV2K_train_HR.zip")
    try:
        folder = keras.utils.get_file(os.path.basename(archive), url, cache_dir=datapath, cache_subdir="",
                                      file_hash=md5, hash_algorithm="md5", extract=True)
    except Exception as error:  # keras raises plain Exception for a failed download, ValueError for a wrong hash
        raise ValueError(f"DIV2K could not be downloaded from {url}: {' '.join(str(error).split())[:200]}") from error
    return str(folder)
