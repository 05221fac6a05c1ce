"""Videos through PyAV: `VideoReader` gives frames, `VideoWriter` takes them and what else the source holds."""

from srwgan.media.video.encoder import CODECS, CONTAINERS, keeps_bits
from srwgan.media.video.reader import VideoInfo, VideoReader, probe_video
from srwgan.media.video.segments import file_identity
from srwgan.media.video.writer import VideoWriter

__all__ = [
    "CODECS",
    "CONTAINERS",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "file_identity",
    "keeps_bits",
    "probe_video",
]
