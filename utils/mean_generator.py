"""The mean of several generators' weights: `python3 -m utils.mean_generator OUT GENERATOR GENERATOR ...`.

The mean of runs that started from one another, an earlier and a later one for instance, is often better than each.
"""

from pathlib import Path

from srwgan.commandline import OneLineParser, one_line_errors, quiet_start, real, run_command


def main(argv=None):
    args = (parser := build_parser()).parse_args(argv)
    shares = args.shares or [1.0] * len(args.generators)
    with one_line_errors(parser):
        with quiet_start():
            from srwgan.networks.mixing import weighted_mean
            from srwgan.networks.saving import export_generator, load_generator

        mean = weighted_mean([load_generator(path) for path in args.generators], shares)
        training = {"mean of": args.generators, "shares": [share / sum(shares) for share in shares]}
        moved = export_generator(mean, args.out, training)
    print(f"{args.out}: the mean of {len(args.generators)} generators", f"(what was there: {moved})" if moved else "")
    return 0


def build_parser():
    parser = OneLineParser(description=__doc__.partition("\n")[0], prog="python3 -m utils.mean_generator")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the result")
    parser.add_argument("generators", nargs="+", metavar="GENERATOR", help="exported generators of one architecture")
    parser.add_argument("--shares", type=real(), nargs="+", metavar="SHARE", help="one for each (default: equal ones)")
    return parser


if __name__ == "__main__":
    run_command(main)
