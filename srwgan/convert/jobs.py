"""Which files are upscaled, what kind each is, and where its result goes: NAME_SR.EXT."""

import os
from dataclasses import dataclass
from pathlib import Path

from srwgan.convert.options import MOVING_SUFFIXES
from srwgan.media.still.images import FORMATS, SUFFIXES, output_format, read_header
from srwgan.media.video import CONTAINERS
from srwgan.whole_files import check_file

VIDEO_SUFFIXES = {*CONTAINERS, ".3gp", ".avi", ".flv", ".m2ts", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".wmv"}
IMAGE_SUFFIXES = {*SUFFIXES, ".avif", ".dds", ".ico", ".jfif", ".jp2", ".pbm", ".pcx", ".pgm", ".ppm", ".psd", ".tga"}


@dataclass(frozen=True)
class Job:
    """One file to upscale.

    Attributes:
        source: the file.
        folder: that of its result.
        name: the result's, where the user gave one, else None.
    """

    source: Path
    folder: Path
    name: str | None = None


def find_jobs(inputs, output, suffix=None):
    """The `Job`s of files and of what is in folders.

    `suffix` is that of the format asked for; raises as `upscale_paths` does.
    """
    inputs, output = [Path(path) for path in inputs], Path(output)
    for path in inputs:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder.")
    if output.suffix.lower() in (*SUFFIXES, *MOVING_SUFFIXES) and not output.is_dir():
        if len(inputs) > 1 or inputs[0].is_dir():
            raise ValueError(f"Received: output {output}, a file, for several. Expected a folder.")
        if suffix and SUFFIXES.get(suffix, suffix) != SUFFIXES.get(output.suffix.lower(), output.suffix.lower()):
            raise ValueError(f"Received: output {output} and format {suffix[1:]}. Expected one of them.")
        return [Job(inputs[0], output.parent, output.name)]
    if output.exists() and not output.is_dir():
        raise ValueError(f"Received: output {output}, a file of another kind. Expected a folder.")
    jobs, seen = [], set()
    for path in inputs:
        found = files_in(path, output) if path.is_dir() else [path]
        for source in found:
            if source.resolve() not in seen:
                seen.add(source.resolve())
                jobs.append(Job(source, output / source.parent.relative_to(path) if path.is_dir() else output))
    return jobs


def files_in(folder, output):
    """Sorted images, GIFs and videos under a folder, hidden ones and results left out."""
    output, found = output.resolve(), []
    for parent, folders, names in os.walk(folder):
        parent = Path(parent)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and (parent / f).resolve() != output)
        for name in sorted(names):
            path = parent / name
            known = path.suffix.lower() in (*IMAGE_SUFFIXES, ".gif", *VIDEO_SUFFIXES)
            result = path.stem.endswith("_SR") and folder.resolve() == output
            if known and not name.startswith(".") and not result:
                found.append(path)
    return found


def plan_target(job, *, scale, options):
    """(path of the job's result, lines to show about its format).

    Args:
        job: a `Job`.
        scale: the generator's.
        options: the `Options`.

    Raises:
        ValueError, OSError: the source cannot be read, or its result would be larger than its format holds.
    """
    source = job.source
    if job.name:
        return job.folder / job.name, []
    kind, notes = kind_of(source), []
    moving = options.suffix in MOVING_SUFFIXES
    if kind == "image":
        header = read_header(source, options.max_pixels)
        size = options.result_size(header.width, header.height, scale)
        chosen, note = output_format(header, *size, None if moving else options.format)
        notes = [f"{source}: {note}"] if note else []
        suffix = source.suffix if SUFFIXES.get(source.suffix.lower()) == chosen else FORMATS[chosen].suffix
    elif moving:
        suffix = options.suffix
    elif kind == "gif":
        suffix = ".gif"
    elif source.suffix.lower() in CONTAINERS:
        suffix = source.suffix
    else:
        suffix, notes = ".mp4", [f"{source}: {source.suffix} is not written: MP4 instead."]
    return job.folder / f"{source.stem}_SR{suffix}", notes


def kind_of(path):
    """Whether a file is an "image", a "gif" or a "video", by content where that tells; raises for what is no file."""
    check_file(path)
    suffix = Path(path).suffix.lower()
    with open(path, "rb") as file:
        start = file.read(12)
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if suffix in VIDEO_SUFFIXES:
        return "video"
    is_image = start[:4] in (b"\x89PNG", b"RIFF") or start[:3] == b"\xff\xd8\xff"
    return "gif" if suffix == ".gif" and not is_image else "image"


def claim(claimed, source, target):
    """Raises where an earlier file of this run has the same result."""
    earlier = claimed.setdefault(os.path.normcase(target.resolve()), source)
    if earlier != source:
        raise ValueError(f"{source}: its result {target} is that of {earlier}. Expected other names or folders.")


def is_done(source, target):
    return target.is_file() and target.stat().st_mtime >= source.stat().st_mtime
