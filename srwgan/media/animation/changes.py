"""What all writers of animations do: check frames, keep times exact, and find the rectangle that changed."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np

from srwgan.media.still.encoding import Extras
from srwgan.whole_files import temporary_beside


class AnimationWriter:
    """Writes an animation a frame at a time: `writer.write(frame, duration_ms)`, frames uint8 (H, W, 3 or 4).

    As a context manager it renames its temporary file to `path` at the end and removes it after an exception. Every
    frame given becomes one frame of the file, equal ones too. All frames have the channels of the first.

    Args:
        path: where to.
        size: (width, height) of the frames.
        loop: None plays once, 0 for ever, n repeats it n times after the first.
        extras: the `Extras` to keep.
        quality: 1 to 100 where the format is lossy; 95 by default.

    Attributes:
        messages: lines for the user about what the format does not hold.

    Raises:
        ValueError: other sizes, durations or frames; no frame at all.
        OSError: the file cannot be written.
    """

    name, longest_side = "animation", 2**31 - 1

    def __init__(self, path, size, loop=0, *, extras: Extras | None = None, quality: int | None = None):
        self.path, self.size, self.loop = Path(path), tuple(size), loop
        self.extras, self.quality, self.messages = extras or Extras(), quality or 95, []
        if not all(1 <= side <= self.longest_side for side in self.size):
            width, height = self.size
            raise ValueError(
                f"Received: {width}x{height} pixels for {self.name}. Expected 1 to {self.longest_side} a side."
            )
        self.frame_count, self._previous, self._late = 0, None, Fraction(0)
        self._temporary = temporary_beside(self.path)
        self._file = open(self._temporary, "w+b")

    def __enter__(self):
        return self

    def __exit__(self, exception, *rest):
        if exception is None:
            self.close()
        else:
            self.discard()

    def write(self, frame: np.ndarray, duration_ms):
        """Adds a frame, shown for `duration_ms`."""
        if duration_ms < 0:
            raise ValueError(f"Received: duration_ms={duration_ms}. Expected 0 or more.")
        channels = (3, 4) if self._previous is None else self._previous.shape[2:]
        if frame.dtype != np.uint8 or frame.shape[:2] != self.size[::-1] or frame.shape[2] not in channels:
            shapes = " or ".join(str((*self.size[::-1], count)) for count in channels)
            raise ValueError(f"Received: a frame {frame.dtype} {frame.shape}. Expected uint8 {shapes}.")
        self._add(frame, Fraction(duration_ms))
        self._previous, self.frame_count = frame.copy(), self.frame_count + 1

    def close(self):
        """Ends the file and gives it its name; without any frame, raises ValueError and leaves nothing."""
        if self._file.closed:
            return
        try:
            if not self.frame_count:
                raise ValueError(f"No frame was written to {self.path}.")
            self._finish()
            self._file.close()
            os.replace(self._temporary, self.path)
        except BaseException:
            self.discard()
            raise

    def discard(self):
        """Removes what was written so far."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _whole_ms(self, duration_ms, most, least=0):
        """The duration in whole ms; what rounding leaves is carried to the next frame, so that the sum is exact."""
        exact = duration_ms + self._late
        stored = min(max(int(exact + Fraction(1, 2)), least), most)
        self._late = exact - stored
        return stored

    def _changed(self, frame, even=False):
        """(x, y, width, height) of what differs from the frame before; a pixel where nothing does; all of the first.

        Args:
            even: whether x and y must be.
        """
        if self._previous is None:
            return 0, 0, *self.size
        differs = (frame != self._previous).any(axis=2)
        rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
        if not len(rows):
            return 0, 0, 1, 1
        x, y = int(columns[0]), int(rows[0])
        x, y = (x - x % 2, y - y % 2) if even else (x, y)
        return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y

    def _add(self, frame, duration_ms):
        raise NotImplementedError

    def _finish(self):
        raise NotImplementedError


def part(frame, area):
    x, y, width, height = area
    return np.ascontiguousarray(frame[y : y + height, x : x + width])
