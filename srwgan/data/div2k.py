"""Fetching DIV2K (Agustsson and Timofte, NTIRE 2017), 800 photographs of 2K resolution for training."""

import os
import shutil
import tempfile

import keras

NAME = "DIV2K_train_HR"
URL = f"http://data.vision.ee.ethz.ch/cvl/DIV2K/{NAME}.zip"
MD5 = "bdc2d9338d4e574fe81bf7d158758658"


def download_div2k(datapath, url=URL, md5=MD5):
    """Fetch and unpack the high-resolution training photographs into `datapath`/DIV2K_train_HR, unless it is there.

    Returns:
        The folder that holds them.

    Raises:
        ValueError: the download failed or is not what was expected.
        OSError: `datapath` cannot be written.
    """
    folder = os.path.join(datapath, NAME)
    if os.path.isdir(folder):
        return folder
    os.makedirs(datapath, exist_ok=True)
    if not os.access(datapath, os.W_OK):  # where get_file would quietly choose another place
        raise PermissionError(f"{datapath}: cannot be written.")
    try:
        archive = keras.utils.get_file(
            f"{NAME}.zip", url, cache_dir=datapath, cache_subdir="", file_hash=md5, hash_algorithm="md5"
        )
    except Exception as error:  # keras raises plain Exception for a failed download, ValueError for a wrong hash
        raise ValueError(f"DIV2K could not be downloaded from {url}: {' '.join(str(error).split())[:200]}") from error
    unpack(str(archive), folder)
    return folder


def unpack(archive, folder):
    """The archive's folder of that name, in place once it is whole."""
    with tempfile.TemporaryDirectory(prefix=f".{NAME}.", dir=os.path.dirname(folder)) as temporary:
        shutil.unpack_archive(archive, temporary, "zip")
        unpacked = os.path.join(temporary, NAME)
        if not os.path.isdir(unpacked):
            raise ValueError(f"Received: {archive}, without a folder {NAME}. Expected DIV2K's archive.")
        os.rename(unpacked, folder)
