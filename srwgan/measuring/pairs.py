"""A folder to measure generators on: pairs of low and high resolution, or originals to downscale."""

import os

import numpy as np
from PIL import Image

from srwgan.data.degradations import common_palette, compress, to_palette
from srwgan.media.still.images import read_image

GIF_COLORS, JPEG_AMOUNT = 32, 0.5
WEAR = {"gif": "in 32 colours with Floyd-Steinberg dither", "jpeg": "as a JPEG of quality 65"}  # of low resolution
SMALLEST = 16  # low-resolution pixels: what the check of the spectrum needs


def find_pairs(folder):
    """Pictures of a folder, sorted by name.

    Returns:
        [(name, path of NAME_LR, path of NAME_HR)], or [(name, None, path)] of a folder without any NAME_LR.

    Raises:
        FileNotFoundError, NotADirectoryError: no such folder.
        ValueError: no pictures, or a half of a pair.
    """
    if not os.path.isdir(folder):
        kind = NotADirectoryError if os.path.exists(folder) else FileNotFoundError
        raise kind(f"Received: data {folder}. Expected a folder of pictures.")
    paths = picture_paths(folder)
    if not paths:
        raise ValueError(f"Received: data {folder}, without pictures. Expected NAME_LR and NAME_HR, or originals.")
    low_res = {name.removesuffix("_LR"): path for name, path in paths.items() if name.endswith("_LR")}
    if not low_res:
        return [(name.removesuffix("_HR"), None, path) for name, path in paths.items()]
    high_res = {name.removesuffix("_HR"): path for name, path in paths.items() if name.endswith("_HR")}
    for name in sorted(low_res.keys() ^ high_res.keys()):
        there, missing = ("LR", "HR") if name in low_res else ("HR", "LR")
        raise ValueError(f"Received: {name}_{there} without {name}_{missing} in {folder}. Expected pairs.")
    return [(name, path, high_res[name]) for name, path in low_res.items()]


def picture_paths(folder):
    """{name without its extension: path} of the files that Pillow may know, hidden files left out."""
    known = Image.registered_extensions()
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    files = [name for name in names if os.path.splitext(name)[1].lower() in known]
    return {os.path.splitext(name)[0]: os.path.join(folder, name) for name in files}


def read_pair(low_res_path, high_res_path, scale):
    """Low and high resolution, uint8 (H, W, 3) and (scale H, scale W, 3).

    Without a path of the low resolution, the original is cropped at its right and bottom to a multiple of the scale
    and downscaled by antialiased bicubic.

    Raises:
        ValueError: sizes that do not fit, or a picture too small to measure.
    """
    high_res = read_rgb(high_res_path)
    if min(high_res.shape[:2]) < SMALLEST * scale:
        side = SMALLEST * scale
        raise ValueError(f"Received: {high_res_path} of {size(high_res)}. Expected at least {side}x{side}.")
    if low_res_path is None:
        height, width = (length // scale for length in high_res.shape[:2])
        high_res = high_res[: height * scale, : width * scale]
        return resize(high_res, height, width), high_res
    low_res = read_rgb(low_res_path)
    height, width = (length * scale for length in low_res.shape[:2])
    if high_res.shape[:2] != (height, width):
        raise ValueError(
            f"Received: {high_res_path} of {size(high_res)} for a low resolution of {size(low_res)}. "
            f"Expected {width}x{height}, {scale} times as large."
        )
    return low_res, high_res


def worn(pixels, wear):
    """uint8 (H, W, 3) as `WEAR` says, without anything random."""
    if wear == "jpeg":
        return compress(pixels, None, JPEG_AMOUNT)
    return to_palette(pixels, common_palette([pixels], GIF_COLORS, "median cut"), "floyd-steinberg")


def bicubic(pixels, scale):
    """Upscale uint8 (H, W, 3) by the cubic convolution (Keys 1981, a = -1/2) that MATLAB's and Pillow's bicubic are."""
    height, width = pixels.shape[:2]
    return resize(pixels, height * scale, width * scale)


def resize(pixels, height, width):
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def read_rgb(path):
    """uint8 (H, W, 3): alpha dropped, gray in all channels, 16 bits rounded to 8."""
    pixels = read_image(path).pixels
    if pixels.dtype == np.uint16:
        pixels = np.round(pixels / 257).astype(np.uint8)
    colours = pixels[..., :3] if pixels.shape[-1] > 2 else pixels[..., :1]
    return np.ascontiguousarray(np.broadcast_to(colours, (*pixels.shape[:2], 3)))


def size(pixels):
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
