"""Files and folders through an upscaler: images, GIFs and videos in; images, GIFs and videos out."""

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from srwgan.commandline import one_line, print_line
from srwgan.convert.clips import upscale_clip
from srwgan.convert.jobs import claim, find_jobs, is_done, kind_of, plan_target
from srwgan.convert.options import MOVING_SUFFIXES, Options
from srwgan.media.still.images import SUFFIXES, read_image, write_image
from srwgan.memory import available_memory
from srwgan.pixels import resize


@dataclass(frozen=True)
class Report:
    """What became of the files: `done` and `skipped` [(source, result)], `failed` [(source, reason)]."""

    done: list = field(default_factory=list)
    skipped: list = field(default_factory=list)
    failed: list = field(default_factory=list)


def upscale_paths(
    upscaler, inputs, output, *, options=None, overwrite=False, progress=None, say=None, gif_upscaler=None
):
    """Upscale files and folders (recursively, their tree kept) into the folder `output`; one bad file stops no other.

    A result that is there and not older than its source is passed over unless `overwrite`. Results are never taken for
    sources: an `output` inside an input folder is left out; where it is the input folder itself, names in `_SR` are.

    Args:
        output: a folder; for a single input file also the name of the result, its suffix saying the format.
        progress: called with (source, frames done, frames in all or None); of an image, its tiles.
        say: called with each line for the user; prints by default.
        gif_upscaler: called for the upscaler of a GIF; by default it is that of the rest.

    Returns:
        A `Report`.

    Raises:
        FileNotFoundError: an input is not there.
        ValueError: `output` cannot be what it is asked to be.
    """
    options, say = options or Options(), say or print_line
    jobs = find_jobs(inputs, output, options.suffix)
    report, claimed = Report(), {}
    for number, job in enumerate(jobs, 1):
        source = job.source
        place = f"[{number}/{len(jobs)}] " if len(jobs) > 1 else ""
        try:
            own = gif_upscaler() if gif_upscaler and kind_of(source) == "gif" else upscaler
            target, notes = plan_target(job, scale=own.scale, options=options)
            claim(claimed, source, target)
            if not overwrite and is_done(source, target):
                report.skipped.append((source, target))
                continue
            with existing_folder(job.folder):
                notes += upscale_file(own, source, target, options=options, progress=for_file(progress, source))
            for line in notes:
                say(line)
            say(f"{place}{source} -> {target}")
            report.done.append((source, target))
        except Exception as error:  # whatever is wrong with this file, the others are still to be done
            report.failed.append((source, one_line(error, source)))
            say(f"{place}{report.failed[-1][1]}")
    return report


def upscale_file(upscaler, source, target, *, options=None, progress=None):
    """Upscale one file; the kinds of `source` (its content) and `target` (its suffix) say how.

    Args:
        progress: called with (frames done, frames in all or None); of an image, its tiles.

    Returns:
        Lines to show to the user.

    Raises:
        ValueError, OSError: with the path, as the readers and writers do. Nothing half-written is left.
        ImportError: a video, and PyAV is missing.
    """
    options, progress = options or Options(), progress or (lambda done, total: None)
    source, target = Path(source), Path(target)
    kind, moving = kind_of(source), target.suffix.lower() in MOVING_SUFFIXES
    if target.exists() and os.path.samefile(source, target):
        raise ValueError(f"{target}: is the source itself. Expected another name.")
    if moving != (kind != "image") or not moving and target.suffix.lower() not in SUFFIXES:
        expected = sorted(SUFFIXES) if kind == "image" else MOVING_SUFFIXES
        raise ValueError(f"Received: {target} for {source} ({kind}). Expected a name in {', '.join(expected)}.")
    with progress_bar(source, "frame" if moving else "tile", progress) as advance:
        if moving:
            return upscale_clip(upscaler, source, target, kind=kind, options=options, progress=advance)
        return upscale_image(upscaler, source, target, options=options, progress=advance)


def upscale_image(upscaler, source, target, *, options, progress):
    picture = read_image(source, options.max_pixels)
    height, width = picture.pixels.shape[:2]
    check_memory(source, picture.pixels.nbytes * upscaler.scale**2)
    result = upscaler.image(picture.pixels, progress)
    picture.pixels = resize(result, options.result_size(width, height, upscaler.scale))
    return picture.notes + write_image(picture, target, quality=options.quality)


def check_memory(source, result_bytes):
    """Raises before hours of work that would end without memory: the result is there twice while it is written."""
    if 2 * result_bytes > available_memory():
        needed, there = (f"{size / 2**30:.1f} GB" for size in (2 * result_bytes, available_memory()))
        raise ValueError(f"{source}: its result takes {needed} of memory. Expected at most the {there} that are free.")


@contextmanager
def progress_bar(source, unit, progress):
    """A progress bar on a terminal that also passes on to `progress`."""
    with tqdm(desc=source.name, unit=unit, disable=None, leave=False) as bar:

        def advance(done, total):
            bar.total = total
            bar.update(done - bar.n)
            progress(done, total)

        yield advance


@contextmanager
def existing_folder(folder):
    """Makes a folder and its parents; after an error, removes what it made."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(f"{folder}: cannot be made ({error.strerror}).") from error
    try:
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):  # not empty: an unfinished video that can be resumed
                path.rmdir()
        raise


def for_file(progress, source):
    return progress and (lambda done, total: progress(source, done, total))
