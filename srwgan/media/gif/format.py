"""What reading and writing GIFs have in common. Source: GIF89a specification, CompuServe 1990."""

import numpy as np

KEEP, CLEAR, RESTORE = 1, 2, 3
DITHERS = ("none", "ordered", "floyd-steinberg")  # see `palettes.PaletteMapper`
LOOP_EXTENSIONS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


def pack(pixels):
    """RGB or RGBA (..., 3 or 4) uint8 -> one uint32 each (...), opaque where alpha is 128 or more, 0 elsewhere."""
    packed = np.full(pixels.shape[:-1] + (4,), 255, np.uint8)
    for channel in range(3):  # three times as fast as all channels at once
        packed[..., channel] = pixels[..., channel]
    packed = packed.view(np.uint32)[..., 0]
    if pixels.shape[-1] == 4:
        packed[pixels[..., 3] < 128] = 0
    return packed


def split_blocks(data: bytes) -> bytes:
    """Data as sub-blocks of up to 255 bytes, each after its length, without the empty one that ends them."""
    return b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))


def join_blocks(data: bytes) -> bytes:
    """What sub-blocks hold, without their lengths."""
    parts, start = [], 0
    while start < len(data):
        parts.append(data[start + 1 : start + 1 + data[start]])
        start += 1 + data[start]
    return b"".join(parts)


def select(mask, ones, others):
    """`np.where` for integers of one type: ten times as fast where a mask changes often."""
    return others ^ (ones ^ others) * mask
