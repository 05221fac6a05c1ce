"""One file through the engine of the command line, and what the page shows of it."""

import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from srwgan.convert.files import upscale_file
from srwgan.convert.jobs import Job as FileJob
from srwgan.convert.jobs import plan_target
from srwgan.media.still.images import read_image
from utils.app.previews import GAP, save_thumbnail, viewable, write_clip
from utils.app.scores import compare

INFINITE = float("inf")
KINDS = {"image": "a picture", "gif": "a GIF", "animation": "an animation", "video": "a video"}


@dataclass
class Result:
    """What became of one file.

    Attributes:
        name: the source's.
        path: the result, as the command line makes it.
        kind: "image", "gif", "animation" or "video".
        size, result_size: (width, height).
        seconds: of upscaling, reading and writing.
        precision: the one that was computed in.
        before, after: for an image the files to show; for a clip `after` is a video of both side by side.
        thumbnail: a small picture of the result.
        scores: {method: {"PSNR": dB, "SSIM": ..., "LPIPS": ...}} against an original, or empty.
        error_map: a picture of the errors against an original, or None.
        notes: lines for the user.
    """

    name: str
    path: Path
    kind: str
    size: tuple
    result_size: tuple
    seconds: float
    precision: str
    before: Path | None = None
    after: Path | None = None
    thumbnail: Path | None = None
    scores: dict = field(default_factory=dict)
    error_map: Path | None = None
    notes: list = field(default_factory=list)


def make_result(job, source: Path, folder: Path, *, limits, upscaler, options, original: Path | None = None) -> Result:
    """Upscale the file `source` into `folder`.

    Args:
        job: hears of the progress and can end it (`CancelledError`).
        limits: the `Limits`, which are checked once more.
        upscaler: the `Upscaler`.
        options: the `Options`.
        original: the same picture in high resolution, to be compared with; a note says where it does not fit.

    Raises:
        ValueError: the file is over the limits, or as `upscale_file` does.
        OSError: as `upscale_file` does.
    """
    job.start("Reading")
    facts = limits.check(source)
    limits.check_result(source, *options.result_size(facts.width, facts.height, upscaler.scale))
    limits.check_result(source, facts.width * upscaler.scale, facts.height * upscaler.scale)
    target, notes = plan_target(FileJob(source, folder), scale=upscaler.scale, options=options)

    def progress(done, total):
        if facts.kind != "image":
            limits.check_frames(source, done)  # a header may say less
        job.progress(done, total)

    job.start("Upscaling")
    started = time.perf_counter()
    notes = notes + upscale_file(upscaler, source, target, options=options, progress=progress)
    seconds = time.perf_counter() - started

    size = facts.width, facts.height
    result = Result(source.name, target, facts.kind, size, size, seconds, upscaler.precision, notes=notes)
    if facts.kind == "image":
        show_picture(job, result, source=source, original=original, scale=upscaler.scale)
    else:
        result.after, result.size, result.result_size, result.thumbnail = write_clip(job, source, target, facts.kind)
        if original:
            result.notes.append(
                f"Not compared with {original.name}: only pictures are, and {source.name} is {KINDS[facts.kind]}."
            )
    return result


def show_picture(job, result, *, source, original, scale):
    job.start("Preparing the view")
    before, after = read_image(source), read_image(result.path)
    result.size, result.result_size = before.pixels.shape[1::-1], after.pixels.shape[1::-1]  # upright
    views = result.path.parent / "views"
    result.thumbnail = save_thumbnail(after.pixels, result.path)
    if original:
        compare(job, result, before=before, after=after, original=original, scale=scale)
    result.before, result.after = viewable(source, before, views), viewable(result.path, after, views)


def described(result: Result, publish) -> dict:
    """What the page is told of a result.

    Args:
        publish: gives the address of a file.
    """
    shown = {name: getattr(result, name) for name in ("before", "after", "thumbnail", "error_map")}
    scores = {
        method: {name: None if value == INFINITE else value for name, value in values.items()}
        for method, values in result.scores.items()
    }
    return {
        "name": result.name,
        "kind": result.kind,
        "size": result.size,
        "result_size": result.result_size,
        "seconds": round(result.seconds, 2),
        "precision": result.precision,
        "gap": GAP,
        "notes": result.notes,
        "scores": scores,
        "file": {"name": result.path.name, "bytes": result.path.stat().st_size, "url": publish(result.path)},
        **{name: path and publish(path) for name, path in shown.items()},
    }


def make_zip(results: list[Path], path: Path) -> Path:
    """All results in one file, as they are, since they are compressed already; equal names get a number."""
    names = set()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for result in results:
            name, number = result.name, 2
            while name in names:
                name, number = f"{result.stem}_{number}{result.suffix}", number + 1
            names.add(name)
            archive.write(result, name)
    return path
