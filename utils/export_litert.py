"""Write a generator's LiteRT file, which phones and small computers run: `python3 -m utils.export_litert SRWGAN_Gen`.

It goes into the generator's folder as generator.tflite, and into its faithful/, robust/ and fast/ where they are there.
Those inside that LiteRT has no file for, such as diffusion/, are left out, and a line says so.
"""

import sys
from pathlib import Path

from srwgan.commandline import OneLineParser, quiet_start, run_command
from srwgan.networks.model_folder import GENERATOR_FILE, LITERT_FILE, NAMED


def main(argv=None):
    args = build_parser().parse_args(argv)
    try:
        with quiet_start():
            from srwgan.networks.saving import load_generator
            from srwgan.upscaling.litert import add_litert, export_litert
        for folder in args.folders:
            if not folder.is_dir():
                raise FileNotFoundError(f"Received: {folder}. Expected a folder with {GENERATOR_FILE}.")
            export_litert(load_generator(folder), folder / LITERT_FILE)
            print(f"Written: {folder / LITERT_FILE}")
            for place in (folder / name for name in NAMED):
                if (place / GENERATOR_FILE).is_file():
                    written = add_litert(load_generator(place), place)
                    print(f"Written: {place / LITERT_FILE}" if written else f"Left out, since LiteRT has none: {place}")
    except (ValueError, OSError) as error:
        print(f"python3 -m utils.export_litert: {error}", file=sys.stderr)
        return 2
    return 0


def build_parser():
    parser = OneLineParser(prog="python3 -m utils.export_litert", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="exported generators")
    return parser


if __name__ == "__main__":
    run_command(main)
