"""Pixels: their ranges, their luma, and resizing them."""

import numpy as np
from PIL import Image

LUMA_SHARES = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)
LUMA = 219 / 255 * LUMA_SHARES


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


def luma(pixels, shave=0):
    """(H, W, 3) uint8 RGB -> (H - 2 shave, W - 2 shave) float64, 16..235, not rounded."""
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"Received: a picture of shape {pixels.shape}, {pixels.dtype}. Expected (H, W, 3), uint8.")
    height, width = pixels.shape[:2]
    return 16 + pixels[shave : height - shave, shave : width - shave] @ LUMA


def to_range(levels):
    """Levels 0..255 of any numeric type, a tensor or an array -> a float32 tensor in [-1, 1]."""
    import tensorflow as tf  # here, since media files need no TensorFlow

    return tf.cast(levels, tf.float32) / 127.5 - 1.0


def to_pixels(images):
    """Images in [-1, 1], a tensor or an array -> a NumPy array of uint8, rounded; what is outside is clipped."""
    import tensorflow as tf

    return tf.cast(tf.round((tf.clip_by_value(images, -1.0, 1.0) + 1.0) * 127.5), tf.uint8).numpy()
