"""Measure generators against originals: `python3 -m utils.evaluate --model SRWGAN_Gen --data DIR [--data DIR ...]`.

A data folder holds pairs, NAME_LR and NAME_HR, or originals, which are cropped to a multiple of the scale and
downscaled by antialiased bicubic. Every run measures bicubic upscaling too. The columns:

  PSNR-Y, SSIM  of the luma, the scale's number of pixels shaved off each side; higher is better
  LPIPS         v0.1, AlexNet, of the whole picture; lower is better
  parameters    of the network
  s/MP          seconds for a megapixel of low resolution, on the largest picture, once everything is loaded
  grid          the worst picture's peak in the spectrum at the frequencies of a regular grid, in dB; near 0 without one
  colour        the worst picture's difference of mean colour from bicubic's, in 1/255
  flat          root-mean-square texture where the bicubic picture is flat, in 1/255; to compare with the original's
"""

import argparse
import csv
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from tqdm import tqdm

from srwgan.commandline import real, whole
from srwgan.measuring import metrics
from srwgan.measuring.lpips import LPIPS
from srwgan.measuring.pairs import WEAR, bicubic, find_pairs, read_pair, size, worn
from srwgan.media.still.images import Picture, write_image, written_whole
from srwgan.networks.mixing import interpolate
from srwgan.networks.model_folder import faithful_end
from srwgan.networks.precision import PRECISIONS
from srwgan.networks.saving import load_generator
from srwgan.upscaling.upscaler import Upscaler
from utils.comparison import comparison

SHOWN = 6  # crops in a picture
WARNINGS = (  # figure, more than which is said below the table, as what
    ("grid_db", 6.0, "a regular grid (more than 6 dB)"),
    ("colour_shift", 0.5, "a colour cast (more than 0.5 of 255)"),
)
COLUMNS = {  # figure -> heading, format
    "psnr_y": ("PSNR-Y", ".2f"),
    "ssim": ("SSIM", ".4f"),
    "lpips": ("LPIPS", ".4f"),
    "parameters": ("parameters", ",d"),
    "seconds_per_megapixel": ("s/MP", ".2f"),
    "grid_db": ("grid", ".1f"),
    "colour_shift": ("colour", ".2f"),
    "flat_texture": ("flat", ".2f"),
}


def main(arguments=None):
    options = parse_arguments(arguments)
    try:
        check_outputs(options)
        methods = load_methods(options)
        names = [f"{label} ({options.wear})" if options.wear else label for label in labels(options.data)]
        folders = dict(zip(names, map(find_pairs, options.data), strict=True))
        results, crops = evaluate(methods, folders, options)
        print(table(results))
        write_outputs(options, results, methods, crops)
    except (ValueError, OSError, MemoryError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python3 -m utils.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    many = {"nargs": "+", "action": "extend", "metavar": "DIR"}
    parser.add_argument("--model", **many, default=[], help="exported generators; none measures bicubic alone")
    parser.add_argument("--data", **many, required=True, help="folders of pairs or of originals")
    parser.add_argument(
        "--fidelity",
        type=real(0, 1),
        nargs="+",
        metavar="T",
        help="measure each model at these mixes of its weights: 0 is DIR itself, 1 is DIR/faithful",
    )
    meanings = "; ".join(f"{name}: {meaning}" for name, meaning in WEAR.items())
    parser.add_argument("--wear", choices=list(WEAR), help=f"damage the low resolution first ({meanings})")
    parser.add_argument("--precision", default="float32", choices=["auto", *PRECISIONS], help="(float32)")
    parser.add_argument("--json", metavar="FILE", help="write everything, per picture too")
    parser.add_argument("--csv", metavar="FILE", help="write the table")
    parser.add_argument("--picture", metavar="FILE", help="write crops of bicubic, each model and the original")
    parser.add_argument(
        "--crop",
        nargs=3,
        action="append",
        metavar=("NAME", "X", "Y"),
        help="a crop for --picture: a picture's name, the crop's left and top (6 pictures, where bicubic is worst)",
    )
    parser.add_argument("--crop-size", type=whole(1), default=96, metavar="PIXELS", help="(96)")
    return parser.parse_args(arguments)


@dataclass
class Method:
    """A way to upscale: `upscale` takes and gives uint8 (H, W, 3)."""

    name: str
    scale: int
    upscale: Callable
    parameters: int | None
    precision: str | None


def load_methods(options):
    """Bicubic and every model at every fidelity, all of one scale."""
    models = []
    for name, folder in zip(labels(options.model), options.model, strict=True):
        for suffix, generator in load_fidelities(folder, options.fidelity):
            parameters = generator.count_params() if hasattr(generator, "count_params") else None
            upscaler = Upscaler(generator, precision=options.precision)
            models.append(Method(name + suffix, generator.scale, upscaler.image, parameters, upscaler.precision))
    scales = sorted({model.scale for model in models}) or [4]
    if len(scales) > 1:
        raise ValueError(f"Received: models of scales {', '.join(map(str, scales))}. Expected one scale.")
    return [Method("bicubic", scales[0], lambda low_res: bicubic(low_res, scales[0]), 0, None), *models]


def load_fidelities(folder, fidelities):
    """Yield (suffix of the name, generator)."""
    generator = load_generator(folder)
    if fidelities is None:
        yield "", generator
        return
    faithful = load_generator(faithful_end(folder)) if any(fidelities) else generator
    for fidelity in fidelities:
        yield f" at {fidelity:g}", interpolate(generator, faithful, fidelity)


def evaluate(methods, folders, options):
    """Every method over every folder.

    Returns:
        A list of results, one for each folder and method: the table's figures, and `pictures`, each with its own.
        And for each crop to show its cells (see `comparison`).
    """
    distance = LPIPS()
    shown = choose_shown(folders, options) if options.picture else {}
    results, rows = [], []
    for data, pairs in folders.items():
        figures = [[] for _ in methods]
        original_flat, largest = [], np.empty((0, 0, 3), np.uint8)
        for name, *paths in tqdm(pairs, desc=data, leave=False, disable=None):
            low_res, original = read_pair(*paths, methods[0].scale)
            if options.wear:
                low_res = worn(low_res, options.wear)
            outputs = [method.upscale(low_res) for method in methods]
            for so_far, output in zip(figures, outputs, strict=True):
                so_far.append({"name": name, **measure(output, original, outputs[0], methods[0].scale, distance)})
            original_flat.append(metrics.flat_texture(original, outputs[0]))
            largest = max(largest, low_res, key=np.size)
            captions = [caption(so_far[-1]) for so_far in figures]
            for corner in shown.get((data, name), []):
                rows.append(crop_all([*outputs, original], [*captions, name], corner, options.crop_size))
        for method, measured in zip(methods, figures, strict=True):
            seconds = seconds_per_megapixel(method.upscale, largest)
            results.append(summary(data, method, seconds, measured))
        results.append({"data": data, "model": "original", "flat_texture": mean_of_finite(original_flat)})
    return results, rows


def measure(output, original, bicubic_output, scale, distance):
    """The figures of one output; all pictures uint8 (H, W, 3)."""
    if output.shape != original.shape:
        raise ValueError(f"Received: an output of {size(output)}. Expected {size(original)}.")
    centred = [np.float32(pixels)[None] / 127.5 - 1 for pixels in (output, original)]
    return {
        "psnr_y": metrics.psnr(output, original, shave=scale),
        "ssim": metrics.ssim(output, original, shave=scale),
        "lpips": float(distance(*centred)[0]),
        "grid_db": metrics.lattice_peak(output, original, scale),
        "colour_shift": metrics.colour_shift(output, bicubic_output),
        "flat_texture": metrics.flat_texture(output, bicubic_output),
    }


def seconds_per_megapixel(upscale, low_res):
    """The faster of two runs; the picture has been upscaled before, so nothing is compiled here."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        upscale(low_res)
        seconds.append(time.perf_counter() - start)
    return min(seconds) / (low_res.shape[0] * low_res.shape[1] / 1e6)


def summary(data, method, seconds, pictures):
    """One line of the table: means over the pictures; of what should not be there, the worst picture."""

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


def mean_of_finite(values):
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def table(results):
    """The results as text, and below it what should not be."""
    lines = [["data", "model", *(heading for heading, _ in COLUMNS.values())]]
    for result in results:
        figures = (number(result.get(name), form) for name, (_, form) in COLUMNS.items())
        lines.append([result["data"], result["model"], *figures])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(align(cells, widths)).rstrip() for cells in lines]
    return "\n".join([*text, *warnings(results)])


def align(cells, widths):
    """Names to the left, figures to the right."""
    for i, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        yield cell.ljust(width) if i < 2 else cell.rjust(width)


def warnings(results):
    """A line for each method and folder with a grid, and one with a colour cast."""
    for result in results:
        for figure, most, meaning in WARNINGS:
            bad = [picture for picture in result.get("pictures", []) if picture[figure] > most]
            if bad:
                worst = max(bad, key=lambda picture: picture[figure])
                where = f"{len(bad)} of {len(result['pictures'])} pictures of {result['data']}"
                yield f"{result['model']}: {meaning} in {where}, worst in {worst['name']}: {worst[figure]:.1f}."


def number(value, form):
    return "-" if value is None or math.isnan(value) else format(value, form)


def caption(figures):
    return f"{figures['psnr_y']:.2f} dB   LPIPS {figures['lpips']:.3f}"


def choose_shown(folders, options):
    """{(data, name): [corner, ...]} of the crops to show, a corner being (x, y), or None for where bicubic is worst."""
    pictures = [(data, name) for data, pairs in folders.items() for name, *_ in pairs]
    if not options.crop:
        count = min(SHOWN, len(pictures))
        return {pictures[i * len(pictures) // count]: [None] for i in range(count)}
    shown = {}
    for asked, x, y in options.crop:
        found = [(data, name) for data, name in pictures if asked in (name, f"{data}/{name}")]
        if not found or not (x.isdecimal() and y.isdecimal()):
            raise ValueError(f"Received: --crop {asked} {x} {y}. Expected a picture's name and two numbers of pixels.")
        shown.setdefault(found[0], []).append((int(x), int(y)))
    return shown


def crop_all(pictures, captions, corner, side):
    """The same crop of every picture (H, W, 3), inside it; the first is the bicubic one, the last the original."""
    height, width = pictures[-1].shape[:2]
    side = min(side, height, width)
    x, y = corner or worst_corner(pictures[0], pictures[-1], side)
    x, y = min(x, width - side), min(y, height - side)
    return [(pixels[y : y + side, x : x + side], text) for pixels, text in zip(pictures, captions, strict=True)]


def worst_corner(picture, original, side):
    """(x, y) of the square where the mean square error is largest."""
    error = np.square(metrics.luma(picture) - metrics.luma(original))
    means = metrics.window_mean(error, np.full(side, 1 / side))
    y, x = np.unravel_index(np.argmax(means), means.shape)
    return x, y


def check_outputs(options):
    """Before the work, not after it."""
    for path in filter(None, (options.json, options.csv, options.picture)):
        folder = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"Received: output {path}. Expected a file in a folder that exists.")


def write_outputs(options, results, methods, rows):
    if options.json:
        report = {"scale": methods[0].scale, "results": results}
        with written_whole(options.json) as temporary, open(temporary, "w") as file:
            json.dump(finite(report), file, indent=2)
    if options.csv:
        with written_whole(options.csv) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, ["data", "model", *COLUMNS], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(finite(results))
    if options.picture:
        headings = [*(method.name for method in methods), "original"]
        write_image(Picture(np.asarray(comparison(headings, rows))), options.picture)


def finite(report):
    """JSON has no NaN and no infinity: null."""
    if isinstance(report, dict):
        return {name: finite(value) for name, value in report.items()}
    if isinstance(report, list):
        return [finite(value) for value in report]
    if isinstance(report, float):
        return float(report) if math.isfinite(report) else None
    return report


def labels(paths):
    """Folders' own names where these tell them apart, else the paths as given."""
    paths = [os.fspath(path).rstrip("/") or "/" for path in paths]
    names = [os.path.basename(os.path.abspath(path)) for path in paths]
    return names if len(set(names)) == len(names) else paths


if __name__ == "__main__":
    sys.exit(main())
