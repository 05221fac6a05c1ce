"""Still pictures on disk and back: any file that Pillow reads, with its bit depth, alpha, profile and metadata."""

import io
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, features

from srwgan.media.kinds import HEAD_BYTES, type_of
from srwgan.media.still import png
from srwgan.media.still.bmp import decode_bit_fields, has_bit_fields
from srwgan.media.still.decoding import UNSURE_ALPHA, decode, deep_heif, deep_png, reduced_bits
from srwgan.media.still.encoding import ENCODERS, Extras, import_pillow_heif
from srwgan.media.still.errors import Damaged, ReadError, decoding_errors, unsupported
from srwgan.media.still.metadata import (
    EXTENDED_XMP,
    UPRIGHT,
    fitted_xmp,
    profile_matches,
    silent_warnings,
    take_comment,
    take_dpi,
    take_exif,
    take_iptc,
    take_xmp,
)
from srwgan.media.still.second_decoder import MORE_IN_FFMPEG, decode_by_ffmpeg
from srwgan.media.still.tiff import check_samples, decode_by_tifffile, needs_tifffile, picture_page, raw_file
from srwgan.whole_files import check_file, read_unchanged, written_whole

MAX_PIXELS = 250_000_000  # in a source; at 4x its result takes 12 GB


LARGEST_BMP = 2**32 // 3 - 2**20  # pixels of a file whose size fits in its header


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
    "AVIF": Format(".avif", True, False, 65_536),
    "HEIF": Format(".heic", True, False, 16_384),
    "BMP": Format(".bmp", False, False, 2**31 - 1),  # few programs read alpha there, Pillow is not one
    "TIFF": Format(".tif", True, True, 2**31 - 1),
}
SUFFIXES = {form.suffix: name for name, form in FORMATS.items()} | {
    ".apng": "PNG", ".heif": "HEIF", ".jpeg": "JPEG", ".tiff": "TIFF",
}  # fmt: skip
# What endings besides those of `SUFFIXES` a result keeps from its source, since the format is theirs.
OTHER_SUFFIXES = {".dib": "BMP", ".jfif": "JPEG", ".jpe": "JPEG"}


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
        colors: a PNG's chunks on the meaning of its colors (gAMA, cHRM, sRGB, cICP, ...), by name.
        xmp, iptc: the packet and the records as bytes, or None.
        comment: a JPEG's or JPEG 2000's, or None.
        size: (width, height) of the upright source, which the metadata speak of; None for that of `pixels`.
        notes: lines to show to the user about what could not be taken over.
    """

    pixels: np.ndarray
    format: str = "PNG"
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: dict[str, str] = field(default_factory=dict)
    colors: dict[str, bytes] = field(default_factory=dict)
    xmp: bytes | None = None
    iptc: bytes | None = None
    comment: str | None = None
    size: tuple[int, int] | None = None
    notes: list[str] = field(default_factory=list)


class Header(NamedTuple):
    """What is known of a picture before it is decoded; width and height before EXIF orientation."""

    format: str
    width: int
    height: int
    alpha: bool
    bits: int


def read_image(path, max_pixels=MAX_PIXELS) -> Picture:
    """Read a picture; of an animation or a multi-page file its first frame (`notes` says so).

    Palettes, CMYK (through its ICC profile), YCbCr and Lab become RGB(A); 1-bit becomes gray; gray stays gray.

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: there is no such file to read.
        ValueError: not an image, empty, damaged, not supported, larger than `max_pixels`, or changed while it was read.
    """
    data, notes = read_unchanged(path), []
    with decoding_errors(path, data):
        if data.startswith(png.SIGNATURE):
            data = png.checked(data, path, notes)
        try:
            opened = open_image(io.BytesIO(data), path, max_pixels)
        except (OSError, NotImplementedError) as error:
            return read_past_pillow(data, path, max_pixels, error)
        with opened as image:
            page = picture_page(io.BytesIO(data), path) if image.format == "TIFF" else None
            if page:
                check_samples(page, path)
                check_pixels(page.width, page.height, path, max_pixels)
            if bits := reduced_bits(image, data, page):
                notes.append(f"{path}: {bits} bits a sample reduced to 8.")
            if image.format == "PNG":
                png.check_pixels(data, path)
            pixels = decode(image, data, path, page)  # before EXIF: a PNG's may follow its pixels
            with silent_warnings():  # counting pages reads their tags
                notes += frame_notes(image, path)
            if image.format in ("JPEG", "MPO") and EXTENDED_XMP in data:
                notes.append(f"{path}: the second part of its XMP, of more than 64 kB, is left out.")
            orientation, exif = take_exif(image, path, notes)
            picture = Picture(
                pixels=np.ascontiguousarray(UPRIGHT[orientation](pixels)),
                format=format_name(image),
                icc_profile=image.info.get("icc_profile"),
                exif=exif,
                dpi=take_dpi(image),
                text=dict(getattr(image, "text", None) or {}),
                colors=png.color_chunks(data, path) if image.format == "PNG" else {},
                xmp=take_xmp(image, data),
                iptc=take_iptc(image),
                comment=take_comment(image),
                notes=notes,
            )
    for key in ("XML:com.adobe.xmp", "Raw profile type exif", "Raw profile type APP1"):  # taken over as such
        picture.text.pop(key, None)
    picture.size = picture.pixels.shape[1::-1]
    if not profile_matches(picture.icc_profile, pixels.shape[-1]):
        picture.icc_profile = None
    if orientation >= 5 and picture.dpi:
        picture.dpi = picture.dpi[::-1]
    return picture


def write_image(picture: Picture, path, format=None, quality=None) -> list[str]:
    """Write a picture, complete or not at all.

    Args:
        path: where; its suffix says the format unless `format` ("png", "jpeg", "webp", "avif", "heic", "bmp", "tiff")
            does; with neither, the picture's own format, or PNG where that cannot be written.
        quality: 1 to 100 for JPEG, AVIF and HEIC (95) and WebP (95; 100 is lossless).

    Returns:
        Lines to show to the user: alpha flattened on white or 16 bits reduced to 8, and metadata left out, where the
        format cannot hold them.

    Raises:
        ValueError: another format or quality, or a picture larger than the format holds.
        OSError: the file cannot be written.
    """
    path = Path(path)
    quality = check_quality(quality)
    suffix = path.suffix.lower()
    chosen = (
        named_format(format) or SUFFIXES.get(suffix) or OTHER_SUFFIXES.get(suffix) or writable_format(picture.format)
    )
    check_size(chosen, *picture.pixels.shape[1::-1])
    pixels, notes = fit_pixels(picture.pixels, chosen, path)
    size = pixels.shape[1::-1]
    extras = Extras(
        icc_profile=picture.icc_profile if profile_matches(picture.icc_profile, pixels.shape[-1]) else None,
        exif=picture.exif,
        dpi=picture.dpi,
        text=picture.text,
        colors=picture.colors,
        xmp=picture.xmp and fitted_xmp(picture.xmp, picture.size or size, size),
        iptc=picture.iptc,
        comment=picture.comment or (picture.text.get("Comment") if chosen in ("JPEG", "TIFF") else None),
    )
    with written_whole(path) as temporary:
        lost = ENCODERS[chosen](pixels, temporary, extras, quality)
    if chosen != "PNG" and not png.is_plain_srgb(picture.colors, bool(extras.icc_profile)):
        names = ", ".join(name for name in picture.colors)
        notes.append(f"{path}: {chosen} holds no {names}, which said what the colors mean: they will look different.")
    if lost:
        notes.append(f"{path}: left out, since {chosen} does not hold it: {', '.join(lost)}.")
    return notes


def read_header(path, max_pixels=MAX_PIXELS) -> Header:
    """The `Header` of an image file, without decoding more than it must.

    Raises:
        As `read_image` does, for what can be told without the pixels.
    """
    check_file(path)
    with decoding_errors(path), open(path, "rb") as file:
        try:
            opened = open_image(file, path, max_pixels)
        except (OSError, NotImplementedError) as error:
            file.seek(0)
            pixels = read_past_pillow(file.read(), path, max_pixels, error).pixels
            bits = 8 * pixels.dtype.itemsize
            return Header("PNG", *pixels.shape[1::-1], alpha=pixels.shape[-1] in (2, 4), bits=bits)
        with opened as image:
            page = picture_page(file, path) if image.format == "TIFF" else None
            if page:
                check_samples(page, path)
            size = (page.width, page.height) if page else image.size
            alpha = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
            if page and needs_tifffile(page):
                alpha = page.samples in (2, 4)
            elif alpha and image.format in UNSURE_ALPHA:
                image.load()
                alpha = image.mode == "RGBA" and image.getextrema()[3][1] > 0
            deep = (
                image.mode.startswith("I")
                or deep_png(image)
                or deep_heif(image)
                or bool(page and page.bits == 16 and needs_tifffile(page))
            )
            return Header(format_name(image), *size, alpha, 16 if deep else 8)


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
    if header.format == "AVIF" and not features.check("avif"):
        return "PNG", "AVIF cannot be written by this Pillow: PNG instead."
    if header.alpha and not source.alpha:
        return "PNG", f"{header.format} cannot hold transparency: PNG instead."
    if header.bits > 8 and not source.sixteen_bit:
        return "PNG", f"{header.format} cannot hold 16 bits: PNG instead."
    if max(width, height) > source.longest_side or (header.format == "BMP" and width * height > LARGEST_BMP):
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


OPENING = threading.Lock()


def open_image(file, path, max_pixels):
    """Pillow's lazily decoded image; raises where its header promises more than `max_pixels`."""
    found = type_of(file.read(HEAD_BYTES))
    file.seek(0)
    if found == "camera raw":
        raise raw_file(path)
    if found == "HEIF":
        import_pillow_heif(path).register_heif_opener()
    if found == "AVIF" and not features.check("avif"):
        raise unsupported(path, "AVIF", expected="Pillow 11.3 or newer, which reads it: pip install -U pillow")
    if found == "JPEG":
        check_jpeg(file, path)
    with OPENING:  # Pillow's own limit is a module's global, and too low for a 200 megapixel camera
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            with silent_warnings():
                image = Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    check_pixels(*image.size, path, max_pixels)
    return image


def check_pixels(width, height, path, max_pixels):
    if width * height > max_pixels:
        raise ReadError(f"{path}: {width}x{height} pixels. Expected at most {max_pixels:,} pixels in all.")


def check_jpeg(file, path):
    """Raises `Unsupported` for the JPEGs that Pillow takes for broken: of 12 bits, lossless, hierarchical."""
    file.seek(2)
    while (head := file.read(4))[:1] == b"\xff" and len(head) == 4:
        marker, length = head[1], int.from_bytes(head[2:], "big")
        if marker == 0xFF:  # filling
            file.seek(-3, 1)
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits = file.read(1)[0]
            if marker in (0xC3, 0xC7, 0xCB, 0xCF):
                raise unsupported(path, "JPEG", "lossless compression")
            if bits != 8:
                raise unsupported(path, "JPEG", f"{bits} bits a sample", "8 bits a sample")
        if marker == 0xDA or length < 2:
            break
        file.seek(length - 2, 1)
    file.seek(0)


def read_past_pillow(data, path, max_pixels, error):
    """The picture of a file that Pillow does not open, by tifffile or FFmpeg; raises `error` where neither reads it."""
    found = type_of(data[:HEAD_BYTES])
    if found == "TIFF":
        page = picture_page(io.BytesIO(data), path)
        if page is None:
            raise error
        check_samples(page, path)
        check_pixels(page.width, page.height, path, max_pixels)
        if page.bits not in (8, 16) or page.photometric > 2:
            raise unsupported(path, "TIFF", f"{page.samples} samples of {page.bits} bits")
        pixels = decode_by_tifffile(data, page, path)
        return Picture(np.ascontiguousarray(pixels), "TIFF", size=pixels.shape[1::-1])
    if found not in MORE_IN_FFMPEG:
        raise error
    pixels = decode_bit_fields(data) if has_bit_fields(data) else None
    try:
        pixels = decode_by_ffmpeg(data, path, f"this kind of {found}") if pixels is None else pixels
    except Damaged:
        raise error from None
    check_pixels(*pixels.shape[1::-1], path, max_pixels)
    if found == "BMP" and pixels.shape[-1] == 4 and not pixels[..., 3].any():
        pixels = pixels[..., :3]
    return Picture(np.ascontiguousarray(pixels), "BMP" if found == "BMP" else found, size=pixels.shape[1::-1])


def format_name(image):
    return "JPEG" if image.format == "MPO" else image.format  # a phone's JPEG with a second picture in it


def frame_notes(image, path):
    frames = getattr(image, "n_frames", 1)
    if frames == 1 or image.format == "PSD":  # whose frames are the layers of one picture
        return []
    if image.format == "MPO":
        return [f"{path}: holds {frames} pictures (depth, gain map, other views); only the first is taken."]
    what = "pages" if image.format == "TIFF" else "pictures" if image.format == "HEIF" else "frames"
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
