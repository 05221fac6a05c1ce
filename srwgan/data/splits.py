"""Which photographs are trained on, and which are held out for validation."""

import logging
from collections.abc import Sequence
from pathlib import Path

from srwgan.data.photos import VALID_FOLDERS, Photos, find_photos, open_photos

log = logging.getLogger("srwgan")

BUNDLED_PHOTOS = str(Path(__file__).resolve().parents[2] / "Images" / "train")


def open_split(
    datapath: str, *, trainnum: int, validnum: int, smallest: int, both_sizes: bool = False, **options
) -> tuple[Photos, Photos]:
    """The photographs of a folder to train on, and those that are held out.

    The held-out ones are those of DIV2K's validation folder, where there is one, and else those that `split` holds out.

    Args:
        datapath: a folder, searched recursively.
        trainnum: how many photographs to train on, where there are as many.
        validnum: how many to hold out, where there are enough.
        smallest: photographs with a shorter side, in pixels, are passed over.
        both_sizes: those to train on that are taken at half their size are there at their own size too.
        options: further arguments of `open_photos`.

    Raises:
        FileNotFoundError, ValueError: there is no such folder, or no usable photograph in it.
    """
    paths = find_photos(datapath)
    options["smallest"] = smallest
    valid_paths = next((found for name in VALID_FOLDERS if (found := find_valid(datapath, name))), None)
    if not valid_paths:
        paths, valid_paths = split(paths, trainnum, validnum)
    photos = open_photos(paths, number=trainnum, **options)
    held_out = open_photos(valid_paths, number=validnum, **options)
    if not len(photos) or not len(held_out):  # a side without any usable photograph gets some of the other
        photos, held_out = shared(photos if len(photos) else held_out, trainnum, validnum)
    if not len(photos):
        raise ValueError(
            f"Received: datapath {datapath}, without a readable photograph of {smallest}x{smallest} "
            "or more. Expected a folder of photographs, or --download div2k, or a smaller --cropsz."
        )
    found = len(photos)
    if both_sizes:  # only now, since held-out photographs must not be trained on at another size
        photos = open_photos(photos.paths, number=found, both_sizes=True, **options)
    if found < trainnum:
        beside = f"beside {len(held_out)} held out"
        if set(map(str, photos.paths)) & set(map(str, held_out.paths)):
            beside = "and validating on the same: there is no other"
        log.warning(
            "Warning: asked for %d photographs (--trainnum), training on the %d that %s has %s",
            trainnum,
            found,
            datapath,
            beside,
        )
    return photos, held_out


def find_valid(datapath: str, name: str) -> list:
    """Paths of the photographs in the folder `name` of `datapath`; none where there is no such folder."""
    folder = Path(datapath, name)
    return find_photos(str(folder), ()) if folder.is_dir() else []


def split(paths: Sequence, trainnum: int, validnum: int) -> tuple[Sequence, Sequence]:
    """Divide paths into (to train on, held out).

    Held out are those that follow the first `trainnum`, up to `validnum` of them; where none follows, the last tenth.
    What follows the held-out ones may take the place of photographs that are passed over. A single photograph is on
    both sides.

    Paths are divided before any photograph is read and passed over. So a photograph that is too small for one --cropsz
    moves no other one across, and runs with other crops, started from each other, hold out the same.
    """
    total = min(len(paths), trainnum + validnum)
    held = total - trainnum if total > trainnum else min(validnum, max(1, total // 10), total - 1)
    return paths[: total - held] + paths[total:], paths[total - held : total] if held else paths[:total]


def shared(photos: Photos, trainnum: int, validnum: int) -> list[Photos]:
    """Photographs of one side of `split` as both of its sides."""
    return [photos.subset(numbers) for numbers in split(list(range(len(photos))), trainnum, validnum)]
