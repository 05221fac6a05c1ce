"""An APNG's frames put onto its canvas. Pillow (12.3) leaves areas that a frame clears before the next as they were.

Each frame is a rectangle; its control says what becomes of it after its time, and how it goes over what is there:

    dispose   0 stays   1 becomes transparent   2 what was there before comes back
    blend     0 drawn over everything           1 laid over by its alpha

Source: Portable Network Graphics, third edition, W3C 2025, 12.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from srwgan.media.still import png
from srwgan.media.still.decoding import decode
from srwgan.media.still.errors import Damaged

STAYS, CLEARED, RESTORED = 0, 1, 2
BLENDED = 1


@dataclass(frozen=True)
class Frame:
    """One frame as it is stored.

    Attributes:
        width, height, x, y: its rectangle on the canvas.
        duration_ms: a float.
        dispose, blend: see above.
        parts: the compressed pixels.
    """

    width: int
    height: int
    x: int
    y: int
    duration_ms: float
    dispose: int
    blend: int
    parts: list[bytes] = field(default_factory=list)


def stored_frames(data: bytes, path) -> tuple[bytes, bytes, list[Frame]]:
    """(IHDR's body, the chunks that each frame needs, the frames) of an APNG."""
    header, shared, frames, before = b"", b"", [], True
    for chunk in png.chunks(data, path):
        body = bytes(chunk.body)
        if chunk.name == "IHDR":
            header = body
        elif chunk.name in ("PLTE", "tRNS") and before:
            shared += data[chunk.start : chunk.end]
        elif chunk.name == "fcTL" and len(body) == 26:
            _, width, height, x, y, number, denominator, dispose, blend = struct.unpack(">IIIIIHHBB", body)
            frames.append(Frame(width, height, x, y, 1000 * number / (denominator or 100), dispose, blend))
        elif chunk.name == "IDAT":
            before = False
            if frames:  # else it is a still for programs that play none
                frames[0].parts.append(body)
        elif chunk.name == "fdAT" and frames:
            frames[-1].parts.append(body[4:])
    return header, shared, [frame for frame in frames if frame.parts]


def composed(data: bytes, path) -> Iterator[tuple[np.ndarray, float]]:
    """Yields (rgba (H, W, 4) uint8, duration in ms) of an APNG's frames as they are shown."""
    header, shared, frames = stored_frames(data, path)
    width, height = struct.unpack(">II", header[:8])
    canvas = np.zeros((height, width, 4), np.uint8)
    for number, frame in enumerate(frames):
        if frame.x + frame.width > width or frame.y + frame.height > height or not frame.width or not frame.height:
            raise Damaged(f"{path}: damaged: its frame {number + 1} lies outside its {width}x{height} canvas.")
        area = canvas[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width]
        before = area.copy() if frame.dispose == RESTORED else None
        pixels = decoded(header, shared, frame, path)
        area[...] = over(pixels, area) if frame.blend == BLENDED else pixels
        yield canvas.copy(), frame.duration_ms
        if frame.dispose == CLEARED or (frame.dispose == RESTORED and number == 0):
            area[...] = 0
        elif frame.dispose == RESTORED:
            area[...] = before


def decoded(header, shared, frame, path):
    """A frame's pixels (h, w, 4) uint8, by way of a PNG of its own."""
    own_header = struct.pack(">II", frame.width, frame.height) + header[8:]
    parts = [(b"IDAT", part) for part in frame.parts]
    data = png.SIGNATURE + as_chunk(b"IHDR", own_header) + shared
    data += b"".join(as_chunk(*part) for part in parts) + as_chunk(b"IEND", b"")
    png.check_pixels(data, path)
    with Image.open(io.BytesIO(data)) as image:
        pixels = decode(image, data, path)
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    alpha = pixels[..., -1:] if pixels.shape[-1] in (2, 4) else np.full((*pixels.shape[:2], 1), 255, np.uint8)
    colors = pixels[..., :-1] if pixels.shape[-1] in (2, 4) else pixels
    return np.concatenate([np.broadcast_to(colors, (*pixels.shape[:2], 3)), alpha], axis=-1)


def as_chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def over(pixels, ground):
    """Straight-alpha RGBA laid over RGBA, uint8."""
    alpha, below = (part[..., 3:].astype(np.float32) / 255 for part in (pixels, ground))
    left = below * (1 - alpha)
    total = alpha + left
    colors = (pixels[..., :3] * alpha + ground[..., :3] * left) / np.maximum(total, 1e-6)
    return np.rint(np.concatenate([colors, 255 * total], axis=-1)).astype(np.uint8)
