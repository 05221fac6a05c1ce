"""Still pictures on disk and back: any file that Pillow reads, with its bit depth, alpha, profile, EXIF and DPI."""

import io
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from srwgan.media.still.decoding import ReadError, decode, decode_deep, deep_png, deep_tiff
from srwgan.media.still.encoding import ENCODERS
from srwgan.media.still.metadata import UPRIGHT, profile_matches, silent_warnings, take_dpi, take_exif
from srwgan.whole_files import check_file, read_unchanged, written_whole

MAX_PIXELS = 250_000_000  # in a source; at 4x its result takes 12 GB


class Format(NamedTuple):
    """What a file format can hold."""

    suffix: str
    alpha: bool
    sixteen_bit: bool
    longest_side: int


FORMATS = {
    "PNG": Format(".png", True, True, 2**31 - 1),
    "JPEG": Format(".jpg", False, False, 65_500),
    "WEBP": Format(".webp", True, False, 16_383),
    "BMP": Format(".bmp", False, False, 2**31 - 1),  # few programs read alpha there, Pillow is not one
    "TIFF": Format(".tif", True, True, 2**31 - 1),
}
SUFFIXES = {form.suffix: name for name, form in FORMATS.items()} | {".jpeg": "JPEG", ".tiff": "TIFF"}


@dataclass
class Picture:
    """Pixels and what travels with them.

    Attributes:
        pixels: (H, W, C) uint8 or uint16; C = 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA, alpha straight. Upright.
        format: the source's format, as Pillow names it ("PNG", "JPEG", "PSD", ...).
        icc_profile: of these pixels, or None.
        exif: the EXIF block as bytes, its orientation 1, or None.
        dpi: (horizontal, vertical) or None.
        text: a PNG's text chunks.
        notes: lines to show to the user about what could not be taken over.
    """

    pixels: np.ndarray
    format: str = "PNG"
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Header(NamedTuple):
    """What is known of a picture before it is decoded; width and height before EXIF orientation."""

    format: str
    width: int
    height: int
    alpha: bool
    bits: int


def read_image(path, max_pixels=MAX_PIXELS):
    """Read a picture; of an animation or a multi-page file its first frame (`notes` says so).

    Palettes, CMYK (through its ICC profile), YCbCr and Lab become RGB(A); 1-bit becomes gray; gray stays gray.

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: there is no such file to read.
        ValueError: not an image, empty, truncated, larger than `max_pixels`, or changed while it was read.
    """
    data = read_unchanged(path)
    with decoding_errors(path):
        with open_image(io.BytesIO(data), path, max_pixels) as image:
            notes, deep = frame_notes(image, path), deep_png(image) or deep_tiff(image)
            orientation, exif = take_exif(image, path, notes)
            icc_profile, dpi = image.info.get("icc_profile"), take_dpi(image)
            pixels = decode_deep(image, data, path) if deep else decode(image, path)
            text = dict(getattr(image, "text", None) or {})  # after decoding: chunks may follow the pixels
            text.pop("XML:com.adobe.xmp", None)  # repeats the orientation and the size
            image_format = format_name(image)
    return Picture(
        pixels=np.ascontiguousarray(UPRIGHT[orientation](pixels)),
        format=image_format,
        icc_profile=icc_profile if profile_matches(icc_profile, pixels.shape[-1]) else None,
        exif=exif,
        dpi=dpi if orientation < 5 or dpi is None else dpi[::-1],
        text=text,
        notes=notes,
    )


def write_image(picture, path, format=None, quality=None):
    """Write a picture, complete or not at all.

    Args:
        path: where; its suffix says the format unless `format` ("png", "jpeg", "webp", "bmp", "tiff") does; with
            neither, the picture's own format, or PNG where that cannot be written.
        quality: 1 to 100 for JPEG (95) and WebP (95; 100 is lossless).

    Returns:
        Lines to show to the user: alpha flattened on white or 16 bits reduced to 8, where the format cannot hold them.
    """
    path = Path(path)
    quality = check_quality(quality)
    chosen = named_format(format) or SUFFIXES.get(path.suffix.lower()) or writable_format(picture.format)
    check_size(chosen, *picture.pixels.shape[1::-1])
    pixels, notes = fit_pixels(picture.pixels, chosen, path)
    exif = picture.exif
    if chosen == "JPEG" and exif and len(exif) > 65_000:
        exif, notes = None, [*notes, f"{path}: the EXIF block is too long for JPEG and is left out."]
    metadata = {"icc_profile": picture.icc_profile, "exif": exif, "dpi": picture.dpi}
    metadata = {name: value for name, value in metadata.items() if value}
    if not profile_matches(picture.icc_profile, pixels.shape[-1]):
        metadata.pop("icc_profile", None)
    with written_whole(path) as temporary:
        ENCODERS[chosen](pixels, temporary, metadata, picture.text, quality)
    return notes


def read_header(path, max_pixels=MAX_PIXELS):
    """The `Header` of an image file, without decoding it; raises as `read_image` does."""
    check_file(path)
    with decoding_errors(path):
        with open(path, "rb") as file, open_image(file, path, max_pixels) as image:
            alpha = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
            bits = 16 if image.mode.startswith("I") or deep_png(image) or deep_tiff(image) else 8
            return Header(format_name(image), *image.size, alpha, bits)


def output_format(header, width, height, asked=None):
    """The format for a result of width x height: the one asked for, else the source's where it can hold it, else PNG.

    Returns:
        (format, line to show to the user or None).
    """
    asked = named_format(asked)
    if asked:
        check_size(asked, width, height)
        return asked, None
    source = FORMATS.get(header.format)
    if source is None:
        return "PNG", f"{header.format} cannot be written: PNG instead."
    if header.alpha and not source.alpha:
        return "PNG", f"{header.format} cannot hold transparency: PNG instead."
    if header.bits > 8 and not source.sixteen_bit:
        return "PNG", f"{header.format} cannot hold 16 bits: PNG instead."
    if max(width, height) > source.longest_side:
        return "PNG", f"{header.format} cannot hold {width}x{height} pixels: PNG instead."
    return header.format, None


def named_format(name):
    """Pillow's "JPEG" for "jpg", ".JPG" or "jpeg", None for None; ValueError for what cannot be written."""
    if name is None:
        return None
    found = SUFFIXES.get("." + name.lower().lstrip("."))
    if found is None:
        raise ValueError(f"Received: format={name}. Expected one of {', '.join(sorted(s[1:] for s in SUFFIXES))}.")
    return found


def writable_format(name):
    return name if name in FORMATS else "PNG"


# Reading


@contextmanager
def decoding_errors(path):
    """Decoders' many kinds of error as one ValueError in one line."""
    try:
        yield
    except (ReadError, PermissionError):
        raise
    except Image.UnidentifiedImageError:
        raise ValueError(f"{path}: not an image that can be read.") from None
    except MemoryError:
        raise ValueError(f"{path}: too large for this machine's memory.") from None
    except Exception as error:  # plugins raise OSError, SyntaxError, struct.error, IndexError, zlib.error, ...
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(f"{path}: the image is truncated or damaged ({reason}).") from error


OPENING = threading.Lock()


def open_image(file, path, max_pixels):
    """Pillow's lazily decoded image; raises where its header promises more than `max_pixels`."""
    with OPENING:  # Pillow's own limit is a module's global, and too low for a 200 megapixel camera
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            with silent_warnings():
                image = Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    width, height = image.size
    if width * height > max_pixels:
        raise ReadError(f"{path}: {width}x{height} pixels. Expected at most {max_pixels:,} pixels in all.")
    return image


def format_name(image):
    return "JPEG" if image.format == "MPO" else image.format  # a phone's JPEG with a second picture in it


def frame_notes(image, path):
    frames = getattr(image, "n_frames", 1)
    if frames == 1 or image.format not in ("PNG", "WEBP", "TIFF", "GIF", "AVIF"):
        return []
    what = "pages" if image.format == "TIFF" else "frames"
    return [f"{path}: holds {frames} {what}; only the first is taken."]


# Writing


def check_quality(quality):
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"Received: quality={quality}. Expected 1 to 100.")
    return 95 if quality is None else quality


def check_size(name, width, height):
    longest = FORMATS[name].longest_side
    if max(width, height) > longest:
        limit = f"Expected at most {longest} a side, or PNG or TIFF."
        raise ValueError(f"Received: {width}x{height} pixels for {name}. {limit}")


def fit_pixels(pixels, name, path):
    """Pixels as that format can hold them, and a line for each thing that it cannot."""
    notes = []
    if pixels.shape[-1] in (2, 4) and not FORMATS[name].alpha:
        pixels = flattened(pixels)
        notes.append(f"{path}: {name} cannot hold transparency: put on white.")
    if pixels.dtype == np.uint16 and not FORMATS[name].sixteen_bit:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
        notes.append(f"{path}: {name} cannot hold 16 bits: reduced to 8.")
    return pixels, notes


def flattened(pixels):
    """Pixels with straight alpha, put on white: (H, W, C + 1) -> (H, W, C)."""
    top = np.iinfo(pixels.dtype).max
    alpha = pixels[..., -1:].astype(np.float32) / top
    return (pixels[..., :-1] * alpha + top * (1 - alpha) + 0.5).astype(pixels.dtype)
