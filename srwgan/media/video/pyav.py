"""PyAV (FFmpeg's libraries), which only videos need and which is imported when a video is met."""


def import_av():
    """The module `av`. Raises ImportError, saying what to install, where PyAV is missing."""
    try:
        import av
    except ImportError as error:
        raise ImportError(
            "Videos need PyAV, which is not installed. Run: python3 -m pip install -r requirements-video.txt"
        ) from error
    return av


def is_before_19():
    return int(import_av().__version__.split(".")[0]) < 19


def text_errors():
    """Arguments of `av.open` with which tags that are no UTF-8 are read all the same; PyAV 19 does so by itself."""
    return {"metadata_errors": "replace"} if is_before_19() else {}


def side_data(frame):
    """What a frame carries beside its pixels. PyAV up to 18 iterates over it, PyAV 19 over its types, each once."""
    return list(frame.side_data) if is_before_19() else frame.side_data[:]
