"""Whether a generator's results lack grain: LPIPS after white noise was laid over them.

    python3 -m utils.studies.grain --model SRWGAN_Gen --data Set5 Set14

The noise is gray, Gaussian and the same for every picture of a size. Where some of it brings LPIPS down, the originals
have grain that the generator does not make.
"""

import argparse

import numpy as np

from srwgan.commandline import OneLineParser, one_line_errors, quiet_start, run_command
from srwgan.measuring.pairs import find_pairs, read_pair
from srwgan.pixels import to_levels, to_range

DEVIATIONS = (0, 1, 2, 3)  # of the noise, in 1/255


def main(argv=None):
    args = (parser := build_parser()).parse_args(argv)
    with one_line_errors(parser):
        folders = {folder: find_pairs(folder) for folder in args.data}
        with quiet_start():
            from srwgan.networks.saving import load_generator
            from srwgan.upscaling.upscaler import Upscaler

        upscaler = Upscaler(load_generator(args.model), precision=args.precision)
        headings = [*map(str, DEVIATIONS), "the best for each picture alone"]
        print(f"| LPIPS | {' | '.join(headings)} |\n{'|---' * (1 + len(headings))}|")
        for folder, pairs in folders.items():
            table = np.array(distances(upscaler, pairs))
            cells = " | ".join(f"{value:.4f}" for value in [*table.mean(axis=0), table.min(axis=1).mean()])
            print(f"| {folder} | {cells} |", flush=True)
    return 0


def build_parser():
    parser = OneLineParser(
        prog="python3 -m utils.studies.grain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="SRWGAN_Gen", metavar="DIR", help="(SRWGAN_Gen)")
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="DIR", help="folders of NAME_LR and NAME_HR, or of originals"
    )
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="bfloat16", help="(bfloat16)")
    return parser


def distances(upscaler, pairs):
    """For each picture its LPIPS at each of `DEVIATIONS`."""
    from srwgan.measuring.lpips import LPIPS

    distance = LPIPS()
    table = []
    for _, *paths in pairs:
        low_res, original = read_pair(*paths, scale=upscaler.scale)
        grainy = with_grain(upscaler.image(low_res))
        table.append([float(distance(to_range(picture[None]), to_range(original[None]))[0]) for picture in grainy])
    return table


def with_grain(picture):
    """(H, W, 3) uint8 -> the picture with noise of each of `DEVIATIONS`."""
    random, shape = np.random.default_rng(0), (*picture.shape[:2], 1)
    return [
        to_levels(picture + deviation * random.normal(size=shape)) if deviation else picture for deviation in DEVIATIONS
    ]


if __name__ == "__main__":
    run_command(main)
