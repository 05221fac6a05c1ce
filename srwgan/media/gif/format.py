"""What reading and writing GIFs have in common. Source: GIF89a specification, CompuServe 1990."""

import numpy as np

KEEP, CLEAR, RESTORE = 1, 2, 3
DITHERS = ("none", "ordered", "floyd-steinberg")  # see `palettes.PaletteMapper`
OPAQUE = np.uint32(0xFF000000)
LOOP_EXTENSIONS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


def as_words(pixels):
    """RGB or RGBA (..., 3 or 4) uint8 -> one uint32 each (...): red in its lowest byte. The highest may be anything."""
    pixels = np.ascontiguousarray(pixels)
    if pixels.shape[-1] == 4:
        return pixels.view("<u4")[..., 0]
    words = np.empty(pixels.shape[:-1], "<u4")
    if words.size:
        # Four bytes from every third one, which is twice as fast as channel by channel. The last pixel has but three.
        flat = words.reshape(-1)
        flat[:-1] = np.ndarray(words.size - 1, "<u4", pixels, strides=(3,))
        flat[-1] = int.from_bytes(pixels[(-1,) * (pixels.ndim - 1)].tobytes(), "little")
    return words


def pack(pixels):
    """RGB or RGBA (..., 3 or 4) uint8 -> one uint32 each (...), opaque where alpha is 128 or more, 0 elsewhere."""
    words = as_words(pixels)
    if pixels.shape[-1] == 3:
        words |= OPAQUE
        return words
    words = words | OPAQUE  # a copy, since these are the pixels themselves
    words[pixels[..., 3] < 128] = 0
    return words


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
