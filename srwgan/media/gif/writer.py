"""GIFs written a frame at a time, in memory that does not grow with their number.

Blocks are made here. LZW data are made by Pillow. Its own GIF writer holds every frame, and merges equal ones.
"""

import os
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from srwgan.media.gif.format import CLEAR, KEEP, LOOP_EXTENSIONS, pack, select, split_blocks
from srwgan.media.gif.palettes import ColorHistogram, PaletteMapper
from srwgan.whole_files import temporary_beside

LONGEST_MS = 655350

# An adaptive palette is replaced where the mean squared error of what is drawn exceeds FACTOR times that of the frame
# that it was made for, and MARGIN. The error is that of about SAMPLE pixels.
ADAPT_FACTOR, ADAPT_MARGIN, SAMPLE = 2.0, 12.0, 8192


class GifWriter:
    """Writes a GIF a frame at a time: `writer.write(frame, duration_ms)`, frames uint8 (H, W, 3 or 4).

    As a context manager it renames its temporary file to `path` at the end, and removes it after an exception.
    Every frame given becomes one frame of the file, equal ones too. Of each, only the rectangle that changed is stored.
    Pixels equal to those of the frame before keep the color that they got then, whatever palette and dither.
    An alpha below 128 is transparent.
    Durations are stored in hundredths of a second. What rounding leaves is carried to the next frame, so that the sum
    is exact.
    A frame is compressed in a thread of its own, while the next one gets its colors. What fails there is raised by the
    next call.

    Args:
        path: where to.
        size: (width, height), 1 to 65535 each.
        loop: None plays once, 0 for ever, n is stored as it is.
        comments: bytes each.
        palette: an array (N <= 255, 3) for all frames (`palettes.build_palette`). "frame" builds one from each frame's
            changed pixels. "adaptive" builds one from the first frame, and a new one where a frame fits it much worse.
        dither: "ordered", "none" or "floyd-steinberg". docs/gif.md has the figures behind the defaults.
        stored: called with what is in the file, as it is stored: what is before the frames, then each frame's blocks.
            From the first local palette on it is not called any more.

    Attributes:
        local_palettes: how many frames were stored with a palette of their own.

    Raises:
        ValueError: other sizes, durations or options, or no frame at all.
        OSError: the file cannot be written.
    """

    def __init__(
        self,
        path,
        size,
        loop=None,
        comments=(),
        palette="adaptive",
        dither="ordered",
        stored: Callable[[bytes], None] | None = None,
    ):
        self.path = Path(path)
        self.size = check_canvas(size)
        if loop is not None and not 0 <= loop <= 65535:
            raise ValueError(f"Received: loop={loop}. Expected None, or 0 to 65535.")
        self._palettes = PaletteChooser(palette, dither)
        self._comments = [bytes(comment) for comment in comments]
        self._loop = loop
        self._temporary = temporary_beside(self.path)
        self._file = open(self._temporary, "wb")
        self._encoder, self._encoding = ThreadPoolExecutor(1, "srwgan-gif"), None  # the latter is a frame's `Future`
        self._stored, self.local_palettes = stored, 0
        self._wanted, self._shown = (np.zeros(self.size[::-1], np.uint32) for _ in range(2))
        self._pending = None
        self._carried_ms = 0.0

    def __enter__(self):
        return self

    def __exit__(self, exception, *rest):
        if exception is None:
            self.close()
        else:
            self.discard()

    def write(self, frame: np.ndarray, duration_ms: float):
        """Adds a frame, shown for `duration_ms`.

        A frame is stored when the next one comes: only then is it known what must be cleared after its time.
        """
        wanted = pack(self._check(frame))
        delay = self._centiseconds(duration_ms)
        redrawn = wanted != self._wanted
        if self._pending is None:
            # Not all decoders take a first frame that is smaller than the canvas.
            area = Area(0, 0, *self.size)
        else:
            cleared = self._store(self._erased(frame, wanted))
            if frame.shape[2] == 4:
                self._shown[cleared.slices] = 0
                redrawn[cleared.slices] |= wanted[cleared.slices] != 0
                redrawn &= wanted != 0
            area = Area.around(redrawn) or Area(0, 0, 1, 1)
        self._pending = self._draw(frame, redrawn, area, delay)
        self._wanted = wanted

    def close(self):
        """Ends the file and gives it its name; without any frame, raises ValueError and leaves nothing."""
        if self._file.closed:
            return
        try:
            if self._pending is None:
                raise ValueError(f"No frame was written to {self.path}.")
            self._store(None)
            self._finish_encoding()
            self._encoder.shutdown()
            self._file.write(b";")
            self._file.close()
            os.replace(self._temporary, self.path)
        except BaseException:
            self.discard()
            raise

    def discard(self):
        """Removes what was written so far."""
        self._encoder.shutdown(cancel_futures=True)
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _erased(self, frame, wanted):
        """The area around what is shown now and transparent in the next frame; empty where nothing is."""
        if frame.shape[2] == 3:
            return Area(0, 0, 0, 0)
        return Area.around((wanted == 0) & (self._shown != 0))

    def _draw(self, frame, redrawn, area, delay):
        """Draws the redrawn pixels, all of them within `area`, onto what is shown. Returns the `PendingImage`."""
        drawn, shown, pixels = redrawn[area.slices], self._shown[area.slices], frame[area.slices]
        mapper, is_global = self._palettes.choose(frame, pixels, drawn)
        indices = mapper.indices(pixels, (area.x, area.y))
        colors = pack(mapper.palette).take(indices)
        changed = drawn & (colors != shown)
        shown[...] = select(drawn, colors, shown)
        if self._pending is None:
            self._write_header(mapper.palette)
        return PendingImage(area, mapper.palette, is_global, indices, changed, colors == shown, delay)

    def _store(self, erased):
        """Writes the pending image. With an area `erased` it spans that too, and is cleared after its time.

        Returns:
            The area that is cleared; empty where nothing is.
        """
        image = self._pending
        if erased:
            image = image.grown(image.area.union(erased))
        self._finish_encoding()  # so that there is one at a time, and in order
        self._encoding = self._encoder.submit(self._encode, image, CLEAR if erased else KEEP)
        return image.area if erased else Area(0, 0, 0, 0)

    def _finish_encoding(self):
        """Waits for the frame that is being encoded, and raises what failed."""
        if self._encoding:
            self._encoding.result()

    def _encode(self, image, disposal):
        """Writes an image's blocks, in the encoder's thread."""
        if not image.is_global:
            self._stored, self.local_palettes = None, self.local_palettes + 1
        start = self._file.tell()
        image.write(self._file, disposal)
        if self._stored:
            with open(self._temporary, "rb") as file:
                file.seek(start)
                self._stored(file.read())

    def _write_header(self, palette):
        bits = table_bits(palette)
        # The background is the transparent index: decoders that paint a background then paint none.
        self._file.write(b"GIF89a" + struct.pack("<HHBBB", *self.size, 0xF0 | bits - 1, len(palette), 0))
        self._file.write(color_table(palette))
        if self._loop is not None:
            self._file.write(b"!\xff\x0b" + LOOP_EXTENSIONS[0] + struct.pack("<BBHB", 3, 1, self._loop, 0))
        for comment in self._comments:
            self._file.write(b"!\xfe" + split_blocks(comment) + b"\0")
        self._file.flush()
        if self._stored:
            self._stored(self._temporary.read_bytes())

    def _check(self, frame):
        expected = self.size[::-1]
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[:2] != expected or frame.shape[2] not in (3, 4):
            raise ValueError(
                f"Received: a frame {frame.dtype} {frame.shape}. Expected uint8 {expected + (3,)} or {expected + (4,)}."
            )
        return frame

    def _centiseconds(self, duration_ms):
        if not 0 <= duration_ms <= LONGEST_MS:
            raise ValueError(f"Received: duration_ms={duration_ms}. Expected 0 to {LONGEST_MS}.")
        exact = duration_ms + self._carried_ms
        stored = min(max(int(exact / 10 + 0.5), 0), LONGEST_MS // 10)
        self._carried_ms = exact - 10 * stored
        return stored


class PaletteChooser:
    """Chooses the palette that the next frame is mapped with."""

    def __init__(self, palette, dither):
        if isinstance(palette, str) and palette not in ("frame", "adaptive"):
            raise ValueError(f"Received: palette={palette!r}. Expected an array (N, 3), 'frame' or 'adaptive'.")
        if not isinstance(palette, str) and len(palette) > 255:
            raise ValueError(f"Received: {len(palette)} colors. Expected at most 255: one more is transparent.")
        self._policy = palette if isinstance(palette, str) else "global"
        self._dither = dither
        self._mapper = PaletteMapper(palette if self._policy == "global" else np.zeros((1, 3), np.uint8), dither)
        self._global, self._limit = None, -1.0

    def choose(self, frame, pixels, drawn):
        """(mapper, whether its palette is the file's global one) for a frame.

        Args:
            frame: all of it, (H, W, 3 or 4).
            pixels: the changed rectangle of it, (h, w, 3 or 4).
            drawn: (h, w), which of them are stored.
        """
        if self._policy == "frame":
            self._mapper = self._built_from(pixels[drawn])
        elif self._policy == "adaptive":
            self._adapt(frame, pixels, drawn)
        if self._global is None:
            self._global = self._mapper.palette
        return self._mapper, self._mapper.palette is self._global

    def _adapt(self, frame, pixels, drawn):
        """Makes a new palette, of the whole frame so that it lasts, where what is drawn fits the present one badly."""
        pixels = pixels.reshape(-1, pixels.shape[-1])
        step = max(1, np.count_nonzero(drawn) // SAMPLE)
        sample = pixels[::step] if drawn.all() else pixels[np.flatnonzero(drawn)[::step]]
        if not len(sample) or self._mapper.mean_squared_error(sample) <= self._limit:
            return
        self._mapper = self._built_from(frame)
        self._limit = ADAPT_FACTOR * self._mapper.mean_squared_error(sample) + ADAPT_MARGIN

    def _built_from(self, pixels):
        histogram = ColorHistogram()
        histogram.add(pixels)
        return PaletteMapper(histogram.palette(), self._dither)


@dataclass
class Area:
    """A rectangle of the canvas, in pixels. An empty one is false."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def around(cls, mask):
        """The smallest rectangle that holds all true pixels of a mask (H, W)."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            return cls(0, 0, 0, 0)
        return cls(int(columns[0]), int(rows[0]), int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1)

    def __bool__(self):
        return self.width > 0 and self.height > 0

    @property
    def slices(self):
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def union(self, other):
        x, y = min(self.x, other.x), min(self.y, other.y)
        right = max(self.x + self.width, other.x + other.width)
        bottom = max(self.y + self.height, other.y + other.height)
        return Area(x, y, right - x, bottom - y)


@dataclass
class PendingImage:
    """What one frame adds to the canvas.

    Attributes:
        area: where.
        palette: (N, 3) uint8.
        is_global: whether the palette is the file's.
        indices: (h, w) uint8 into the palette.
        changed: (h, w), where the indices are drawn.
        repeated: (h, w), where they give the color that is shown there anyway.
        delay: in hundredths of a second.
    """

    area: Area
    palette: np.ndarray
    is_global: bool
    indices: np.ndarray
    changed: np.ndarray
    repeated: np.ndarray
    delay: int

    def grown(self, area):
        """The same image on a larger area, of which the new part is not drawn."""
        left, top = self.area.x - area.x, self.area.y - area.y
        margins = (
            (top, area.height - top - self.area.height),
            (left, area.width - left - self.area.width),
        )
        arrays = [np.pad(array, margins) for array in (self.indices, self.changed, self.repeated)]
        return PendingImage(area, self.palette, self.is_global, *arrays, self.delay)

    def write(self, file, disposal):
        """Writes the graphic control and image blocks."""
        transparent, bits = len(self.palette), table_bits(self.palette)
        control = struct.pack("<BBHBB", 4, disposal << 2 | 1, self.delay, transparent, 0)
        area = self.area
        layout = 0 if self.is_global else 0x80 | bits - 1
        place = struct.pack("<HHHHB", area.x, area.y, area.width, area.height, layout)
        table = b"" if self.is_global else color_table(self.palette)
        choices = [select(mask, self.indices, np.uint8(transparent)) for mask in (self.changed, self.repeated)]
        file.write(b"!\xf9" + control + b"," + place + table)
        compress(file, min(choices, key=transitions), bits)


def check_canvas(size):
    width, height = size
    if not (1 <= width <= 65535 and 1 <= height <= 65535):
        raise ValueError(f"Received: a GIF of {width}x{height}. Expected 1 to 65535 pixels each way.")
    return int(width), int(height)


def table_bits(palette):
    """Bits of an index into the palette and one transparent entry."""
    return max(1, len(palette).bit_length())


def color_table(palette):
    return palette.tobytes().ljust(3 << table_bits(palette), b"\0")


def transitions(indices):
    """How often neighbors in a row differ. Of two ways to store a frame, that with fewer is nearly always smaller."""
    return np.count_nonzero(indices[:, 1:] != indices[:, :-1])


def compress(file, indices, bits):
    """Writes LZW data of indices (h, w), from the code size to the empty block.

    Into a file Pillow compresses without holding Python's lock, which the threads of a network need meanwhile.
    """
    code_size = max(2, bits)
    file.write(bytes([code_size]))
    image = Image.fromarray(indices)
    ImageFile._save(image, file, [("gif", (0, 0, *image.size), 0, ("L", code_size, 0))])
    file.write(b"\0")
    file.flush()
