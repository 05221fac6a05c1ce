"""One clock for recordings put after each other, whose timestamps start again in the middle.

A tuner's or a DVD's files are often joined with `cat`. Their packets then say

    seconds in the file    1.40  1.44  ...  1.84 | 1.40  1.44  ...  1.84
    on one clock           1.40  1.44  ...  1.84 | 1.88  1.92  ...  2.32

The rules are those of FFmpeg's own command line (`ts_discontinuity_detect` in fftools/ffmpeg_demux.c): where a stream's
decoding time is 0.1 s behind the packet before, or 10 s from where it was expected, all streams move by the difference.
"""

from collections.abc import Iterator
from fractions import Fraction

TS_DISCONT = 0x0200  # FFmpeg's flag of formats whose clocks start anywhere (MPEG-TS, ...)
BEHIND, AWAY = Fraction(1, 10), 10  # seconds
USUAL_FRAME = Fraction(1, 25)


def packets(container) -> Iterator:
    """The packets of all streams of an open container, their times on one clock."""
    if not container.format.flags & TS_DISCONT:
        yield from container.demux()
        return
    timeline = Timeline()
    for packet in container.demux():
        timeline.place(packet)
        yield packet


class Timeline:
    """Moves the packets of a file, in the order of the file, onto one clock.

    Attributes:
        offset: seconds that are added to the file's own times from here on.
        joints: how many recordings were found to follow the first.
    """

    def __init__(self):
        self.offset, self.joints = Fraction(0), 0
        self._last, self._expected, self._latest = {}, {}, None

    def place(self, packet):
        """Changes the packet's times in place."""
        if packet.dts is None and packet.pts is None:
            return
        stream, unit = packet.stream, packet.time_base
        if stream.type in ("video", "audio") and stream.codec_context is not None and packet.dts is not None:
            time = packet.dts * unit + self.offset
            jump = self._jump(stream.index, time)
            if jump:
                self.offset, self.joints, time = self.offset - jump, self.joints + 1, time - jump
            self._last[stream.index] = self._latest = time
            self._expected[stream.index] = time + (packet.duration * unit if packet.duration else self._frame(stream))
        ticks = round(self.offset / unit)
        packet.pts = packet.pts + ticks if packet.pts is not None else None
        packet.dts = packet.dts + ticks if packet.dts is not None else None

    def _jump(self, index, time):
        """Seconds by which a packet is not where it belongs; 0 where it is."""
        if index in self._last:
            away = time - self._expected[index]
            return away if abs(away) > AWAY or time + BEHIND < self._last[index] else 0
        away = time - self._latest if self._latest is not None else 0
        return away if abs(away) > AWAY else 0

    def _frame(self, stream):
        rate = stream.average_rate if stream.type == "video" else None
        return 1 / rate if rate else USUAL_FRAME if stream.type == "video" else 0
