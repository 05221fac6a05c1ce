"""What the finished runs' generators are measured by: benchmark pictures, as they are and degraded, and time."""

import math
from pathlib import Path
from statistics import median

import numpy as np
from tqdm import tqdm

from srwgan.commandline import one_line, quiet_start
from srwgan.measuring.pairs import (
    FIXED_DEGRADATIONS,
    GIF_COLORS,
    JPEG_AMOUNT,
    Pair,
    degraded,
    find_pairs,
    labels,
    read_pair,
)
from srwgan.training.flags import build_parser
from srwgan.whole_files import read_json, write_json
from utils.benchmark.turns import in_turns, median_ratio

SCALE = 4
METRICS = {  # figure -> (heading, format, whether more is better)
    "psnr_y": ("PSNR-Y", ".2f", True),
    "ssim": ("SSIM", ".4f", True),
    "lpips": ("LPIPS", ".4f", False),
}
INPUTS = {  # the low resolutions that runs are measured on: kind -> meaning
    "clean": "as it is",
    **{kind: FIXED_DEGRADATIONS[kind] for kind in ("gif", "jpeg")},
}
STRENGTHS = {  # of each kind of input, as a generator with that condition is told it, see data/degradations.py
    "clean": 0.0,
    "gif": 1 - math.log2(GIF_COLORS / 2) / 7,
    "jpeg": JPEG_AMOUNT,
}


def evaluate_all(runs, options) -> list[tuple[str, str]]:
    """Measure the finished runs' generators that are not measured yet.

    Every picture's figures go to evaluation.json of the run's folder, those of bicubic upscaling to bicubic.json.

    Returns:
        [(name, reason)] of the runs that failed.
    """
    bench = [str(Path(folder).absolute()) for folder in options.bench]
    pending = [run for run in runs if (read_json(run.folder / "evaluation.json") or {}).get("bench") != bench]
    if not pending:
        return []
    with quiet_start():
        from srwgan.measuring.evaluation import bicubic_method, evaluate

    methods, failed = {}, []
    for run in pending:
        try:
            methods[run.name] = load_methods(run)
        except Exception as error:  # of one model; the others are measured
            failed.append((run.name, one_line(error)))
    figures = {name: [] for name in ["bicubic", *methods]}
    for kind in INPUTS:
        folders = {
            data: written_pairs(folder, kind, Path(options.out) / "bench" / kind / data)
            for data, folder in zip(labels(bench), bench, strict=True)
        }
        chosen = [of_run[kind] for of_run in methods.values() if kind in of_run]
        for result in evaluate([bicubic_method(SCALE), *chosen], folders):
            for picture in result.get("pictures", []):
                measured = {name: picture[name] for name in ("name", *METRICS)}
                figures[result["model"]].append({"condition": kind, "data": result["data"], **measured})
    write_json(Path(options.out) / "bicubic.json", {"bench": bench, "pictures": figures.pop("bicubic")})
    for run in pending:
        if run.name in methods:
            facts = {"bench": bench, "parameters": methods[run.name]["clean"].parameters}
            write_json(run.folder / "evaluation.json", {**facts, "pictures": figures[run.name]})
    return failed


def load_methods(run):
    """{kind of input: `Method`}. Degraded inputs are for the base and for what was trained on degraded pictures."""
    from srwgan.measuring.evaluation import Method
    from srwgan.networks.saving import load_generator
    from srwgan.upscaling.upscaler import Upscaler

    generator = load_generator(run.model)
    conditional = getattr(generator, "condition", "none") == "noise"
    methods = {}
    for kind in INPUTS if run.variant is None or "--degradation" in run.flags else ["clean"]:
        upscaler = Upscaler(generator, precision="float32", strength=STRENGTHS[kind] if conditional else None)
        upscaler.image(np.zeros((16, 16, 3), np.uint8))  # a generator that cannot run fails here, by itself
        methods[kind] = Method(
            run.name, SCALE, upscaler.image, parameters=generator.count_params(), precision="float32"
        )
    return methods


def written_pairs(bench, kind, folder) -> list[Pair]:
    """The pairs of a bench; of a degraded kind, they are written to `folder`."""
    from srwgan.media.still.images import Picture, write_image

    pairs = find_pairs(bench)
    if kind == "clean":
        return pairs
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, *paths in pairs:
        low_res, high_res = read_pair(*paths, scale=SCALE)
        low_path, high_path = folder / f"{name}_LR.png", folder / f"{name}_HR.png"
        write_image(Picture(degraded(low_res, kind)), low_path)
        write_image(Picture(high_res), high_path)  # cropped, where it is downscaled here
        written.append(Pair(name, low_path, high_path))
    return written


def time_all(runs, steps: int) -> list[tuple[str, str]]:
    """Time an adversarial step of each variant in turn with the base's, nothing else of this project running.

    Each run's timing.json gets the base's seconds and the median ratio to them.

    Returns:
        [(name, reason)] of the variants that failed.
    """
    bases, failed = [run for run in runs if not run.variant], []
    pending = [run for run in runs if bases and run.variant and not (run.folder / "timing.json").exists()]
    base_step = stepper(bases[0].flags) if pending else None
    for run in tqdm(pending, desc="Timing", unit="run", disable=None):
        try:
            seconds = in_turns({"base": base_step, "variant": stepper(run.flags)}, steps)
        except Exception as error:  # of one variant; the others are timed
            failed.append((run.name, one_line(error)))
            continue
        ratio = median_ratio(seconds["variant"], seconds["base"])
        write_json(run.folder / "timing.json", {"base": median(seconds["base"]), "ratio": ratio})
    return failed


def stepper(flags):
    """A function that trains on one batch, the same at every call."""
    from srwgan.data.crops import CropStream
    from srwgan.training import setup

    args = build_parser().parse_args(flags)
    stream = CropStream(setup.load_photos(args)[0], setup.crop_options(args))
    trainer = setup.build_trainer(args, setup.build_networks(args), updates=stream.steps() * args.epochs)
    batch = next(iter(stream.epoch(0)))
    return lambda: float(trainer.train_batch(batch, "full")["g_loss_total"])
