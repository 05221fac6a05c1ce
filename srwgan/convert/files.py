"""Files and folders through an upscaler: images, GIFs and videos in; images, GIFs and videos out."""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from srwgan.commandline import one_line, print_line
from srwgan.convert.jobs import Job, find_jobs, is_done, kind_of, own_targets, plan_target
from srwgan.convert.options import MOVING_SUFFIXES, Options
from srwgan.media.still.encoding import has_hidden_colors
from srwgan.media.still.images import OTHER_SUFFIXES, SUFFIXES, read_image, write_image
from srwgan.memory import available_memory
from srwgan.pixels import resize


@dataclass(frozen=True)
class Report:
    """What became of the files.

    Attributes:
        done, skipped: [(source, result)].
        failed: [(source, the reason in one line)].
        passed_over: files of folders that are no image, GIF or video.
    """

    done: list[tuple[Path, Path]] = field(default_factory=list)
    skipped: list[tuple[Path, Path]] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)


def upscale_paths(
    upscaler,
    inputs: Iterable,
    output,
    *,
    options: Options | None = None,
    overwrite: bool = False,
    progress: Callable | None = None,
    say: Callable[[str], None] | None = None,
    gif_upscaler: Callable | None = None,
) -> Report:
    """Upscale files and folders (recursively, their tree kept) into the folder `output`; one bad file stops no other.

    A result that is there and not older than its source is passed over unless `overwrite`. Results are never taken for
    sources: an `output` inside an input folder is left out; where it is the input folder itself, names in `_SR` are.

    Args:
        upscaler: an `Upscaler`, or what has its `scale`, `image` and `frames`.
        inputs: paths of files and folders.
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
    found = find_jobs(inputs, output, options.suffix)
    report = Report(passed_over=found.passed_over)
    for number, plan in enumerate(plans(found.jobs, upscaler, options=options, gif_upscaler=gif_upscaler), 1):
        job, own, target, notes = plan.job, plan.upscaler, plan.target, plan.notes
        source = job.source
        place = f"[{number}/{len(found.jobs)}] " if len(found.jobs) > 1 else ""
        try:
            if plan.error:
                raise plan.error
            if not overwrite and is_done(source, target):
                report.skipped.append((source, target))
                continue
            with existing_folder(job.folder):
                notes += upscale_file(
                    own, source, target, options=options, progress=for_file(progress, source), say=say
                )
            for line in notes:
                say(line)
            say(f"{place}{source} -> {target}")
            report.done.append((source, target))
        except Exception as error:  # whatever is wrong with this file, the others are still to be done
            report.failed.append((source, one_line(error, source)))
            say(f"{place}{report.failed[-1][1]}")
    if found.line():
        say(found.line())
    return report


@dataclass(frozen=True)
class Plan:
    """What is known of a job before the work: its upscaler, its result's path, lines to show; or why it cannot be."""

    job: Job
    upscaler: object = None
    target: Path | None = None
    notes: list[str] = field(default_factory=list)
    error: Exception | None = None


def plans(jobs, upscaler, *, options, gif_upscaler=None):
    """A `Plan` for each job, all made before the first is done, so that no two results have one name."""
    planned = []
    for job in jobs:
        try:
            own = gif_upscaler() if gif_upscaler and kind_of(job.source) == "gif" else upscaler
            target, notes = plan_target(job, scale=own.scale, options=options)
            planned.append(Plan(job, own, target, notes))
        except Exception as error:  # one bad file stops no other
            planned.append(Plan(job, error=error))
    good = [plan for plan in planned if not plan.error]
    targets = dict(zip(map(id, good), own_targets([(plan.job, plan.target) for plan in good]), strict=True))
    for plan in planned:
        target = targets.get(id(plan))
        if target is None and not plan.error:
            taken = ValueError(f"{plan.job.source}: its result {plan.target} is another's. Expected another folder.")
            yield replace(plan, error=taken)
        else:
            yield replace(plan, target=target)


def upscale_file(
    upscaler,
    source,
    target,
    *,
    options: Options | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> list[str]:
    """Upscale one file; the kinds of `source` (its content) and `target` (its suffix) say how.

    Args:
        progress: called with (frames done, frames in all or None); of an image, its tiles.
        say: called with lines that are to be shown before the work; without it they are among those returned.

    Returns:
        Lines to show to the user.

    Raises:
        ValueError, OSError: with the path, as the readers and writers do. Nothing half-written is left.
        ImportError: a video, and PyAV is missing.
    """
    options, progress = options or Options(), progress or (lambda done, total: None)
    source, target = Path(source), Path(target)
    kind, suffix = kind_of(source), target.suffix.lower()
    moving = kind != "image"
    if target.exists() and os.path.samefile(source, target):
        raise ValueError(f"{target}: is the source itself. Expected another name.")
    expected = (*MOVING_SUFFIXES, ".png") if moving else sorted({**SUFFIXES, **OTHER_SUFFIXES})
    if suffix not in expected:
        raise ValueError(f"Received: {target} for {source} ({kind}). Expected a name in {', '.join(expected)}.")
    with progress_bar(source, "frame" if moving else "tile", progress) as advance:
        if moving:
            from srwgan.convert.clips import upscale_clip  # here, since stills start without what moves

            first = []
            clip = {"kind": kind, "options": options, "progress": advance, "say": say or first.append}
            return first + upscale_clip(upscaler, source, target, **clip)
        return upscale_image(upscaler, source, target, options=options, progress=advance)


def upscale_image(upscaler, source, target, *, options, progress):
    picture = read_image(source, options.max_pixels)
    height, width = picture.pixels.shape[:2]
    check_memory(source, picture.pixels.nbytes * upscaler.scale**2)
    result = upscaled_picture(upscaler, picture.pixels, alpha=options.alpha, progress=progress)
    picture.pixels = resized_picture(result, options.result_size(width, height, upscaler.scale), alpha=options.alpha)
    return picture.notes + write_image(picture, target, quality=options.quality)


def upscaled_picture(upscaler, pixels: np.ndarray, *, alpha: str = "transparency", progress=None) -> np.ndarray:
    """(H, W, C) -> (scale H, scale W, C), where nothing that is stored is lost.

    An upscaler fills what is fully transparent from what is visible beside it, so that no fringe appears. But a game's
    texture holds colors there that are shown: they come from a second run, of the colors as they are stored.

        color   A A B B         filled   A A A A         result   A A | B B
        alpha   9 9 0 0    ->   stored   A A B B    ->   alpha    9 9 | 0 0

    Args:
        alpha: "data" for a channel that has nothing to do with transparency: all colors are taken as they are stored.
            So they are where alpha is 0 everywhere, whatever this says.
    """
    channels = pixels.shape[-1]
    if channels in (1, 3):
        return upscaler.image(pixels, progress)
    colors, alphas = np.ascontiguousarray(pixels[..., :-1]), np.ascontiguousarray(pixels[..., -1:])
    if alpha == "data" or not alphas.any():
        first, second = in_parts(progress, 2)
        alphas = upscaler.image(alphas, second) if alphas.any() else np.zeros(1, alphas.dtype)
        colors = upscaler.image(colors, first)
        return np.concatenate([colors, np.broadcast_to(alphas, (*colors.shape[:2], 1))], axis=-1)
    if not has_hidden_colors(pixels):
        return upscaler.image(pixels, progress)
    first, second = in_parts(progress, 2)
    result, stored = upscaler.image(pixels, first), upscaler.image(colors, second)
    result[..., :-1] = np.where(result[..., -1:] == 0, stored, result[..., :-1])
    return result


def in_parts(progress, count):
    """`progress` for each of `count` pieces of work of equal size."""

    def part(number):
        return progress and (lambda done, total: progress(number * total + done, count * total))

    return [part(number) for number in range(count)]


def resized_picture(pixels, size, *, alpha):
    """As `pixels.resize`, which lets colors count by their alpha; those under alpha 0 are kept as they are stored."""
    if pixels.shape[-1] in (1, 3) or pixels.shape[1::-1] == tuple(size):
        return resize(pixels, size)
    if alpha == "data" or not pixels[..., -1].any():
        parts = np.ascontiguousarray(pixels[..., :-1]), np.ascontiguousarray(pixels[..., -1:])
        return np.concatenate([resize(part, size) for part in parts], axis=-1)
    result = resize(pixels, size)
    if has_hidden_colors(pixels):
        stored = resize(np.ascontiguousarray(pixels[..., :-1]), size)
        result[..., :-1] = np.where(result[..., -1:] == 0, stored, result[..., :-1])
    return result


def check_memory(source, result_bytes):
    """Raises before hours of work that would end without memory: the result is there twice while it is written."""
    if 2 * result_bytes > available_memory():
        needed, there = (f"{size / 2**30:.1f} GB" for size in (2 * result_bytes, available_memory()))
        raise ValueError(f"{source}: its result takes {needed} of memory. Expected at most the {there} that are free.")


@contextmanager
def progress_bar(source, unit, progress):
    """A progress bar on a terminal that also passes on to `progress`."""
    if hasattr(sys.stderr, "isatty") and not sys.stderr.isatty():
        yield progress
        return
    from tqdm import tqdm  # here, since a small picture without a bar is done nearly as soon

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
