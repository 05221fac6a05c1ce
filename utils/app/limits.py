"""What the page takes: files within limits, of kinds that are safe to decode, under names that are safe to write."""

import re
from dataclasses import dataclass
from pathlib import Path

from srwgan.convert.jobs import kind_of
from srwgan.media.animation import AnimationReader
from srwgan.media.gif import GifReader
from srwgan.media.still.images import read_header
from srwgan.media.video.pyav import import_av

# Of what Pillow reads; others start outside programs (EPS) or are seldom met.
IMAGE_FORMATS = "AVIF BMP DDS GIF ICO JPEG JPEG2000 PCX PNG PPM PSD TGA TIFF WEBP".split()
# FFmpeg's names of containers; the others include playlists, which open files that they name.
CONTAINERS = ("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf", "ogg")
ENLARGEMENT = 16  # a result has at most so many times the pixels that a source may have
LONGEST_STEM = 80


@dataclass(frozen=True)
class Limits:
    """The largest uploads: bytes of a file, pixels of a picture or frame, frames, seconds, files of one job."""

    bytes: int = 100 * 2**20
    pixels: int = 16_000_000
    frames: int = 2_000
    seconds: float = 120
    files: int = 50

    def __post_init__(self):
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"Received: a limit of {value} {name}. Expected more than 0.")

    def check_count(self, count):
        if count > self.files:
            raise ValueError(f"{count} files at once. Expected at most {self.files}.")

    def check(self, path):
        """(kind, (width, height)) of the file at `path`, decoding no more than a video's header.

        Raises ValueError, in a sentence that names what is too large or not what it says it is.
        """
        path = Path(path)
        size = path.stat().st_size
        if size > self.bytes:
            raise ValueError(f"{path}: {size / 2**20:.1f} MB. Expected at most {self.bytes / 2**20:.3g} MB.")
        kind = kind_of(path)
        checks = {"image": self.check_image, "gif": self.check_gif, "video": self.check_video}
        return kind, {**checks, "animation": self.check_animation}[kind](path)

    def check_image(self, path):
        header = read_header(path, self.pixels)
        if header.format not in IMAGE_FORMATS:
            raise ValueError(f"{path}: {header.format} is not taken here. Expected a PNG, JPEG, WebP, BMP or TIFF.")
        return header.width, header.height

    def check_gif(self, path):
        with GifReader(path) as reader:
            self.check_clip(path, reader.size, reader.frame_count, reader.duration_ms / 1000)
            return reader.size

    def check_animation(self, path):
        with AnimationReader(path, self.pixels) as reader:
            self.check_clip(path, reader.size, reader.frame_count, None)
            return reader.size

    def check_video(self, path):
        with open_video_safely(path) as container:
            if not container.streams.video:
                raise ValueError(f"{path}: holds no video.")
            stream = container.streams.video[0]
            size = stream.codec_context.width, stream.codec_context.height
            seconds = container.duration / 1_000_000 if container.duration else None
            self.check_clip(path, size, stream.frames or None, seconds)
            return size

    def check_clip(self, path, size, frames, seconds):
        width, height = size
        if width * height > self.pixels:
            raise ValueError(f"{path}: {width}x{height} pixels. Expected at most {self.pixels:,} in all.")
        if frames is not None:
            self.check_frames(path, frames)
        if seconds is not None and seconds > self.seconds:
            raise ValueError(f"{path}: {seconds:.0f} seconds. Expected at most {self.seconds:g}.")

    def check_frames(self, path, frames):
        if frames > self.frames:
            raise ValueError(f"{path}: {frames:,} frames. Expected at most {self.frames:,}.")

    def check_result(self, path, width, height):
        most = ENLARGEMENT * self.pixels
        if width * height > most:
            raise ValueError(f"{path}: its result has {width}x{height} pixels. Expected at most {most:,} in all.")


def open_video_safely(path):
    """PyAV's container, if the file is one of `CONTAINERS`: a playlist could name other files of this machine."""
    av = import_av()
    try:
        options = {"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)}
        return av.open(str(Path(path).absolute()), options=options, metadata_errors="replace")
    except av.FFmpegError:
        raise ValueError(f"{path}: not a video that can be read.") from None


def safe_name(name):
    """A file's name without folders, control characters and what shells, browsers or systems trip over; never empty."""
    name = re.split(r"[/\\]", name)[-1]
    name = re.sub(r"[^\w .()+-]", "_", name).strip(" .")
    stem, suffix = Path(name).stem, Path(name).suffix
    if not re.fullmatch(r"\.[A-Za-z0-9]{1,8}", suffix):
        stem, suffix = name, ""
    return (stem[:LONGEST_STEM].strip(" .") or "file") + suffix
