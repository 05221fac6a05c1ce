"""What the page takes: files within limits, of kinds that are safe to decode, under names that are safe to write."""

import re
from dataclasses import dataclass
from pathlib import Path

from srwgan.convert.jobs import kind_of
from srwgan.media.animation import AnimationReader
from srwgan.media.gif import GifReader
from srwgan.media.still.images import open_image, read_header
from srwgan.media.still.metadata import take_exif
from srwgan.media.video.pyav import import_av, text_errors

# Of what Pillow reads; others start outside programs (EPS) or are seldom met.
IMAGE_FORMATS = "AVIF BMP DDS GIF HEIF ICO JPEG JPEG2000 PCX PNG PPM PSD TGA TIFF WEBP".split()
# FFmpeg's names of containers; the others include playlists, which open files that they name.
CONTAINERS = ("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf", "ogg")
ENLARGEMENT = 16  # a result has at most so many times the pixels that a source may have
LONGEST_STEM = 80
LYING_DOWN = 5  # EXIF's orientations from here on turn a picture by a quarter


EXPECTED = "Expected a picture (PNG, JPEG, WebP, AVIF, BMP, TIFF), a GIF, or a video (MP4, MOV, WebM, MKV, AVI, MPEG)."


@dataclass(frozen=True)
class FileFacts:
    """What a file's header says.

    Attributes:
        kind: "image", "gif", "animation" (a PNG, WebP or AVIF that moves) or "video".
        width, height: in pixels; of a photograph as its EXIF orientation turns it.
        frames: how many; 1 for an image; None where the file does not tell.
        seconds: how long a GIF or video plays; None where the file does not tell.
    """

    kind: str
    width: int
    height: int
    frames: int | None = None
    seconds: float | None = None

    @property
    def megapixels(self) -> float:
        """Those of all frames together."""
        return self.width * self.height * (self.frames or 1) / 1e6


@dataclass(frozen=True)
class Limits:
    """What one file, one job, one page and all together may take.

    Attributes:
        bytes: of a file.
        pixels: of a picture or frame.
        frames, seconds: of a GIF or video.
        files: of one job.
        page_bytes: of all uploads and results of one page.
        all_bytes: of those of all pages.
        minutes: how long a page may rest before its files are removed.
    """

    bytes: int = 100 * 2**20
    pixels: int = 16_000_000
    frames: int = 2_000
    seconds: float = 120
    files: int = 50
    page_bytes: int = 2 * 2**30
    all_bytes: int = 20 * 2**30
    minutes: float = 120

    def __post_init__(self):
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"Received: a limit of {value} {name}. Expected more than 0.")

    def check_bytes(self, name, size):
        if size > self.bytes:
            raise ValueError(f"{name}: {size / 2**20:.1f} MB. Expected at most {self.bytes / 2**20:.3g} MB.")

    def check(self, path: Path) -> FileFacts:
        """The facts of the file at `path`, which is decoded no further than its header.

        Raises:
            ValueError: the file is larger than a limit, or not what the page takes; the sentence names which.
        """
        path = Path(path)
        self.check_bytes(path, path.stat().st_size)
        try:
            kind = kind_of(path)
            facts = getattr(self, f"{kind}_facts")(path)
        except ValueError as error:
            if "Expected at most" in str(error):  # it is only too large
                raise
            reason = str(error).partition(" Expected")[0]
            raise ValueError(f"{reason} {EXPECTED}") from error
        if facts.width * facts.height > self.pixels:
            raise ValueError(f"{path}: {facts.width}x{facts.height} pixels. Expected at most {self.pixels:,} in all.")
        if facts.frames is not None:
            self.check_frames(path, facts.frames)
        if facts.seconds is not None and facts.seconds > self.seconds:
            raise ValueError(f"{path}: {facts.seconds:.0f} seconds. Expected at most {self.seconds:g}.")
        return facts

    def image_facts(self, path):
        header = read_header(path, self.pixels)
        if header.format not in IMAGE_FORMATS:
            raise ValueError(f"{path}: {header.format} is not taken here. {EXPECTED}")
        with open(path, "rb") as file, open_image(file, path, self.pixels) as image:
            orientation, _ = take_exif(image, path, [])
        width, height = header[1:3] if orientation < LYING_DOWN else header[2:0:-1]
        return FileFacts("image", width, height, frames=1)

    def gif_facts(self, path):
        with GifReader(path) as reader:
            return FileFacts("gif", *reader.size, frames=reader.frame_count, seconds=reader.duration_ms / 1000)

    def animation_facts(self, path):
        with AnimationReader(path, self.pixels) as reader:
            return FileFacts("animation", *reader.size, frames=reader.frame_count)

    def video_facts(self, path):
        with open_video_safely(path) as container:
            if not container.streams.video:
                raise ValueError(f"{path}: holds no video.")
            stream = container.streams.video[0]
            size = stream.codec_context.width, stream.codec_context.height
            seconds = container.duration / 1_000_000 if container.duration else None
            return FileFacts("video", *size, frames=stream.frames or guessed_frames(stream, seconds), seconds=seconds)

    def check_frames(self, path, frames):
        if frames > self.frames:
            raise ValueError(f"{path}: {frames:,} frames. Expected at most {self.frames:,}.")

    def check_result(self, path, width, height):
        most = ENLARGEMENT * self.pixels
        if width * height > most:
            raise ValueError(f"{path}: its result has {width}x{height} pixels. Expected at most {most:,} in all.")


def guessed_frames(stream, seconds):
    """The number of frames by a video's length and rate; None where it tells neither."""
    return round(seconds * stream.average_rate) if seconds and stream.average_rate else None


def open_video_safely(path):
    """PyAV's container of a video in one of `CONTAINERS`.

    Playlists are refused, because they could name other files of this machine.

    Raises:
        ValueError: the file is no such video.
    """
    av = import_av()
    try:
        options = {"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)}
        return av.open(str(Path(path).absolute()), options=options, **text_errors())
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
