"""Animated PNGs written a frame at a time, in memory that does not grow with their number.

Pixels are encoded by Pillow, as stills; here their chunks are put into one file:

    IHDR  acTL  ...  fcTL 0  IDAT   fcTL 1  fdAT 2   fcTL 3  fdAT 4  ...  IEND
          frames      frame 1         frame 2         frame 3

The numbers count fcTL and fdAT chunks. Each fcTL has a frame's rectangle and time.
Source: Portable Network Graphics, third edition, W3C 2025.
"""

import io
import struct
import zlib

from srwgan.media.animation.changes import AnimationWriter, part
from srwgan.media.animation.reader import plays
from srwgan.media.still import png
from srwgan.media.still.encoding import png_ancillary, to_pillow

MOST = 65535  # of a delay's numerator and denominator


class ApngWriter(AnimationWriter):
    """An APNG; lossless, times exact to 1/65535 s. See `AnimationWriter`."""

    name, compression = "APNG", 6

    def _add(self, frame, duration_ms):
        area = self._changed(frame)
        encoded = io.BytesIO()
        to_pillow(part(frame, area)).save(encoded, "PNG", compress_level=self.compression)
        pixels = list(png.chunks(encoded.getvalue(), self.path))
        if not self.frame_count:
            self._sequence = 0
            self._file.write(png.SIGNATURE)
            self._chunk(b"IHDR", bytes(pixels[0].body))
            self._control = self._file.tell()
            self._chunk(b"acTL", struct.pack(">II", 0, 0))  # filled in at the end
            self._file.write(png_ancillary(self.extras))
        x, y, width, height = area
        numerator, denominator = delay_of(duration_ms / 1000)
        # Neither disposed of after its time nor blended with what is there: drawn over it.
        self._numbered(b"fcTL", struct.pack(">IIIIHHBB", width, height, x, y, numerator, denominator, 0, 0))
        for chunk in pixels:
            if chunk.name == "IDAT" and not self.frame_count:
                self._chunk(b"IDAT", bytes(chunk.body))
            elif chunk.name == "IDAT":
                self._numbered(b"fdAT", bytes(chunk.body))

    def _numbered(self, name, body):
        self._chunk(name, struct.pack(">I", self._sequence) + body)
        self._sequence += 1

    def _chunk(self, name, body):
        self._file.write(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)))

    def _finish(self):
        self._chunk(b"IEND", b"")
        self._file.seek(self._control)
        self._chunk(b"acTL", struct.pack(">II", self.frame_count, plays(self.loop)))


def delay_of(seconds):
    """(numerator, denominator) of a delay; of more than 65,535 s, that."""
    for denominator in (MOST, 100, 1):
        delay = seconds.limit_denominator(denominator)
        if delay.numerator <= MOST:
            return delay.numerator, delay.denominator
    return MOST, 1
