"""What travels with a picture's pixels: EXIF, resolution, ICC profile."""

import threading
import warnings
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image

# What EXIF's orientation asks to do to stored pixels, so that they stand upright.
UPRIGHT = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p),
}

# Tags of a TIFF's (or a thumbnail's) own layout, and the profile, XMP, IPTC and Photoshop blocks.
DESCRIPTIVE_TAGS = {270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316}
LAYOUT_TAGS = set(range(254, 348)) - DESCRIPTIVE_TAGS | set(range(512, 533)) | {700, 33723, 34377, 34675}
PIXEL_SIZE_TAGS = (0xA002, 0xA003)


WARNINGS = threading.RLock()


@contextmanager
def silent_warnings():
    """No warnings of Pillow's, e.g. on odd EXIF entries; Python's filters are the process's: one thread at a time."""
    with WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def take_exif(image, path, notes):
    """(orientation 1..8, the EXIF block with orientation 1 or None)."""
    try:
        with silent_warnings():
            exif = image.getexif()
            orientation = exif.get(ExifTags.Base.Orientation, 1)
            for tag in LAYOUT_TAGS & set(exif):
                del exif[tag]
            if ExifTags.IFD.Exif in exif:
                for tag in PIXEL_SIZE_TAGS:
                    exif.get_ifd(ExifTags.IFD.Exif).pop(tag, None)
            if not set(exif) - {ExifTags.Base.Orientation}:
                return valid_orientation(orientation), None
            exif[ExifTags.Base.Orientation] = 1
            return valid_orientation(orientation), exif.tobytes()
    except Exception:  # EXIF in the wild breaks in every way; the picture is fine without it
        notes.append(f"{path}: its EXIF block cannot be read and is left out.")
        return 1, None


def valid_orientation(value):
    return value if value in UPRIGHT else 1


def take_dpi(image):
    dpi = image.info.get("dpi")
    try:
        dpi = tuple(float(x) for x in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return dpi if len(dpi) == 2 and all(0 < x < 1e6 for x in dpi) else None


def profile_matches(icc_profile, channels):
    """Whether a profile describes pixels of that many channels (its header names its colour space)."""
    return bool(icc_profile) and icc_profile[16:20] == (b"GRAY" if channels < 3 else b"RGB ")


def exif_strings(exif):
    """The EXIF block's text tags (maker, model, date, artist, copyright, ...), which a TIFF holds as its own."""
    return [(tag, value) for tag, value in exif_tags(exif).items() if isinstance(value, str) and value.isascii()]


def exif_tags(exif):
    tags = Image.Exif()
    if exif:
        tags.load(exif)
    return tags
