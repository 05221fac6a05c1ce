"""GIFs in and out, frame by frame, as players show them; memory does not grow with the number of frames.

The blocks are read and written here, the LZW data by Pillow's decoder and encoder: Pillow's own GIF reader merges
disposal and transparency differently from browsers, and its writer holds every frame and merges equal ones.
Source: GIF89a specification, CompuServe 1990; where players agree on something else, the players.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from srwgan.palettes import ColorHistogram, PaletteMapper

KEEP, CLEAR, RESTORE = 1, 2, 3
LOOP_EXTENSIONS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
LONGEST_MS = 655350

# An adaptive palette is replaced where the squared error, summed over RGB, of what is drawn exceeds its first frame's
# by this factor and margin, looked at in about so many pixels.
ADAPT_FACTOR, ADAPT_MARGIN, SAMPLE = 2.0, 12.0, 8192


class GifReader:
    """A GIF's frames as they are played: `for rgba, duration_ms in reader`, any number of times.

    The whole file is checked at once, without decoding, and then decoded as it is iterated.

    Attributes: `size` (width, height); `frame_count`; `loop` (None: plays once, 0: for ever, n: as stored);
    `comments`, a list of bytes; `palette`, the global one (N, 3) uint8 or None; `local_palettes`, how many frames
    bring their own; `duration_ms`, the sum over the frames.

    Frames are uint8 (H, W, 4), alpha 0 or 255, colour 0 where alpha is 0; durations in ms are as stored (0 and 10 too).
    Areas disposed of become transparent, whatever background colour the file names, as in every browser.

    Raises FileNotFoundError, and ValueError for a file that is empty, not a GIF, cut off, damaged, or has frames
    outside its canvas; after an error in iteration the frames before it have been given.
    """

    def __init__(self, path):
        self.path = Path(path)
        self._file = open(self.path, "rb")
        try:
            self._scan()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def __iter__(self):
        width, height = self.size
        canvas = np.zeros((height, width), np.uint32)
        for number, image in enumerate(self._images()):
            area = canvas[image.rows, image.columns]
            before = area.copy() if image.disposal == RESTORE else None
            colors = image.decode(self.palette, self._damaged(f"its frame {number + 1} cannot be decoded"))
            np.copyto(area, colors, where=colors != 0)
            yield canvas.view(np.uint8).reshape(height, width, 4).copy(), image.duration_ms
            if image.disposal == CLEAR:
                area[:] = 0
            elif image.disposal == RESTORE:
                area[:] = before

    def _scan(self):
        self._read_header()
        self.loop, self.comments = None, []
        self.frame_count = self.local_palettes = self.duration_ms = 0
        for image in self._images(self._take_extension):
            self.frame_count += 1
            self.local_palettes += image.palette is not None
            self.duration_ms += image.duration_ms
        if not self.frame_count:
            raise ValueError(f"{self.path} is a GIF without any frame.")

    def _read_header(self):
        header = self._file.read(13)
        if not header:
            raise ValueError(f"{self.path} is empty. Expected a GIF.")
        if header[:6] not in (b"GIF87a", b"GIF89a"):
            raise ValueError(f"{self.path} is not a GIF: it starts with {header[:6]!r}.")
        if len(header) < 13:
            raise self._damaged("it is cut off in its header")
        width, height, flags = struct.unpack("<HHB", header[6:11])
        limit = 2 * (Image.MAX_IMAGE_PIXELS or float("inf"))
        if not 0 < width * height <= limit:
            raise ValueError(f"{self.path} has a canvas of {width}x{height}. Expected 1 to {limit} pixels.")
        self.size = width, height
        self.palette = self._read_palette(flags, 0)
        self._first_block = self._file.tell()

    def _images(self, take_extension=None):
        """The `StoredImage`s in order; other extensions than their graphic controls go to `take_extension`."""
        self._file.seek(self._first_block)
        control, whole = (0, 0, 0), 0
        while True:
            kind = self._file.read(1)
            if kind == b",":
                yield self._read_image(control, whole)
                control, whole = (0, 0, 0), whole + 1
            elif kind == b"!":
                label = self._read(1, whole)
                data = self._read_blocks(whole)
                if label == b"\xf9" and len(data) >= 5:
                    control = struct.unpack("<BHB", data[1:5])
                elif label == b"\x01":
                    control = (0, 0, 0)
                elif take_extension:
                    take_extension(label, data)
            elif kind == b";" or (kind == b"" and whole):
                return
            elif kind == b"":
                raise self._damaged("it is cut off before its first frame")
            elif kind != b"\0":
                raise self._damaged(f"byte {kind!r} stands where a block was expected, after {whole} whole frames")

    def _read_image(self, control, whole):
        flags, delay, transparent = control
        x, y, width, height, layout = struct.unpack("<HHHHB", self._read(9, whole))
        if x + width > self.size[0] or y + height > self.size[1]:
            raise self._damaged(
                f"its frame {whole + 1}, {width}x{height} at ({x}, {y}), lies outside its "
                f"{self.size[0]}x{self.size[1]} canvas"
            )
        palette = self._read_palette(layout, whole)
        code_size = self._read(1, whole)[0]
        return StoredImage(
            rows=slice(y, y + height),
            columns=slice(x, x + width),
            palette=palette,
            interlaced=bool(layout & 64),
            transparent=transparent if flags & 1 else None,
            # Some encoders number "restore to previous" 4; players take it, and let what is left unspecified stay.
            disposal={2: CLEAR, 3: RESTORE, 4: RESTORE}.get(flags >> 2 & 7, KEEP),
            duration_ms=delay * 10,
            code_size=code_size,
            data=self._read_blocks(whole),
        )

    def _read_palette(self, flags, whole):
        if not flags & 128:
            return None
        return np.frombuffer(self._read(3 << (flags & 7) + 1, whole), np.uint8).reshape(-1, 3)

    def _read_blocks(self, whole):
        """Sub-blocks with their length bytes, up to the empty one."""
        parts = []
        while length := self._read(1, whole):
            if length == b"\0":
                return b"".join(parts)
            parts += length, self._read(length[0], whole)

    def _read(self, count, whole):
        data = self._file.read(count)
        if len(data) < count:
            raise self._damaged(f"it is cut off after {whole} whole frame{'s' * (whole != 1)}")
        return data

    def _take_extension(self, label, data):
        if label == b"\xfe":
            self.comments.append(join_blocks(data))
        elif label == b"\xff" and data[1:12] in LOOP_EXTENSIONS and data[12:14] == b"\x03\x01":
            self.loop = struct.unpack("<H", data[14:16])[0]

    def _damaged(self, what):
        return ValueError(f"{self.path} is damaged: {what}.")


@dataclass
class StoredImage:
    """One image block with its graphic control, as stored."""

    rows: slice
    columns: slice
    palette: np.ndarray | None
    interlaced: bool
    transparent: int | None
    disposal: int
    duration_ms: int
    code_size: int
    data: bytes

    def decode(self, global_palette, error):
        """Packed RGBA (h, w) uint32, 0 where nothing is drawn; raises `error` where the data do not fill the frame."""
        size = self.columns.stop - self.columns.start, self.rows.stop - self.rows.start
        if 0 in size:
            return np.zeros(size[::-1], np.uint32)
        try:
            indices = Image.frombytes("L", size, self.data, "gif", self.code_size, self.interlaced, -1)
        except (ValueError, OSError):
            raise error from None
        palette = self.palette if self.palette is not None else global_palette
        if palette is None:
            palette = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        table = np.zeros(256, np.uint32)
        table[: len(palette)] = pack(palette)
        if self.transparent is not None:
            table[self.transparent] = 0
        return table.take(np.asarray(indices))


class GifWriter:
    """Writes a GIF a frame at a time: `writer.write(frame, duration_ms)`, frames uint8 (H, W, 3 or 4).

    As a context manager it renames its temporary file to `path` at the end and removes it after an exception.
    Every frame given becomes one frame of the file, equal ones too; of each only the rectangle that changed is stored.
    Pixels equal to those of the frame before keep the colour they were given then, whatever palette and dither.
    An alpha below 128 is transparent.

    size: (width, height). loop: None plays once, 0 for ever, n is stored as it is. comments: bytes each.
    palette: an array (N <= 255, 3) for all frames (`palettes.build_palette`); "frame" builds one for each frame's
    changed pixels; "adaptive" builds one from the first frame and a new one where a frame fits it much worse.
    dither: "ordered", "none" or "floyd-steinberg". docs/gif.md has the figures behind the defaults.

    Durations are stored in centiseconds: what rounding leaves is carried to the next frame, so that the sum is exact.
    Raises ValueError for other sizes, durations or options, and OSError where the file cannot be written.
    """

    def __init__(self, path, size, loop=None, comments=(), palette="adaptive", dither="ordered"):
        self.path = Path(path)
        self.size = check_canvas(size)
        if loop is not None and not 0 <= loop <= 65535:
            raise ValueError(f"Received: loop={loop}. Expected None, or 0 to 65535.")
        self._palettes = PaletteChooser(palette, dither)
        self._comments = [bytes(comment) for comment in comments]
        self._loop = loop
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        self._file = open(self._temporary, "wb")
        self._wanted = self._shown = np.zeros(self.size[::-1], np.uint32)
        self._pending = None
        self._carried_ms = 0.0

    def __enter__(self):
        return self

    def __exit__(self, exception, *rest):
        if exception is None:
            self.close()
        else:
            self.discard()

    def write(self, frame, duration_ms):
        """Frames are stored one later than they come, when it is known what the next one needs cleared."""
        wanted = pack(self._check(frame))
        delay = self._centiseconds(duration_ms)
        base = self._shown.copy()
        redrawn = wanted != self._wanted
        if self._pending is None:
            # Not all decoders take a first frame that is smaller than the canvas.
            area = Area(0, 0, *self.size)
        else:
            erased = Area.around((wanted == 0) & (base != 0))
            cleared = self._store(erased)
            base[cleared.slices] = 0
            redrawn[cleared.slices] |= wanted[cleared.slices] != 0
            redrawn &= wanted != 0
            area = Area.around(redrawn) or Area(0, 0, 1, 1)
        self._pending = self._draw(frame, base, redrawn, area, delay)
        self._wanted, self._shown = wanted, base

    def close(self):
        """Ends the file and gives it its name; without any frame, raises ValueError and leaves nothing."""
        if self._file.closed:
            return
        try:
            if self._pending is None:
                raise ValueError(f"No frame was written to {self.path}.")
            self._store(None)
            self._file.write(b";")
            self._file.close()
            os.replace(self._temporary, self.path)
        except BaseException:
            self.discard()
            raise

    def discard(self):
        """Removes what was written so far."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _draw(self, frame, base, redrawn, area, delay):
        """Draws the redrawn pixels, all within `area`, onto `base`, in place, and returns what to store for that."""
        drawn, shown, pixels = redrawn[area.slices], base[area.slices], frame[area.slices]
        mapper, is_global = self._palettes.choose(frame, pixels, drawn)
        indices = mapper.indices(pixels, (area.x, area.y))
        colors = pack(mapper.palette).take(indices)
        changed = drawn & (colors != shown)
        np.copyto(shown, colors, where=drawn)
        if self._pending is None:
            self._write_header(mapper.palette)
        return PendingImage(area, mapper.palette, is_global, indices, changed, colors == shown, delay)

    def _store(self, erased):
        """Writes the pending image; one that spans `erased` too, and is cleared after its time, where that is given.

        Returns the area that is cleared, empty where nothing is.
        """
        image = self._pending
        if erased:
            image = image.grown(image.area.union(erased))
        self._file.write(image.encode(CLEAR if erased else KEEP))
        return image.area if erased else Area(0, 0, 0, 0)

    def _write_header(self, palette):
        bits = table_bits(palette)
        # The background is the transparent index: decoders that paint a background then paint none.
        self._file.write(b"GIF89a" + struct.pack("<HHBBB", *self.size, 0xF0 | bits - 1, len(palette), 0))
        self._file.write(color_table(palette))
        if self._loop is not None:
            self._file.write(b"!\xff\x0b" + LOOP_EXTENSIONS[0] + struct.pack("<BBHB", 3, 1, self._loop, 0))
        for comment in self._comments:
            self._file.write(b"!\xfe" + split_blocks(comment) + b"\0")

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
    """Which palette the next frame is mapped with, and whether it is the file's global one."""

    def __init__(self, palette, dither):
        if isinstance(palette, str) and palette not in ("frame", "adaptive"):
            raise ValueError(f"Received: palette={palette!r}. Expected an array (N, 3), 'frame' or 'adaptive'.")
        self._policy = palette if isinstance(palette, str) else "global"
        self._dither = dither
        self._mapper = PaletteMapper(palette if self._policy == "global" else np.zeros((1, 3), np.uint8), dither)
        self._global, self._limit = None, -1.0

    def choose(self, frame, pixels, drawn):
        """(mapper, is_global) for those of the frame's `pixels` (h, w, 3 or 4) that are `drawn` (h, w)."""
        if self._policy == "frame":
            self._mapper = self._built_from(pixels[drawn])
        elif self._policy == "adaptive":
            self._adapt(frame, pixels, drawn)
        if self._global is None:
            self._global = self._mapper
        return self._mapper, self._mapper is self._global

    def _adapt(self, frame, pixels, drawn):
        """A palette that is to last is made of a whole frame, and replaced where what is drawn fits it much worse."""
        spots = np.flatnonzero(drawn)
        sample = pixels.reshape(-1, pixels.shape[-1])[spots[:: max(1, len(spots) // SAMPLE)]]
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
    """A rectangle of the canvas in pixels; false when empty."""

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

    `indices` (h, w) hold where `changed`; where `repeated` they give the colour that is shown there anyway.
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

    def encode(self, disposal):
        """The graphic control and image blocks."""
        transparent, bits = len(self.palette), table_bits(self.palette)
        control = struct.pack("<BBHBB", 4, disposal << 2 | 1, self.delay, transparent, 0)
        area = self.area
        layout = 0 if self.is_global else 0x80 | bits - 1
        place = struct.pack("<HHHHB", area.x, area.y, area.width, area.height, layout)
        table = b"" if self.is_global else color_table(self.palette)
        masks = [self.changed, self.repeated] if (self.repeated & ~self.changed).any() else [self.changed]
        choices = [compress(np.where(mask, self.indices, np.uint8(transparent)), bits) for mask in masks]
        return b"!\xf9" + control + b"," + place + table + min(choices, key=len)


def gif_info(path):
    """What a GIF holds, without decoding it.

    A dict: `frames`, `size` (width, height), `durations` (ms, a list), `duration` (their sum), `loop`, `comments`,
    `palette_colors` (of the global palette, 0 without one), `local_palettes` (frames with one of their own).
    """
    with GifReader(path) as reader:
        return {
            "frames": reader.frame_count,
            "size": reader.size,
            "durations": [image.duration_ms for image in reader._images()],
            "duration": reader.duration_ms,
            "loop": reader.loop,
            "comments": reader.comments,
            "palette_colors": 0 if reader.palette is None else len(reader.palette),
            "local_palettes": reader.local_palettes,
        }


def check_canvas(size):
    width, height = size
    if not (1 <= width <= 65535 and 1 <= height <= 65535):
        raise ValueError(f"Received: a GIF of {width}x{height}. Expected 1 to 65535 pixels each way.")
    return int(width), int(height)


def pack(pixels):
    """RGB or RGBA (..., 3 or 4) -> the same as uint32 (...), opaque where alpha >= 128 and 0 elsewhere."""
    packed = np.empty(pixels.shape[:-1] + (4,), np.uint8)
    packed[..., :3] = pixels[..., :3]
    packed[..., 3] = 255
    packed = packed.view(np.uint32)[..., 0]
    if pixels.shape[-1] == 4:
        packed[pixels[..., 3] < 128] = 0
    return packed


def table_bits(palette):
    """Bits of an index into the palette and one transparent entry."""
    return max(1, len(palette).bit_length())


def color_table(palette):
    return palette.tobytes().ljust(3 << table_bits(palette), b"\0")


def compress(indices, bits):
    """LZW data of indices (h, w), from the code size to the empty block."""
    code_size = max(2, bits)
    data = Image.fromarray(indices).tobytes("gif", "L", code_size, 0)
    return bytes([code_size]) + data + b"\0"


def split_blocks(data):
    return b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))


def join_blocks(data):
    parts, start = [], 0
    while start < len(data):
        parts.append(data[start + 1 : start + 1 + data[start]])
        start += 1 + data[start]
    return b"".join(parts)
