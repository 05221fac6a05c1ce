"""Files and folders through an upscaler: images, GIFs and videos in; images, GIFs and videos out.

A result is named NAME_SR.EXT.
"""

import os
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from srwgan.convert.clips import upscale_clip
from srwgan.media.gif.palettes import DITHERS
from srwgan.media.still.images import (
    FORMATS,
    MAX_PIXELS,
    SUFFIXES,
    check_quality,
    output_format,
    read_header,
    read_image,
    write_image,
)
from srwgan.media.video import CODECS, CONTAINERS
from srwgan.memory import available_memory
from srwgan.pixels import resize
from srwgan.whole_files import check_file

VIDEO_SUFFIXES = {*CONTAINERS, ".3gp", ".avi", ".flv", ".m2ts", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".wmv"}
IMAGE_SUFFIXES = {*SUFFIXES, ".avif", ".dds", ".ico", ".jfif", ".jp2", ".pbm", ".pcx", ".pgm", ".ppm", ".psd", ".tga"}
MOVING_SUFFIXES = (".gif", *CONTAINERS)
PALETTES = ("adaptive", "frame", "global")


@dataclass(frozen=True)
class Options:
    """How results are made and stored.

    Attributes:
        scale_out: result's size : source's size, instead of the generator's own scale; by Lanczos after the generator.
        size: (width, height) of the result, exactly, instead.
        format: "png", "jpg", "webp", "bmp", "tif" for images; "gif", "mp4", "mov", "mkv", "webm" for GIFs and videos.
        quality: 1 to 100, of JPEG and WebP.
        deband: smooth a GIF's dither before upscaling.
        reuse: upscale only what changed since the frame before (exact, faster).
        palette, dither: of GIFs, see `PALETTES` and `palettes.DITHERS`.
        gifsicle: make GIFs smaller with gifsicle.
        codec, crf: of videos, see `videos.CODECS`.
        resume: go on with an interrupted video.
        max_pixels: the largest picture that is decoded.
    """

    scale_out: float | None = None
    size: tuple[int, int] | None = None
    format: str | None = None
    quality: int | None = None
    deband: bool = False
    reuse: bool = True
    palette: str = "adaptive"
    dither: str = "ordered"
    gifsicle: bool = True
    codec: str | None = None
    crf: int | None = None
    resume: bool = False
    max_pixels: int = MAX_PIXELS

    def __post_init__(self):
        if self.scale_out is not None and self.size is not None:
            raise ValueError("Received: scale_out and size. Expected one of them.")
        if self.scale_out is not None and not 0 < self.scale_out <= 64:
            raise ValueError(f"Received: scale_out={self.scale_out:g}. Expected more than 0, at most 64.")
        if self.size is not None and not all(1 <= side <= 100_000 for side in self.size):
            raise ValueError(f"Received: size={self.size[0]}x{self.size[1]}. Expected 1 to 100000 pixels each way.")
        check_quality(self.quality)
        check_choice("format", self.suffix and self.suffix[1:], [s[1:] for s in (*SUFFIXES, *MOVING_SUFFIXES)])
        check_choice("palette", self.palette, PALETTES)
        check_choice("dither", self.dither, DITHERS)
        check_choice("codec", self.codec, tuple(CODECS))
        most = CODECS[self.codec].max_crf if self.codec else max(codec.max_crf for codec in CODECS.values())
        if self.crf is not None and not 0 <= self.crf <= most:
            raise ValueError(f"Received: crf={self.crf}. Expected 0 (best) to {most}.")

    @property
    def suffix(self):
        """`format` as a file's suffix, or None."""
        return "." + self.format.lower().lstrip(".") if self.format else None

    def result_size(self, width, height, scale):
        """(width, height) of the result of a width x height source."""
        if self.size:
            return self.size
        factor = self.scale_out or scale
        return max(1, round(width * factor)), max(1, round(height * factor))


def check_choice(name, value, choices):
    if value is not None and value not in choices:
        raise ValueError(f"Received: {name}={value}. Expected one of {', '.join(choices)}.")


@dataclass
class Report:
    """What became of the files: `done` and `skipped` [(source, result)], `failed` [(source, reason)]."""

    done: list = field(default_factory=list)
    skipped: list = field(default_factory=list)
    failed: list = field(default_factory=list)


def upscale_paths(upscaler, inputs, output, options=None, overwrite=False, progress=None, say=None, gif_upscaler=None):
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
    for number, (source, folder, name) in enumerate(jobs, 1):
        place = f"[{number}/{len(jobs)}] " if len(jobs) > 1 else ""
        try:
            own = gif_upscaler() if gif_upscaler and kind_of(source) == "gif" else upscaler
            target, notes = (folder / name, []) if name else plan_target(source, folder, own.scale, options)
            claim(claimed, source, target)
            if not overwrite and is_done(source, target):
                report.skipped.append((source, target))
                continue
            with existing_folder(folder):
                notes += upscale_file(own, source, target, options, for_file(progress, source))
            for line in notes:
                say(line)
            say(f"{place}{source} -> {target}")
            report.done.append((source, target))
        except Exception as error:  # whatever is wrong with this file, the others are still to be done
            report.failed.append((source, reason(error, source)))
            say(f"{place}{report.failed[-1][1]}")
    return report


def upscale_file(upscaler, source, target, options=None, progress=None):
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
            return upscale_clip(upscaler, source, target, kind, options, advance)
        return upscale_image(upscaler, source, target, options, advance)


def upscale_image(upscaler, source, target, options, progress):
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


# Which files, and where to


def find_jobs(inputs, output, suffix=None):
    """[(source, folder of its result, name of its result or None)] of files and of what is in folders.

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
        return [(inputs[0], output.parent, output.name)]
    if output.exists() and not output.is_dir():
        raise ValueError(f"Received: output {output}, a file of another kind. Expected a folder.")
    jobs, seen = [], set()
    for path in inputs:
        found = files_in(path, output) if path.is_dir() else [path]
        for source in found:
            if source.resolve() not in seen:
                seen.add(source.resolve())
                jobs.append((source, output / source.parent.relative_to(path) if path.is_dir() else output, None))
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


def plan_target(source, folder, scale, options):
    """(path of the result, lines to show about its format)."""
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
    return folder / f"{source.stem}_SR{suffix}", notes


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


def claim(claimed, source, target):
    """Raises where an earlier file of this run has the same result."""
    earlier = claimed.setdefault(os.path.normcase(target.resolve()), source)
    if earlier != source:
        raise ValueError(f"{source}: its result {target} is that of {earlier}. Expected other names or folders.")


def is_done(source, target):
    return target.is_file() and target.stat().st_mtime >= source.stat().st_mtime


def for_file(progress, source):
    return progress and (lambda done, total: progress(source, done, total))


def reason(error, source):
    """An error as one line that names the file."""
    line = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, (ValueError, OSError, ImportError, MemoryError)):
        line = f"{type(error).__name__}: {line}"
    return line if str(source) in line else f"{source}: {line}"


def print_line(line):
    tqdm.write(line, file=sys.stderr)
