"""Transparency: which colors lie under it before upscaling, and how far alpha may go after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

FILL_WINDOWS = (3, 3, 5, 9, 17)  # together they reach 16 pixels, about as far as a generator looks


def fill_transparent(colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Gives fully transparent pixels the colors of the nearest visible ones, so that no fringe appears.

    Windows of growing size take the mean of the known pixels in them, nearest first. What no window reaches becomes
    mid-gray. A pixel's color depends on its surroundings only, so that a moving object leaves far-off pixels as they
    are.

    Args:
        colors: (H, W, C) uint8 or uint16.
        alpha: (H, W, 1), 0 where the picture is fully transparent.

    Returns:
        Colors of the same shape and type. Visible ones are unchanged.
    """
    visible = alpha[..., 0] > 0
    if visible.all():
        return colors
    filled, known = colors * visible[..., None].astype(np.float64), visible[..., None].astype(np.float64)
    for window in FILL_WINDOWS:
        total, count = window_sum(filled, window), window_sum(known, window)
        filled = np.where(known > 0, filled, total / np.maximum(count, 1))
        known = (count > 0).astype(np.float64)
    mid_gray = np.iinfo(colors.dtype).max // 2 + 1
    filled = np.where(known > 0, np.rint(filled), mid_gray).astype(colors.dtype)
    return np.where(visible[..., None], colors, filled)


def window_sum(x: np.ndarray, window: int) -> np.ndarray:
    """The sum of x (H, W, C) over the square window round each pixel, as far as it lies inside."""
    for axis in 0, 1:
        size, half = x.shape[axis], window // 2
        sums = np.cumsum(np.pad(x, [(1, 0) if a == axis else (0, 0) for a in range(3)]), axis=axis)
        stop, start = np.minimum(np.arange(size) + half + 1, size), np.maximum(np.arange(size) - half, 0)
        x = np.take(sums, stop, axis) - np.take(sums, start, axis)
    return x


def within_neighbors(high_res: tf.Tensor, low_res: tf.Tensor, scale: int, *, halo: int) -> tf.Tensor:
    """high_res clipped to the range of the 3x3 low-resolution pixels around, so that flat alpha stays exactly flat.

    Args:
        high_res: (B, scale H, scale W, 1).
        low_res: (B, H + 2 halo, W + 2 halo, 1), in the same range.
    """
    import tensorflow as tf

    highest = tf.nn.max_pool2d(low_res, 3, 1, "SAME")
    lowest = -tf.nn.max_pool2d(-low_res, 3, 1, "SAME")
    stop = -halo or None
    lowest, highest = (
        tf.repeat(tf.repeat(x[:, halo:stop, halo:stop], scale, axis=1), scale, axis=2) for x in (lowest, highest)
    )
    return tf.clip_by_value(high_res, lowest, highest)


def pixels_within_neighbors(high_res: np.ndarray, low_res: np.ndarray, scale: int, *, halo: int) -> np.ndarray:
    """`within_neighbors` of NumPy arrays."""
    padded = np.pad(low_res, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="edge")
    height, width = low_res.shape[1:3]
    around = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    stop = -halo or None
    lowest, highest = (
        function.reduce(around)[:, halo:stop, halo:stop].repeat(scale, axis=1).repeat(scale, axis=2)
        for function in (np.minimum, np.maximum)
    )
    return np.clip(high_res, lowest, highest)
