"""Measure this machine with this project: `python3 -m utils.benchmark`.

  compute    GFLOP/s of a 2048 matrix product, and of the generator for 720p, 1080p and 4K results: its convolutions'
             multiply-adds (counted from their shapes, halos and everything else left out) by the time all of it takes
  animation  frames a second of GIFs and videos, file to file, beside the model alone, with and without reuse, gifsicle
  memory     peak resident memory, child processes included, for a short and a long GIF
  startup    seconds until a command line is there, and until a first small picture is done

with --train:
  steps      seconds and GFLOP/s of generator, discriminator, penalty, content loss, a whole step (4 crops of 256)
  data       images a second on photographs against one batch again and again, and the time spent waiting for data
  workers    one process against two with half the batch each

What is compared was measured in turns, in one run; the figures are medians. Nothing else should be running.
"""

import argparse
import os
import platform
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from srwgan.whole_files import write_json
from utils.benchmark.training import measure_data, measure_steps, measure_workers
from utils.benchmark.upscaling import measure_animation, measure_compute, measure_memory, measure_startup

SECTIONS = {  # name -> function (options) -> (figures for JSON, lines to print, [(target's name, value, least, most)])
    "compute": measure_compute,
    "animation": measure_animation,
    "memory": measure_memory,
    "startup": measure_startup,
}
TRAINING = {"steps": measure_steps, "data": measure_data, "workers": measure_workers}


def main(arguments=None):
    options = parse_arguments(arguments)
    figures, targets = {"machine": machine()}, []
    print(", ".join(f"{name} {value}" for name, value in figures["machine"].items()))
    try:
        for name in options.sections:
            print(f"\n{name}")
            figures[name], lines, reached = {**SECTIONS, **TRAINING}[name](options)
            print("\n".join(f"  {line}" for line in lines), flush=True)
            targets += reached
        figures["targets"] = [target_figures(*target) for target in targets]
        if options.json:
            write_json(options.json, figures)
    except (ValueError, OSError, ImportError) as error:
        print(f"utils.benchmark: {error}", file=sys.stderr)
        return 2
    if targets:
        print("\ntargets")
    for target in figures["targets"]:
        print("  {verdict:8} {name}: {value:.2f} (target {bound})".format(**target))
    return 0


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog="python3 -m utils.benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; by default all")
    parser.add_argument("--train", action="store_true", help=f"measure the training: {', '.join(TRAINING)}")
    parser.add_argument("--model", default="SRWGAN_Gen", help="exported generator; without one, an untrained one runs")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, shorter clips, fewer repeats")
    parser.add_argument("--json", metavar="FILE", help="also write all figures there")
    options = parser.parse_args(arguments)
    known = TRAINING if options.train else SECTIONS
    for name in options.sections:
        if name not in known:
            parser.error(f"Received: {name}. Expected of {', '.join(known)}.")
    options.sections = options.sections or list(known)
    return options


def machine():
    import tensorflow as tf

    from srwgan.networks.precision import has_fast_bfloat16

    return {
        "CPUs": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "GPUs": len(tf.config.list_physical_devices("GPU")),
        "bfloat16": has_fast_bfloat16(),
        "Python": platform.python_version(),
        "TensorFlow": tf.__version__,
    }


def target_figures(name, value, least, most):
    reached = value >= least if most is None else value <= most
    bound = f"at least {least:g}" if most is None else f"at most {most:g}"
    return {"name": name, "value": float(value), "bound": bound, "verdict": "reached" if reached else "missed"}
