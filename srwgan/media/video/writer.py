"""Videos out: RGB frames with exact timestamps, and the sound and subtitles of the video they come from."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np

from srwgan.media.video.colors import YuvConverter
from srwgan.media.video.encoder import CODECS, check_opens, container_of, encoder_settings
from srwgan.media.video.mux import check_tracks, mux_video
from srwgan.media.video.pyav import import_av
from srwgan.media.video.segments import SegmentFolder, file_identity, parts_folder
from srwgan.whole_files import temporary_beside

SEGMENT_FRAMES = 250


class VideoWriter:
    """Writes the video `path`, an MP4, MOV, Matroska or WebM by its extension. A context manager.

    The frames are encoded into whole segments in the folder `path` + ".parts" (`SegmentFolder`). When the `with` block
    ends, the segments are joined with the source's tracks under another name, which is then changed to `path`: so
    `path` is a whole video or not there. A block left by an exception leaves the folder if a whole segment is in it.
    One left by Ctrl-C leaves all frames that it was given. `resume=True` goes on from there.
    MP4 and MOV keep the timestamps exactly. Matroska and WebM hold whole milliseconds.

    Args:
        path: where to; an existing file is replaced.
        size: (width, height) of the frames; an odd one is made even by repeating the last column or row.
        source: the `VideoReader` that the frames come from, or None. Its time base, frame rate, pixel aspect, color
            tags, metadata, chapters, sound and subtitles go into `path`.
        codec: "h264" (the default), "hevc", "vp9" (WebM's default) or "av1".
        crf: constant rate factor, lower is better and larger; the default depends on the codec.
        frame_rate: the nominal one, for frames without a source.
        pixel_aspect: width : height of one pixel where it is not the source's.
        deep: the frames are uint16 and are written with 10 bits a sample, by HEVC or AV1 where no codec is named.
        resume: go on with what an interrupted job left, if it was the same job; skip `frames_done` frames then.
        settings: a dict that JSON can hold of what else the frames depend on (model, flags), to tell jobs apart.

    Attributes:
        frames_done: how many frames were there from before; known inside the block.
        goes_on_at: when the next frame is shown at the earliest, seconds as a float; None where nothing was there.
        messages: lines for the user: tracks dropped or encoded anew, starting over.

    Raises:
        ValueError: an unknown extension or codec, frames that the encoder does not take, tracks that the container does
            not take, a wrong frame, or timestamps that do not increase.
        OSError: it cannot be written.
        ImportError: PyAV is missing.
    """

    def __init__(
        self, path, size, source=None, codec=None, crf=None, frame_rate=None, pixel_aspect=None, resume=False,
        settings=None, segment_frames=SEGMENT_FRAMES, deep=False,
    ):  # fmt: skip
        self.path, self.size, self.messages, self.frames_done = Path(path), tuple(size), [], 0
        self._source, self._resume, self._segment_frames = source, resume, segment_frames
        info = source.info if source else None
        self._settings = encoder_settings(
            self.path, self.size, source=info, codec=codec, crf=crf, frame_rate=frame_rate, pixel_aspect=pixel_aspect,
            deep=deep,
        )  # fmt: skip
        self._dtype = np.dtype(np.uint16 if deep else np.uint8)
        if self._settings.size != self.size:
            width, height = self._settings.size
            self.messages.append(f"{self.path}: {width}x{height}, since the codec takes even sizes only.")
        check_opens(self._settings, self.path)
        if source:
            check_tracks(self.path, container_of(self.path), self._settings, source)
        self._source_identity = file_identity(source.path) if source else None
        self._folder = SegmentFolder(parts_folder(self.path), self._job(settings))
        self._to_yuv = YuvConverter(self._settings.matrix, deep)
        self._encoder = self._segment = self._last_tick = self._end = None

    def __enter__(self):
        if self.path.is_dir():
            raise ValueError(f"{self.path}: is a folder. Expected a file name.")
        self.messages += self._folder.open(self._resume)
        for segment in self._folder.segments:
            self.frames_done += len(segment["packets"])
            self._last_tick, self._end = max(pts for _, pts, _ in segment["packets"]), segment["end"]
        self.goes_on_at = float(self._last_tick * self._settings.time_base) if self.frames_done else None
        return self

    def __exit__(self, exception_type, exception, traceback):
        try:
            if exception_type is None:
                self._finish()
            elif not issubclass(exception_type, Exception) and self._encoder is not None:
                self._end_segment()  # Ctrl-C: what was half done is kept
        finally:
            self._leave()

    def write(self, rgb: np.ndarray, pts: Fraction, duration: Fraction | None = None):
        """Adds a frame, shown from `pts` to the next frame.

        Args:
            rgb: (H, W, 3) uint8; uint16 with `deep`.
            pts: a Fraction of a second, 0 or more.
            duration: seconds, which count for the last frame; without them that one is shown as long as in the source,
                or as the frame before it.
        """
        tick = self._checked_tick(rgb, pts)
        if self._encoder is None:
            self._start_segment()
        frame = self._to_yuv(self._even(rgb))
        frame.pts, frame.time_base = tick, self._settings.time_base
        self._segment.add_frame(tick)
        self._keep(self._encoder.encode(frame))
        self._last_tick = tick
        self._end = None if duration is None else max(tick + 1, self._tick(pts + Fraction(duration)))
        if self._segment.frames == self._segment_frames:
            self._end_segment()

    def _start_segment(self):
        self._encoder = self._settings.new_encoder()
        self._segment = self._folder.new_segment()

    def _keep(self, packets):
        self._segment.add_packets(packets, self._headers())

    def _headers(self):
        return bytes(self._encoder.extradata or b"").hex()

    def _end_segment(self):
        self._keep(self._encoder.encode(None))
        self._folder.add(self._segment, self._end, self._headers())
        self._encoder = self._segment = None

    def _finish(self):
        if self._encoder is not None:
            self._end_segment()
        if not self._folder.segments:
            raise ValueError(f"{self.path}: no frame was written.")
        if self._source and file_identity(self._source.path) != self._source_identity:
            raise ValueError(f"{self._source.path}: changed while it was read.")
        temporary = temporary_beside(self.path)
        try:
            self.messages += mux_video(
                temporary, container_of(self.path), self._settings, self._folder, self._end_tick(), self._source
            )
            os.replace(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)
        self._folder.remove()

    def _leave(self):
        """Closes what an exception left open, and leaves no folder that nothing can go on from."""
        if self._segment is not None:
            self._segment.close()
        self._encoder = self._segment = None
        if not self._folder.segments:
            self._folder.remove()

    def _end_tick(self):
        if self._end is not None:
            return self._end
        if self._source and self._source.end is not None:
            return max(self._last_tick + 1, self._tick(self._source.end))
        ticks = sorted(pts for segment in self._folder.segments[-2:] for _, pts, _ in segment["packets"])
        interval = ticks[-1] - ticks[-2] if len(ticks) > 1 else self._tick(1 / self._settings.frame_rate)
        return ticks[-1] + max(1, interval)

    def _checked_tick(self, rgb, pts):
        if rgb.shape != (*self.size[::-1], 3) or rgb.dtype != self._dtype:
            raise ValueError(
                f"Received: a frame of {rgb.shape} {rgb.dtype}. Expected {(*self.size[::-1], 3)} {self._dtype} (RGB)."
            )
        tick = self._tick(pts)
        if tick < 0 or (self._last_tick is not None and tick <= self._last_tick):
            last = "0" if self._last_tick is None else f"after {float(self._last_tick * self._settings.time_base):.6f}"
            raise ValueError(f"Received: a frame at {float(pts):.6f} s. Expected times that increase, {last} or later.")
        return tick

    def _tick(self, seconds):
        return round(Fraction(seconds) / self._settings.time_base)

    def _even(self, rgb):
        width, height = self._settings.size
        if rgb.shape[:2] != (height, width):
            rgb = np.pad(rgb, ((0, height - rgb.shape[0]), (0, width - rgb.shape[1]), (0, 0)), mode="edge")
        return np.ascontiguousarray(rgb)

    def _job(self, settings):
        """What must be the same for segments to fit together, as text and numbers."""
        av = import_av()
        encoder = {name: str(value) for name, value in vars(self._settings).items()}
        return {
            "source": self._source_identity,
            "encoder": {**encoder, "options": CODECS[self._settings.codec].options},
            "frames a segment": self._segment_frames,
            "size": list(self.size),
            "FFmpeg": [list(version) for version in av.library_versions.values()],
            "settings": settings or {},
        }
