"""Ways to upscale, measured side by side on folders of pictures."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from srwgan.measuring import metrics
from srwgan.measuring.lpips import LPIPS
from srwgan.measuring.pairs import degraded, read_pair, width_x_height
from srwgan.pixels import bicubic, to_range


@dataclass(frozen=True)
class Method:
    """A way to upscale.

    Attributes:
        name: what tables call it.
        scale: how many times larger its results are.
        upscale: a function, uint8 (H, W, 3) -> uint8 (scale H, scale W, 3).
        parameters: of the network, None where they are not known.
        precision: that it computes in, None for bicubic interpolation.
    """

    name: str
    scale: int
    upscale: Callable[[np.ndarray], np.ndarray]
    parameters: int | None = None
    precision: str | None = None


def bicubic_method(scale: int) -> Method:
    """Bicubic interpolation, which every generator is compared with."""
    return Method("bicubic", scale, lambda low_res: bicubic(low_res, scale), parameters=0)


@dataclass(frozen=True)
class Measured:
    """One picture, upscaled by every method.

    Attributes:
        data, name: its folder's name and its own.
        low_res, original: its pixels, uint8.
        outputs: each method's result.
        figures: each method's figures, see `measure`.
    """

    data: str
    name: str
    low_res: np.ndarray
    original: np.ndarray
    outputs: list[np.ndarray]
    figures: list[dict]


def evaluate(methods, folders, *, degradation=None, on_picture=None) -> list[dict]:
    """Measure every method on every folder.

    Args:
        methods: `Method`s of one scale; the first is bicubic interpolation.
        folders: {name: list of `Pair`}.
        degradation: of `pairs.FIXED_DEGRADATIONS`, what every low resolution is given first; None for nothing.
        on_picture: called with each picture's `Measured`, which is not kept.

    Returns:
        A dict for each folder and method, see `summary`. After a folder's methods follows one of its originals, which
        has no figure but `flat_texture`.
    """
    results = []
    for data, pairs in folders.items():
        figures = [[] for _ in methods]
        original_flat, largest = [], np.empty((0, 0, 3), np.uint8)
        for measured in measured_pictures(methods, data, pairs, degradation=degradation):
            for so_far, new in zip(figures, measured.figures, strict=True):
                so_far.append(new)
            original_flat.append(metrics.flat_texture(measured.original, measured.outputs[0]))
            largest = max(largest, measured.low_res, key=np.size)
            if on_picture:
                on_picture(measured)
        for method, pictures in zip(methods, figures, strict=True):
            results.append(summary(data, method, pictures, seconds=seconds_per_megapixel(method.upscale, largest)))
        results.append({"data": data, "model": "original", "flat_texture": mean_of_finite(original_flat)})
    return results


def measured_pictures(methods, data, pairs, *, degradation=None):
    """Yield the `Measured` of each pair of a folder."""
    distance, scale = LPIPS(), methods[0].scale
    for name, *paths in tqdm(pairs, desc=data, leave=False, disable=None):
        low_res, original = read_pair(*paths, scale=scale)
        if degradation:
            low_res = degraded(low_res, degradation)
        outputs = [method.upscale(low_res) for method in methods]
        figures = [
            {"name": name, **measure(output, original, bicubic_output=outputs[0], scale=scale, distance=distance)}
            for output in outputs
        ]
        yield Measured(data, name, low_res=low_res, original=original, outputs=outputs, figures=figures)


def measure(output: np.ndarray, original: np.ndarray, *, bicubic_output: np.ndarray, scale: int, distance) -> dict:
    """The figures of one output.

    Args:
        output, original, bicubic_output: uint8 (H, W, 3), all of one size.
        scale: pixels shaved off for PSNR and SSIM, and the period of the grid that is looked for.
        distance: an `LPIPS`.

    Returns:
        {"psnr_y", "ssim", "lpips", "grid_db", "colour_shift", "flat_texture"}, see `metrics`.

    Raises:
        ValueError: an output of another size than the original's.
    """
    if output.shape != original.shape:
        raise ValueError(f"Received: an output of {width_x_height(output)}. Expected {width_x_height(original)}.")
    return {
        "psnr_y": metrics.psnr(output, original, shave=scale),
        "ssim": metrics.ssim(output, original, shave=scale),
        "lpips": float(distance(to_range(output[None]), to_range(original[None]))[0]),
        "grid_db": metrics.lattice_peak(output, original, scale),
        "colour_shift": metrics.color_shift(output, bicubic_output),  # spelt as in the reports written so far
        "flat_texture": metrics.flat_texture(output, bicubic_output),
    }


def seconds_per_megapixel(upscale, low_res) -> float:
    """The faster of two runs, for a low-resolution megapixel.

    The picture must have been upscaled before, so that nothing is compiled here.
    """
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        upscale(low_res)
        seconds.append(time.perf_counter() - start)
    return min(seconds) / (low_res.shape[0] * low_res.shape[1] / 1e6)


def summary(data, method, pictures, *, seconds) -> dict:
    """A method's figures on a folder: means over the pictures, but the worst picture's grid and color shift.

    `pictures` has each picture's own figures.
    """

    def all_of(name):
        return [picture[name] for picture in pictures]

    return {
        "data": data,
        "model": method.name,
        "psnr_y": float(np.mean(all_of("psnr_y"))),
        "ssim": float(np.mean(all_of("ssim"))),
        "lpips": float(np.mean(all_of("lpips"))),
        "parameters": method.parameters,
        "precision": method.precision,
        "seconds_per_megapixel": seconds,
        "grid_db": max(all_of("grid_db")),
        "colour_shift": max(all_of("colour_shift")),
        "flat_texture": mean_of_finite(all_of("flat_texture")),
        "pictures": pictures,
    }


def mean_of_finite(values) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan
