"""One file through the engine of the command line, and what the page shows of it: before, after, scores."""

import functools
import time
import zipfile
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from srwgan.convert.clips import READERS, as_browsers_play, opaque
from srwgan.convert.files import upscale_file
from srwgan.convert.jobs import Job, kind_of, plan_target
from srwgan.convert.options import Options
from srwgan.measuring.metrics import psnr, ssim
from srwgan.media.still.images import fit_pixels, read_image, write_image
from srwgan.media.video import VideoWriter
from srwgan.pixels import resize, to_range

SHOWN_BY_BROWSERS = ("PNG", "JPEG", "WEBP", "BMP", "AVIF")
MOST_SHOWN_PIXELS = 40_000_000  # of a picture on the page; phones show no more
PANEL = 1920, 2160  # largest half of a preview: common video decoders take 4096 x 2304
GAP = 4
PICTURE_TILE = 192  # the same pixels as any, and a cancelled job ends sooner
THUMBNAIL = 160, 160
LARGEST_ERROR = 64  # in 1/255, the error map's brightest colour


@dataclass
class Result:
    """What became of one file.

    Attributes:
        name: the source's.
        path: the result, as the command line makes it.
        preview: "picture" (before and after are images) or "clip" (after is a video of both side by side).
        size, result_size: (width, height).
        seconds: of upscaling, reading and writing.
        scores: {method: {"PSNR": dB, "SSIM": ..., "LPIPS": ...}} against an original, or empty.
        notes: lines for the user.
    """

    name: str
    path: Path
    preview: str
    size: tuple
    result_size: tuple
    seconds: float
    model: str
    precision: str
    before: Path | None = None
    after: Path | None = None
    thumbnail: Path | None = None
    scores: dict = field(default_factory=dict)
    error_map: Path | None = None
    notes: list = field(default_factory=list)


def make_result(job, limits, upscaler, model, source, folder, options, original=None):
    """Upscale the file `source` into `folder`; `job` hears of the progress and can end it (`CancelledError`).

    Raises ValueError and OSError as `srwgan.convert.files.upscale_file` does, and for what is over the limits.
    """
    job.start("Reading")
    kind, size = limits.check(source)
    limits.check_result(source, *options.result_size(*size, upscaler.scale))
    limits.check_result(source, *(side * upscaler.scale for side in size))
    if original and kind != "image":
        raise ValueError(f"{source}: an original can be compared with an image, not with a {kind}.")
    if original and limits.check(original)[0] != "image":
        raise ValueError(f"{original}: not an image. Expected the original of {source.name} in high resolution.")
    upscaler.tile = PICTURE_TILE if kind == "image" else None
    target, notes = plan_target(Job(source, folder), scale=upscaler.scale, options=options)
    target = unused(target)

    def progress(done, total):
        if kind != "image":
            limits.check_frames(source, done)  # a header may say less
        job.progress(done, total)

    job.start("Upscaling" if kind == "image" else "Frame")
    started = time.perf_counter()
    notes = notes + upscale_file(upscaler, source, target, options=options, progress=progress)
    seconds = time.perf_counter() - started

    result = Result(source.name, target, "picture", size, size, seconds, model, upscaler.precision, notes=notes)
    if kind == "image":
        show_picture(job, result, source, original, upscaler.scale)
    else:
        show_clip(job, result, source, kind)
    return result


def unused(path):
    number, stem = 2, path.stem
    while path.exists():
        path, number = path.with_name(f"{stem}_{number}{path.suffix}"), number + 1
    return path


# Pictures


def show_picture(job, result, source, original, scale):
    job.start("Preparing the view")
    before, after = read_image(source), read_image(result.path)
    result.size, result.result_size = before.pixels.shape[1::-1], after.pixels.shape[1::-1]  # upright
    result.before = viewable(source, before, result.path.parent / "views")
    result.after = viewable(result.path, after, result.path.parent / "views")
    result.thumbnail = save_thumbnail(after.pixels, result)
    if original:
        compare(job, result, before, after, original, scale)


def viewable(path, picture, folder):
    """The file itself where browsers show it as it is meant; else a PNG of it."""
    height, width = picture.pixels.shape[:2]
    if picture.format in SHOWN_BY_BROWSERS and not picture.notes and height * width <= MOST_SHOWN_PIXELS:
        return path
    factor = min(1, (MOST_SHOWN_PIXELS / (height * width)) ** 0.5)
    pixels = resize(picture.pixels, (max(1, int(width * factor)), max(1, int(height * factor))))
    picture.pixels, shown = pixels, folder / f"{path.name}.png"
    folder.mkdir(exist_ok=True)
    write_image(picture, shown, "png")
    return shown


def save_thumbnail(pixels, result):
    pixels = as_rgb(pixels)
    width, height = pixels.shape[1::-1]
    factor = min(THUMBNAIL[0] / width, THUMBNAIL[1] / height, 1)
    path = result.path.parent / "views" / f"{result.path.name}.jpg"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(resize(pixels, (max(1, int(width * factor)), max(1, int(height * factor))))).save(path, quality=80)
    return path


def as_rgb(pixels):
    """(H, W, 3) uint8 of pixels with any channels and depth, put on white."""
    pixels, _ = fit_pixels(pixels, "JPEG", "")
    return pixels if pixels.shape[2] == 3 else pixels.repeat(3, 2)


# Scores


def compare(job, result, before, after, original, scale):
    """PSNR, SSIM, LPIPS and an error map of the result, and the scores of bicubic interpolation beside them."""
    job.start("Comparing with the original")
    truth, picture = as_rgb(read_image(original).pixels), as_rgb(after.pixels)
    if truth.shape != picture.shape:
        sizes = [f"{pixels.shape[1]}x{pixels.shape[0]}" for pixels in (truth, picture)]
        result.notes.append(f"No scores: the original has {sizes[0]} pixels. Expected those of the result, {sizes[1]}.")
        return
    if min(truth.shape[:2]) < 48:
        result.notes.append("No scores: the original is too small. Expected at least 48x48 pixels.")
        return
    bicubic = resize(as_rgb(before.pixels), picture.shape[1::-1], Image.Resampling.BICUBIC)
    for method, pixels in ((result.model, picture), ("Bicubic", bicubic)):
        job.check()
        result.scores[method] = {
            "PSNR": psnr(pixels, truth, scale),
            "SSIM": ssim(pixels, truth, scale),
            "LPIPS": lpips(pixels, truth),
        }
    result.error_map = result.path.parent / "views" / f"{result.path.stem}_error.png"
    Image.fromarray(error_map(picture, truth)).save(result.error_map)


def lpips(picture, original):
    return float(lpips_network()(to_range(picture[None]), to_range(original[None]))[0])


@functools.cache
def lpips_network():
    from srwgan.measuring.lpips import LPIPS

    return LPIPS()


def error_map(picture, original):
    """(H, W, 3) uint8: black where equal, bright yellow where the channels' mean error is LARGEST_ERROR or more."""
    from matplotlib import colormaps

    error = np.abs(picture.astype(np.int16) - original).mean(2) / LARGEST_ERROR
    return colormaps["inferno"](np.minimum(error, 1), bytes=True)[..., :3]


# GIFs and videos


def show_clip(job, result, source, kind):
    """A video of before and after side by side, which cannot drift apart as two players would."""
    read, read_result = READERS[kind], READERS[kind_of(result.path)]
    result.preview = "clip"
    result.after = result.path.parent / "views" / f"{result.path.stem}_view.mp4"
    result.after.parent.mkdir(exist_ok=True)
    with read(source, Options()) as before, read_result(result.path, Options()) as after:
        result.size, result.result_size = before.size, after.size
        factor = min(1, PANEL[0] / after.size[0], PANEL[1] / after.size[1])
        panel = tuple(max(2, round(side * factor)) for side in after.size)
        job.start("Preparing the view: frame")
        with (
            VideoWriter(result.after, (2 * panel[0] + GAP, panel[1])) as writer,
            closing(before.frames() if kind == "video" else as_browsers_play(before, 0)) as frames_before,
            closing(after.frames()) as frames_after,
        ):
            for done, (one, other) in enumerate(zip(frames_before, frames_after, strict=False), 1):
                halves = [resize(opaque(pixels), panel, Image.Resampling.BICUBIC) for pixels, *_ in (one, other)]
                if result.thumbnail is None:
                    result.thumbnail = save_thumbnail(halves[1], result)
                start, duration = (moment and Fraction(moment) / 1000 for moment in one[1:])
                writer.write(side_by_side(*halves), start, duration)
                job.progress(done, after.frame_count)


def side_by_side(left, right):
    return np.concatenate([left, np.full((left.shape[0], GAP, 3), 128, np.uint8), right], 1)


def make_zip(results, path):
    """All results in one file, as they are: they are compressed already."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for result in results:
            archive.write(result.path, result.path.name)
    return path
