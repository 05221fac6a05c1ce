"""Still pictures on disk and back: any file that Pillow reads, with its bit depth, alpha, profile, EXIF and DPI."""

import errno
import io
import os
import threading
import uuid
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

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
    """"jpg", ".JPG" or "jpeg" -> "JPEG"; None -> None; ValueError for a name of none that can be written."""
    if name is None:
        return None
    found = SUFFIXES.get("." + name.lower().lstrip("."))
    if found is None:
        raise ValueError(f"Received: format={name}. Expected one of {', '.join(sorted(s[1:] for s in SUFFIXES))}.")
    return found


def writable_format(name):
    return name if name in FORMATS else "PNG"


# Reading


def read_unchanged(path):
    """All bytes of a file that did not change meanwhile (a download in progress would give half a picture)."""
    before = check_file(path)
    data = Path(path).read_bytes()
    after = os.stat(path)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(data) != after.st_size:
        raise ValueError(f"{path}: the file changed while it was read.")
    return data


def check_file(path):
    """The stat of a non-empty file, or an error that names what is there instead."""
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder. Expected a file.")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file.")
    stat = os.stat(path)
    if stat.st_size == 0:
        raise ValueError(f"{path}: the file is empty (0 bytes).")
    return stat


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


class ReadError(ValueError):
    """An error whose message is already the line to show."""


OPENING = threading.Lock()


def open_image(file, path, max_pixels):
    """Pillow's lazily decoded image; raises where its header promises more than `max_pixels`."""
    with OPENING:  # Pillow's own limit is a module's global, and too low for a 200 megapixel camera
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # e.g. on odd EXIF entries
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


def decode(image, path):
    """(H, W, C) uint8 or uint16 pixels as stored, before EXIF orientation."""
    if image.mode.startswith(("I", "F")):
        return sixteen_bit_gray(image, path)
    image.load()
    return with_channels(np.asarray(plain_mode(image)))


def deep_png(image):
    """Whether this is a (yet undecoded) PNG of 16 bits a sample, whose colours Pillow would reduce to 8."""
    return image.format == "PNG" and any("16B" in str(tile[3]) for tile in image.tile)


def deep_tiff(image):
    """Whether this is a TIFF of unsigned 16-bit colour samples, which Pillow would reduce to 8."""
    if image.format != "TIFF" or image.mode not in ("RGB", "RGBA", "RGBX"):
        return False
    return set(image.tag_v2.get(258, ())) == {16} and set(image.tag_v2.get(339, (1,))) == {1}


def decode_deep(image, data, path):
    """(H, W, C) uint16 pixels, past Pillow."""
    return decode_deep_png(image, data) if image.format == "PNG" else decode_deep_tiff(data, path)


def decode_deep_png(image, data):
    import tensorflow as tf  # here, since 8-bit pictures need no TensorFlow

    if "transparency" not in image.info:  # one colour that is transparent
        return tf.io.decode_png(data, dtype=tf.uint16).numpy()
    rgba = tf.io.decode_png(data, channels=4, dtype=tf.uint16).numpy()
    return rgba[..., [0, 3]] if image.mode.startswith("I") else rgba


def decode_deep_tiff(data, path):
    tifffile = import_tifffile(path)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages[0]
        try:
            pixels = page.asarray()
        except (ValueError, KeyError, ImportError) as error:
            if "imagecodecs" not in str(error):
                raise
            name = page.compression.name
            raise ReadError(f"{path}: 16-bit TIFF with {name} compression needs: pip install imagecodecs") from None
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            pixels = np.moveaxis(pixels, 0, -1)
        extra = page.extrasamples
    if pixels.shape[-1] > 3 and not extra or pixels.shape[-1] > 4:
        pixels = pixels[..., : 4 if extra else 3]
    if extra and extra[0] == tifffile.EXTRASAMPLE.ASSOCALPHA:
        return straight_alpha(pixels)
    if extra and extra[0] != tifffile.EXTRASAMPLE.UNASSALPHA:
        return pixels[..., :3]
    return pixels


def import_tifffile(path):
    try:
        import tifffile  # here, since only 16-bit TIFF needs it
    except ImportError:
        raise ReadError(f"{path}: 16-bit TIFF needs: pip install tifffile") from None
    return tifffile


def straight_alpha(pixels):
    """Colours divided by their alpha, of premultiplied (H, W, 4) uint16 pixels."""
    alpha = np.maximum(pixels[..., 3:].astype(np.float32), 1)
    colours = np.minimum(pixels[..., :3] * (65535 / alpha) + 0.5, 65535)
    return np.concatenate([colours.astype(np.uint16), pixels[..., 3:]], axis=-1)


def sixteen_bit_gray(image, path):
    pixels = np.asarray(image)
    if image.mode.startswith("F") or pixels.min() < 0 or pixels.max() > 65535:
        raise ReadError(f"{path}: samples of more than 16 bits. Expected 8 or 16 bits unsigned.")
    return with_channels(pixels.astype(np.uint16))


def plain_mode(image):
    """The image in mode L, LA, RGB or RGBA."""
    transparent = "transparency" in image.info
    if image.mode in ("1", "L", "LA", "La"):
        return image.convert("LA" if transparent or image.mode in ("LA", "La") else "L")
    if image.mode in ("CMYK", "LAB"):
        return colour_managed(image)
    if image.mode in ("PA", "RGBA", "RGBa") or transparent:
        return image.convert("RGBA")
    return image.convert("RGB")


def colour_managed(image):
    """CMYK or Lab to sRGB by the picture's ICC profile; without one, Lab by definition, CMYK by Pillow's formula."""
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
        return image.convert("RGB")  # a damaged profile, or one of another colour space


def with_channels(pixels):
    return pixels[..., None] if pixels.ndim == 2 else pixels


def profile_matches(icc_profile, channels):
    """Whether a profile describes pixels of that many channels (its header names its colour space)."""
    return bool(icc_profile) and icc_profile[16:20] == (b"GRAY" if channels < 3 else b"RGB ")


# Metadata

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


def take_exif(image, path, notes):
    """(orientation 1..8, the EXIF block with orientation 1 or None)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
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


# Writing


@contextmanager
def written_whole(path):
    """Gives a temporary path beside `path`, which takes that name once the block has ended well."""
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(f"{path}: cannot be written ({error.strerror}).") from error
    finally:
        temporary.unlink(missing_ok=True)


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


def encode_png(pixels, path, metadata, text, quality):
    chunks = PngImagePlugin.PngInfo()
    for key, value in text.items():
        chunks.add_itxt(key, value) if not value.isascii() else chunks.add_text(key, value)
    if pixels.dtype == np.uint8:
        return to_pillow(pixels).save(path, "PNG", pnginfo=chunks, **metadata)
    import tensorflow as tf  # Pillow writes no 16-bit colours

    encoded = tf.io.encode_png(pixels).numpy()
    stand_in = io.BytesIO()  # a PNG of one pixel, from which the chunks of metadata are taken
    Image.new("RGB", (1, 1)).save(stand_in, "PNG", pnginfo=chunks, **metadata)
    ancillary = stand_in.getvalue()
    start, end = PNG_HEADER, ancillary.index(b"IDAT", PNG_HEADER) - 4
    path.write_bytes(encoded[:PNG_HEADER] + ancillary[start:end] + encoded[PNG_HEADER:])


PNG_HEADER = 8 + 4 + 4 + 13 + 4  # signature, and IHDR with its length, name and checksum


def encode_jpeg(pixels, path, metadata, text, quality):
    subsampling = "4:4:4" if quality >= 90 else "4:2:0"  # the generator drew the colours at full resolution
    to_pillow(pixels).save(path, "JPEG", quality=quality, subsampling=subsampling, optimize=True, **metadata)


def encode_webp(pixels, path, metadata, text, quality):
    to_pillow(pixels).save(path, "WEBP", quality=quality, lossless=quality == 100, **metadata)


def encode_bmp(pixels, path, metadata, text, quality):
    to_pillow(pixels).save(path, "BMP", **{name: value for name, value in metadata.items() if name == "dpi"})


def encode_tiff(pixels, path, metadata, text, quality):
    if pixels.dtype == np.uint8:
        nested = {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo} & set(exif_tags(metadata.get("exif")))
        compression = None if nested else "tiff_adobe_deflate"  # Pillow cannot write both
        return to_pillow(pixels).save(path, "TIFF", compression=compression, **metadata)
    channels = pixels.shape[-1]
    dpi = metadata.get("dpi")
    import_tifffile(path).imwrite(
        path,
        pixels if channels > 1 else pixels[..., 0],
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        iccprofile=metadata.get("icc_profile"),
        resolution=dpi,
        resolutionunit="INCH" if dpi else None,
        extratags=[(tag, "s", 0, value, True) for tag, value in exif_strings(metadata.get("exif"))],
        software=False,
        metadata=None,
    )


def exif_strings(exif):
    """The EXIF block's text tags (maker, model, date, artist, copyright, ...), which a TIFF holds as its own."""
    return [(tag, value) for tag, value in exif_tags(exif).items() if isinstance(value, str) and value.isascii()]


def exif_tags(exif):
    tags = Image.Exif()
    if exif:
        tags.load(exif)
    return tags


def to_pillow(pixels):
    """uint8 (H, W, C) -> PIL.Image in mode L, LA, RGB or RGBA."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


ENCODERS = {"PNG": encode_png, "JPEG": encode_jpeg, "WEBP": encode_webp, "BMP": encode_bmp, "TIFF": encode_tiff}
