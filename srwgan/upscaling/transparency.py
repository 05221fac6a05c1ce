"""Transparency: which colors lie under it before upscaling, and how far alpha may go after it."""

import numpy as np
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
    filled, known = tf.constant(colors[None], "float32"), tf.constant(visible[None, ..., None], "float32")
    filled *= known
    for window in FILL_WINDOWS:
        total, count = (tf.nn.avg_pool2d(x, window, 1, "SAME") for x in (filled, known))
        filled = tf.where(known > 0, filled, tf.math.divide_no_nan(total, count))
        known = tf.cast(count > 0, "float32")
    mid_gray = np.iinfo(colors.dtype).max // 2 + 1
    filled = np.where(known[0] > 0, np.rint(filled[0]), mid_gray).astype(colors.dtype)
    return np.where(visible[..., None], colors, filled)


def within_neighbors(high_res: tf.Tensor, low_res: tf.Tensor, scale: int, *, halo: int) -> tf.Tensor:
    """high_res clipped to the range of the 3x3 low-resolution pixels around, so that flat alpha stays exactly flat.

    Args:
        high_res: (B, scale H, scale W, 1).
        low_res: (B, H + 2 halo, W + 2 halo, 1), in the same range.
    """
    highest = tf.nn.max_pool2d(low_res, 3, 1, "SAME")
    lowest = -tf.nn.max_pool2d(-low_res, 3, 1, "SAME")
    stop = -halo or None
    lowest, highest = (
        tf.repeat(tf.repeat(x[:, halo:stop, halo:stop], scale, axis=1), scale, axis=2) for x in (lowest, highest)
    )
    return tf.clip_by_value(high_res, lowest, highest)
