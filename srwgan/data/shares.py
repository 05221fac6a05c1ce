"""How often each photograph is drawn."""

from collections.abc import Sequence

import numpy as np

POWERS = {"each": 0.0, "side": 0.5, "area": 1.0}  # of a photograph's pixels, in proportion to which it is drawn


def sampling_weights(shapes: Sequence[tuple[int, int]], sampling: str) -> np.ndarray:
    """(N,) float64, in proportion to which photographs of these shapes (H, W) are drawn.

    Args:
        sampling: "each" for all alike, "side" for the square root of their pixels, "area" for their pixels.
    """
    return np.array([height * width for height, width in shapes], np.float64) ** POWERS[sampling]
