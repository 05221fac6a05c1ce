"""Pixels and what travels with them into files, a function for each format: `ENCODERS`.

Each takes pixels (H, W, C) that the format can hold, the path, the `Extras`, and a quality of 1 to 100. Each returns
the names of those extras that its format does not hold.
"""

import importlib.util
import io
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from srwgan.media.still.errors import ReadError
from srwgan.media.still.metadata import (
    IPTC_TAG,
    XMP_TAG,
    exif_tags,
    extra_tiff_tags,
    iptc_as_text,
    photoshop_marker,
)
from srwgan.media.still.tiff import import_tifffile

PNG_LEVEL = 4  # of zlib: half the time of the usual 6, photographs' files grow by 1 to 3%
LONGEST_JPEG_BLOCK = 65_000  # bytes of EXIF, XMP or IPTC in one JPEG segment, with their headers
PAGE_NUMBER = 297
LARGEST_TIFF = 4_000_000_000  # bytes of pixels; larger files have offsets of 64 bits
HEIF_REQUIREMENT = "python3 -m pip install -r requirements-heif.txt"


@dataclass(frozen=True)
class Extras:
    """What travels with pixels, as it holds of those that are written.

    Attributes:
        icc_profile, exif, dpi, text, colors, xmp, iptc, comment: as in `images.Picture`.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: dict[str, str] = field(default_factory=dict)
    colors: dict[str, bytes] = field(default_factory=dict)
    xmp: bytes | None = None
    iptc: bytes | None = None
    comment: str | None = None

    def for_pillow(self, *names):
        """Those of the named ones that there are, as arguments of `Image.save`."""
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def lost(self, *held):
        """What a format loses that holds only the extras named, in words for the user."""
        words = {"xmp": "XMP", "iptc": "IPTC", "exif": "EXIF", "comment": "comment", "text": "text"}
        return [word for name, word in words.items() if name not in held and getattr(self, name)]


def encode_png(pixels, path, extras, quality):
    metadata = extras.for_pillow("icc_profile", "exif", "dpi")
    if pixels.dtype == np.uint8:
        chunks = png_chunks(extras)
        to_pillow(pixels).save(path, "PNG", pnginfo=chunks, compress_level=PNG_LEVEL, **metadata)
        return []
    encoded = encode_deep_png(pixels)
    Path(path).write_bytes(encoded[:PNG_HEADER] + png_ancillary(extras) + encoded[PNG_HEADER:])
    return []


def encode_deep_png(pixels: np.ndarray) -> bytes:
    """(H, W, C) uint16 as a PNG without metadata, which Pillow does not write.

    It is written by TensorFlow where that is loaded, else by FFmpeg, which starts at once.
    """
    if "tensorflow" in sys.modules or not importlib.util.find_spec("av"):
        import tensorflow as tf

        return tf.io.encode_png(pixels).numpy()
    from fractions import Fraction

    import av

    height, width, channels = pixels.shape
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.time_base = width, height, Fraction(1)
    encoder.pix_fmt = {1: "gray16be", 2: "ya16be", 3: "rgb48be", 4: "rgba64be"}[channels]
    frame = av.VideoFrame(width, height, encoder.pix_fmt)
    rows = np.zeros((height, frame.planes[0].line_size), np.uint8)
    rows[:, : 2 * width * channels] = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    frame.planes[0].update(rows.tobytes())
    encoded = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    return encoded[:PNG_HEADER] + encoded[encoded.index(b"IDAT", PNG_HEADER) - 4 :]  # without its own resolution


PNG_HEADER = 8 + 4 + 4 + 13 + 4  # signature, and IHDR with its length, name and checksum


def png_ancillary(extras: Extras) -> bytes:
    """The chunks of a PNG that hold the extras, which stand between its header and its pixels."""
    stand_in = io.BytesIO()  # a PNG of one pixel, from which they are taken
    metadata = extras.for_pillow("icc_profile", "exif", "dpi")
    Image.new("RGB", (1, 1)).save(stand_in, "PNG", pnginfo=png_chunks(extras), **metadata)
    data = stand_in.getvalue()
    return data[PNG_HEADER : data.index(b"IDAT", PNG_HEADER) - 4]


def png_chunks(extras):
    """The extras that Pillow takes as chunks."""
    chunks = PngImagePlugin.PngInfo()
    for name, body in extras.colors.items():
        chunks.add(name.encode(), body)
    text = dict(extras.text)
    if extras.comment:
        text.setdefault("Comment", extras.comment)
    if extras.iptc:
        text.setdefault(*iptc_as_text(extras.iptc))
    for key, value in text.items():
        if len(value) > 4096 and value.isascii():
            chunks.add_text(key, value, zip=True)
        elif value.isascii():
            chunks.add_text(key, value)
        else:
            chunks.add_itxt(key, value)
    if extras.xmp:
        chunks.add_itxt("XML:com.adobe.xmp", extras.xmp.decode("utf-8", "replace"))
    return chunks


def encode_jpeg(pixels, path, extras, quality):
    subsampling = "4:4:4" if quality >= 90 else "4:2:0"  # the generator drew the colors at full resolution
    metadata, lost = extras.for_pillow("icc_profile", "exif", "dpi", "comment", "xmp"), []
    for name in ("exif", "xmp", "iptc"):
        if getattr(extras, name) and len(getattr(extras, name)) > LONGEST_JPEG_BLOCK:
            metadata.pop(name, None)
            lost.append(f"{name.upper()} of more than {LONGEST_JPEG_BLOCK:,} bytes")
        elif name == "iptc" and extras.iptc:
            metadata["extra"] = photoshop_marker(extras.iptc)
    if "comment" in metadata:
        metadata["comment"] = metadata["comment"].encode("utf-8")[:LONGEST_JPEG_BLOCK]
    to_pillow(pixels).save(path, "JPEG", quality=quality, subsampling=subsampling, optimize=True, **metadata)
    return lost + extras.lost("exif", "xmp", "iptc", "comment")


def encode_webp(pixels, path, extras, quality):
    metadata = extras.for_pillow("icc_profile", "exif", "xmp")
    exact = has_hidden_colors(pixels)  # else WebP makes them black
    to_pillow(pixels).save(path, "WEBP", quality=quality, lossless=quality == 100, exact=exact, **metadata)
    return extras.lost("exif", "xmp")


def has_hidden_colors(pixels: np.ndarray) -> bool:
    """Whether there are colors, more than one, where a picture (H, W, 2 or 4) is fully transparent."""
    if pixels.shape[-1] in (1, 3):
        return False
    hidden = pixels[pixels[..., -1] == 0, :-1]
    return bool(len(hidden)) and bool((hidden != hidden[0]).any())


def encode_avif(pixels, path, extras, quality):
    subsampling = "4:4:4" if quality >= 90 else "4:2:0"
    metadata = extras.for_pillow("icc_profile", "exif", "xmp")
    to_pillow(pixels).save(path, "AVIF", quality=quality, subsampling=subsampling, **metadata)
    return extras.lost("exif", "xmp")


def encode_heif(pixels, path, extras, quality):
    import_pillow_heif(path).register_heif_opener()
    metadata = extras.for_pillow("icc_profile", "exif", "xmp")
    chroma = 444 if quality >= 90 else 420
    rgb = to_pillow(pixels)
    rgb = rgb if rgb.mode in ("RGB", "RGBA") else rgb.convert("RGBA" if rgb.mode == "LA" else "RGB")
    rgb.save(path, "HEIF", quality=quality, chroma=chroma, **metadata)
    return extras.lost("exif", "xmp")


def import_pillow_heif(path):
    """The module `pillow_heif`. Raises `ReadError`, saying what to install, where it is missing."""
    try:
        import pillow_heif
    except ImportError:
        raise ReadError(f"{path}: HEIC needs pillow-heif, which is not installed. Run: {HEIF_REQUIREMENT}") from None
    return pillow_heif


def encode_bmp(pixels, path, extras, quality):
    to_pillow(pixels).save(path, "BMP", **extras.for_pillow("dpi"))
    return extras.lost()


def encode_tiff(pixels, path, extras, quality):
    lost = extras.lost("exif", "xmp", "iptc", "comment")
    tags = exif_tags(extras.exif)
    if extras.comment and ExifTags.Base.ImageDescription not in tags:
        tags[ExifTags.Base.ImageDescription] = extras.comment
    packets = [(tag, block) for tag, block in ((XMP_TAG, extras.xmp), (IPTC_TAG, extras.iptc)) if block]
    if pixels.dtype == np.uint8:
        nested = {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo} & set(tags)
        # Neither directories nor pairs of numbers get through libtiff, by which Pillow compresses.
        compression = None if nested or PAGE_NUMBER in tags else "tiff_adobe_deflate"
        for tag, block in packets:
            tags[tag] = block
        metadata = extras.for_pillow("icc_profile", "dpi")
        if pixels.nbytes > LARGEST_TIFF:
            metadata["big_tiff"] = True
        to_pillow(pixels).save(path, "TIFF", compression=compression, exif=tags, **metadata)
        return lost
    channels = pixels.shape[-1]
    strings = extra_tiff_tags(tags.tobytes() if tags else None)
    blocks = [(tag, "B", len(block), block, True) for tag, block in packets]
    import_tifffile(path).imwrite(
        path,
        pixels if channels > 1 else pixels[..., 0],
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        iccprofile=extras.icc_profile,
        resolution=extras.dpi,
        resolutionunit="INCH" if extras.dpi else None,
        extratags=strings + blocks,
        software=False,
        metadata=None,
    )
    if {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo} & set(tags):
        lost.append("EXIF of the camera's settings and place")
    return lost


def to_pillow(pixels: np.ndarray) -> Image.Image:
    """uint8 (H, W, C) -> PIL.Image in mode L, LA, RGB or RGBA."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


ENCODERS = {
    "PNG": encode_png,
    "JPEG": encode_jpeg,
    "WEBP": encode_webp,
    "AVIF": encode_avif,
    "HEIF": encode_heif,
    "BMP": encode_bmp,
    "TIFF": encode_tiff,
}
