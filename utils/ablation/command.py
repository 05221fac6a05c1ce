"""What each option changes: a base with several seeds and one run for each option, trained and measured alike.

    python3 -m utils.ablation --datapath photos --bench Set5 Set14 --pretrained-weights vgg16.h5 --out ablation

All runs take the same photographs and number of steps, and variants the first base's seed, and so its crops. --out
gets a folder for each run and ablation.md, .csv, .json, .png. Started again, it passes over what is finished and goes
on with what is not.
"""

import argparse
import csv
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev

import numpy as np
from tqdm import tqdm

from srwgan.commandline import quiet_start, whole
from srwgan.data.photos import find_photos
from srwgan.data.splits import BUNDLED_PHOTOS
from srwgan.measuring.pairs import FIXED_DEGRADATIONS, GIF_COLORS, JPEG_AMOUNT, degraded, find_pairs, read_pair
from srwgan.training.flags import build_parser
from srwgan.whole_files import read_json, write_json, write_text, written_whole
from utils.benchmark.upscaling import in_turns, median_ratio

ROOT = Path(__file__).resolve().parents[2]
EPOCHS, WARMUP_EPOCHS = 12, 10  # warm-up steps cost a fraction of adversarial ones
HELD_OUT = 8

# Gradients of an L1 loss at an image of 96x96 have a norm of 0.006, of the critic 1, of the content loss 0.5: these
# weights bring them to 1 : 0.25 : 5, what `weighting-gradient` asks for by its weights.
BASE = (
    "--reconstruction l1 --advweight 0.0015 --interpolation uniform --weighting fixed "
    "--glr 4e-4 --dlr 4e-4 --beta1 0.5 --beta2 0.9 --ema 0.99"
)
CONTENT = "--pretrained vgg16 --hyperpixel-layers 2,5,9 --content-norm unit"
CONTENT_WEIGHT = {"fixed": 0.06, "gradient": 1}

VARIANTS = {
    "degradation-gif": "--degradation gif",
    "degradation-real": "--degradation real",
    "condition-noise": "--degradation real --condition noise",
    "weighting-gradient": "--weighting gradient --rweight 0.2 --advweight 0.05",
    "weighting-self-adaptive": "--weighting self-adaptive",
    "ot-discriminator": "--otweight 0.1 --otspace discriminator",
    "ot-pixels": "--otweight 0.1 --otspace pixels",
    "upsampling-fourier": "--upsampling fourier",
    "upsampling-resize-conv": "--upsampling resize-conv",
    "attention-channel": "--attention channel",
    "attention-window": "--attention window",
    "shift-0": "--shift 0",
    "latweight": "--latweight 30",
}
METRICS = {"psnr_y": ("PSNR-Y", ".2f", True), "ssim": ("SSIM", ".4f", True), "lpips": ("LPIPS", ".4f", False)}
CONDITIONS = {"clean": "as it is", **FIXED_DEGRADATIONS}
STRENGTHS = {"clean": 0.0, "gif": 1 - math.log2(GIF_COLORS / 2) / 7, "jpeg": JPEG_AMOUNT}  # see data/degradations.py
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # seeds -> 97.5% quantile of Student's t, seeds - 1 degrees
BEGIN, END = "<!-- written by utils.ablation -->", "<!-- end -->"


def main(arguments=None):
    options = parse_arguments(arguments)
    if options.list:
        print("\n".join(f"{name:24} {flags}" for name, flags in {"base": base_text(options), **VARIANTS}.items()))
        return 0
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
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
    except (ValueError, OSError) as error:
        print(f"utils.ablation: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("utils.ablation: stopped. The same command goes on.", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, handler)
    for name, reason in failed:
        print(f"utils.ablation: {name} failed: {reason}", file=sys.stderr)
    return 1 if failed else 0


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python3 -m utils.ablation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, count = parser.add_argument, whole(1)
    add("--datapath", default=BUNDLED_PHOTOS, help="photographs to train on (the bundled ones)")
    add(
        "--bench",
        nargs="+",
        default=[str(ROOT / "Images" / "originals")],
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


@dataclass
class Run:
    """One training: its folder holds log.txt, run/ (see train_SRWGAN.py), model_Gen/ and what was measured."""

    name: str
    flags: list
    folder: Path
    variant: str | None = None

    @property
    def model(self):
        return self.folder / "model_Gen"

    @property
    def finished(self):
        return (self.model / "config.json").exists()

    @property
    def batches(self):
        return (read_json(self.folder / "run" / "history.json") or {}).get("batches", 0)

    def command(self):
        run = str(self.folder / "run")
        started = os.path.exists(os.path.join(run, "checkpoints", "checkpoint"))
        where = ["--resume" if started else "--run-dir", run]
        outputs = ["--savemodel", "True", "--chkpt_path", str(self.folder / "model")]
        return [sys.executable, str(ROOT / "train_SRWGAN.py"), *self.flags, *where, *outputs]


def plan(options):
    """The base's runs, then the variants'.

    Raises:
        ValueError, OSError: inputs that are not there, unknown variants, or a folder with runs of other flags.
    """
    for bench in options.bench:
        find_pairs(bench)
    if options.pretrained_weights and not os.path.isfile(options.pretrained_weights):
        raise ValueError(f"Received: --pretrained-weights {options.pretrained_weights}. Expected a file.")
    unknown = [name for name in options.only or [] if name not in VARIANTS]
    if unknown:
        raise ValueError(f"Received: --only {' '.join(unknown)}. Expected some of {', '.join(VARIANTS)}.")
    folder, flags = Path(options.out).absolute(), base_flags(options)
    runs = [
        Run(f"base-{seed}", [*flags, "--seed", str(seed)], folder / f"base-{seed}") for seed in range(options.seeds)
    ]
    for name in options.only or VARIANTS:
        runs.append(Run(name, [*runs[0].flags, *variant_flags(name, options)], folder / name, name))
    for run in runs:
        keep_flags(run)
    if options.document:
        split_document(options.document)
    return runs


def keep_flags(run):
    """Write the flags of a run, or make sure that those there are the same."""
    run.folder.mkdir(parents=True, exist_ok=True)
    path = run.folder / "flags.json"
    before = read_json(path)
    if before not in (None, run.flags):
        raise ValueError(
            f"Received: --out with {run.name} of other flags ({shlex.join(before)}). "
            f"Expected the same ({shlex.join(run.flags)}), or another folder."
        )
    write_json(path, run.flags)


def base_text(options):
    content = f"{CONTENT} --cweight {CONTENT_WEIGHT['fixed']}" if options.pretrained_weights else "--cweight 0"
    return f"{BASE} {content} {options.base}".strip()


def base_flags(options):
    number = len(find_photos(options.datapath))
    held_out = min(HELD_OUT, max(1, number // 10))
    trained = max(1, number - held_out)
    crops = max(1, round(options.steps * options.batchsz / EPOCHS / trained))
    flags = {
        "datapath": os.path.abspath(options.datapath),
        "trainnum": trained,
        "validnum": held_out,
        "crops-per-photo": crops,
        "epochs": EPOCHS,
        "warmup-epochs": WARMUP_EPOCHS,
        "filters": options.filters,
        "blocks": options.blocks,
        "dfilters": options.filters,
        "cropsz": options.cropsz,
        "batchsz": options.batchsz,
    }
    if options.pretrained_weights:
        flags["pretrained-weights"] = os.path.abspath(options.pretrained_weights)
    written = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    return [*written, *shlex.split(base_text(options))]


def variant_flags(name, options):
    flags = shlex.split(VARIANTS[name])
    if options.pretrained_weights and "gradient" in flags:
        flags += ["--cweight", str(CONTENT_WEIGHT["gradient"])]
    return flags


def train_all(runs, jobs):
    """Train in subprocesses, `jobs` at once; returns [(name, reason)] of those that failed.

    Raises KeyboardInterrupt on SIGINT and SIGTERM, after the runs wrote their checkpoints.
    """
    waiting, running, failed = list(runs), {}, []
    total = sum(planned_batches(run) for run in runs)
    with tqdm(total=total, desc="Training", unit="batch", disable=None, dynamic_ncols=True) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    run = waiting.pop(0)
                    running[run.name] = run, start(run, jobs)
                time.sleep(0.2)
                bar.set_postfix_str(", ".join(running), refresh=False)
                bar.update(min(total, sum(run.batches for run in runs)) - bar.n)
                for run, process in [pair for pair in running.values() if pair[1].poll() is not None]:
                    del running[run.name]
                    if process.returncode or not run.finished:
                        failed.append((run.name, last_line(run.folder / "log.txt")))
                        bar.write(f"{run.name} failed: {failed[-1][1]}", file=sys.stderr)
        except KeyboardInterrupt:
            for _, process in running.values():
                process.send_signal(signal.SIGINT)
            for _, process in running.values():
                process.wait()
            raise
    return failed


def planned_batches(run):
    args = build_parser().parse_known_args(run.flags)[0]
    return args.epochs * math.ceil(args.trainnum * args.crops_per_photo / args.batchsz)


def start(run, jobs):
    """The process, in its own session, so that Ctrl-C reaches it once, and in its folder, for what it writes there."""
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
    with open(run.folder / "log.txt", "a") as log:
        return subprocess.Popen(
            run.command(),
            cwd=run.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def last_line(path):
    lines = [line.strip() for line in re.split(r"[\r\n]", path.read_text(errors="replace")) if line.strip()]
    return f"{lines[-1] if lines else 'no message'} (log: {path})"


def evaluate_all(runs, options):
    """Measure the finished runs' generators that are not measured yet; returns [(name, reason)] of those that failed.

    Every picture's figures go to evaluation.json of the run's folder, those of bicubic upscaling to bicubic.json.
    """
    bench = [os.path.abspath(folder) for folder in options.bench]
    pending = [run for run in runs if (read_json(run.folder / "evaluation.json") or {}).get("bench") != bench]
    if not pending:
        return []
    with quiet_start():
        from srwgan.measuring import evaluation

    methods, failed = {}, []
    for run in pending:
        try:
            methods[run.name] = load_methods(run)
        except Exception as error:  # of one model; the others are measured
            failed.append((run.name, f"{type(error).__name__}: {error}"))
    figures = {name: [] for name in ["bicubic", *methods]}
    for condition in CONDITIONS:
        folders = {
            data: degraded_pairs(folder, condition, Path(options.out) / "bench" / condition / data)
            for data, folder in zip(evaluation.labels(bench), bench, strict=True)
        }
        chosen = [of_run[condition] for of_run in methods.values() if condition in of_run]
        for result in evaluation.evaluate([evaluation.bicubic_method(4), *chosen], folders):
            for picture in result.get("pictures", []):
                measured = {name: picture[name] for name in ("name", *METRICS)}
                figures[result["model"]].append({"condition": condition, "data": result["data"], **measured})
    write_json(Path(options.out) / "bicubic.json", {"bench": bench, "pictures": figures.pop("bicubic")})
    for run in pending:
        if run.name in methods:
            facts = {"bench": bench, "parameters": methods[run.name]["clean"].parameters}
            write_json(run.folder / "evaluation.json", {**facts, "pictures": figures[run.name]})
    return failed


def load_methods(run):
    """{condition: a `Method` of utils.evaluate}; degraded pictures are for the base and the degradations alone."""
    from srwgan.measuring.evaluation import Method
    from srwgan.networks.saving import load_generator
    from srwgan.upscaling.upscaler import Upscaler

    generator = load_generator(run.model)
    methods = {}
    for condition in CONDITIONS if run.variant is None or "--degradation" in run.flags else ["clean"]:
        conditional = getattr(generator, "condition", "none") == "noise"
        told = AtStrength(generator, STRENGTHS[condition]) if conditional else generator
        upscaler = Upscaler(told, precision="float32")
        upscaler.image(np.zeros((16, 16, 3), np.uint8))
        methods[condition] = Method(run.name, 4, upscaler.image, generator.count_params(), "float32")
    return methods


class AtStrength:
    """A conditional generator that is told one strength, as one of images alone."""

    def __init__(self, generator, strength):
        self.generator, self.strength, self.scale = generator, strength, generator.scale
        self.receptive_field, self.alignment = generator.receptive_field, generator.alignment

    def __call__(self, low_res):
        import tensorflow as tf

        return self.generator((low_res, tf.fill(tf.shape(low_res)[:1], self.strength)), training=False)


def degraded_pairs(bench, condition, folder):
    """The pairs of a bench, their low resolution degraded and written to `folder`."""
    from srwgan.media.still.images import Picture, write_image

    pairs = find_pairs(bench)
    if condition == "clean":
        return pairs
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, *paths in pairs:
        low_res, high_res = read_pair(*paths, 4)
        low_path, high_path = folder / f"{name}_LR.png", folder / f"{name}_HR.png"
        write_image(Picture(degraded(low_res, condition)), low_path)
        write_image(Picture(high_res), high_path)  # cropped, where it is downscaled here
        written.append((name, str(low_path), str(high_path)))
    return written


def time_all(runs, steps):
    """Seconds of an adversarial step in turn with the base's, nothing else of this project running.

    Each run's timing.json gets the base's seconds and the median ratio to them.
    """
    bases, failed = [run for run in runs if not run.variant], []
    pending = [run for run in runs if bases and run.variant and not (run.folder / "timing.json").exists()]
    base_step = stepper(bases[0].flags) if pending else None
    for run in tqdm(pending, desc="Timing", unit="run", disable=None):
        try:
            seconds = in_turns({"base": base_step, "variant": stepper(run.flags)}, steps)
        except Exception as error:  # of one variant; the others are timed
            failed.append((run.name, f"{type(error).__name__}: {error}"))
            continue
        ratio = median_ratio(seconds["variant"], seconds["base"])
        write_json(run.folder / "timing.json", {"base": median(seconds["base"]), "ratio": ratio})
    return failed


def stepper(flags):
    """A function that trains on one batch, the same at every call."""
    from srwgan.training import setup

    args = build_parser().parse_args(flags)
    stream = setup.build_stream(args, setup.load_photos(args)[0])
    trainer = setup.build_trainer(args, *setup.build_networks(args), stream)
    batch = next(iter(stream.epoch(0)))
    return lambda: float(trainer.train_batch(batch, "full")["g_loss_total"])


def report(runs, options):
    """Tables and figure of what is finished, at least two runs of the base."""
    measured = [(run, read_json(run.folder / "evaluation.json")) for run in runs]
    measured = [(run, evaluation) for run, evaluation in measured if evaluation]
    bases = [run for run, _ in measured if not run.variant]
    rows = [
        {
            "run": run.name,
            "variant": run.variant,
            "flags": VARIANTS.get(run.variant, ""),
            "parameters": evaluation["parameters"],
            **step_times(run),
            "figures": means(evaluation["pictures"]),
        }
        for run, evaluation in measured
    ]
    bicubic = means(read_json(Path(options.out) / "bicubic.json")["pictures"])
    bands = {
        condition: {
            name: band([row["figures"][condition][name] for row in rows if not row["variant"]]) for name in METRICS
        }
        for condition in CONDITIONS
    }
    judge(rows, bands)
    text = f"{caption(bases, measured, options)}\n\n{tables(rows, bands, bicubic)}"
    out = Path(options.out)
    write_text(out / "ablation.md", f"{text}\n\n![{FIGURE_TEXT}](ablation.png)\n")
    write_json(out / "ablation.json", {"bands": bands, "bicubic": bicubic, "runs": rows})
    write_csv(out / "ablation.csv", rows)
    draw(rows, bands, out / "ablation.png")
    if options.document:
        document = Path(options.document)
        before, after = split_document(document)
        picture = document.with_suffix(".png")
        draw(rows, bands, picture)
        write_text(document, f"{before}{BEGIN}\n{text}\n\n![{FIGURE_TEXT}]({picture.name})\n{END}{after}")
    print(tables(rows, bands, bicubic))


def step_times(run):
    timing = read_json(run.folder / "timing.json") or {}
    return {"base_seconds": timing.get("base"), "step_ratio": timing.get("ratio")}


def means(pictures):
    """{condition: {figure: mean over all pictures of all folders}}."""
    conditions = dict.fromkeys(picture["condition"] for picture in pictures)
    return {
        condition: {
            name: mean(picture[name] for picture in pictures if picture["condition"] == condition) for name in METRICS
        }
        for condition in conditions
    }


def band(values):
    """(mean, half width) of the 95% prediction interval: one more seed is outside of it one time in twenty.

    That is t s sqrt(1 + 1/n), s the sample standard deviation of n seeds, t from Student's distribution.
    """
    n = len(values)
    return mean(values), STUDENT[n] * stdev(values) * math.sqrt(1 + 1 / n)


def verdict(value, band, more_is_better):
    """Inside of the base's band "none", else "better" or "worse"."""
    difference = value - band[0]
    if abs(difference) <= band[1]:
        return "none"
    return "better" if (difference > 0) == more_is_better else "worse"


def judge(rows, bands):
    """Give the variants' rows their verdicts, {condition: {figure: verdict}}."""
    for row in rows:
        if row["variant"]:
            row["verdicts"] = {
                condition: {name: verdict(figures[name], bands[condition][name], METRICS[name][2]) for name in METRICS}
                for condition, figures in row["figures"].items()
            }


def caption(bases, measured, options):
    args = build_parser().parse_known_args(bases[0].flags)[0]
    steps = bases[0].batches
    adversarial = steps * (args.epochs - args.warmup_epochs) // args.epochs
    pictures = sum(picture["condition"] == "clean" for picture in measured[0][1]["pictures"])
    names = ", ".join(os.path.basename(os.path.abspath(folder)) for folder in options.bench)
    flags = shlex.join(without_paths(bases[0].flags))
    return (
        f"{args.filters} filters, {args.blocks} blocks, {args.trainnum} photographs, {steps:,} batches of "
        f"{args.batchsz} crops of {args.cropsz}x{args.cropsz}, the last {adversarial:,} of them adversarial. Means "
        f"over {pictures} pictures ({names}). The base is {len(bases)} runs of different seeds (`{flags}`): mean ± "
        "half the 95% prediction interval, which one more seed would leave one time in twenty "
        f"(t s √(1 + 1/n), n = {len(bases)}). A variant is one run of the first seed; its difference from the "
        "base's mean is called none inside of that interval. Step: the ratio of an adversarial step's time to the "
        "base's, taken in turns, the batch at hand."
    )


def without_paths(flags):
    """Flags as another machine may have them."""
    kept = list(flags)
    for name in ("--datapath", "--pretrained-weights", "--seed"):
        if name in kept:
            at = kept.index(name)
            del kept[at : at + 2]
    return kept


def tables(rows, bands, bicubic):
    """Markdown, a table for each condition of the pictures."""
    return "\n\n".join(
        table(rows, condition, bands[condition], bicubic[condition]) for condition in shown_conditions(rows)
    )


def shown_conditions(rows):
    return [condition for condition in CONDITIONS if condition == "clean" or variants_of(rows, condition)]


def variants_of(rows, condition):
    return [row for row in rows if row["variant"] and condition in row["figures"]]


def table(rows, condition, bands, bicubic):
    headings = [heading for heading, *_ in METRICS.values()]
    lines = [
        ["", "flags", *headings, "step", "parameters"],
        ["bicubic", "", *(format(bicubic[name], form) for name, (_, form, _) in METRICS.items()), "", ""],
    ]
    base = next(row for row in rows if not row["variant"])
    spread = [f"{bands[name][0]:{form}} ± {bands[name][1]:{form}}" for name, (_, form, _) in METRICS.items()]
    known = [row["base_seconds"] for row in rows if row["base_seconds"]]
    seconds = f"{median(known):.2f} s" if known else "-"
    lines.append(["base", "", *spread, seconds, f"{base['parameters']:,}"])
    for row in variants_of(rows, condition):
        figures, verdicts = row["figures"][condition], row["verdicts"][condition]
        cells = (cell(figures[name], bands[name][0], verdicts[name], form) for name, (_, form, _) in METRICS.items())
        ratio = f"x {row['step_ratio']:.2f}" if row["step_ratio"] else "-"
        lines.append([row["variant"], f"`{row['flags']}`", *cells, ratio, f"{row['parameters']:,}"])
    lines.insert(1, ["---"] * len(lines[0]))
    title = f"Low resolution {CONDITIONS[condition]}:"
    return "\n".join([title, "", *(f"| {' | '.join(cells)} |" for cells in lines)])


def cell(value, base, judged, form):
    judged = judged if judged == "none" else f"**{judged}**"
    return f"{value:{form}} ({value - base:+{form}}, {judged})"


def write_csv(path, rows):
    """A line for each run and condition."""
    with written_whole(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "condition",
                "run",
                "flags",
                *METRICS,
                *(f"{name}_verdict" for name in METRICS),
                "base_seconds_per_step",
                "step_ratio",
                "parameters",
            ]
        )
        for row in rows:
            for condition, figures in row["figures"].items():
                verdicts = row.get("verdicts", {}).get(condition, {})
                writer.writerow(
                    [
                        condition,
                        row["run"],
                        row["flags"],
                        *(figures[name] for name in METRICS),
                        *(verdicts.get(name, "") for name in METRICS),
                        row["base_seconds"],
                        row["step_ratio"],
                        row["parameters"],
                    ]
                )


FIGURE_TEXT = "Differences of each variant from the base's mean, the base's band in gray, its seeds as crosses"


def draw(rows, bands, path):
    """A panel for each figure and condition: variants' differences as dots, the base's seeds and band."""
    import matplotlib

    if "MPLBACKEND" not in os.environ:
        matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    lines = {condition: variants_of(rows, condition) for condition in shown_conditions(rows)}
    shown = list(lines)
    heights = [len(lines[condition]) + 2 for condition in shown]
    figure, axes = plt.subplots(
        len(shown),
        len(METRICS),
        figsize=(11, 1.2 + 0.3 * sum(heights)),
        layout="constrained",
        height_ratios=heights,
        squeeze=False,
    )
    colours = {"none": "tab:gray", "better": "tab:green", "worse": "tab:red"}
    for condition, row_of_axes in zip(shown, axes, strict=True):
        for axis, (name, (heading, _, more)) in zip(row_of_axes, METRICS.items(), strict=True):
            centre, half = bands[condition][name]
            axis.axvspan(-half, half, color="0.9")
            axis.axvline(0, color="0.6", linewidth=1)
            seeds = [row["figures"][condition][name] - centre for row in rows if not row["variant"]]
            axis.plot(seeds, [0] * len(seeds), "kx", markersize=5)
            for i, row in enumerate(lines[condition], 1):
                judged = row["verdicts"][condition][name]
                axis.plot(row["figures"][condition][name] - centre, i, "o", color=colours[judged], markersize=5)
            names = ["base", *(row["variant"] for row in lines[condition])]
            axis.set_yticks(range(len(names)), names if axis is row_of_axes[0] else [""] * len(names), fontsize=8)
            axis.set_ylim(len(names) - 0.5, -0.5)
            axis.tick_params(axis="x", labelsize=8)
            axis.set_title(f"{heading}, {condition} ({'more' if more else 'less'} is better)", fontsize=9)
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
    plt.close(figure)


def split_document(path):
    """What stands before and after the marked part.

    Raises ValueError where there are no marks.
    """
    text = Path(path).read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"Received: --document {path} without {BEGIN} and {END}. Expected both, for the tables.")
    return before, after
