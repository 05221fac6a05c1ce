"""Videos through PyAV: `VideoReader` gives frames, `VideoWriter` takes them and what else the source holds."""

from srwgan.video_encoder import CODECS, CONTAINERS
from srwgan.video_reader import VideoInfo, VideoReader, probe_video
from srwgan.video_segments import file_identity
from srwgan.video_writer import VideoWriter

__all__ = ["CODECS", "CONTAINERS", "VideoInfo", "VideoReader", "VideoWriter", "file_identity", "probe_video"]
