"""Pictures through FFmpeg (by PyAV), where Pillow is known to read other pixels than all else, or reads none."""

import io

import numpy as np

from srwgan.media.still.errors import Damaged, ReadError

# The types of files that Pillow gives up on and FFmpeg reads, as `kinds.type_of` names them.
MORE_IN_FFMPEG = ("BMP", "QOI", "JPEG XL", "EXR", "DDS", "SGI", "Sun raster", "PCX")


def decode_by_ffmpeg(data: bytes, path, what: str) -> np.ndarray:
    """(H, W, C) uint8 or uint16 pixels of a picture's file: C = 1 gray, 3 RGB, 4 RGBA.

    Args:
        data: the file's bytes.
        path: its name, for errors.
        what: the kind of picture that needs FFmpeg, for the line where PyAV is missing.

    Raises:
        ReadError: PyAV is missing.
        Damaged: FFmpeg does not decode it either.
    """
    try:
        import av
    except ImportError:
        needed = "python3 -m pip install -r requirements-video.txt"
        raise ReadError(f"{path}: {what} needs PyAV, which is not installed. Run: {needed}") from None
    try:
        with av.open(io.BytesIO(data)) as container:
            has_decoder = container.streams.video[0].codec_context is not None  # without one PyAV 17 crashes
            frame = next(container.decode(video=0), None) if has_decoder else None
            damaged = frame is None or frame.is_corrupt
    except (av.FFmpegError, IndexError, ValueError):
        damaged = True
    if damaged:
        raise Damaged(f"{path}: damaged: its pixels cannot be decoded.")
    return pixels_of(frame)


def pixels_of(frame):
    """A decoded frame's pixels, in the fewest channels and bits that hold them."""
    components = frame.format.components
    palette = frame.format.has_palette
    deep = "16" if not palette and max(component.bits for component in components) > 8 else ""
    alpha = palette or any(component.is_alpha for component in components)
    if len(components) == 1 and not palette:
        name = "gray16le" if deep else "gray"
    elif alpha:
        name = "rgba64le" if deep else "rgba"
    else:
        name = "rgb48le" if deep else "rgb24"
    pixels = frame.to_ndarray(format=name)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return pixels[..., :3] if palette and (pixels[..., 3] == 255).all() else pixels
