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
