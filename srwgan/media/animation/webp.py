"""Animated WebPs written a frame at a time, in memory that does not grow with their number.

Pixels are encoded by Pillow, as stills; here they are put into one file:

    RIFF size WEBP   VP8X  ICCP  ANIM   ANMF   ANMF   ...   EXIF  XMP
                     what is there      frame  frame

Each ANMF has a frame's rectangle, time and image data. Source: WebP Container Specification, Google 2023 (RFC 9649).
"""

import io
import struct

from srwgan.media.animation.changes import AnimationWriter, part
from srwgan.media.animation.reader import plays
from srwgan.media.still.encoding import to_pillow

LONGEST_MS = 2**24 - 1
ANIMATION, XMP, EXIF, ALPHA, ICC = 2, 4, 8, 16, 32  # flags of VP8X
DRAWN_OVER = 2  # the flag of a frame that is not blended with what is there


class WebpWriter(AnimationWriter):
    """An animated WebP, lossless at a quality of 100; times are whole ms, their sum exact. See `AnimationWriter`."""

    name, longest_side = "WebP", 16_383

    def _add(self, frame, duration_ms):
        if not self.frame_count:
            self._write_header(frame.shape[2] == 4)
        x, y, width, height = area = self._changed(frame, even=True)
        encoded = io.BytesIO()
        lossless = self.quality == 100
        to_pillow(part(frame, area)).save(encoded, "WEBP", quality=self.quality, lossless=lossless, exact=lossless)
        data = image_chunks(encoded.getvalue())
        place = b"".join(number(value) for value in (x // 2, y // 2, width - 1, height - 1))
        time = number(self._whole_ms(duration_ms, LONGEST_MS))
        self._chunk(b"ANMF", place + time + bytes([DRAWN_OVER]) + data)

    def _write_header(self, alpha):
        extras = self.extras
        flags = ANIMATION | ALPHA * alpha | ICC * bool(extras.icc_profile)
        flags |= EXIF * bool(extras.exif) | XMP * bool(extras.xmp)
        self._file.write(b"RIFF\0\0\0\0WEBP")
        self._chunk(b"VP8X", bytes([flags, 0, 0, 0]) + number(self.size[0] - 1) + number(self.size[1] - 1))
        if extras.icc_profile:
            self._chunk(b"ICCP", extras.icc_profile)
        self._chunk(b"ANIM", b"\0\0\0\0" + struct.pack("<H", min(plays(self.loop), 65535)))

    def _chunk(self, name, body):
        self._file.write(name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2))

    def _finish(self):
        if self.extras.exif:
            self._chunk(b"EXIF", self.extras.exif.removeprefix(b"Exif\0\0"))
        if self.extras.xmp:
            self._chunk(b"XMP ", self.extras.xmp)
        end = self._file.tell()
        self._file.seek(4)
        self._file.write(struct.pack("<I", end - 8))


def image_chunks(still):
    """The alpha and color chunks of a still WebP, as they stand in its file."""
    found, start = b"", 12
    while start < len(still):
        name, length = still[start : start + 4], struct.unpack("<I", still[start + 4 : start + 8])[0]
        end = start + 8 + length + length % 2
        if name in (b"ALPH", b"VP8 ", b"VP8L"):
            found += still[start:end]
        start = end
    return found


def number(value):
    """A whole number in three bytes."""
    return struct.pack("<I", value)[:3]
