"""Measure this machine with this project: `python3 -m utils.benchmark`.

  compute    GFLOP/s of a 2048 matrix product, and of the generator for 720p, 1080p and 4K results: its convolutions'
             multiply-adds (counted from their shapes, halos and everything else left out) by the time all of it takes;
             beside OpenVINO on the same SavedModel where that is installed
  animation  frames a second of GIFs and videos, file to file, beside the model alone, with and without reuse, gifsicle
  realtime   frames a second of a video and a GIF of 320x180, which become 1280x720, by the generator and its fast one
  memory     peak resident memory, child processes included, for a short and a long GIF
  startup    seconds until a command line is there, and from the command to the written file for pictures of three sizes
             and the sample GIF, by each engine (and OpenVINO, where that is installed), warm and cold

with --train:
  steps      seconds and GFLOP/s of generator, discriminator, penalty, content loss, a whole step (4 crops of 256)
  data       images a second on photographs against one batch again and again, and the time spent waiting for data
  workers    one process against two with half the batch each
  portable   a whole step in TensorFlow against the same one exported and run by JAX (train_SRWGAN.py --export-step)

What is compared was measured in turns, in one run; the figures are medians. Nothing else should be running.
"""

import argparse
import os
import platform

from srwgan.commandline import OneLineParser, one_line_errors, quiet_start
from srwgan.whole_files import check_output, write_json
from utils.benchmark.animation import measure_animation
from utils.benchmark.compute import measure_compute
from utils.benchmark.memory import measure_memory
from utils.benchmark.portable import measure_portable
from utils.benchmark.realtime import measure_realtime
from utils.benchmark.startup import measure_startup
from utils.benchmark.subjects import model_of
from utils.benchmark.training import measure_data, measure_steps, measure_workers

SECTIONS = {  # name -> a function of the options that gives a `results.Section`
    "compute": measure_compute,
    "animation": measure_animation,
    "realtime": measure_realtime,
    "memory": measure_memory,
    "startup": measure_startup,
}
TRAINING = {"steps": measure_steps, "data": measure_data, "workers": measure_workers, "portable": measure_portable}


def main(arguments=None):
    parser = build_parser()
    options = parse_arguments(parser, arguments)
    with one_line_errors(parser):
        if options.json:
            check_output(options.json)
        model = None if options.train else model_of(options)
        figures, targets = {"machine": machine()}, []
        print(", ".join(f"{name} {value}" for name, value in figures["machine"].items()))
        if not options.train:
            print(f"model {model or 'none is there: an untrained one of the usual size'}")
        for name in options.sections:
            print(f"\n{name}")
            section = {**SECTIONS, **TRAINING}[name](options)
            figures[name] = section.figures
            print("\n".join(f"  {line}" for line in section.lines), flush=True)
            targets += section.targets
        figures["targets"] = [
            {"name": target.name, "value": float(target.value), "bound": target.bound, "verdict": target.verdict}
            for target in targets
        ]
        if options.json:
            write_json(options.json, figures)
    if targets:
        print("\ntargets")
    for target in targets:
        print(f"  {target.verdict:8} {target.name}: {target.value:.2f} (target {target.bound})")
    return 0


def build_parser():
    parser = OneLineParser(
        prog="python3 -m utils.benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; by default all")
    parser.add_argument("--train", action="store_true", help=f"measure the training: {', '.join(TRAINING)}")
    parser.add_argument(
        "--model", metavar="DIR", help="exported generator (SRWGAN_Gen; where that is not there, an untrained one)"
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes, shorter clips, fewer repeats")
    parser.add_argument("--json", metavar="FILE", help="also write all figures there")
    return parser


def parse_arguments(parser, arguments=None):
    options = parser.parse_args(arguments)
    known = TRAINING if options.train else SECTIONS
    for name in options.sections:
        if name not in known:
            parser.error(f"Received: {name}. Expected of {', '.join(known)}.")
    options.sections = options.sections or list(known)
    return options


def machine():
    """What the figures depend on: processors, precision, versions."""
    with quiet_start():
        import tensorflow as tf

        from srwgan.networks.precision import has_fast_bfloat16

    return {
        "CPUs": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "GPUs": len(tf.config.list_physical_devices("GPU")),
        "bfloat16": has_fast_bfloat16(),
        "Python": platform.python_version(),
        "TensorFlow": tf.__version__,
    }
