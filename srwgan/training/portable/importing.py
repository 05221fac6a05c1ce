"""`train_SRWGAN.py --import-state OUT`: what a portable run has trained becomes the checkpoint of an ordinary run."""

import argparse
import logging
import os
import time
from argparse import Namespace
from pathlib import Path

import numpy as np

from srwgan.data.crops import CropStream, held_out_crops
from srwgan.networks.saving import export_generator
from srwgan.training.history import History
from srwgan.training.photographs import record_of, write_record
from srwgan.training.portable import TEACHER
from srwgan.training.portable.state import State, assign_values, read_state
from srwgan.training.results import write_results
from srwgan.training.setup import (
    build_networks,
    build_run,
    build_trainer,
    crop_options,
    load_photos,
    photo_folder,
    start_folder,
)
from srwgan.whole_files import read_json

log = logging.getLogger("srwgan")


def flags_of_state(path: str, parser: argparse.ArgumentParser, argv: list | None) -> Namespace:
    """The flags that a state was exported with, but for those on the command line.

    Raises:
        FileNotFoundError, ValueError: there is no such state, or it cannot be read.
    """
    known = vars(parser.parse_args([]))
    parser.set_defaults(**{name: value for name, value in read_state(path).flags.items() if name in known})
    return parser.parse_args(argv)


def import_state(args: Namespace) -> None:
    """Write a run folder with the state as its newest checkpoint, and the results of a run that has ended.

    Where the state has done more batches than the flags' epochs have, the run has as many epochs as are whole.

    Raises:
        ValueError, OSError: the state does not fit the flags, or the folder cannot be written.
    """
    state = read_state(args.import_state)
    photos, held_out = load_photos(args)
    stream = CropStream(photos, crop_options(args))
    args = with_epochs_of(args, state, stream.steps())
    # As for a warm-up alone, which asks for no classifier: nothing is trained here.
    alone = Namespace(**{**vars(args), "warmup_epochs": args.epochs})
    trainer = build_trainer(alone, build_networks(args), updates=stream.steps() * args.epochs)
    assign_values(trainer, state.values)
    folder = args.run_dir or os.path.join("runs", time.strftime("%Y%m%d-%H%M%S"))
    out = Path(args.import_state)
    out = out if out.is_dir() else out.parent
    given = out / TEACHER if args.student and (out / TEACHER).exists() else None
    teacher = os.path.abspath(os.path.join(folder, "teacher")) if given else args.student
    start_folder(Namespace(**{**vars(args), "import_state": None, "student": teacher}), folder)
    if given:  # by --teacher of the portable run: the run that goes on here has to have it too
        assign_teacher(trainer.teacher, given)
        export_generator(trainer.teacher, teacher, served=False)
    write_record(folder, record_of(photo_folder(args), photos, held_out))
    validation = held_out_crops(held_out, args.validnum, stream.options)
    run = build_run(args, trainer, stream, validation=validation, folder=folder, chief=True)
    done = min(state.progress.steps, args.epochs * run.steps)
    run.progress.assign(done)
    content = read_json(out / "log.json") or {}
    now = {"psnr": run.validate(), "psnr_bicubic": run.psnr_bicubic}
    run.history = history_of(content, epochs=done // run.steps, steps=run.steps, now=now)
    run.visualizer.on_epoch_end(max(done // run.steps, 1) - 1)
    run.save(best=True)
    if not done // run.steps:  # a checkpoint has the history of whole epochs, results are of one at least
        run.history.record(0, now)
    write_results(args, run)
    log.info(
        "Imported %d batches from %s as %d of the %d of this run. Go on with --resume %s",
        state.progress.steps,
        args.import_state,
        done,
        args.epochs * run.steps,
        folder,
    )


def assign_teacher(teacher, path: Path) -> None:
    """Give the teacher the weights of the averaged network in a file."""
    with np.load(path) as stored:
        for weight in teacher.weights:
            weight.assign(stored[f"average/{weight.path}"])


def with_epochs_of(args: Namespace, state: State, steps: int) -> Namespace:
    """The flags with as many epochs, and of these as many of warm-up, as a state has done, if it has done more."""
    done = state.progress
    if done.steps <= args.epochs * steps:
        return args
    epochs = done.steps // steps
    warmup = epochs if args.warmup_epochs >= args.epochs else done.warmup_steps // steps
    log.info("The state has done %d batches: --epochs %d --warmup-epochs %d", done.steps, epochs, warmup)
    return Namespace(**{**vars(args), "epochs": epochs, "warmup_epochs": warmup})


def history_of(content: dict, *, epochs: int, steps: int, now: dict) -> History:
    """The history of an ordinary run, of what `log.json` says at or next after the end of each epoch.

    Args:
        content: of `log.json`; {} where it is not there.
        epochs: how many, of so many `steps` each.
        now: PSNR of the held-out crops, and of bicubic, as measured for the last epoch.
    """
    history = History()
    left_out = ("step", "phase", "seconds", "fraction", "rates", "bad_in_a_row")
    for epoch in range(epochs):
        end = steps * (epoch + 1)
        entry = at_or_after(content.get("entries", []), end)
        means = {name: value for name, value in entry.items() if name not in left_out}
        quality = {} if epoch == epochs - 1 else at_or_after(content.get("quality", []), end)
        history.record(epoch, {**means, **now, "psnr": quality.get("psnr", now["psnr"])})
    return history


def at_or_after(entries: list, step: int) -> dict:
    """The first entry of a step or of a later one, or the last; {} of none."""
    return next((entry for entry in entries if entry["step"] >= step), entries[-1] if entries else {})
