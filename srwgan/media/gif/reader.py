"""GIFs as players show them, a frame at a time.

Blocks are parsed here. LZW data are decoded by Pillow. Its own GIF reader disposes of frames, and mixes transparency
with palettes, otherwise than browsers do. Where browsers agree on something else than the specification, they are
followed.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from srwgan.media.gif.format import CLEAR, KEEP, LOOP_EXTENSIONS, RESTORE, join_blocks, pack

# Applications whose extensions hold what other formats' metadata do, which browsers pass over.
LEFT_OUT = {b"XMP Data": "XMP", b"ICCRGBG1": "ICC profile"}


class GifReader:
    """A GIF's frames as they are played: `for rgba, duration_ms in reader`, any number of times.

    All blocks are checked at first, without decoding. Pixels are decoded as the reader is iterated.

    Frames are uint8 (H, W, 4), alpha 0 or 255, color 0 where alpha is 0; durations in ms are as stored (0 and 10 too).
    Areas disposed of become transparent, whatever background color the file names, as in every browser.
    Frames that reach beyond the canvas are cut at it. A first frame that is larger than the canvas makes it its own.

          canvas     frame 2            what is shown
        +--------+                        +--------+
        |     +--|------+                 |     +--|
        |     |  |      |                 |     |##|
        +-----|--+      |                 +-----|--+
              +---------+

    Attributes:
        size: (width, height).
        frame_count: how many there are.
        loop: None plays once, 0 for ever, n is as stored.
        comments: a list of bytes.
        palette: the global one, (N, 3) uint8, or None.
        local_palettes: how many frames have a palette of their own.
        duration_ms: the sum over the frames.
        messages: lines for the user about what is left out, and about frames whose data end early, which is known after
            an iteration.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, not a GIF, cut off or damaged; after an error in iteration the frames before it
            have been given.
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

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        width, height = self.size
        canvas, short = np.zeros((height, width), np.uint32), set()
        for number, image in enumerate(self._images()):
            area = canvas[image.rows, image.columns]  # what of the frame lies within the canvas
            before = area.copy() if image.disposal == RESTORE else None
            colors, is_whole = image.decode(self.palette, self._damaged(f"its frame {number + 1} cannot be decoded"))
            if not is_whole:
                short.add(number + 1)
            np.copyto(
                area, colors[: area.shape[0], : area.shape[1]], where=colors[: area.shape[0], : area.shape[1]] != 0
            )
            yield canvas.view(np.uint8).reshape(height, width, 4).copy(), image.duration_ms
            if image.disposal == CLEAR:
                area[:] = 0
            elif image.disposal == RESTORE:
                area[:] = before
        if short:
            numbers = ", ".join(map(str, sorted(short)[:5])) + ("..." if len(short) > 5 else "")
            line = f"{self.path}: the pixels of frame {numbers} end early; what is missing is not drawn."
            self.messages = [*self._left_out, line]

    def stored(self) -> Iterator[bytes]:
        """The file as it is stored: its header, then for each frame the blocks since the one before, extensions too."""
        start = self._file.seek(0)
        ends = [self._first_block]
        ends += [self._file.tell() for _ in self._images()]
        for end in ends:
            self._file.seek(start)
            yield self._file.read(end - start)
            start = end

    def _scan(self):
        self._read_header()
        self.loop, self.comments, self._left_out = None, [], []
        self.frame_count = self.local_palettes = self.duration_ms = 0
        for image in self._images(self._take_extension):
            if not self.frame_count:
                self._fit_canvas(image)
            self.frame_count += 1
            self.local_palettes += image.palette is not None
            self.duration_ms += image.duration_ms
        if not self.frame_count:
            raise ValueError(f"{self.path} is a GIF without any frame.")
        self.messages = list(self._left_out)

    def _fit_canvas(self, first):
        """As browsers do: a first frame larger than the canvas, or any on a canvas of 0 x 0, says how large it is."""
        width, height = (part.stop - part.start for part in (first.columns, first.rows))
        if width > self.size[0] or height > self.size[1]:
            self.size, self._first_at_origin = (max(width, 1), max(height, 1)), True
        limit = 2 * (Image.MAX_IMAGE_PIXELS or float("inf"))
        if not 0 < self.size[0] * self.size[1] <= limit:
            width, height = self.size
            raise ValueError(f"{self.path} has a canvas of {width}x{height}. Expected 1 to {limit} pixels.")

    def _read_header(self):
        header = self._file.read(13)
        if not header:
            raise ValueError(f"{self.path} is empty. Expected a GIF.")
        if header[:6] not in (b"GIF87a", b"GIF89a"):
            raise ValueError(f"{self.path} is not a GIF: it starts with {header[:6]!r}.")
        if len(header) < 13:
            raise self._damaged("it is cut off in its header")
        width, height, flags = struct.unpack("<HHB", header[6:11])
        self.size, self._first_at_origin = (width, height), False
        self.palette = self._read_palette(flags, 0)
        self._first_block = self._file.tell()

    def _images(self, take_extension=None):
        """Yields the `StoredImage`s in order. Extensions that are no graphic controls go to `take_extension`."""
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
        if whole == 0 and self._first_at_origin:
            x, y = 0, 0
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
        elif label == b"\xff" and data[1:9] in LEFT_OUT:
            self._left_out.append(f"{self.path}: its {LEFT_OUT[data[1:9]]} is left out.")

    def _damaged(self, what):
        return ValueError(f"{self.path} is damaged: {what}.")


@dataclass
class StoredImage:
    """One image block with its graphic control, as stored.

    Attributes:
        rows, columns: its place, which may reach beyond the canvas.
        palette: its own, (N, 3) uint8, or None.
        interlaced: whether rows are stored in four passes.
        transparent: the index of what is not drawn, or None.
        disposal: KEEP, CLEAR or RESTORE after its time.
        duration_ms: as stored.
        code_size: of the LZW data, in bits.
        data: sub-blocks with their lengths.
    """

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
        """(packed RGBA (h, w) uint32, 0 where nothing is drawn; whether the data fill the frame).

        Raises:
            error: the data are no LZW code.
        """
        size = self.columns.stop - self.columns.start, self.rows.stop - self.rows.start
        if 0 in size:
            return np.zeros(size[::-1], np.uint32), True
        try:
            indices, drawn = Image.frombytes("L", size, self.data, "gif", self.code_size, self.interlaced, -1), None
        except (ValueError, OSError):
            indices, drawn = self.decode_part(size)
            if drawn is None:
                raise error from None
        palette = self.palette if self.palette is not None else global_palette
        if palette is None:
            palette = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        table = np.zeros(256, np.uint32)
        table[: len(palette)] = pack(palette)
        if self.transparent is not None:
            table[self.transparent] = 0
        colors = table.take(np.asarray(indices))
        if drawn is not None:
            colors[~drawn] = 0
        return colors, drawn is None

    def decode_part(self, size):
        """(indices, mask of those drawn) of data that end before the frame is full; (None, None) for broken ones."""
        filled = []
        for background in (0, 255):  # what keeps the color of either was not drawn
            image = Image.new("L", size, background)
            decoder = Image._getdecoder("L", "gif", (self.code_size, self.interlaced, -1))
            decoder.setimage(image.im, (0, 0, *size))
            if decoder.decode(self.data)[1] < 0:
                return None, None
            filled.append(np.asarray(image))
        drawn = filled[0] == filled[1]
        return (filled[0], drawn) if drawn.any() or not self.data else (None, None)


def gif_info(path) -> dict:
    """What a GIF holds, without decoding it.

    Returns:
        A dict: `frames`, `size` (width, height), `durations` (ms, a list), `duration` (their sum), `loop`, `comments`,
        `palette_colors` (of the global palette, 0 without one), `local_palettes` (frames with one of their own).

    Raises:
        As `GifReader` does.
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
