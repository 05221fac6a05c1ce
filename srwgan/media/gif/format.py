"""What reading and writing GIFs have in common. Source: GIF89a specification, CompuServe 1990."""

import numpy as np

KEEP, CLEAR, RESTORE = 1, 2, 3
LOOP_EXTENSIONS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


def pack(pixels):
    """RGB or RGBA (..., 3 or 4) -> the same as uint32 (...), opaque where alpha >= 128 and 0 elsewhere."""
    packed = np.full(pixels.shape[:-1] + (4,), 255, np.uint8)
    for channel in range(3):  # three times as fast as at once
        packed[..., channel] = pixels[..., channel]
    packed = packed.view(np.uint32)[..., 0]
    if pixels.shape[-1] == 4:
        packed[pixels[..., 3] < 128] = 0
    return packed


def split_blocks(data):
    return b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))


def join_blocks(data):
    parts, start = [], 0
    while start < len(data):
        parts.append(data[start + 1 : start + 1 + data[start]])
        start += 1 + data[start]
    return b"".join(parts)


def chosen(mask, ones, others):
    """As np.where for integers of one type, ten times as fast where a mask changes often."""
    return others ^ (ones ^ others) * mask
