"""Fetching DIV2K (Agustsson and Timofte, NTIRE 2017), 800 photographs of 2K resolution for training."""

import os
import shutil
import tempfile
from pathlib import Path

import keras

NAME = "DIV2K_train_HR"
URL = f"http://data.vision.ee.ethz.ch/cvl/DIV2K/{NAME}.zip"
MD5 = "bdc2d9338d4e574fe81bf7d158758658"


def download_div2k(datapath, url: str = URL, md5: str = MD5) -> str:
    """Fetch and unpack the high-resolution training photographs into `datapath`/DIV2K_train_HR, unless it is there.

    Returns:
        The folder that holds them.

    Raises:
        ValueError: the download failed or is not what was expected.
        OSError: `datapath` cannot be written.
    """
    folder = Path(datapath, NAME)
    if folder.is_dir():
        return str(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(datapath, os.W_OK):  # get_file would quietly choose another place
        raise PermissionError(f"{datapath}: cannot be written.")
    try:
        archive = keras.utils.get_file(
            f"{NAME}.zip", url, cache_dir=str(datapath), cache_subdir="", file_hash=md5, hash_algorithm="md5"
        )
    except Exception as error:  # keras raises plain Exception for a failed download, ValueError for a wrong hash
        raise ValueError(f"DIV2K could not be downloaded from {url}: {' '.join(str(error).split())[:200]}") from error
    unpack(str(archive), folder)
    return str(folder)


def unpack(archive, folder: Path):
    """Unpack the archive's folder of that name; it gets its place once it is whole."""
    with tempfile.TemporaryDirectory(prefix=f".{NAME}.", dir=folder.parent) as temporary:
        shutil.unpack_archive(archive, temporary, "zip")
        unpacked = Path(temporary, NAME)
        if not unpacked.is_dir():
            raise ValueError(f"Received: {archive}, without a folder {NAME}. Expected DIV2K's archive.")
        unpacked.rename(folder)
