"""Videos through PyAV: `VideoReader` gives frames, `VideoWriter` takes them and what else the source holds.

The names that the rest of the project uses, imported when they are first used.
"""

from srwgan.lazy import lazily

PUBLIC = {  # name -> the module that it is in
    "CODECS": "srwgan.media.video.formats",
    "CONTAINERS": "srwgan.media.video.formats",
    "VideoInfo": "srwgan.media.video.reader",
    "VideoReader": "srwgan.media.video.reader",
    "VideoWriter": "srwgan.media.video.writer",
    "file_identity": "srwgan.media.video.segments",
    "keeps_bits": "srwgan.media.video.encoder",
    "probe_video": "srwgan.media.video.reader",
}
__all__ = sorted(PUBLIC)
__getattr__, __dir__ = lazily(__name__, PUBLIC)
