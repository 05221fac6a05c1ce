"""Pixels and their metadata into files, a function for each format, `ENCODERS`.

Each takes pixels that the format can hold (H, W, C), the path, a dict of icc_profile, exif and dpi as far as there are,
a PNG's text chunks, and the quality of 1 to 100.
"""

import io

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from srwgan.media.still.decoding import import_tifffile
from srwgan.media.still.metadata import exif_strings, exif_tags


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


def to_pillow(pixels):
    """uint8 (H, W, C) -> PIL.Image in mode L, LA, RGB or RGBA."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


ENCODERS = {"PNG": encode_png, "JPEG": encode_jpeg, "WEBP": encode_webp, "BMP": encode_bmp, "TIFF": encode_tiff}
