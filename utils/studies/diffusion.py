"""A diffusion model against a GAN: the same photographs, parameters and time; what each of them is better at.

    python3 -m utils.studies.diffusion --datapath PHOTOS --data Set5 --out study
    python3 -m utils.studies.diffusion --datapath PHOTOS --data Set5 --out study --quick       a trial of minutes

For each seed four trainings: a faithful generator (reconstruction loss alone), a GAN that begins as that, a diffusion
model for as long as these two together, the same share of it on the reconstruction loss alone, and a one-step student
of the diffusion model, for a quarter of its batches. The diffusion model has one block less, which makes up for its
further parameters. Then all of them, and the models of --models, are measured on --data:

  quality      PSNR-Y, SSIM and LPIPS at each number of steps, and seconds for a megapixel
  the plane    LPIPS against PSNR-Y (Blau and Michaeli 2018, arXiv:1711.06077): the GAN's --fidelity line, the lines of
               both samplers
  diversity    of four samples: standard deviation of their pixels, LPIPS between them
  consistency  PSNR of the result, made as small as the input again, against the input
  inputs       dithered GIF, JPEG, noise
  curves       PSNR-Y of held-out crops against the seconds of training

--out gets a folder for each training, results.json, diffusion.md with the tables, and the figures. Started again, the
command passes over what is finished and goes on with what is not.
"""

import argparse
import math
import shlex
import time
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from tqdm import tqdm

from srwgan.commandline import OneLineParser, goes_on, quiet_start, run_command, whole
from srwgan.data.photos import find_photos
from srwgan.data.splits import BUNDLED_PHOTOS
from srwgan.measuring.pairs import degraded, find_pairs, labels, read_pair
from srwgan.networks.sampling import Sampling, sampling_of
from srwgan.whole_files import read_json, write_json, write_text
from utils.ablation.runs import Run, keep_flags, train_all
from utils.studies import diffusion_figures

IMAGES = Path(__file__).resolve().parents[2] / "Images"
KINDS = ("faithful", "gan", "diffusion", "student")
STEPS = {"deterministic": (1, 2, 4, 8, 16), "stochastic": (4, 16)}
SEEDS, FIDELITIES = 4, (0.0, 0.25, 0.5, 0.75, 1.0)
INPUTS = {
    "clean": "as they are",
    "gif": "32 colors, Floyd-Steinberg dither",
    "jpeg": "JPEG of quality 65",
    "noise": "Gaussian noise of 8 of 255 levels",
}
NOISE_LEVELS = 8.0
HELD_OUT = 8
EPOCHS = 8  # of a training, about: as many crops of each photograph as make that many
QUICK = {"filters": 8, "blocks": 2, "cropsz": 32, "batchsz": 2}
COMMON = "--goptimizer muon --beta2 0.99 --lr-schedule cosine --repeat-edges 4"
FLAGS = {
    "faithful": "--beta1 0.9 --reconstruction l1 --glr 1e-3",
    "gan": "--beta1 0 --weighting gradient --rweight 0.05 --advweight 0.05 --latweight 0.3 --reconstruction l1 "
    "--interpolation uniform --glr 4e-4 --doptimizer muon --dlr 5e-4",
    "diffusion": "--beta1 0.9 --family diffusion --glr 1e-3 --clip 1",
    "student": "--beta1 0.9 --family diffusion --glr 4e-4 --clip 1",
}


@dataclass(frozen=True)
class Batches:
    """Batches of a training: on the reconstruction loss alone, then on all losses."""

    warmup: int = 0
    full: int = 0


def main(argv=None) -> int:
    options = build_parser().parse_args(argv)
    return goes_on("utils.studies.diffusion", lambda: study(options))


def study(options) -> int:
    """Trains, measures and reports what is not done yet; returns the exit status."""
    for folder in options.data:
        find_pairs(folder)
    for stage in KINDS:  # each begins as one of a stage before
        runs = [run for run in plan(options) if run.variant == stage]
        failed = train_all([run for run in runs if not run.finished], jobs=1)
        if failed:
            raise ValueError("; ".join(f"{name} failed: {reason}" for name, reason in failed))
    results = measure_all(plan(options), options)
    text = report(results, options)
    write_text(Path(options.out) / "diffusion.md", text)
    diffusion_figures.draw(results, Path(options.out))
    print(text)
    return 0


def build_parser():
    parser = OneLineParser(
        prog="python3 -m utils.studies.diffusion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, count = parser.add_argument, whole(1)
    add("--datapath", default=BUNDLED_PHOTOS, help="photographs to train on (the bundled ones)")
    many = {"nargs": "+", "metavar": "DIR"}
    add("--data", **many, default=[str(IMAGES / "originals")], help="pictures to measure on (Images/originals)")
    add("--out", default="diffusion-study", metavar="DIR", help="folder of all runs and results (diffusion-study)")
    add("--models", **many, default=[], help="exported models that are measured too, such as SRWGAN_Gen")
    add("--seeds", type=count, default=3, help="of the trainings (3)")
    add("--filters", type=count, default=32, help="(32)")
    add("--blocks", type=count, default=4, help="of the GAN (4)")
    add("--batches", type=count, default=1500, help="of the GAN with its discriminator, after as many without (1500)")
    add("--cropsz", type=count, default=96, help="(96)")
    add("--batchsz", type=count, default=8, help="(8)")
    add("--pretrained-weights", metavar="FILE", help="VGG16's, for the GAN's content loss; none without them")
    add("--quick", action="store_true", help="tiny networks, one seed, a few batches: to see that all of it works")
    return parser


# The trainings


def plan(options) -> list[Run]:
    """The trainings whose flags can be said: the diffusion model's batches follow from how long the GAN took."""
    seeds, runs = 1 if options.quick else options.seeds, []
    for seed in range(seeds):
        folders = {kind: Path(options.out).absolute() / f"{kind}-{seed}" for kind in KINDS}
        for kind in KINDS:
            batches = batches_of(kind, options, folders)
            if batches is None:
                continue
            flags = flags_of(kind, options, folders, seed=seed, batches=batches)
            run = Run(folders[kind].name, flags, folder=folders[kind], variant=kind)
            keep_flags(run)
            runs.append(run)
    return runs


def batches_of(kind: str, options, folders: dict) -> Batches | None:
    """How many batches a training takes; None where another one has to be finished to know."""
    batches = 8 if options.quick else options.batches
    if kind == "faithful":
        return Batches(warmup=batches)
    if kind == "gan":
        return Batches(full=batches)
    known = read_json(Path(options.out) / "batches.json")
    if not known and kind == "diffusion" and Run("gan", [], folders["gan"]).finished:
        known = equal_time(options, folders, batches)
        write_json(Path(options.out) / "batches.json", known)
    if not known:
        return None
    return Batches(**known) if kind == "diffusion" else Batches(full=max(1, known["full"] // 4))


def equal_time(options, folders, batches: int) -> dict:
    """Batches of the diffusion model that take as long as the GAN's, by steps of both that are timed in turns."""
    from utils.benchmark.turns import in_turns, median_ratio

    steps = {
        f"{kind} {phase}": step_of(flags_of(kind, options, folders, seed=0, batches=Batches(**{phase: batches})), phase)
        for kind, phase in (("faithful", "warmup"), ("gan", "full"), ("diffusion", "full"))
    }
    seconds = in_turns(steps, 2 if options.quick else 15)
    own = seconds["diffusion full"]
    warmup, full = (batches * median_ratio(seconds[name], own) for name in ("faithful warmup", "gan full"))
    return {"warmup": max(1, round(warmup)), "full": max(1, round(full))}


def step_of(flags: list[str], phase: str):
    """A function that trains on one batch, the same at every call."""
    with quiet_start():
        from srwgan.data.crops import CropStream
        from srwgan.training import setup
        from srwgan.training.flags import build_parser as training_parser

    args = training_parser().parse_args(flags)
    stream = CropStream(setup.load_photos(args)[0], setup.crop_options(args))
    trainer = setup.build_trainer(args, setup.build_networks(args), updates=100)
    batch = next(iter(stream.epoch(0)))
    return lambda: float(trainer.train_batch(batch, phase)["g_loss_total"])


def flags_of(kind: str, options, folders: dict, *, seed: int, batches: Batches) -> list[str]:
    """The flags of train_SRWGAN.py for a training of so many batches."""
    found = len(find_photos(options.datapath))
    held_out = min(HELD_OUT, max(1, found // 10))
    trained = max(1, found - held_out)
    names = ("filters", "blocks", "cropsz", "batchsz")
    size = {**{name: getattr(options, name) for name in names}, **(QUICK if options.quick else {})}
    if kind in ("diffusion", "student"):  # what sees and scales by the noise has about the parameters of a block
        size["blocks"] = max(1, size["blocks"] - 1)
    total = batches.warmup + batches.full
    crops = max(1, round(total / EPOCHS * size["batchsz"] / trained))
    epochs = max(2, round(total * size["batchsz"] / (trained * crops)))
    flags = {
        "datapath": str(Path(options.datapath).absolute()),
        "trainnum": trained,
        "validnum": held_out,
        "crops-per-photo": crops,
        "epochs": epochs,
        "warmup-epochs": round(epochs * batches.warmup / total),
        **size,
        "seed": seed,
    }
    text = f"{COMMON} {FLAGS[kind]}"
    if kind == "gan":
        flags["init"] = str(folders["faithful"] / "model_Gen")
        flags["dfilters"] = size["filters"]
        flags["critic-warmup"] = max(1, batches.full // 20)
        if options.pretrained_weights:
            text += " --cweight 1 --content-norm unit --pretrained vgg16 --hyperpixel-layers 2,5,9"
            flags["pretrained-weights"] = str(Path(options.pretrained_weights).absolute())
        else:
            text += " --cweight 0"
    if kind == "student":
        flags["student"] = str(folders["diffusion"] / "model_Gen")
    written = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    return [*written, *shlex.split(text)]


# Measuring


def measure_all(runs, options) -> dict:
    """{"models": {name: what `measure_model` gives}, "curves": {name: points}}; kept in results.json as it grows."""
    path = Path(options.out) / "results.json"
    results = read_json(path) or {}
    data = [str(Path(folder).absolute()) for folder in options.data]
    if results.get("data") != data:
        results = {"data": data, "models": {}, "curves": {}}
    with quiet_start():
        from srwgan.measuring.lpips import LPIPS

    pairs = [(name, *read_pair(*paths, scale=4)) for folder in options.data for name, *paths in find_pairs(folder)]
    distance = LPIPS()
    models = {run.name: (run.model, run.variant) for run in runs if run.variant != "faithful"}
    for name, folder in zip(labels(options.models), map(Path, options.models), strict=True):
        models[f"{folder.absolute().parent.name}/{name}" if name in KINDS else name] = folder, None
    results["curves"] = {run.name: curve_of(run) for run in runs}
    for name, (folder, kind) in tqdm(models.items(), desc="Measuring", unit="model", disable=None):
        if name not in results["models"]:
            faithful = folder.parent.parent / name.replace("gan", "faithful") / "model_Gen" if kind == "gan" else None
            results["models"][name] = measure_model(folder, faithful, pairs, distance, quick=options.quick)
            write_json(path, results)
    if "bicubic" not in results["models"]:
        results["models"]["bicubic"] = measure_bicubic(pairs, distance)
    write_json(path, results)
    return results


def curve_of(run) -> list[list[float]]:
    """[seconds, PSNR-Y] at the end of each epoch, the seconds being those of its steps."""
    history = read_json(run.folder / "run" / "history.json") or {}
    epochs, seconds, points = history.get("epochs", {}), 0.0, []
    for psnr, rate in zip(epochs.get("psnr", []), epochs.get("images_per_second", []), strict=True):
        batch = int(run.flags[run.flags.index("--batchsz") + 1])
        seconds += history["batches"] / len(epochs["psnr"]) * batch / rate if rate else 0.0
        points.append([seconds, psnr])
    return points


def measure_model(folder, faithful, pairs, distance, *, quick: bool) -> dict:
    """All figures of one model.

    Args:
        faithful: the folder of its faithful end; None to look into its own folder.
        pairs: (name, low_res, high_res) of the pictures.
    """
    from srwgan.networks.diffusion import DiffusionGenerator
    from srwgan.networks.saving import load_generator
    from srwgan.upscaling.upscaler import Upscaler

    generator = load_generator(folder)
    diffuses = isinstance(generator, DiffusionGenerator)
    own = Upscaler(generator, "float32")
    made = {"parameters": generator.count_params(), "family": "diffusion" if diffuses else "gan", "points": []}
    if diffuses:
        made["steps"] = generator.steps
        for sampler, steps in STEPS.items():
            for number in [number for number in steps if not quick or number <= 4]:
                sampling = sampling_of(steps=number, seed=0, sampler=sampler)
                upscaler = Upscaler(generator, "float32", sampling=sampling)
                made["points"].append({"steps": number, "sampler": sampler, **quality(upscaler, pairs, distance)})
    else:
        for fidelity, mixed in fidelities(generator, folder, faithful):
            made["points"].append({"fidelity": fidelity, **quality(Upscaler(mixed, "float32"), pairs, distance)})
    made["inputs"] = {
        kind: quality(own, [(name, worn(low, kind), high) for name, low, high in pairs], distance) for kind in INPUTS
    }
    made["diversity"] = diversity(generator, pairs, distance) if diffuses else {"deviation": 0.0, "lpips": 0.0}
    return made


def fidelities(generator, folder, faithful):
    """Yield (fidelity, generator): the mixes with its faithful end, or the generator alone where there is none."""
    from srwgan.networks.mixing import interpolate
    from srwgan.networks.model_folder import faithful_end, has_faithful_end
    from srwgan.networks.saving import load_generator

    if faithful is None and has_faithful_end(folder):
        faithful = faithful_end(folder)
    end = load_generator(faithful) if faithful else None
    for fidelity in FIDELITIES if end else (0.0,):
        yield fidelity, interpolate(generator, end, fidelity) if fidelity else generator


def quality(upscaler, pairs, distance) -> dict:
    """Means over the pictures of PSNR-Y, SSIM, LPIPS and consistency, and seconds for a megapixel of low resolution.

    The first picture's seconds, in which all is compiled, count only where it is the only one.
    """
    from srwgan.measuring import metrics
    from srwgan.pixels import BICUBIC, resize, to_range

    figures, seconds, pixels = [], [], []
    for _, low_res, high_res in pairs:
        start = time.perf_counter()
        made = upscaler.image(low_res)
        seconds.append(time.perf_counter() - start)
        pixels.append(low_res.shape[0] * low_res.shape[1] / 1e6)
        figures.append(
            [
                metrics.psnr(made, high_res, shave=4),
                metrics.ssim(made, high_res, shave=4),
                float(distance(to_range(made[None]), to_range(high_res[None]))[0]),
                consistency(resize(made, low_res.shape[1::-1], BICUBIC), low_res),
            ]
        )
    names, warm = ("psnr_y", "ssim", "lpips", "consistency"), slice(min(1, len(pairs) - 1), None)
    means = dict(zip(names, map(float, np.mean(figures, axis=0)), strict=True))
    return {**means, "seconds": sum(seconds[warm]) / sum(pixels[warm])}


def consistency(small, low_res) -> float:
    """PSNR of RGB in dB; 60 where nothing differs by a level."""
    error = np.mean((small.astype(np.float64) - low_res) ** 2)
    return 10 * math.log10(255**2 / max(error, 255**2 / 1e6))


def measure_bicubic(pairs, distance) -> dict:
    from types import SimpleNamespace

    from srwgan.pixels import bicubic

    upscaler = SimpleNamespace(image=lambda low_res: bicubic(low_res, 4))
    return {"parameters": 0, "family": "bicubic", "points": [quality(upscaler, pairs, distance)]}


def worn(low_res, kind):
    """The low resolution as `INPUTS` says."""
    if kind == "clean":
        return low_res
    if kind != "noise":
        return degraded(low_res, kind)
    noise = np.random.default_rng(0).normal(0, NOISE_LEVELS, low_res.shape)
    return np.rint(low_res + noise).clip(0, 255).astype(np.uint8)


def diversity(generator, pairs, distance) -> dict:
    """Of `SEEDS` samples of the model's own number of steps, or of 4 of a teacher.

    Returns:
        {"deviation": the standard deviation of a pixel between samples, in levels, "lpips": between two samples}, means
        over the pictures.
    """
    from srwgan.pixels import to_range
    from srwgan.upscaling.upscaler import Upscaler

    upscalers = [Upscaler(generator, "float32", sampling=Sampling(seed=seed)) for seed in range(SEEDS)]
    deviations, distances = [], []
    for _, low_res, _ in pairs:
        samples = [upscaler.image(low_res) for upscaler in upscalers]
        deviations.append(np.std(np.stack(samples).astype(np.float64), axis=0).mean())
        ranged = [to_range(sample[None]) for sample in samples]
        distances.append(mean(float(distance(a, b)[0]) for a, b in combinations(ranged, 2)))
    return {"deviation": float(np.mean(deviations)), "lpips": float(np.mean(distances))}


# The report


def report(results: dict, options) -> str:
    """The tables, in Markdown. Several seeds of a kind are one row: mean ± standard deviation."""
    groups = grouped(results["models"])
    parts = [
        "### Quality\n",
        quality_table(groups),
        "\n### Diversity of four samples\n",
        diversity_table(groups),
        "\n### Inputs\n",
        inputs_table(groups),
        "\n### Trainings\n",
        trainings_table(results["curves"]),
    ]
    return "\n".join(parts) + "\n"


def grouped(models: dict) -> dict[str, list[dict]]:
    """{kind, or name of a single model: what was measured of each}."""
    groups = {}
    for name, model in models.items():
        kind, _, seed = name.rpartition("-")
        groups.setdefault(kind if kind in KINDS and seed.isdecimal() else name, []).append(model)
    order = [name for name in (*KINDS, *groups) if name in groups]
    return {name: groups[name] for name in dict.fromkeys(order)}


def spread(values: list[float], form: str) -> str:
    text = format(mean(values), form)
    return f"{text} ± {format(stdev(values), form)}" if len(values) > 1 else text


def table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def setting(point: dict) -> str:
    """What a point was made with, in words."""
    if "steps" in point:
        steps = f"{point['steps']} step{'s' * (point['steps'] > 1)}"
        return f"{steps}, stochastic" if point["sampler"] == "stochastic" else steps
    return f"fidelity {point['fidelity']:g}" if "fidelity" in point else ""


def quality_table(groups) -> str:
    rows = []
    for name, models in groups.items():
        for i, point in enumerate(models[0]["points"]):
            same = [model["points"][i] for model in models]
            figures = {"psnr_y": ".2f", "ssim": ".4f", "lpips": ".4f", "consistency": ".1f", "seconds": ".1f"}
            cells = [spread([each[figure] for each in same], form) for figure, form in figures.items()]
            rows.append([name, setting(point), f"{models[0]['parameters']:,}", *cells])
    return table(["model", "", "parameters", "PSNR-Y", "SSIM", "LPIPS", "consistency", "s/MP"], rows)


def diversity_table(groups) -> str:
    rows = [
        [
            name,
            spread([model["diversity"]["deviation"] for model in models], ".2f"),
            spread([model["diversity"]["lpips"] for model in models], ".4f"),
        ]
        for name, models in groups.items()
        if "diversity" in models[0]
    ]
    return table(["model", "standard deviation, of 255 levels", "LPIPS between samples"], rows)


def inputs_table(groups) -> str:
    rows = []
    for name, models in groups.items():
        for kind in models[0].get("inputs", {}):
            same = [model["inputs"][kind] for model in models]
            cells = [
                spread([each[figure] for each in same], form) for figure, form in (("psnr_y", ".2f"), ("lpips", ".4f"))
            ]
            rows.append([name, INPUTS[kind], *cells])
    return table(["model", "input", "PSNR-Y", "LPIPS"], rows)


def trainings_table(curves) -> str:
    rows = [[name, f"{points[-1][0]:.0f}", f"{points[-1][1]:.2f}"] for name, points in curves.items() if points]
    return table(["training", "seconds of steps", "PSNR-Y of held-out crops"], rows)


if __name__ == "__main__":
    run_command(main)
