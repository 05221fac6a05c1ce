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

With --flicker it measures how steady frames are instead, see `srwgan/measuring/flicker.py`: of originals that are moved
as a camera would move them, and tOF and tLP of --clips. With --steady every model is measured a second time, its frames
made as `testGenerator.py --steady` makes them.
"""

import argparse
import csv
import dataclasses
import math

import numpy as np

from srwgan.commandline import OneLineParser, one_line_errors, quiet_start, real, run_command, whole
from srwgan.measuring import metrics
from srwgan.measuring.pairs import FIXED_DEGRADATIONS, find_pairs, labels
from srwgan.media.still.images import Picture, write_image
from srwgan.networks.model_folder import faithful_end
from srwgan.networks.sampling import LARGEST_SEED, MOST_STEPS, SAMPLERS, sampling_of
from srwgan.pixels import import_opencv
from srwgan.whole_files import check_output, write_json, written_whole
from utils.comparison import comparison

SHOWN = 6  # crops in a picture
WARNINGS = (  # (figure, the limit above which a line below the table names it, what it then means)
    ("grid_db", 6.0, "a regular grid (more than 6 dB)"),
    ("colour_shift", 0.5, "a colour cast (more than 0.5 of 255)"),
)
COLUMNS = {  # figure -> (heading, format)
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
    options = parse_arguments(parser := build_parser(), arguments)
    with one_line_errors(parser):
        for path in filter(None, (options.json, options.csv, options.picture, options.column)):
            check_output(path)
        names = [f"{label} ({options.wear})" if options.wear else label for label in labels(options.data)]
        folders = dict(zip(names, map(find_pairs, options.data), strict=True))
        shown = ShownCrops(folders, options) if options.picture else None
        with quiet_start():
            from srwgan.measuring.evaluation import evaluate

        if options.steady:
            import_opencv("--steady needs")
        methods = load_methods(options)
        if options.flicker:
            measure_steadiness(options, methods)
            return 0
        results = evaluate(methods, folders, degradation=options.wear, on_picture=shown and shown.add)
        print(table(results))
        write_outputs(options, results, methods=methods, shown=shown)
    return 0


def build_parser():
    parser = OneLineParser(
        prog="python3 -m utils.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    many = {"nargs": "+", "action": "extend", "metavar": "DIR"}
    parser.add_argument("--model", **many, default=[], help="exported generators; none measures bicubic alone")
    parser.add_argument("--data", **many, default=[], help="folders of pairs or of originals")
    parser.add_argument(
        "--fidelity",
        type=real(0, 1),
        nargs="+",
        metavar="T",
        help="measure each model at these mixes of its weights: 0 is DIR itself, 1 is DIR/faithful",
    )
    parser.add_argument(
        "--steps",
        type=whole(1, MOST_STEPS),
        nargs="+",
        metavar="N",
        help="measure each diffusion model at these numbers of steps (as many as it was made for)",
    )
    parser.add_argument("--seed", type=whole(0, LARGEST_SEED), metavar="N", help="of diffusion models' noise (0)")
    parser.add_argument("--sampler", choices=list(SAMPLERS), help="of diffusion models (deterministic)")
    meanings = "; ".join(f"{name}: {meaning}" for name, meaning in FIXED_DEGRADATIONS.items())
    parser.add_argument(
        "--wear", choices=list(FIXED_DEGRADATIONS), help=f"damage the low resolution first ({meanings})"
    )
    parser.add_argument(
        "--flicker",
        action="store_true",
        help="measure how steady frames are instead: originals of --data, moved as by a camera, and --clips",
    )
    parser.add_argument("--steady", action="store_true", help="with --flicker: measure each model made steady too")
    parser.add_argument("--clips", **{**many, "metavar": "FILE"}, default=[], help="GIFs and videos, for tOF and tLP")
    parser.add_argument("--column", metavar="FILE", help="with --flicker: draw one column of pixels over time")
    parser.add_argument("--precision", default="float32", metavar="NAME", help="auto, bfloat16, float16 (float32)")
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
    return parser


def parse_arguments(parser, arguments=None):
    options = parser.parse_args(arguments)
    if not (options.data or options.clips):
        parser.error("Received: neither --data nor --clips. Expected folders of pictures, or with --flicker clips.")
    if (options.clips or options.column or options.steady) and not options.flicker:
        parser.error("Received: --clips, --column or --steady without --flicker. Expected --flicker with them.")
    return options


def measure_steadiness(options, methods):
    """Print and write the report of --flicker."""
    from utils.flicker import flicker_report

    if options.steady:
        methods = [*methods, *map(made_steady, methods[1:])]  # the first is bicubic
    text, content, picture = flicker_report(methods, options)
    print(text)
    if options.json:
        write_json(options.json, finite(content))
    if picture:
        write_image(Picture(np.asarray(picture)), options.column)


def made_steady(method):
    """A `Method` whose frames are made steady."""
    from srwgan.measuring.flicker import OfClips
    from srwgan.upscaling.steady import Steadier

    def start():
        steadier = Steadier(method.scale)
        return lambda low_res: steadier(low_res, method.upscale(low_res))

    return dataclasses.replace(method, name=f"{method.name}, steady", upscale=OfClips(start))


def load_methods(options):
    """Bicubic interpolation, then every model at every fidelity.

    Raises:
        ValueError: models of different scales, or one that cannot be read.
        FileNotFoundError: no model, or no faithful end where one is asked for.
    """
    from srwgan.measuring.evaluation import Method, bicubic_method
    from srwgan.upscaling.upscaler import Upscaler

    models = []
    for name, folder in zip(labels(options.model), options.model, strict=True):
        for suffix, generator, sampling in load_ends(folder, options):
            upscaler = Upscaler(generator, precision=options.precision, sampling=sampling)
            models.append(
                Method(
                    name + suffix,
                    generator.scale,
                    upscaler.image,
                    parameters=generator.count_params() if hasattr(generator, "count_params") else None,
                    precision=upscaler.precision,
                )
            )
    scales = sorted({model.scale for model in models}) or [4]
    if len(scales) > 1:
        raise ValueError(f"Received: models of scales {', '.join(map(str, scales))}. Expected one scale.")
    return [bicubic_method(scales[0]), *models]


def load_ends(folder, options):
    """Yield (what is added to the model's name, generator, `Sampling`): at every fidelity and number of steps."""
    from srwgan.networks.diffusion import DiffusionGenerator

    for suffix, generator in load_fidelities(folder, options.fidelity):
        if not isinstance(generator, DiffusionGenerator):
            yield suffix, generator, None
            continue
        for steps in options.steps or [None]:
            at = f" in {steps} step{'s' * (steps > 1)}" if steps else ""
            yield suffix + at, generator, sampling_of(steps=steps, seed=options.seed, sampler=options.sampler)


def load_fidelities(folder, fidelities):
    """Yield (what is added to the model's name, generator)."""
    from srwgan.networks.mixing import interpolate
    from srwgan.networks.saving import load_generator

    generator = load_generator(folder)
    if fidelities is None:
        yield "", generator
        return
    faithful = load_generator(faithful_end(folder)) if any(fidelities) else generator
    for fidelity in fidelities:
        yield f" at {fidelity:g}", interpolate(generator, faithful, fidelity)


def table(results):
    """The results as text, and below them a line for each thing that should not be there."""
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


class ShownCrops:
    """Gathers the crops for --picture while the pictures are measured, since whole outputs are not kept.

    Attributes:
        rows: for each crop its cells, see `comparison`.
    """

    def __init__(self, folders, options):
        self.corners, self.side, self.rows = choose_shown(folders, options), options.crop_size, []

    def add(self, measured):
        captions = [*map(caption, measured.figures), measured.name]
        for corner in self.corners.get((measured.data, measured.name), []):
            self.rows.append(crop_all([*measured.outputs, measured.original], captions, corner=corner, side=self.side))


def caption(figures):
    return f"{figures['psnr_y']:.2f} dB   LPIPS {figures['lpips']:.3f}"


def choose_shown(folders, options):
    """{(data, name): [corner, ...]} of the crops to show.

    A corner is (x, y), or None for the place where bicubic interpolation is worst.
    """
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


def crop_all(pictures, captions, *, corner, side):
    """The same crop of every picture (H, W, 3), moved inside it; the first is bicubic's, the last the original."""
    height, width = pictures[-1].shape[:2]
    side = min(side, height, width)
    x, y = corner or worst_corner(pictures[0], pictures[-1], side)
    x, y = min(x, width - side), min(y, height - side)
    return [(pixels[y : y + side, x : x + side], text) for pixels, text in zip(pictures, captions, strict=True)]


def worst_corner(picture, original, side):
    """(x, y) of the square whose mean square error is largest."""
    error = np.square(metrics.luma(picture) - metrics.luma(original))
    means = metrics.window_mean(error, np.full(side, 1 / side))
    y, x = np.unravel_index(np.argmax(means), means.shape)
    return x, y


def write_outputs(options, results, *, methods, shown):
    if options.json:
        write_json(options.json, finite({"scale": methods[0].scale, "results": results}))
    if options.csv:
        with written_whole(options.csv) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, ["data", "model", *COLUMNS], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(finite(results))
    if options.picture:
        headings = [*(method.name for method in methods), "original"]
        write_image(Picture(np.asarray(comparison(headings, shown.rows))), options.picture)


def finite(report):
    """The report with None in place of NaN and infinity, which JSON does not have."""
    if isinstance(report, dict):
        return {name: finite(value) for name, value in report.items()}
    if isinstance(report, list):
        return [finite(value) for value in report]
    if isinstance(report, float):
        return float(report) if math.isfinite(report) else None
    return report


if __name__ == "__main__":
    run_command(main)
