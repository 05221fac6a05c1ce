"""AVIF sequences. Pillow's encoder takes all frames in one call: they wait for it in an APNG beside the result.

So memory does not grow with the number of frames, but for the encoded ones; the disk holds them losslessly until then.
"""

import os

from PIL import Image, features

from srwgan.media.animation.apng import ApngWriter
from srwgan.media.animation.changes import AnimationWriter
from srwgan.media.animation.reader import plays
from srwgan.media.still.encoding import Extras

LONGEST_MS = 2**31 - 1


class AvifWriter(AnimationWriter):
    """An AVIF sequence; times are whole ms of 1 or more, their sum exact; it plays for ever. See `AnimationWriter`."""

    name, longest_side = "AVIF", 65_536

    def __init__(self, path, size, loop=0, *, extras: Extras | None = None, quality: int | None = None):
        if not features.check("avif"):
            raise ValueError(f"{path}: AVIF needs Pillow 11.3 or newer. Run: python3 -m pip install -U pillow")
        super().__init__(path, size, loop, extras=extras, quality=quality)
        self._durations = []
        self._frames = ApngWriter(self._temporary.with_name(self._temporary.name + ".frames"), size)
        self._frames.compression = 1
        if plays(loop):
            self.messages.append(f"{path}: AVIF here plays for ever; the source plays {plays(loop)} times.")

    def _add(self, frame, duration_ms):
        self._frames.write(frame, 0)
        self._durations.append(self._whole_ms(duration_ms, LONGEST_MS, least=1))

    def _finish(self):
        self._frames.close()
        metadata = self.extras.for_pillow("icc_profile", "exif", "xmp")
        subsampling = "4:4:4" if self.quality >= 90 else "4:2:0"
        with Image.open(self._frames.path) as frames:
            frames.save(
                self._file, "AVIF", save_all=True, duration=self._durations, quality=self.quality,
                subsampling=subsampling, **metadata,
            )  # fmt: skip
        os.unlink(self._frames.path)

    def discard(self):
        super().discard()
        self._frames.discard()
        self._frames.path.unlink(missing_ok=True)
