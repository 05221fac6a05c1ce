"""`train_SRWGAN.py --export-step FOLDER`: all that utils/portable_run.py needs to train as the flags say."""

import dataclasses
import hashlib
import logging
import os
import shutil
from argparse import Namespace
from pathlib import Path

import numpy as np
import tensorflow as tf

from srwgan.data.crops import CropOptions, CropStream, held_out_crops, images_of
from srwgan.pixels import to_pixels
from srwgan.training.flags import is_path, paths_from
from srwgan.training.photographs import check_same, read_record, record_of
from srwgan.training.portable import FORMAT, PIXELS, TEACHER
from srwgan.training.portable.packing import pack_pairs, pack_photographs
from srwgan.training.portable.program import (
    Program,
    frozen_variables,
    half_precision_names,
    sample_program,
    step_program,
)
from srwgan.training.portable.stablehlo import check_tools
from srwgan.training.portable.state import Progress, State, read_values, write_state
from srwgan.training.setup import (
    build_networks,
    build_run,
    build_trainer,
    crop_options,
    load_photos,
    photo_folder,
    versions,
)
from srwgan.training.step import COUNTS
from srwgan.whole_files import folder_written_whole, write_json, written_whole

log = logging.getLogger("srwgan")

CLASSIFIER = "classifier.npz"
RUNNER = Path(__file__).resolve().parents[3] / "utils" / "portable_run.py"
NOT_KEPT = (  # flags that are of this machine's own business
    "export_step",
    "packed_limit",
    "import_state",
    "resume",
    "run_dir",
    "cache",
    "savemodel",
    "chkpt_path",
)


def export_step(args: Namespace) -> None:
    """Write the folder, or nothing.

    Raises:
        ValueError, OSError: what the flags name is not there or does not fit, JAX is missing, the folder is there.
    """
    check_tools()
    folder = Path(args.export_step)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"Received: --export-step {folder}, not empty. Expected a new folder.")
    flags = kept_flags(args)
    if args.precision == "auto":  # what this machine is fast at says nothing of the one that will train
        args = Namespace(**{**vars(args), "precision": "mixed_bfloat16"})
    photos, held_out = load_photos(args)
    stream = CropStream(photos, crop_options(args))
    validation = held_out_crops(held_out, args.validnum, stream.options)
    trainer = build_trainer(args, build_networks(args), updates=stream.steps() * args.epochs)
    if args.resume and (record := read_record(args.resume)):
        check_same(args.resume, record, record_of(photo_folder(args), photos, held_out))
    progress = starting_progress(args, trainer, stream, validation)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_written_whole(folder) as temporary:
        write_pixels(args, stream, temporary)
        write_state(temporary / "state.npz", State(read_values(trainer), progress, flags))
        write_validation(temporary / "validation.npz", validation)
        programs = write_programs(trainer, temporary, phases(args), stream.options, validation)
        used = {each["name"] for entry in programs.values() for each in entry["inputs"]}
        frozen = {name: variable for name, variable in frozen_variables(trainer).items() if name in used}
        half = write_classifier(temporary / CLASSIFIER, trainer.hyperpixels, frozen)
        write_teacher(temporary / TEACHER, frozen)
        precision = trainer.generator.get_layer("first").dtype_policy.name
        facts = {"flags": flags, "versions": versions(), "precision": precision, "half_precision": half}
        if args.degradation != "bicubic":  # so that pairs can be made there too, by utils/portable_pairs.py
            facts["cut_from"] = {"names": [os.path.basename(path) for path in photos.paths], "shapes": photos.shapes}
        write_meta(args, temporary, programs, facts)
        shutil.copy(RUNNER, temporary)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    log.info(
        "Exported to %s (%.0f MB, %s, %s). Where JAX is, it trains: python3 %s %s --seconds 480 --output OUT",
        folder,
        size,
        " and ".join(phases(args)),
        precision,
        folder / RUNNER.name,
        folder,
    )


def kept_flags(args: Namespace) -> dict:
    """The flags that an import has again, with paths that are found from anywhere on this machine."""
    flags = {name: value for name, value in vars(args).items() if name not in NOT_KEPT}
    flags = {name: paths_from(os.getcwd(), value) if is_path(name, value) else value for name, value in flags.items()}
    return {**flags, "datapath": os.path.abspath(photo_folder(args))}


def write_pixels(args: Namespace, stream: CropStream, folder: Path) -> None:
    """Pack the photographs or, for a degradation, ready pairs of crops."""
    limit = args.packed_limit * 1e6
    if args.degradation == "bicubic":
        pack_photographs(stream.photos, folder, crop=args.cropsz, limit=limit)
    else:
        pack_pairs(stream, folder, wanted=args.epochs * stream.steps() * args.batchsz, limit=limit)


def write_meta(args: Namespace, folder: Path, programs: dict, facts: dict) -> None:
    """`meta.json`: what the runner has to know, and the checksums of the files beside it.

    Args:
        programs: the entries of `write_programs`.
        facts: what is said beside.
    """
    first, degraded = programs[phases(args)[0]], args.degradation != "bicubic"
    content = {
        "format": FORMAT,
        **facts,
        "batch_size": args.batchsz,
        "crop": args.cropsz,
        "scale": args.scale,
        "seed": args.seed,
        "sampling": args.sampling,
        "grain": 0.0 if degraded else args.grain,  # ready pairs have theirs
        "degraded": degraded,
        "photographs": PIXELS,
        "schedule": {
            "epochs": args.epochs,
            "warmup_epochs": min(args.warmup_epochs, args.epochs),
            "critic_warmup": args.critic_warmup,
            "rates": {"generator": args.glr, "discriminator": args.dlr},
            "lr_schedule": args.lr_schedule,
            "lr_warmup": args.lr_warmup,
        },
        "phases": phases(args),
        "counts": [name for name in COUNTS if name in first["metrics"]],
        "state": [each for each in first["outputs"] if each["name"] != "metrics"],
        "programs": programs,
    }
    # The pixels may come later than the rest: their checksum is in their index.
    checked = [path for path in sorted(folder.iterdir()) if path.name != PIXELS]
    write_json(folder / "meta.json", {**content, "files": {path.name: facts_of(path) for path in checked}})


def phases(args: Namespace) -> list:
    """The phases of `Trainer.train_batch` that a run of these flags has, in order."""
    if args.warmup_epochs >= args.epochs:
        return ["warmup"]
    return ["warmup"] * bool(args.warmup_epochs) + ["critic"] * bool(args.critic_warmup) + ["full"]


def starting_progress(args, trainer, stream, validation) -> Progress:
    """Of new networks, or of those of --resume, whose values the trainer then has."""
    if not args.resume:
        return Progress()
    run = build_run(args, trainer, stream, validation=validation, folder=args.resume, chief=False)
    done, warmup = run.restore(), args.warmup_epochs * run.steps
    log.info("The step starts from %s after %d batches", args.resume, done)
    return Progress(
        steps=done,
        warmup_steps=min(done, warmup),
        critic_steps=max(0, min(done - warmup, args.critic_warmup)),
        fraction=min(1.0, done / (args.epochs * run.steps)),
    )


def write_validation(path, validation) -> None:
    """The held-out crops as uint8, for samples and PSNR."""
    low_res, high_res = validation
    _, *strength = tf.nest.flatten(low_res)
    strength = strength[0].numpy() if strength else np.zeros(len(high_res), np.float32)
    images = {"low_res": to_pixels(images_of(low_res)), "high_res": to_pixels(high_res)}
    write_arrays(path, {**images, "strength": strength})


def write_programs(trainer, folder, names: list, options: CropOptions, validation) -> dict:
    """A file for each phase and one for samples; returns what `meta.json` says of them."""
    entries = {}
    for phase in names:
        log.info("Lowering the %s step to StableHLO", phase)
        entries[phase] = write_program(folder / f"{phase}.stablehlo", step_program(trainer, phase, options))
    low_res = images_of(validation[0])
    program = sample_program(trainer, low_res.shape, conditioned=options.condition != "none")
    return {**entries, "sample": write_program(folder / "sample.stablehlo", program)}


def write_program(path: Path, program: Program) -> dict:
    """A program's file; returns its entry in `meta.json`."""
    with written_whole(path) as temporary:
        temporary.write_bytes(program.artifact)
    described = {
        kind: [dataclasses.asdict(value) for value in getattr(program, kind)] for kind in ("inputs", "outputs")
    }
    return {"file": path.name, **described, "metrics": program.metrics}


def write_classifier(path, hyperpixels, frozen) -> list:
    """Of the frozen variables the classifier's, kernels in the precision that they are computed with.

    Returns:
        The names of those that are stored as the bits of bfloat16.
    """
    weights = {name: variable.numpy() for name, variable in frozen.items() if name.startswith("classifier/")}
    half = sorted(half_precision_names(hyperpixels) & set(weights))
    for name in half:
        weights[name] = tf.bitcast(tf.cast(weights[name], tf.bfloat16), tf.uint16).numpy()
    write_arrays(path, weights)
    return half


def write_teacher(path, frozen) -> None:
    """Of the frozen variables the teacher's, under the names of an averaged network; no file without a teacher."""
    weights = {
        f"average/{name.removeprefix('teacher/')}": variable.numpy()
        for name, variable in frozen.items()
        if name.startswith("teacher/")
    }
    if weights:
        write_arrays(path, weights)


def write_arrays(path, arrays: dict) -> None:
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def facts_of(path: Path) -> dict:
    """Size and checksum of a file."""
    return {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
