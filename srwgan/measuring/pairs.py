"""A folder to measure generators on: pairs of low and high resolution, or originals that are downscaled here."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from srwgan.data.degradations import common_palette, compress, to_palette
from srwgan.media.still.images import read_image
from srwgan.pixels import BICUBIC, resize

GIF_COLORS, JPEG_AMOUNT = 32, 0.5
FIXED_DEGRADATIONS = {  # what a low resolution may be given before it is upscaled, without anything random
    "gif": "in 32 colours with Floyd-Steinberg dither",
    "palette": "in 32 colours without dither",
    "jpeg": "as a JPEG of quality 65",
}
SMALLEST = 16  # low-resolution pixels: what the check of the spectrum needs


class Pair(NamedTuple):
    """Where a picture's two resolutions are.

    Attributes:
        name: the picture's name, without _LR, _HR and extension.
        low_res: the path of the low resolution, None where the original is to be downscaled.
        high_res: the path of the original.
    """

    name: str
    low_res: Path | None
    high_res: Path


def find_pairs(folder) -> list[Pair]:
    """The pictures of a folder, sorted by name: all NAME_LR and NAME_HR, or, without any NAME_LR, all originals.

    Raises:
        FileNotFoundError: there is no such folder.
        NotADirectoryError: it is a file.
        ValueError: it has no pictures, or one half of a pair.
    """
    folder = Path(folder)
    if not folder.is_dir():
        kind = NotADirectoryError if folder.exists() else FileNotFoundError
        raise kind(f"Received: data {folder}. Expected a folder of pictures.")
    paths = picture_paths(folder)
    if not paths:
        raise ValueError(f"Received: data {folder}, without pictures. Expected NAME_LR and NAME_HR, or originals.")
    low_res = {name.removesuffix("_LR"): path for name, path in paths.items() if name.endswith("_LR")}
    if not low_res:
        return [Pair(name.removesuffix("_HR"), None, path) for name, path in paths.items()]
    high_res = {name.removesuffix("_HR"): path for name, path in paths.items() if name.endswith("_HR")}
    for name in sorted(low_res.keys() ^ high_res.keys()):
        there, missing = ("LR", "HR") if name in low_res else ("HR", "LR")
        raise ValueError(f"Received: {name}_{there} without {name}_{missing} in {folder}. Expected pairs.")
    return [Pair(name, path, high_res[name]) for name, path in low_res.items()]


def labels(paths) -> list[str]:
    """What tables call folders: their own names where these tell them apart, else the paths as given."""
    paths = [os.fspath(path).rstrip("/") or "/" for path in paths]
    names = [Path(path).absolute().name for path in paths]
    return names if len(set(names)) == len(names) else paths


def picture_paths(folder):
    """{name without its extension: path} of the files whose extension Pillow knows; hidden files are left out.

    Files that differ in their extension alone go by their whole names.
    """
    known, named = Image.registered_extensions(), {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in known and not path.name.startswith("."):
            named.setdefault(path.stem, []).append(path)
    return {stem if len(same) == 1 else path.name: path for stem, same in named.items() for path in same}


def read_pair(low_res_path, high_res_path, *, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of a pair.

    Without a path of the low resolution, the original is cropped at its right and bottom to a multiple of the scale
    and downscaled by antialiased bicubic.

    Returns:
        (low resolution (H, W, 3), high resolution (scale H, scale W, 3)), uint8.

    Raises:
        ValueError: sizes that do not fit, or a picture too small to measure.
        OSError: a file that cannot be read.
    """
    high_res = read_measured(high_res_path)
    if min(high_res.shape[:2]) < SMALLEST * scale:
        side = SMALLEST * scale
        raise ValueError(f"Received: {high_res_path} of {width_x_height(high_res)}. Expected at least {side}x{side}.")
    if low_res_path is None:
        height, width = (length // scale for length in high_res.shape[:2])
        high_res = high_res[: height * scale, : width * scale]
        return resize(high_res, (width, height), BICUBIC), high_res
    low_res = read_measured(low_res_path)
    height, width = (length * scale for length in low_res.shape[:2])
    if high_res.shape[:2] != (height, width):
        raise ValueError(
            f"Received: {high_res_path} of {width_x_height(high_res)} for a low resolution of "
            f"{width_x_height(low_res)}. Expected {width}x{height}, {scale} times as large."
        )
    return low_res, high_res


def read_measured(path) -> np.ndarray:
    """A picture as the benchmarks of the literature read it, uint8 (H, W, 3).

    Alpha is dropped, gray is repeated in all channels, 16 bits are rounded to 8.
    """
    pixels = read_image(path).pixels
    if pixels.dtype == np.uint16:
        pixels = np.round(pixels / 257).astype(np.uint8)
    colors = pixels[..., :3] if pixels.shape[-1] > 2 else pixels[..., :1]
    return np.ascontiguousarray(np.broadcast_to(colors, (*pixels.shape[:2], 3)))


def degraded(pixels: np.ndarray, kind: str) -> np.ndarray:
    """uint8 (H, W, 3), degraded as `FIXED_DEGRADATIONS` says of its kind."""
    if kind == "jpeg":
        return compress(pixels, None, amount=JPEG_AMOUNT)
    palette = common_palette([pixels], GIF_COLORS, quantizer="median cut")
    return to_palette(pixels, palette, dither="floyd-steinberg" if kind == "gif" else "none")


def width_x_height(pixels):
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
