"""APNG, animated WebP and AVIF sequences as players show them, a frame at a time, decoded by Pillow."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from srwgan.media.animation.composing import composed
from srwgan.media.still import png
from srwgan.media.still.decoding import reduced_bits
from srwgan.media.still.encoding import Extras
from srwgan.media.still.errors import Damaged, decoding_errors
from srwgan.media.still.images import MAX_PIXELS, deep_png, open_image
from srwgan.media.still.metadata import UPRIGHT, take_exif, take_xmp
from srwgan.whole_files import read_unchanged


class AnimationReader:
    """The frames of an animation as they are played: `for rgba, duration_ms in reader`, any number of times.

    Frames are uint8 (H, W, 4), upright; durations are ms as stored, floats where the file holds fractions.

    Attributes:
        size: (width, height).
        frame_count: without the still that an APNG may have for programs that play none.
        loop: as of GIFs: None plays once, 0 for ever, n repeats it n times after the first.
        comments: always empty; GIFs have some.
        extras: the `Extras` of its ICC profile, EXIF, XMP and color chunks.
        messages: lines for the user.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not an image, damaged, not supported, or of more than `max_pixels`. After an error in iteration the
            frames before it have been given.
    """

    comments = ()

    def __init__(self, path, max_pixels: int = MAX_PIXELS):
        self.path, self.messages = Path(path), []
        self._data = read_unchanged(path)
        with decoding_errors(path, self._data):
            if self._data.startswith(png.SIGNATURE):
                self._data = png.checked(self._data, path, self.messages)
            with open_image(io.BytesIO(self._data), path, max_pixels) as image:
                self._first = int(bool(getattr(image, "default_image", False)))
                self.frame_count = image.n_frames - self._first
                self.loop = gif_loop(image.info.get("loop", 0))
                bits = 16 if deep_png(image) else reduced_bits(image, self._data)
                if bits:
                    self.messages.append(f"{path}: {bits} bits a sample reduced to 8.")
                image.load()
                self._orientation, exif = take_exif(image, path, self.messages)
                self.size = image.size if self._orientation < 5 else image.size[::-1]
                colors = png.color_chunks(self._data, path) if image.format == "PNG" else {}
                self.extras = Extras(image.info.get("icc_profile"), exif, xmp=take_xmp(image), colors=colors)
        self._max_pixels = max_pixels

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def __iter__(self) -> Iterator[tuple[np.ndarray, float]]:
        with decoding_errors(self.path, self._data):
            if self._data.startswith(png.SIGNATURE):
                yield from self._turned(composed(self._data, self.path))
                return
            with open_image(io.BytesIO(self._data), self.path, self._max_pixels) as image:
                for number in range(self._first, self._first + self.frame_count):
                    try:
                        image.seek(number)
                        image.load()
                    except (OSError, SyntaxError, ValueError, EOFError) as error:
                        shown = number - self._first
                        raise Damaged(f"{self.path}: damaged: it ends after {shown} whole frames.") from error
                    frame = UPRIGHT[self._orientation](np.asarray(image.convert("RGBA")))
                    yield np.ascontiguousarray(frame), image.info.get("duration", 0)

    def _turned(self, frames):
        for frame, duration in frames:
            yield np.ascontiguousarray(UPRIGHT[self._orientation](frame)), duration


def gif_loop(plays):
    """How often an animation plays (0: for ever) as GIFs have it: repeats after the first, None for none."""
    return {0: 0, 1: None}.get(plays, plays - 1)


def plays(loop):
    """A GIF's loop count as the number of times that an animation plays, 0 for ever."""
    return {None: 1, 0: 0}.get(loop, (loop or 0) + 1)
