"""What browsers show of a file: a picture as it is or as PNG, a GIF or video as a clip of both side by side."""

from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from srwgan.convert.clips import READERS, as_browsers_play, opaque
from srwgan.convert.jobs import kind_of
from srwgan.convert.options import Options
from srwgan.media.still.images import fit_pixels, write_image
from srwgan.media.video import VideoWriter
from srwgan.pixels import resize

SHOWN_BY_BROWSERS = ("PNG", "JPEG", "WEBP", "BMP", "AVIF")
MOST_SHOWN_PIXELS = 40_000_000  # of a picture on the page; phones show no more
PANEL = 1920, 2160  # largest half of a clip: common video decoders take 4096 x 2304
GAP = 4  # pixels between the halves, so that neither's edge bleeds into the other where the clip is compressed
THUMBNAIL = 160, 160


def viewable(path: Path, picture, folder: Path) -> Path:
    """The file itself where browsers show it as it is meant; else a PNG of it in `folder`.

    Args:
        path: the file.
        picture: what `read_image` read from it.
    """
    height, width = picture.pixels.shape[:2]
    if picture.format in SHOWN_BY_BROWSERS and not picture.notes and height * width <= MOST_SHOWN_PIXELS:
        return path
    factor = min(1, (MOST_SHOWN_PIXELS / (height * width)) ** 0.5)
    picture.pixels = resize(picture.pixels, (max(1, int(width * factor)), max(1, int(height * factor))))
    folder.mkdir(exist_ok=True)
    shown = folder / f"{path.name}.png"
    write_image(picture, shown, "png")
    return shown


def save_thumbnail(pixels, path: Path) -> Path:
    """A small JPEG of (H, W, C) pixels, in the folder `views` beside `path`."""
    pixels = as_rgb(pixels)
    width, height = pixels.shape[1::-1]
    factor = min(THUMBNAIL[0] / width, THUMBNAIL[1] / height, 1)
    thumbnail = path.parent / "views" / f"{path.name}.jpg"
    thumbnail.parent.mkdir(exist_ok=True)
    size = max(1, int(width * factor)), max(1, int(height * factor))
    Image.fromarray(resize(pixels, size)).save(thumbnail, quality=80)
    return thumbnail


def as_rgb(pixels):
    """(H, W, 3) uint8 of pixels with any channels and depth, put on white."""
    pixels, _ = fit_pixels(pixels, "JPEG", "")
    return pixels if pixels.shape[2] == 3 else pixels.repeat(3, 2)


def write_clip(job, source: Path, result: Path, kind: str):
    """A video of what moves, before and after, side by side, which cannot drift apart as two players would.

    The page draws its left and right halves one over the other.

    Args:
        job: hears of the progress and can end it (`CancelledError`).
        kind: the source's, "gif", "animation" or "video".

    Returns:
        (path of the video, size before, size after, path of a thumbnail); sizes are (width, height).
    """
    read, read_result = READERS[kind], READERS[kind_of(result)]
    clip, thumbnail = result.parent / "views" / f"{result.stem}_view.mp4", None
    clip.parent.mkdir(exist_ok=True)
    with read(source, Options()) as before, read_result(result, Options()) as after:
        factor = min(1, PANEL[0] / after.size[0], PANEL[1] / after.size[1])
        panel = tuple(max(2, round(side * factor)) for side in after.size)
        job.start("Preparing the view")
        with (
            VideoWriter(clip, (2 * panel[0] + GAP, panel[1])) as writer,
            closing(before.frames() if kind == "video" else as_browsers_play(before, 0)) as frames_before,
            closing(after.frames()) as frames_after,
        ):
            for done, (one, other) in enumerate(zip(frames_before, frames_after, strict=False), 1):
                halves = [resize(opaque(pixels), panel, Image.Resampling.BICUBIC) for pixels, *_ in (one, other)]
                if thumbnail is None:
                    thumbnail = save_thumbnail(halves[1], result)
                start, duration = (moment and Fraction(moment) / 1000 for moment in one[1:])
                writer.write(side_by_side(*halves), start, duration)
                job.progress(done, after.frame_count)
    return clip, before.size, after.size, thumbnail


def side_by_side(left, right):
    return np.concatenate([left, np.full((left.shape[0], GAP, 3), 128, np.uint8), right], 1)
