"""Resizing of pixel arrays of 8 or 16 bits, with or without alpha."""

import numpy as np
from PIL import Image


def resize(pixels, size, filter=Image.Resampling.LANCZOS):
    """(H, W, C) uint8 or uint16 -> (height, width, C) alike by one of Pillow's filters, antialiased when it shrinks.

    Args:
        pixels: C = 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA; colours count by their alpha, so that no fringe appears.
        size: (width, height).
    """
    size, channels = tuple(size), pixels.shape[-1]
    if pixels.shape[1::-1] == size:
        return pixels
    if channels in (1, 3) and pixels.dtype == np.uint8:
        image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
        return np.asarray(image.resize(size, filter)).reshape(size[1], size[0], channels)
    if channels in (1, 3):
        return rounded([resize_plane(pixels[..., c], size, filter) for c in range(channels)], pixels.dtype)
    alpha = pixels[..., -1].astype(np.float32)
    new_alpha = resize_plane(alpha, size, filter)
    divisor = np.maximum(new_alpha, 1e-3)
    colours = [resize_plane(pixels[..., c] * alpha, size, filter) / divisor for c in range(channels - 1)]
    return rounded([*colours, new_alpha], pixels.dtype)


def resize_plane(plane, size, filter):
    return np.asarray(Image.fromarray(plane.astype(np.float32)).resize(size, filter))


def rounded(planes, dtype):
    return np.clip(np.stack(planes, -1) + 0.5, 0, np.iinfo(dtype).max).astype(dtype)
