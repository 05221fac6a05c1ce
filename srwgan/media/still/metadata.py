"""What travels with a picture's pixels: EXIF, XMP, IPTC, comments, resolution, ICC profile.

Sources: Exif 3.0, CIPA 2023; XMP specification parts 1 and 3, Adobe 2012 and 2020; IPTC-IIM 4.2, 2014.
"""

import re
import struct
import threading
import warnings
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image, TiffTags

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

XMP_TAG, IPTC_TAG, PHOTOSHOP_TAG, IPTC_RESOURCE = 700, 33723, 34377, 0x0404
# Tags of a TIFF's (or a thumbnail's) own layout, and the profile, XMP, IPTC and Photoshop blocks.
DESCRIPTIVE_TAGS = {269, 270, 271, 272, 274, 282, 283, 285, 296, 297, 305, 306, 315, 316}
LAYOUT_TAGS = (
    set(range(254, 348)) - DESCRIPTIVE_TAGS | set(range(512, 533)) | {XMP_TAG, IPTC_TAG, PHOTOSHOP_TAG, 34675, 37724}
)
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"  # what does not fit in a JPEG's first segment of it
PIXEL_SIZE_TAGS = (0xA002, 0xA003)
# XMP's properties that speak of pixels: those of the picture itself, and those of a panorama that it is a part of.
WIDTHS, HEIGHTS = ("tiff:ImageWidth", "exif:PixelXDimension"), ("tiff:ImageLength", "exif:PixelYDimension")
PANORAMA_WIDTHS = ("GPano:FullPanoWidthPixels", "GPano:CroppedAreaImageWidthPixels", "GPano:CroppedAreaLeftPixels")
PANORAMA_HEIGHTS = ("GPano:FullPanoHeightPixels", "GPano:CroppedAreaImageHeightPixels", "GPano:CroppedAreaTopPixels")


WARNINGS = threading.RLock()


@contextmanager
def silent_warnings():
    """No warnings of Pillow's, e.g. on odd EXIF entries; Python's filters are the process's: one thread at a time."""
    with WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# EXIF


def take_exif(image: Image.Image, path, notes: list[str]) -> tuple[int, bytes | None]:
    """(orientation 1..8, the EXIF block with orientation 1 or None).

    A tag that cannot be written again is left out and named in `notes`; the others stay.
    """
    try:
        with silent_warnings():
            exif = image.getexif()
            tags = dict(exif)
    except Exception:  # EXIF in the wild breaks in every way; the picture is fine without it
        notes.append(f"{path}: its EXIF block cannot be read and is left out.")
        return valid_orientation(stored_orientation(image.info.get("exif"))), None
    with silent_warnings():
        orientation = valid_orientation(first_number(tags.get(ExifTags.Base.Orientation, 1)))
        if isinstance(tags.get(ExifTags.Base.Orientation, 1), bytes):
            orientation = valid_orientation(stored_orientation(image.info.get("exif")))
        kept, bad = Image.Exif(), []
        for tag in tags.keys() - LAYOUT_TAGS - {ExifTags.Base.Orientation}:
            keep_tag(exif, tag, kept, bad)
        if bad:
            names = ", ".join(sorted(bad))
            notes.append(f"{path}: EXIF {names} cannot be read and {'is' if len(bad) == 1 else 'are'} left out.")
        if not kept:
            return orientation, None
        kept[ExifTags.Base.Orientation] = 1
        return orientation, kept.tobytes()


def keep_tag(exif, tag, kept, bad):
    """Copies one tag of an `Image.Exif` to another as far as it can be written, and names in `bad` what cannot."""
    if tag not in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop):
        if writable({tag: exif[tag]}):
            kept[tag] = exif[tag]
        else:
            bad.append(tag_name(tag))
        return
    try:
        block = {name: value for name, value in exif.get_ifd(tag).items() if name not in PIXEL_SIZE_TAGS}
    except Exception:
        bad.append(tag_name(tag))
        return
    good = {}
    for name, value in block.items():
        if isinstance(value, dict) or writable({tag: {name: value}}):
            good[name] = value
        else:
            bad.append(tag_name(name, tag))
    if good:
        kept[tag] = good


def writable(tags):
    """Whether Pillow writes an EXIF block of these tags."""
    alone = Image.Exif()
    for tag, value in tags.items():
        alone[tag] = value
    try:
        alone.tobytes()
    except Exception:
        return False
    return True


def tag_name(tag, block=None):
    names = ExifTags.GPSTAGS if block == ExifTags.IFD.GPSInfo else ExifTags.TAGS
    return names.get(tag, f"tag {tag}")


def stored_orientation(block):
    """The orientation in an EXIF block's first directory, read past everything else that is in it; 1 without one."""
    block = (block or b"").removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for number in range(count):
            at = start + 2 + 12 * number
            tag, kind, _ = struct.unpack_from(order + "HHI", block, at)
            if tag == ExifTags.Base.Orientation and kind in (3, 4, 8):
                return struct.unpack_from(order + ("I" if kind == 4 else "H"), block, at + 8)[0]
    except (struct.error, TypeError):
        pass
    return 1


def first_number(value):
    return value[0] if isinstance(value, tuple) and value else value


def valid_orientation(value):
    return value if value in UPRIGHT else 1


def exif_tags(exif: bytes | None) -> Image.Exif:
    tags = Image.Exif()
    if exif:
        tags.load(exif)
    return tags


def extra_tiff_tags(exif: bytes | None) -> list[tuple]:
    """The EXIF block's text and whole numbers (maker, date, artist, page, ...) as tifffile's `extratags`."""
    found = []
    for tag, value in exif_tags(exif).items():
        if tag in (ExifTags.Base.Orientation, 282, 283, 296):  # which tifffile writes itself
            continue
        if isinstance(value, str):
            found.append((tag, "s", 0, value.encode("utf-8") if not value.isascii() else value, True))
        elif isinstance(value, tuple) and value and all(isinstance(part, int) and 0 <= part < 65536 for part in value):
            found.append((tag, "H", len(value), value, True))
        elif isinstance(value, int) and 0 <= value < 65536 and tag not in TiffTags.TAGS_V2_GROUPS:
            found.append((tag, "H", 1, value, True))
    return found


# XMP


def take_xmp(image: Image.Image, data: bytes = b"") -> bytes | None:
    """The picture's XMP packet.

    Args:
        data: the file's bytes, for JPEG 2000, of which Pillow passes it over.
    """
    if image.format == "JPEG2000":
        return jpeg_2000_xmp(data)
    xmp = image.info.get("xmp") or (getattr(image, "text", None) or {}).get("XML:com.adobe.xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8")
    return bytes(xmp).rstrip(b"\0") or None if isinstance(xmp, (bytes, bytearray)) else None


def jpeg_2000_xmp(data):
    """The XMP packet of a JPEG 2000 file: the body of the box "uuid" whose first 16 bytes are XMP's."""
    at = data.find(b"uuid" + XMP_UUID)
    if at < 4:
        return None
    length = int.from_bytes(data[at - 4 : at], "big")
    return data[at + 20 : at - 4 + length] if length else data[at + 20 :]


def fitted_xmp(xmp: bytes, source_size: tuple[int, int], size: tuple[int, int]) -> bytes:
    """An XMP packet as it holds of the result: upright, sizes those of `size`, a panorama's grown with the picture.

    Args:
        source_size, size: (width, height) of the upright source and of the result.
    """
    try:
        text = xmp.decode("utf-8")
    except UnicodeDecodeError:
        return xmp
    scale_x, scale_y = (new / old for new, old in zip(size, source_size, strict=True))
    text = with_property(text, "tiff:Orientation", lambda value: 1)
    for names, length in ((WIDTHS, size[0]), (HEIGHTS, size[1])):
        for name in names:
            text = with_property(text, name, lambda value, length=length: length)
    for names, scale in ((PANORAMA_WIDTHS, scale_x), (PANORAMA_HEIGHTS, scale_y)):
        for name in names:
            text = with_property(text, name, lambda value, scale=scale: round(value * scale))
    return text.encode("utf-8")


def with_property(text, name, change):
    """XMP with a property's whole number changed, as an attribute (name="1") and as an element (<name>1</name>)."""
    pattern = rf"""({re.escape(name)}\s*=\s*["']|<{re.escape(name)}>\s*)(\d+)"""
    return re.sub(pattern, lambda found: f"{found[1]}{change(int(found[2]))}", text)


# IPTC


def take_iptc(image: Image.Image) -> bytes | None:
    """The picture's IPTC records (keywords, rights, ...), of a JPEG's Photoshop block or a TIFF's tags."""
    try:
        if image.format in ("JPEG", "MPO"):
            found = (image.info.get("photoshop") or {}).get(IPTC_RESOURCE)
        elif image.format == "TIFF":
            found = image.tag_v2.get(IPTC_TAG)
            if isinstance(found, tuple) and len(found) == 1 and isinstance(found[0], bytes):
                found = found[0]
            elif isinstance(found, tuple):  # stored as 32-bit numbers, as the specification has it by mistake
                found = struct.pack(f"{image.tag_v2.prefix == b'II' and '<' or '>'}{len(found)}I", *found)
        else:
            found = None
    except Exception:
        return None
    return bytes(found) if isinstance(found, (bytes, bytearray)) and found[:1] == b"\x1c" else None


def photoshop_marker(iptc: bytes) -> bytes:
    """A JPEG's APP13 segment with IPTC records in it."""
    record = b"8BIM" + struct.pack(">HHI", IPTC_RESOURCE, 0, len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    body = b"Photoshop 3.0\0" + record
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body


def iptc_as_text(iptc: bytes) -> tuple[str, str]:
    """(keyword, text) of the chunk in which PNGs hold IPTC, by ImageMagick's convention that other programs read."""
    record = b"8BIM" + struct.pack(">HHI", IPTC_RESOURCE, 0, len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    digits = record.hex()
    lines = "\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
    return "Raw profile type iptc", f"\niptc\n{len(record):8d}\n{lines}\n"


# Comments, resolution, profiles


def take_comment(image: Image.Image) -> str | None:
    """The comment of a JPEG, JPEG 2000 or TGA file."""
    comment = image.info.get("comment") if image.format in ("JPEG", "MPO", "JPEG2000") else image.info.get("id_section")
    if isinstance(comment, (bytes, bytearray)):
        comment = decoded(bytes(comment).rstrip(b"\0"))
    return comment or None


def decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def take_dpi(image: Image.Image) -> tuple[float, float] | None:
    dpi = image.info.get("dpi")
    try:
        dpi = tuple(float(x) for x in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return dpi if len(dpi) == 2 and all(0 < x < 1e6 for x in dpi) else None


def profile_matches(icc_profile: bytes | None, channels: int) -> bool:
    """Whether a profile describes pixels of that many channels (its header names its color space)."""
    return bool(icc_profile) and icc_profile[16:20] == (b"GRAY" if channels < 3 else b"RGB ")
