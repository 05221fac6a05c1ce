"""What lies beyond a picture's edges, and how much it matters: PSNR and LPIPS with edges mirrored, repeated, left at 0.

    python3 -m utils.studies.padding --model SRWGAN_Gen/faithful --data Set5 Set14

The upscaler mirrors a picture at its edges by a few pixels, beyond which the network sees its own zeros, and crops the
result. Here the mirror is as wide as the network's receptive field, the edges are repeated as wide, or there is no
margin at all. The network runs in float32, on whole pictures.
"""

import argparse

import numpy as np

from srwgan.commandline import OneLineParser, one_line_errors, quiet_start, run_command
from srwgan.measuring.pairs import find_pairs, read_pair
from srwgan.networks.edges import MARGIN

PADDINGS = {  # column -> numpy.pad's mode, and by how many low-resolution pixels; None: the receptive field
    "zeros": ("constant", 0),
    "repeated": ("edge", None),
    "mirrored": ("symmetric", None),
    f"mirrored by {MARGIN}": ("symmetric", MARGIN),
}


def main(argv=None):
    args = (parser := build_parser()).parse_args(argv)
    with one_line_errors(parser):
        folders = {folder: find_pairs(folder) for folder in args.data}
        with quiet_start():
            from srwgan.networks.saving import load_generator

        generator = load_generator(args.model)
        check_generator(generator, args.model)
        print(f"| PSNR / LPIPS | {' | '.join(PADDINGS)} |\n{'|---' * (1 + len(PADDINGS))}|")
        for folder, pairs in folders.items():
            cells = " | ".join(
                f"{decibels:.2f} / {distance:.4f}" for decibels, distance in mean_figures(generator, pairs)
            )
            print(f"| {folder} | {cells} |", flush=True)
    return 0


def build_parser():
    parser = OneLineParser(
        prog="python3 -m utils.studies.padding",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="SRWGAN_Gen/faithful", metavar="DIR", help="(SRWGAN_Gen/faithful)")
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="DIR", help="folders of NAME_LR and NAME_HR, or of originals"
    )
    return parser


def check_generator(generator, path):
    """Raises ValueError for a model whose edges cannot be padded here."""
    if generator.receptive_field is None or getattr(generator, "condition", "none") != "none":
        raise ValueError(f"Received: --model {path}. Expected one of a known receptive field that takes images alone.")


def mean_figures(generator, pairs):
    """The means of PSNR-Y in dB and of LPIPS over all pictures, (paddings, 2), for each of `PADDINGS`."""
    from srwgan.measuring.lpips import LPIPS
    from srwgan.measuring.metrics import psnr
    from srwgan.pixels import to_range

    table, distance = [], LPIPS()
    for _, *paths in pairs:
        low_res, original = read_pair(*paths, scale=generator.scale)
        results = [upscale(generator, low_res, *padding) for padding in PADDINGS.values()]
        distances = [float(distance(to_range(each[None]), to_range(original[None]))[0]) for each in results]
        decibels = [psnr(each, original, shave=generator.scale) for each in results]
        table.append(list(zip(decibels, distances, strict=True)))
    return np.mean(table, axis=0)


def upscale(generator, low_res, mode, margin):
    """(H, W, 3) uint8 -> (scale H, scale W, 3), with a margin by a mode of `numpy.pad`; None is the receptive field."""
    from srwgan.pixels import to_pixels, to_range

    margin = generator.receptive_field if margin is None else margin
    padded = np.pad(low_res, [(margin, margin), (margin, margin), (0, 0)], mode)
    result = to_pixels(generator(to_range(padded[None]), training=False))[0]
    crop, (height, width) = margin * generator.scale, result.shape[:2]
    return result[crop : height - crop, crop : width - crop]


if __name__ == "__main__":
    run_command(main)
