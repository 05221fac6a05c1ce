"""Which codecs and containers videos are written in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Codec:
    """A codec: FFmpeg's encoder for it, its default and worst constant rate factor, and the encoder's options."""

    encoder: str
    crf: int
    max_crf: int
    options: dict
    longest_side: int  # that the encoder takes


@dataclass(frozen=True)
class Container:
    """A kind of video file: FFmpeg's name for it and what goes into it."""

    format: str
    codecs: tuple[str, ...]  # the first is its default
    audio_encoder: str  # for tracks whose own codec it does not take


CODECS = {
    "h264": Codec("libx264", 18, 51, {"preset": "faster"}, 16_384),
    "hevc": Codec("libx265", 20, 51, {"preset": "fast", "x265-params": "log-level=error"}, 65_534),
    "vp9": Codec("libvpx-vp9", 28, 63, {"row-mt": "1", "cpu-used": "4"}, 65_534),
    "av1": Codec("libsvtav1", 28, 63, {"preset": "8"}, 16_384),
}
CONTAINERS = {
    ".mp4": Container("mp4", ("h264", "hevc", "vp9", "av1"), "aac"),
    ".m4v": Container("mp4", ("h264", "hevc"), "aac"),
    ".mov": Container("mov", ("h264", "hevc"), "aac"),
    ".mkv": Container("matroska", ("h264", "hevc", "vp9", "av1"), "aac"),
    ".webm": Container("webm", ("vp9", "av1"), "libopus"),
}
