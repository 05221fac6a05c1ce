"""What Pillow opens, as pixels that a person would recognize; deep, odd and doubtful ones past Pillow."""

import importlib.util
import io
import re
import sys

import numpy as np
from PIL import Image

from srwgan.media.still.bmp import RLE4, run_length, runs_are_whole
from srwgan.media.still.errors import CutOff, ReadError, unsupported
from srwgan.media.still.metadata import silent_warnings
from srwgan.media.still.second_decoder import decode_by_ffmpeg
from srwgan.media.still.tiff import decode_by_tifffile, libtiff_speaks, needs_tifffile

# Formats whose fourth channel is as often unused, and then 0, as it is an alpha.
UNSURE_ALPHA = ("BMP", "DIB", "TGA", "ICO")


def decode(image: Image.Image, data: bytes, path, page=None) -> np.ndarray:
    """(H, W, C) uint8 or uint16 pixels as stored, before EXIF orientation.

    Args:
        image: opened by Pillow, not yet decoded.
        data: the file's bytes.
        path: its name, for errors.
        page: a TIFF's `TiffPage`, or None.
    """
    if page and needs_tifffile(page):
        return decode_by_tifffile(data, page, path)
    if deep_png(image):
        return decode_deep_png(image, data, path)
    if deep_heif(image):
        return decode_deep_heif(image, data)
    if run_length(data):
        if not runs_are_whole(data):
            raise CutOff(f"{path}: damaged: the BMP is cut off.")
        start = int.from_bytes(data[10:14], "little")
        if run_length(data) == RLE4 or start % 2:  # where Pillow (12.3) loses count
            return decode_by_ffmpeg(data, path, "a run-length encoded BMP of this kind")
    if image.format == "TIFF" and any(tile[0] == "libtiff" for tile in image.tile):
        with silent_warnings(), libtiff_speaks(path):
            image.load()
    else:
        image.load()
    if image.mode.startswith(("I", "F")):
        return sixteen_bit_gray(image, path, page)
    pixels = with_channels(np.asarray(plain_mode(image)))
    if image.format in UNSURE_ALPHA and pixels.shape[-1] in (2, 4) and not pixels[..., -1].any():
        return pixels[..., :-1]
    return pixels


def deep_heif(image: Image.Image) -> bool:
    """Whether this is a HEIC of more than 8 bits a sample, which its plug-in opens as 8."""
    return image.format == "HEIF" and image.info.get("bit_depth", 8) > 8


def decode_deep_heif(image, data):
    """(H, W, C) uint16 pixels. The plug-in gives samples of 10 or 12 bits in the upper bits of 16."""
    import pillow_heif

    bits = image.info["bit_depth"]
    levels = np.asarray(pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)) >> (16 - bits)
    most = (1 << bits) - 1
    return with_channels(((levels.astype(np.uint32) * 65535 + most // 2) // most).astype(np.uint16))


def deep_png(image: Image.Image) -> bool:
    """Whether this is a (yet undecoded) PNG of 16 bits a sample, whose colors Pillow would reduce to 8."""
    return image.format == "PNG" and any("16B" in str(tile[3]) for tile in image.tile)


def decode_deep_png(image, data, path):
    """A PNG of 16 bits a sample: by TensorFlow where that is loaded, else by FFmpeg, which starts at once."""
    if "tensorflow" not in sys.modules and importlib.util.find_spec("av"):
        pixels = decode_by_ffmpeg(data, path, "a PNG of 16 bits")
        is_gray = any(str(tile[3]).startswith(("I;", "LA;")) for tile in image.tile)
        return pixels[..., [0, 3]] if is_gray and pixels.shape[-1] == 4 else pixels
    try:
        import tensorflow as tf
    except ImportError:
        needed = "python3 -m pip install -r requirements-video.txt"
        raise ReadError(f"{path}: a PNG of 16 bits needs PyAV, which is not installed. Run: {needed}") from None
    if "transparency" not in image.info:  # one color that is transparent
        return tf.io.decode_png(data, dtype=tf.uint16).numpy()
    rgba = tf.io.decode_png(data, channels=4, dtype=tf.uint16).numpy()
    return rgba[..., [0, 3]] if image.mode.startswith("I") else rgba


def sixteen_bit_gray(image, path, page):
    """Pixels (H, W, 1) uint16 of Pillow's modes I and F."""
    pixels = np.asarray(image)
    if image.mode.startswith("F") or pixels.min() < 0 or pixels.max() > 65535:
        raise unsupported(path, image.format, "samples of more than 16 bits", "8 or 16 bits a sample")
    if page and page.bits == 12:
        pixels = (pixels.astype(np.uint32) * 65535 + 2047) // 4095
        pixels = 65535 - pixels if page.photometric == 0 else pixels
    return with_channels(pixels.astype(np.uint16))


def reduced_bits(image: Image.Image, data: bytes, page=None) -> int | None:
    """Bits of a sample where Pillow reduces them to 8, None where it does not."""
    if page:
        return page.bits if page.bits > 8 and not image.mode.startswith("I") and not needs_tifffile(page) else None
    if image.format == "JPEG2000" and not image.mode.startswith("I"):
        at = data.find(b"\xff\x4f\xff\x51")  # SIZ: its 38th byte has the first component's bits, less 1
        bits = (data[at + 42] & 127) + 1 if 0 <= at < len(data) - 42 else 8
    elif image.format == "PPM" and not image.mode.startswith("I"):
        numbers = re.sub(rb"#[^\n]*\n", b" ", data[:4096]).split(maxsplit=4)
        bits = int(numbers[3]).bit_length() if len(numbers) > 4 and numbers[3].isdigit() else 8
    elif image.format == "AVIF":
        at = data.find(b"av1C")
        bits = (12 if data[at + 6] & 32 else 10) if 0 <= at < len(data) - 6 and data[at + 6] & 64 else 8
    elif image.format == "SGI":
        bits = 8 * data[3]
    else:
        bits = 8
    return bits if bits > 8 else None


def plain_mode(image):
    """The image in mode L, LA, RGB or RGBA."""
    transparent = "transparency" in image.info
    if image.mode in ("1", "L", "LA", "La"):
        return image.convert("LA" if transparent or image.mode in ("LA", "La") else "L")
    if image.mode in ("CMYK", "LAB"):
        return color_managed(image)
    if image.mode in ("PA", "RGBA", "RGBa") or transparent:
        return image.convert("RGBA")
    return image.convert("RGB")


def color_managed(image):
    """CMYK or Lab to sRGB by the picture's ICC profile; without one, Lab by definition, CMYK by Pillow's formula."""
    from PIL import ImageCms  # here, since few pictures need it

    profile = image.info.get("icc_profile")
    try:
        if image.mode == "LAB":
            source = ImageCms.createProfile("LAB")
        elif profile:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        else:
            return image.convert("RGB")
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB")  # a damaged profile, or one of another color space


def with_channels(pixels):
    return pixels[..., None] if pixels.ndim == 2 else pixels
