"""Resizing of pixel arrays, of 8 or 16 bits, with or without alpha."""

import numpy as np
from PIL import Image


def resize(pixels, size):
    """(H, W, C) uint8 or uint16 -> (height, width, C) of the same type by Lanczos; colours weighted by their alpha."""
    if pixels.shape[1::-1] == tuple(size):
        return pixels
    channels = pixels.shape[-1]
    if channels in (1, 3) and pixels.dtype == np.uint8:
        image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
        return np.asarray(image.resize(size, Image.Resampling.LANCZOS)).reshape(size[1], size[0], channels)
    if channels in (1, 3):
        return rounded(np.stack([resize_plane(pixels[..., c], size) for c in range(channels)], -1), pixels.dtype)
    alpha = pixels[..., -1].astype(np.float32)
    new_alpha = resize_plane(alpha, size)
    divisor = np.maximum(new_alpha, 1e-3)
    colours = [resize_plane(pixels[..., c] * alpha, size) / divisor for c in range(channels - 1)]
    return rounded(np.stack([*colours, new_alpha], -1), pixels.dtype)


def resize_plane(plane, size):
    return np.asarray(Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.LANCZOS))


def rounded(values, dtype):
    return np.clip(values + 0.5, 0, np.iinfo(dtype).max).astype(dtype)
