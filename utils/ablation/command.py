"""What each option changes: a base with several seeds and one run for each option, trained and measured alike.

    python3 -m utils.ablation --datapath photos --bench Set5 Set14 --pretrained-weights vgg16.h5 --out ablation

All runs take the same photographs and the same number of steps. Variants take the first base's seed, and so its crops.
--out gets a folder for each run and ablation.md, .csv, .json, .png. Started again, the command passes over what is
finished and goes on with what is not.
"""

import argparse
import sys
from pathlib import Path

from srwgan.commandline import OneLineParser, goes_on, whole
from srwgan.data.splits import BUNDLED_PHOTOS
from utils.ablation.measuring import evaluate_all, time_all
from utils.ablation.report import STUDENT, report
from utils.ablation.runs import plan, train_all
from utils.ablation.variants import VARIANTS, base_text

IMAGES = Path(__file__).resolve().parents[2] / "Images"


def main(arguments=None) -> int:
    options = parse_arguments(arguments)
    if options.list:
        print("\n".join(f"{name:24} {flags}" for name, flags in {"base": base_text(options), **VARIANTS}.items()))
        return 0
    return goes_on("utils.ablation", lambda: compare(options))


def compare(options) -> int:
    """Trains, measures and reports what is not done yet; returns the exit status."""
    runs = plan(options)
    failed = train_all([run for run in runs if not run.finished], options.jobs)
    done = [run for run in runs if run.finished]
    failed += evaluate_all(done, options)
    if options.timing:
        failed += time_all(done, options.timing)
    if sum(not run.variant for run in done) > 1:
        report(runs, options)
    else:
        failed.append(("the table", "fewer than two runs of the base are finished, which have no spread"))
    for name, reason in failed:
        print(f"utils.ablation: {name} failed: {reason}", file=sys.stderr)
    return 1 if failed else 0


def parse_arguments(arguments=None):
    parser = OneLineParser(
        prog="python3 -m utils.ablation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, count = parser.add_argument, whole(1)
    add("--datapath", default=BUNDLED_PHOTOS, help="photographs to train on (the bundled ones)")
    add(
        "--bench",
        nargs="+",
        default=[str(IMAGES / "originals")],
        metavar="DIR",
        help="pairs NAME_LR, NAME_HR or originals to measure on (Images/originals)",
    )
    add("--out", default="ablation", metavar="DIR", help="folder of all runs and results (ablation)")
    add("--filters", type=count, default=32, help="(32)")
    add("--blocks", type=count, default=4, help="(4)")
    add("--steps", type=count, default=1500, help="batches of each run, about: it takes whole epochs (1500)")
    add("--cropsz", type=count, default=96, help="(96)")
    add("--batchsz", type=count, default=8, help="(8)")
    add("--seeds", type=int, choices=list(STUDENT), default=3, help="runs of the base (3)")
    add(
        "--pretrained-weights",
        metavar="FILE",
        help="VGG16's weights without top layers; without them there is no content loss",
    )
    add("--base", default="", metavar="FLAGS", help="further flags of train_SRWGAN.py for all runs, absolute paths")
    add("--only", nargs="+", metavar="NAME", help="these variants beside the base")
    add("--list", action="store_true", help="print the variants and their flags")
    add("--jobs", type=count, default=1, help="runs at once, which share the processor's cores (1)")
    add(
        "--timing",
        type=whole(0),
        default=5,
        metavar="STEPS",
        help="steps of each variant that are timed in turn with the base's, after the training; 0: none (5)",
    )
    add("--document", metavar="FILE", help="Markdown whose marked part becomes the tables; the figure goes beside it")
    return parser.parse_args(arguments)
