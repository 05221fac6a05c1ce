"""Which files are upscaled, and where the result of each goes: NAME_SR.EXT."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from srwgan.convert.options import MOVING_SUFFIXES
from srwgan.media import animation
from srwgan.media.kinds import HEAD_BYTES, VIDEO_SUFFIXES, is_media, kind_of, type_of
from srwgan.media.still.images import FORMATS, OTHER_SUFFIXES, SUFFIXES, output_format, read_header
from srwgan.media.video import CONTAINERS
from srwgan.whole_files import walk

__all__ = ["Found", "Job", "find_jobs", "is_done", "kind_of", "own_targets", "plan_target"]

LONGEST_NAME = 255  # bytes, in nearly all file systems
NAMED = 5  # files that a line about those passed over names


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


@dataclass(frozen=True)
class Found:
    """What is in files and folders: the `Job`s, and files of folders that are no image, GIF or video."""

    jobs: list[Job] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)

    def line(self) -> str | None:
        """A line about what is passed over, None where nothing is."""
        if not self.passed_over:
            return None
        names = ", ".join(str(path) for path in self.passed_over[:NAMED])
        more = f" and {len(self.passed_over) - NAMED} more" if len(self.passed_over) > NAMED else ""
        files = "1 file" if len(self.passed_over) == 1 else f"{len(self.passed_over)} files"
        return f"{files} passed over, no image, GIF or video: {names}{more}."


def find_jobs(inputs, output, suffix: str | None = None) -> Found:
    """What is to be done of files and of what is in folders.

    Args:
        inputs: files and folders.
        output: as in `upscale_paths`.
        suffix: of the format asked for.

    Raises:
        FileNotFoundError: an input is not there.
        ValueError: `output` cannot be what it is asked to be.
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
        return Found([Job(inputs[0], output.parent, output.name)])
    if output.exists() and not output.is_dir():
        raise ValueError(f"Received: output {output}, a file of another kind. Expected a folder.")
    found, seen = Found(), set()
    for path in inputs:
        for source in files_in(path, output, found.passed_over) if path.is_dir() else [path]:
            if source.resolve() not in seen:
                seen.add(source.resolve())
                folder = output / source.parent.relative_to(path) if path.is_dir() else output
                found.jobs.append(Job(source, folder))
    return found


def files_in(folder, output, passed_over):
    """Sorted images, GIFs and videos under a folder, hidden ones and results left out; others go to `passed_over`.

    Links are followed, but none into a folder that is being gone through.
    """
    output, found = output.resolve(), []
    for parent, folders, names in walk(folder):
        parent = Path(parent)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and not name.endswith(".parts")  # of a video that was interrupted
            and (parent / name).resolve() != output
        ]
        for name in names:
            path = parent / name
            if name.startswith(".") or (path.stem.endswith("_SR") and folder.resolve() == output):
                continue
            (found if is_readable_media(path) else passed_over).append(path)
    return found


def is_readable_media(path):
    try:
        return path.is_file() and is_media(path)
    except OSError:
        return True  # the job says what is wrong with it


def plan_target(job: Job, *, scale: int, options) -> tuple[Path, list[str]]:
    """(path of the job's result, lines to show about its format).

    Args:
        scale: the generator's.
        options: the `Options`.

    Raises:
        ValueError, OSError: the source cannot be read, or its result would be larger than its format holds.
    """
    source = job.source
    if job.name:
        return job.folder / job.name, []
    kind, own, notes = kind_of(source), source.suffix.lower(), []
    moving = options.suffix in MOVING_SUFFIXES
    if kind == "image":
        header = read_header(source, options.max_pixels)
        size = options.result_size(header.width, header.height, scale)
        chosen, note = output_format(header, *size, options.format if options.suffix in SUFFIXES else None)
        notes = [f"{source}: {note}"] if note else []
        suffix = source.suffix if {**SUFFIXES, **OTHER_SUFFIXES}.get(own) == chosen else FORMATS[chosen].suffix
    elif moving:
        suffix = options.suffix
    elif kind == "gif":
        suffix = ".gif"
    elif kind == "animation":
        suffix = source.suffix if own in animation.SUFFIXES else animation_suffix(source)
    elif own in CONTAINERS:
        suffix = source.suffix
    else:
        suffix = ".mp4"
        what = f"{source.suffix} is not written" if own in VIDEO_SUFFIXES else "is a video"
        notes = [f"{source}: {what}: MP4 instead."]
    name = f"{source.stem}_SR{suffix}"
    if len(os.fsencode(name)) > LONGEST_NAME:
        raise ValueError(
            f"{source}: its result's name would be {len(os.fsencode(name))} bytes long. Expected --output NAME."
        )
    return job.folder / name, notes


def animation_suffix(source):
    """The ending of an animation whose name has another: by its content."""
    with open(source, "rb") as file:
        return {"PNG": ".png", "WEBP": ".webp", "AVIF": ".avif"}[type_of(file.read(HEAD_BYTES))]


def own_targets(planned: list[tuple[Job, Path]]) -> list[Path | None]:
    """A target of its own for each (job, target); None where the names run out.

    The source with the result's own ending keeps NAME_SR.EXT. Others are named by their ending, or by their folder:

        clip.mp4 -> clip_SR.mp4        x/a.png -> a_SR.png
        clip.avi -> clip_avi_SR.mp4    y/a.png -> a_y_SR.png
    """
    owners, targets = {}, [None] * len(planned)
    order = sorted(range(len(planned)), key=lambda number: not has_own_ending(*planned[number]))
    for number in order:
        job, target = planned[number]
        for name in (target, *other_names(job, target)):
            if owners.setdefault(os.path.normcase(name.resolve()), job.source) == job.source:
                targets[number] = name
                break
    return targets


def has_own_ending(job, target):
    return target.suffix.lower() == job.source.suffix.lower()


def other_names(job, target):
    """Names of a result whose NAME_SR.EXT is taken."""
    stem, ending, folder = job.source.stem, job.source.suffix[1:].lower(), job.source.resolve().parent.name
    words = [folder] if has_own_ending(job, target) else [ending, folder, f"{folder}_{ending}"]
    if job.name:
        return []
    return [target.with_name(f"{stem}_{word}_SR{target.suffix}") for word in words if word]


def is_done(source: Path, target: Path) -> bool:
    """Whether there is a result that is not older than its source."""
    return target.is_file() and target.stat().st_mtime >= source.stat().st_mtime
