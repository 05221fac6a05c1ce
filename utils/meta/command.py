"""A policy that steers the training of the GAN: train it, and compare it with what an engineer would try.

    python3 -m utils.meta train --datapath photos --out meta
    python3 -m utils.meta evaluate --out meta
    python3 train_SRWGAN.py --controller meta/policy.npz ...

The first trains a policy over many short runs of small networks, and leaves policy.npz. The second searches for
constants and schedules with as many gradient steps, plays all of them on photographs and from starts that none has
seen, and leaves evaluation.md, .json and figures. Both go on where they were interrupted.
"""

import argparse
import sys
from pathlib import Path

from srwgan.commandline import OneLineParser, goes_on, quiet_start, whole
from srwgan.data.photos import DEFAULT_CACHE
from srwgan.data.splits import BUNDLED_PHOTOS
from srwgan.whole_files import read_json


def main(arguments=None) -> int:
    options = parse_arguments(arguments)
    return goes_on("utils.meta", lambda: run(options))


def run(options: argparse.Namespace) -> int:
    try:
        with quiet_start():
            import gymnasium  # noqa: F401 (that it is there)

            from utils.meta import commands
    except ModuleNotFoundError as error:
        if error.name != "gymnasium":
            raise
        print("utils.meta: gymnasium is missing. Expected: pip install -r requirements-meta.txt", file=sys.stderr)
        return 2
    return {"train": commands.train, "evaluate": commands.evaluate}[options.command](options)


def parse_arguments(arguments=None) -> argparse.Namespace:
    parser = OneLineParser(
        prog="python3 -m utils.meta", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands, count = parser.add_subparsers(dest="command", required=True, parser_class=OneLineParser), whole(1)
    train = commands.add_parser("train", help="train a policy").add_argument
    evaluate = commands.add_parser("evaluate", help="compare a trained policy").add_argument
    for add in train, evaluate:
        add("--out", default="meta", metavar="DIR", help="folder of the policy and of all results (meta)")
        add("--cache", default=DEFAULT_CACHE, metavar="DIR", help="of decoded photographs (~/.cache/srwgan)")
    train("--datapath", default=BUNDLED_PHOTOS, help="photographs, divided into three sets (the bundled ones)")
    train("--photos", type=count, default=600, help="photographs taken at most (600)")
    train("--episodes", type=count, default=240, help="in all (240)")
    train("--per-update", type=count, default=8, help="episodes between two updates of the policy (8)")
    train("--decisions", type=count, default=8, help="in an episode (8)")
    train("--interval", type=count, default=6, help="batches between two decisions (6)")
    train("--measured", type=count, default=16, help="crops that reward and final test are each measured on (16)")
    train("--warmup", type=count, default=300, help="batches on the reconstruction loss before all episodes (300)")
    train("--base", default="", metavar="FLAGS", help="further flags of train_SRWGAN.py for the episodes")
    train("--seed", type=whole(0), default=0, help="of the policy and of what it tries (0)")
    evaluate("--seeds", type=count, default=3, help="starts of the final test (3)")
    evaluate("--budget", type=count, metavar="EPISODES", help="of each search (default: as many as the policy had)")
    options = parser.parse_args(arguments)
    if options.command == "evaluate" and read_json(Path(options.out) / "options.json") is None:
        parser.error(f"Received: --out {options.out}, without a trained policy. Expected a folder of utils.meta train.")
    return options
