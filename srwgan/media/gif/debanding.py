"""Takes a GIF's dither out before upscaling. A generator would sharpen it into a texture."""

import numpy as np

from srwgan.media.gif.palettes import PaletteMapper

# Dither mixes colors up to about FACTOR times as far apart as a palette color and its NEIGHBOR-th nearest. What is
# farther apart than LONGEST (of 255, in RGB) is an edge. Where a share DENSE of 5 x 5 pixels alternates, all is
# smoothed; at SPARSE nothing. Chosen on photographs and ramps of 16 to 255 colors: docs/gif.md.
NEIGHBOR, FACTOR, LONGEST = 4, 2.0, 72.0
SPARSE, DENSE = 0.05, 0.2
RADIUS = 2
MOST_COLORS = 1024


def deband(frame: np.ndarray, strength: float = 1.0, palette: np.ndarray | None = None) -> np.ndarray:
    """One frame through a `Debander`."""
    return Debander(palette, strength)(frame)


class Debander:
    """Smooths dither in frames uint8 (H, W, 3 or 4), and nothing else: `smooth = Debander(reader.palette)(frame)`.

    A pixel alternates where it stands out from all four neighbors, by less than palette colors are apart:

        . o .        o a bit lighter than all four, or darker
        o x o        many such pixels together are dither; a few are a line or a dot
        . o .

    Among many alternating pixels, a pixel becomes a mean of the 5 x 5 around it, weighted by nearness in place and in
    color (a bilateral filter: Tomasi and Manduchi, 1998). Edges, flat areas, lines, patterns of strong contrast and
    transparent pixels stay as they are. A pixel depends on its neighborhood and the palette alone, so that still areas
    stay still.

    Args:
        palette: uint8 (N <= 256, 3), a GIF's global one. None takes each frame's own colors, and leaves a frame of more
            than 1024 colors as it is.
        strength: above 0. Colors count as dithered with each other up to so many times their usual distance.

    Raises:
        ValueError: another strength, palette or frame.
    """

    def __init__(self, palette: np.ndarray | None = None, strength: float = 1.0):
        if not strength > 0:
            raise ValueError(f"Received: strength={strength}. Expected a number above 0.")
        self._strength = strength
        self._mapper = None
        if palette is not None:
            self._mapper = PaletteMapper(np.unique(palette, axis=0), dither="none")
            self._reaches = reach_by_color(self._mapper.palette, strength)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] not in (3, 4):
            raise ValueError(f"Received: a frame {frame.dtype} {frame.shape}. Expected uint8 (H, W, 3 or 4).")
        planes = np.moveaxis(frame[..., :3], 2, 0).astype(np.float32)
        visible = frame[..., 3] >= 128 if frame.shape[2] == 4 else np.ones(frame.shape[:2], bool)
        limit = self._reach(frame) ** 2
        amount = dither_amount(planes, visible, limit)
        result = frame.copy()
        if amount.any():
            smooth = mean_of_similar(planes, visible, limit)
            result[..., :3] = np.moveaxis(np.rint(planes + amount * (smooth - planes)), 0, 2)
        return result

    def _reach(self, frame):
        """(H, W) float32: how far in RGB another color may be from each pixel's to be dithered with it."""
        if self._mapper:
            return self._reaches[self._mapper.indices(frame)]
        r, g, b = (frame[..., channel].astype(np.uint32) for channel in range(3))
        used, places = np.unique(r << 16 | g << 8 | b, return_inverse=True)
        if len(used) > MOST_COLORS:
            return np.zeros(frame.shape[:2], np.float32)
        reaches = reach_by_color(np.stack([used >> 16, used >> 8 & 255, used & 255], axis=1), self._strength)
        return reaches[places.reshape(frame.shape[:2])]


def reach_by_color(palette, strength):
    """(N,) float32: how far in RGB another color may be from each of a palette (N, 3) to be dithered with it."""
    palette = palette.astype(np.float32)
    distances = np.sort(((palette[:, None] - palette) ** 2).sum(2), axis=1)
    spacing = np.sqrt(distances[:, min(NEIGHBOR, len(palette) - 1)])
    return (strength * np.minimum(FACTOR * spacing, LONGEST)).astype(np.float32)


def dither_amount(planes, visible, limit):
    """(H, W), 0 to 1: how much of each pixel is to be smoothed, by the share of pixels nearby that alternate.

    Args:
        planes: (3, H, W) float32.
        visible: (H, W), whether a pixel is opaque.
        limit: (H, W), the squared distance in RGB below which a difference may be dither.
    """
    alternates = visible.copy()
    padded, solid = np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge"), np.pad(visible, 1)
    for one, other in (((0, 1), (2, 1)), ((1, 0), (1, 2))):
        before, after = (shifted(padded, *place, visible.shape) - planes for place in (one, other))
        alternates &= summed(before * after) > 0
        for side, place in ((before, one), (after, other)):
            alternates &= (summed(side**2) < limit) & shifted(solid, *place, visible.shape)
    density = np.zeros(visible.shape, np.float32)
    padded = np.pad(alternates.astype(np.float32), RADIUS)
    for y, x in np.ndindex(2 * RADIUS + 1, 2 * RADIUS + 1):
        density += shifted(padded, y, x, visible.shape)
    density /= (2 * RADIUS + 1) ** 2
    return np.clip((density - SPARSE) / (DENSE - SPARSE), 0, 1)


def mean_of_similar(planes, visible, limit):
    """(3, H, W): means of 5 x 5 visible pixels, weighted down to 0 where the squared distance in color is `limit`."""
    padded = np.pad(planes, ((0, 0), (RADIUS, RADIUS), (RADIUS, RADIUS)))
    solid = np.pad(visible.astype(np.float32), RADIUS)
    total, weights = np.zeros_like(planes), np.zeros(visible.shape, np.float32)
    scale = 1 / np.maximum(limit, 1e-6)
    for y, x in np.ndindex(2 * RADIUS + 1, 2 * RADIUS + 1):
        around = shifted(padded, y, x, visible.shape)
        nearness = np.float32(np.exp(-((y - RADIUS) ** 2 + (x - RADIUS) ** 2) / 4))
        weight = nearness * shifted(solid, y, x, visible.shape)
        weight *= np.maximum(1 - scale * summed((around - planes) ** 2), 0)
        total += weight * around
        weights += weight
    return total / np.maximum(weights, 1e-6)


def summed(planes):
    return planes[0] + planes[1] + planes[2]


def shifted(padded, y, x, shape):
    return padded[..., y : y + shape[0], x : x + shape[1]]
