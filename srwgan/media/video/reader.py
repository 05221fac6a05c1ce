"""Videos in: what a file holds, and its frames as RGB with exact timestamps."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from srwgan.media.kinds import HEAD_BYTES, VIDEO_TYPES, type_of
from srwgan.media.video import timeline
from srwgan.media.video.colors import HLG, PQ, RESERVED, UNSPECIFIED, RgbConverter, frame_matrix
from srwgan.media.video.pyav import import_av, side_data, text_errors

HIGHEST_RATE = 1000  # frames a second; a rate above is a guess gone wrong
PROBED = 100  # packets whose times tell the rate of a file that does not


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds. Sizes are (width, height). Times are Fractions of a second.

    Attributes:
        path: the file.
        codec: of the pictures, by its common name.
        size: of the upright picture.
        coded_size: of the frames as they are stored.
        pixel_aspect: width : height of one pixel of the upright picture.
        frame_rate, frame_count, duration: what the file says, or lets guess; None where it does not.
        time_base: the unit of its timestamps.
        start: the origin of its timestamps. In broadcast streams, whose clocks start anywhere, that is the first
            packet's; else 0, or the first frame's where that is negative.
        stream_index: of the pictures among the tracks.
        matrix, primaries, transfer: numbers of ITU-T H.273.
        turn: what `turned` does to the frames as they are stored.
        bits: of a sample.
        display: what HDR says of the screen that it was graded on, in x265's words, or "".
        audio, subtitles: the codecs of the other tracks.
        messages: lines for the user about what is lost or guessed.
    """

    path: str
    codec: str
    size: tuple[int, int]
    coded_size: tuple[int, int]
    pixel_aspect: Fraction
    frame_rate: Fraction | None
    frame_count: int | None
    duration: Fraction | None
    time_base: Fraction
    start: Fraction
    stream_index: int
    matrix: int
    primaries: int
    transfer: int
    turn: tuple[bool, bool, bool]
    bits: int
    display: str
    audio: tuple[str, ...]
    subtitles: tuple[str, ...]
    messages: tuple[str, ...] = field(default=())


class VideoReader:
    """The frames of a video, upright, in the order and at the times they are shown; memory for a few frames only.

    Iterating gives (rgb, pts): rgb (H, W, 3) in full range, pts a Fraction of a second. A context manager.

    Attributes:
        deep: whether the rgb of the iterations to come is uint16 where the video has more than 8 bits a sample; uint8
            at first.
        info: the `VideoInfo`; path, size, pixel_aspect, frame_rate, frame_count and duration are those of it.
        messages: lines for the user: what of the file is lost or guessed, damage found while reading.
        end: when the last frame stops being shown; None until the iteration is through.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no video, is damaged, or changes while it is read.
        ImportError: PyAV is missing.
    """

    def __init__(self, path):
        self._identity = _size_and_time(path)
        self.info = info = probe_video(path)
        self.path, self.size, self.pixel_aspect = info.path, info.size, info.pixel_aspect
        self.frame_rate, self.frame_count, self.duration = info.frame_rate, info.frame_count, info.duration
        self.messages = list(info.messages)
        self.end = self._iteration = None
        self.deep = False

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._iteration is not None:
            self._iteration.close()

    def __iter__(self):
        return self.frames()

    def frames(self, skip: int = 0) -> Iterator[tuple[np.ndarray, Fraction]]:
        """Iterates over (rgb, pts), without the first `skip` frames (which are decoded, so that the rest is exact)."""
        self._iteration = self._frames(skip)
        return self._iteration

    def _frames(self, skip):
        deep = self.deep and self.info.bits > 8
        convert = RgbConverter(self.info.coded_size, deep)
        reduced = f"{self.path}: {self.info.bits} bits a sample{_dynamic(self.info)}: converted to"
        line = f"{reduced} {10 if deep else 8} bits."
        if self.info.bits > (10 if deep else 8) and line not in self.messages:
            self.messages.append(line)
        number = -1
        for number, (frame, pts) in enumerate(self._timed_frames()):
            if number >= skip:
                yield turned(convert(frame), self.info.turn), pts
        if number < 0:
            raise ValueError(f"{self.path}: no frame of the video can be decoded.")
        if _size_and_time(self.path) != self._identity:
            raise ValueError(f"{self.path}: changed while it was read.")

    def _timed_frames(self):
        """Decoded frames with strictly increasing timestamps, also where the file has none or repeats one."""
        tick, interval = self.info.time_base, 1 / (self.frame_rate or 25)
        pts, self.end, resized = None, None, False
        for frame in self._decoded_frames():
            last = pts
            pts = frame.pts * (frame.time_base or tick) - self.info.start if frame.pts is not None else None
            if pts is None:
                pts = Fraction(0) if last is None else last + interval
            elif last is not None and pts <= last:
                pts = last + tick
            if (frame.width, frame.height) != self.info.coded_size and not resized:
                resized = True
                self.messages.append(
                    f"{self.path}: frames of {frame.width}x{frame.height} from {float(pts):.2f} s on: "
                    f"made as large as the first."
                )
            yield frame, pts
            shown = frame.duration * (frame.time_base or tick) if frame.duration else 0
            end = pts + (shown or interval)
        if pts is not None:
            self.end = end
            self._check_end()

    def _decoded_frames(self):
        av = import_av()
        damaged = 0
        with open_video(self.path) as container:
            stream = container.streams[self.info.stream_index]
            stream.thread_type = "AUTO"
            for packet in self._packets(container, stream):
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    damaged += 1
                    continue
                yield from frames
        if damaged:
            self.messages.append(f"{self.path}: {damaged} damaged packets of the video were passed over.")

    def _packets(self, container, stream):
        try:
            for packet in timeline.packets(container):
                if packet.stream.index == stream.index:
                    yield packet
        except import_av().FFmpegError:
            self.messages.append(f"{self.path}: damaged: it cannot be read any further.")

    def _check_end(self):
        if self.duration and self.end < self.duration - max(1, self.duration / 20):
            self.messages.append(
                f"{self.path}: ends at {float(self.end):.2f} s though it says {float(self.duration):.2f} s: truncated?"
            )


def probe_video(path) -> VideoInfo:
    """What the video file `path` holds. Its first frame is decoded.

    Raises:
        As `VideoReader` does.
    """
    av = import_av()
    path = os.fspath(path)
    with open_video(path) as container:
        stream = _main_stream(container, path)
        try:
            frame = next(container.decode(stream), None)
        except av.FFmpegError as error:
            raise ValueError(f"{path}: damaged: its first frame cannot be decoded.") from error
        if frame is None:
            raise ValueError(f"{path}: no frame of the video can be decoded.")
        rotation_message, turn = _turn(frame, stream, path)
        coded_size = (frame.width, frame.height)
        pixel_aspect = stream.sample_aspect_ratio or Fraction(1)
        rate = _frame_rate(stream)
        if rate and stream.time_base == 1 / rate:
            rate = _rate_of_packets(path, stream.index) or rate
        duration = _duration(container, stream)
        return VideoInfo(
            path=path,
            codec=codec_name(stream),
            size=coded_size[::-1] if turn[0] else coded_size,
            coded_size=coded_size,
            pixel_aspect=1 / pixel_aspect if turn[0] else pixel_aspect,
            frame_rate=rate,
            frame_count=stream.frames or (round(duration * rate) if duration and rate else None),
            duration=duration,
            time_base=stream.time_base,
            start=_time_origin(container, stream),
            stream_index=stream.index,
            matrix=frame_matrix(frame),
            primaries=frame.color_primaries if frame.color_primaries not in RESERVED else UNSPECIFIED,
            transfer=frame.color_trc if frame.color_trc not in RESERVED else UNSPECIFIED,
            turn=turn,
            bits=max(component.bits for component in frame.format.components),
            display=_display(frame),
            audio=tuple(codec_name(audio) for audio in container.streams.audio),
            subtitles=tuple(codec_name(subtitle) for subtitle in container.streams.subtitles),
            messages=tuple(rotation_message + _losses(frame, stream, path)),
        )


def open_video(path):
    """PyAV's input container of the local file `path`, of which no frame is decoded yet.

    Raises:
        As `VideoReader` does.
    """
    av = import_av()
    size = os.stat(path).st_size  # a missing file is the FileNotFoundError that users know
    if os.path.isdir(path):
        raise ValueError(f"{path}: is a folder. Expected a video file.")
    if not size:
        raise ValueError(f"{path}: is empty (0 bytes). Expected a video file.")
    try:
        # An absolute path is never taken for a URL; the list keeps playlists from opening anything remote.
        return av.open(os.path.abspath(path), options={"protocol_whitelist": "file"}, **text_errors())
    except av.FFmpegError as error:
        if isinstance(error, PermissionError):
            raise
        raise ValueError(_why_not_opened(path)) from error


def _why_not_opened(path):
    """What to say of a file that FFmpeg does not open, by its first bytes."""
    with open(path, "rb") as file:
        found = type_of(file.read(HEAD_BYTES))
    if found in VIDEO_TYPES:
        return f"{path}: damaged: the {found} file is cut off or overwritten."
    return f"{path}: no video. Expected an image, GIF or video."


def codec_name(stream) -> str:
    """The codec of a stream by its common name ("h264", "mp3", ...), whatever decodes it; "unknown" without one."""
    return stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"


def turned(pixels, turn):
    """`pixels` (H, W, C) transposed, mirrored left-right, mirrored upside down, as the three flags of `turn` say."""
    transpose, mirror_x, mirror_y = turn
    if transpose:
        pixels = pixels.swapaxes(0, 1)
    if mirror_x:
        pixels = pixels[:, ::-1]
    if mirror_y:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def turn_of_matrix(matrix):
    """The flags of `turned` for a display matrix: nine fixed-point numbers, x' = ax + cy, y' = bx + dy.

    None for a matrix that is no multiple of 90 degrees.
    """
    a, b, _, c, d = matrix[:5]
    if not b and not c and a and d:
        return False, a < 0, d < 0
    if not a and not d and b and c:
        return True, c < 0, b < 0
    return None


def _turn(frame, stream, path):
    turn = None
    for data in side_data(frame):
        if data.type.name == "DISPLAYMATRIX":
            turn = turn_of_matrix(np.frombuffer(bytes(data), np.int32).tolist())
            break
    else:
        clockwise = {"0": (1, 0, 0, 1), "90": (0, 1, -1, 0), "180": (-1, 0, 0, -1), "270": (0, -1, 1, 0)}
        a, b, c, d = clockwise.get(stream.metadata.get("rotate", "0"), (1, 0, 0, 1))
        turn = turn_of_matrix((a, b, 0, c, d))
    if turn is None:
        return [f"{path}: turned by no multiple of 90 degrees: taken as it is stored."], (False,) * 3
    return [], turn


def _losses(frame, stream, path):
    """Lines about what progressive RGB does not hold."""
    lines = []
    components = frame.format.components
    if any(data.type.name.startswith(("DOVI", "DYNAMIC_HDR")) for data in side_data(frame)):
        lines.append(f"{path}: what it says of single scenes' light (Dolby Vision, HDR10+) is not kept.")
    for name, word in (("SPHERICAL", "360 degrees"), ("STEREO3D", "stereoscopic")):
        if any(data.type.name == name for data in side_data(frame)):
            lines.append(f"{path}: that it is {word} is not kept.")
    if any(component.is_alpha for component in components) or stream.metadata.get("alpha_mode") == "1":
        lines.append(f"{path}: transparency is not kept.")
    if frame.interlaced_frame:
        lines.append(f"{path}: interlaced: upscaled as it is, without deinterlacing.")
    return lines


def _dynamic(info):
    return ", high dynamic range, whose transfer is kept" if info.transfer in (PQ, HLG) else ""


def _display(frame):
    """HDR10's mastering display and light level of a frame as parameters of x265; "" without them.

    Sources: SMPTE ST 2086, CTA-861.3; FFmpeg's AVMasteringDisplayMetadata and AVContentLightMetadata.
    """
    words = []
    for data in side_data(frame):
        if data.type.name == "MASTERING_DISPLAY_METADATA":
            numbers = np.frombuffer(bytes(data), np.int32)
            fractions = [Fraction(int(a), int(b)) for a, b in numbers[:20].reshape(-1, 2) if b]
            if len(fractions) == 10 and numbers[20] and numbers[21]:
                red, green, blue, white = (
                    [round(part * 50_000) for part in fractions[at : at + 2]] for at in (0, 2, 4, 6)
                )
                least, most = (round(part * 10_000) for part in fractions[8:])
                colors = f"G({green[0]},{green[1]})B({blue[0]},{blue[1]})R({red[0]},{red[1]})WP({white[0]},{white[1]})"
                words.append(f"master-display={colors}L({most},{least})")
        elif data.type.name == "CONTENT_LIGHT_LEVEL":
            most, average = np.frombuffer(bytes(data), np.uint32)[:2].tolist()
            words.append(f"max-cll={most},{average}")
    return ":".join(words)


def _main_stream(container, path):
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise ValueError(f"{path}: its pictures are by a codec that is not supported.")
            return stream
    raise ValueError(f"{path}: holds no video stream (only {_stream_types(container)}).")


def _stream_types(container):
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"


def _duration(container, stream):
    if stream.duration:
        return stream.duration * stream.time_base
    return Fraction(container.duration, 1_000_000) if container.duration else None


def _frame_rate(stream):
    """The average rate, or FFmpeg's guess where that is absurd, as for irregular frames in broadcast streams."""
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return next((rate for rate in rates if rate and rate <= HIGHEST_RATE), None)


def _rate_of_packets(path, index):
    """The rate by the times of the first packets, of a file that gives its clock's ticks for one (Matroska's ms)."""
    times = []
    with open_video(path) as container:
        for packet in container.demux(container.streams[index]):
            if packet.pts is not None:
                times.append(packet.pts * packet.time_base)
            if len(times) == PROBED:
                break
    times.sort()
    if len(times) < 2 or times[-1] == times[0]:
        return None
    return (len(times) - 1) / Fraction(times[-1] - times[0])


def _time_origin(container, stream):
    if not container.format.flags & timeline.TS_DISCONT:
        return min(Fraction(0), (stream.start_time or 0) * stream.time_base)
    starts = [s.start_time * s.time_base for s in container.streams if s.start_time is not None and s.time_base]
    return min(starts, default=Fraction(0))


def _size_and_time(path):
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns
