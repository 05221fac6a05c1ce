"""A generator as a portable program of one size: `python3 -m utils.export_step --generator SRWGAN_Gen OUT.stablehlo`.

The file is a StableHLO portable artifact with the weights inside, which JAX, or whatever reads StableHLO, runs on any
accelerator. Its input is low_res (batch, height, width, 3) float32 RGB in [-1, 1], for a generator with a condition
strength (batch,) float32 too; its output high_res (batch, scale height, scale width, 3) float32. Pictures are
mirrored at their edges as `testGenerator.py` does.

A training step is exported by `train_SRWGAN.py --export-step`.
"""

import argparse
from pathlib import Path

from srwgan.commandline import OneLineParser, one_line_errors, quiet_start, real, run_command, whole


def main(argv=None):
    args = (parser := build_parser()).parse_args(argv)
    with one_line_errors(parser):
        with quiet_start():
            from srwgan.networks.generator import Generator, with_precision
            from srwgan.networks.mixing import load_at_fidelity
            from srwgan.networks.precision import choose_policy
            from srwgan.training.portable.program import generator_program
            from srwgan.training.portable.stablehlo import check_tools
            from srwgan.whole_files import written_whole

        check_tools()
        generator = load_at_fidelity(args.generator, args.fidelity)
        if not isinstance(generator, Generator):
            raise ValueError(f"Received: --generator {args.generator}, without generator.keras. Expected one with it.")
        width, height = args.size
        policy = choose_policy(args.precision)
        program = generator_program(with_precision(generator, policy), batch=args.batch, height=height, width=width)
        with written_whole(args.out) as temporary:
            temporary.write_bytes(program.artifact)
    (high_res,) = program.outputs
    inputs = ", ".join(f"{value.name} {value.shape}" for value in program.inputs)
    print(f"{args.out}: {inputs} to {high_res.name} {high_res.shape}, {policy}, {len(program.artifact) / 1e6:.1f} MB")
    return 0


def build_parser():
    parser = OneLineParser(description=__doc__.partition("\n")[0], prog="python3 -m utils.export_step")
    add = parser.add_argument
    add("out", type=Path, metavar="OUT.stablehlo", help="file to write")
    add("--generator", type=Path, default=Path("SRWGAN_Gen"), metavar="FOLDER", help="(SRWGAN_Gen)")
    add("--fidelity", type=real(0, 1), default=0.0, help="0 sharp to 1 faithful, see testGenerator.py (0)")
    add("--size", type=size, default=(480, 270), metavar="WIDTHxHEIGHT", help="of the low resolution (480x270)")
    add("--batch", type=whole(1), default=1, help="pictures at a time (1)")
    add(
        "--precision",
        choices=["float32", "mixed_bfloat16", "mixed_float16"],
        default="mixed_bfloat16",
        help="of the convolutions (mixed_bfloat16)",
    )
    return parser


def size(text):
    """An argparse type: "480x270" -> (480, 270)."""
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"Received: {text}. Expected WIDTHxHEIGHT, such as 480x270.")
    return int(width), int(height)


if __name__ == "__main__":
    run_command(main)
