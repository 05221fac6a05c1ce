"""Palettes for GIFs: which 255 colors to keep, and which of them each pixel takes.

A palette is an array (N, 3) of uint8 RGB. Frames are uint8 arrays (H, W, 3) or (H, W, 4).
"""

import heapq
import itertools
from collections.abc import Iterable

import numpy as np
from PIL import Image

from srwgan.media.gif.format import DITHERS, as_words, select
from srwgan.pixels import LUMA_SHARES

HISTOGRAM_BITS = 6
MANY_BINS = 1 << 15  # more are merged into bins twice as wide: nearly as good, and k-means takes its time for each
CELLS, CELL_COLORS = 64**3, 4**3
CANDIDATES = 32
# Colors compared with a palette at once. So few are multiplied in the calling thread: NumPy's threads for larger
# products keep the processors busy while the generator needs them. And their distances fit in a cache.
BLOCK = 256
BAND = 1 << 16  # pixels that are mapped at once: what is made of them on the way fits in a processor's own cache

# The weight of a pair's distance against the error of its mean. At 0 every area is speckled. At 1 nothing is dithered.
SPECKLE = 0.3


def build_palette(frames: Iterable[np.ndarray], colors: int = 255) -> np.ndarray:
    """A palette (N <= colors, 3) uint8 of small mean squared error over all frames.

    Frames that have no more than `colors` colors together get exactly those. Pixels of an alpha below 128 do not count.

    Args:
        frames: uint8 arrays (H, W, 3 or 4). One at a time is held.
        colors: 1 to 255.

    Raises:
        ValueError: another number of colors.
    """
    histogram = ColorHistogram(colors)
    for frame in frames:
        histogram.add(frame)
    return histogram.palette()


class ColorHistogram:
    """The colors of many frames, in memory that does not grow with their number.

    While the colors are few, each is kept. Then each pixel counts in one of 64 x 64 x 64 bins, which knows the mean of
    its pixels. From more than `MANY_BINS` filled bins, the palette is made of 32 x 32 x 32 wider ones.

    Args:
        colors: the most that the palette may have, 1 to 255.

    Raises:
        ValueError: another number of colors.
    """

    def __init__(self, colors=255):
        if not 1 <= colors <= 255:
            raise ValueError(f"Received: colors={colors}. Expected 1 to 255 (one more is kept for transparency).")
        self.colors = colors
        self._exact = np.zeros(0, np.uint32)
        bins = 1 << 3 * HISTOGRAM_BITS
        self._counts = np.zeros(bins)
        self._sums = np.zeros((3, bins))  # of red, green and blue

    def add(self, frame: np.ndarray):
        """Counts the pixels of a frame (..., 3 or 4) uint8 whose alpha is 128 or more."""
        pixels = frame.reshape(-1, frame.shape[-1])
        if pixels.shape[1] == 4:
            pixels = pixels[pixels[:, 3] >= 128]
        keys = color_bins(pixels, HISTOGRAM_BITS)
        self._counts += np.bincount(keys, minlength=len(self._counts))
        for channel in range(3):
            self._sums[channel] += np.bincount(keys, pixels[:, channel], minlength=len(self._counts))
        if self._exact is not None:
            self._exact = self._with_exact(pixels)

    def _with_exact(self, pixels):
        """The colors so far with those of the pixels, sorted. None where there are more than a palette holds."""
        if np.count_nonzero(self._counts) > self.colors:
            return None
        r, g, b = (pixels[:, c].astype(np.uint32) for c in range(3))
        exact = np.union1d(self._exact, r << 16 | g << 8 | b)
        return exact if len(exact) <= self.colors else None

    def palette(self) -> np.ndarray:
        """The palette (N <= colors, 3) uint8 of all that was added."""
        if self._exact is not None:
            exact = self._exact if len(self._exact) else np.zeros(1, np.uint32)
            return np.stack([exact >> 16, exact >> 8 & 255, exact & 255], axis=1).astype(np.uint8)
        counts, sums = self._counts, self._sums
        if np.count_nonzero(counts) > MANY_BINS:
            counts, sums = merged_bins(counts), merged_bins(sums)
        used = np.flatnonzero(counts)
        weights = counts[used]
        points = (sums[:, used] / weights).T
        centers = refine_by_k_means(points, weights, split_by_variance(points, weights, self.colors))
        return np.unique(np.rint(centers).clip(0, 255).astype(np.uint8), axis=0)


def merged_bins(totals):
    """Totals (..., 64^3) over a color cube's bins, as totals (..., 32^3) over bins twice as wide."""
    half = 1 << HISTOGRAM_BITS - 1
    return totals.reshape(*totals.shape[:-1], *[half, 2] * 3).sum((-5, -3, -1)).reshape(*totals.shape[:-1], half**3)


def split_by_variance(points, weights, colors):
    """Means (N <= colors, 3) of boxes of points.

    All points are one box at first. The box of the largest squared error is split at its mean, along the channel of the
    largest error, until there are enough. Source: the greedy step of Wu, "Color quantization by dynamic programming and
    principal analysis", 1992.
    """

    number = itertools.count()  # a heap compares what follows equal errors: these, and never the arrays

    def box(members):
        w, p = weights[members], points[members]
        mean = w @ p / w.sum()
        errors = w @ (p - mean) ** 2
        return -errors.sum() if len(members) > 1 else 0.0, next(number), int(errors.argmax()), mean, members

    boxes = [box(np.arange(len(points)))]  # a heap, the largest error first
    while len(boxes) < colors and boxes[0][0] < 0:
        _, _, axis, mean, members = boxes[0]
        below = points[members, axis] <= mean[axis]
        heapq.heapreplace(boxes, box(members[below]))
        heapq.heappush(boxes, box(members[~below]))
    return np.stack([mean for *_, mean, _ in boxes])


def refine_by_k_means(points, weights, centers, steps=4):
    """Centers after some of Lloyd's iterations on weighted points. A center that no point is nearest to stays."""
    centers = centers.copy()
    for _ in range(steps):
        nearest = nearest_centers(points, centers)
        mass = np.bincount(nearest, weights, minlength=len(centers))
        held = mass > 0
        for channel in range(3):
            total = np.bincount(nearest, weights * points[:, channel], minlength=len(centers))
            centers[held, channel] = total[held] / mass[held]
    return centers


def nearest_centers(points, centers):
    blocks = (points[start : start + BLOCK] for start in range(0, len(points), BLOCK))
    return np.concatenate([squared_distances(block, centers).argmin(1) for block in blocks])


def squared_distances(points, centers):
    """(N, 3) and (K, 3) -> (N, K) float32: squared distances less the squared length of each point.

    What is left out is the same for every center, so the nearest center is that of the least value.
    """
    points = np.column_stack([points, np.ones(len(points))]).astype(np.float32)
    centers = np.column_stack([-2.0 * centers, (centers.astype(np.float64) ** 2).sum(1)]).astype(np.float32)
    return points @ centers.T


def nearest_others(palette):
    """Indices (N, up to CANDIDATES) of the other colors nearest to each. A color that is alone is its own neighbor."""
    distances = squared_distances(palette, palette).copy()
    if len(palette) > 1:
        np.fill_diagonal(distances, np.inf)
    return distances.argsort(1)[:, : max(1, min(CANDIDATES, len(palette) - 1))]


def differences(palette, neighbors):
    """The difference of each color's `neighbors` from it, (3, N, up to CANDIDATES) float32: red, green, blue."""
    palette = palette.T.astype(np.float32)
    return palette[:, neighbors] - palette[:, :, None]


def color_codes(pixels):
    """Each pixel (N, 3 or 4) as one number of 24 bits: its cell's, then its place in the cell.

    A cell is a cube of 4 x 4 x 4 colors. It is told by the upper 6 bits of each channel, its colors by the lower 2:

        pixel   BBBBBBbb GGGGGGgg RRRRRRrr        code   BBBBBBGG GGGGRRRR RRrrggbb
                                                         `----- cell -----' `----' place in the cell

    So the colors of a cell stand together in a table.
    """
    words = as_words(pixels)
    codes = words & 0x030303
    codes *= 1 << 20 | 1 << 10 | 1  # moves the three pairs of bits next to each other, to the bits 16 to 21
    codes >>= 16
    codes &= 63
    for channel, shift in ((0xFC, 4), (0xFC00, 2), (0xFC0000, 0)):
        codes |= (words & channel) << shift
    return codes.astype(np.intp)  # as each look into a table would make them


def cell_corners(cells):
    """The darkest color of each cell, (N, 3) float32. `cells` are codes without their lowest 6 bits."""
    return 4 * np.stack([cells & 63, cells >> 6 & 63, cells >> 12], axis=1).astype(np.float32)


def color_bins(pixels, bits):
    """Index of each pixel (..., 3 or 4) in a cube of 2^bits steps per channel."""
    r, g, b = ((pixels[..., c] >> (8 - bits)).astype(np.int32) for c in range(3))
    return (r << 2 * bits) | (g << bits) | b


class PaletteMapper:
    """Maps frames to indices into a palette.

    With the ordered dither a pixel takes one of two palette colors, by the threshold at its place in Bayer's pattern:

        wanted color          first *------o-----------* second        o is a share t = 1/3 on the way
        Bayer's thresholds    .1 .6 .3 .8 ...                          below t: second, else first

    The pattern is fixed to the canvas. So equal pixels at equal places always get equal indices.

    The pair is the same for all colors of a cell (see `color_codes`). Its first color is the palette's nearest to the
    cell. Its second one minimizes |wanted - mix|^2 + SPECKLE t (1 - t) |first - second|^2, after Yliluoma, "Arbitrary-
    palette positional dithering algorithm", 2011. The share t follows from the color itself. Pairs are
    kept for the 2^18 cells, shares for the 2^24 colors, once a cell was met. So a pixel costs two looks into tables, of
    which the smaller one fits in a processor's cache, and a cell is one line of a cache in the other.

    Args:
        palette: (1 to 256, 3) uint8.
        dither: "ordered"; "none" takes the nearest color; "floyd-steinberg" diffuses errors, by Pillow, so that any
            change moves the pattern below it and to its right.

    Raises:
        ValueError: another palette or dither.
    """

    def __init__(self, palette, dither="ordered"):
        if dither not in DITHERS:
            raise ValueError(f"Received: dither={dither!r}. Expected one of {', '.join(DITHERS)}.")
        self.palette = check_palette(palette)
        self.dither = dither
        self._neighbors = nearest_others(self.palette)
        self._towards = differences(self.palette, self._neighbors)
        self._lengths = (self._towards**2).sum(0)
        self._pairs = np.zeros(CELLS, "<u2")  # the first color in the lower byte, the second in the upper one
        # The second's share of each color in 64ths, plus 1; 0 where the color's cell was not met.
        self._shares = np.zeros(CELLS * CELL_COLORS, np.uint8)
        self._error = np.zeros(CELLS, np.float32)

    def indices(self, pixels, origin=(0, 0)):
        """Palette indices (H, W) uint8 of pixels (H, W, 3 or 4) uint8 whose top left corner is at `origin` (x, y)."""
        if self.dither == "floyd-steinberg":
            return self._diffused(pixels)
        height, width, channels = pixels.shape
        rows = 8 * max(1, BAND // (8 * width))  # whole repeats of the pattern
        pattern = bayer_pattern(min(rows, height), width, *(start % 8 for start in origin)).reshape(-1)
        pixels, result = pixels.reshape(-1, channels), np.empty(height * width, np.uint8)
        unmet = []
        for start in range(0, len(pixels), len(pattern)):
            band = slice(start, start + len(pattern))
            codes = color_codes(pixels[band])
            result[band], missing = self._chosen(codes, pattern[: len(codes)])
            unmet.append(missing + start)
        unmet = np.concatenate(unmet)  # the places of pixels whose cell is new; filled together, since few take as long
        self._fill_met_by(pixels[unmet])
        for start in range(0, len(unmet), BAND):
            places = unmet[start : start + BAND]
            result[places], _ = self._chosen(color_codes(pixels[places]), pattern[places % len(pattern)])
        return result.reshape(height, width)

    def mean_squared_error(self, pixels):
        """The mean over pixels (N, 3 or 4) of the squared distance to the nearest palette color, without dither."""
        self._fill_met_by(pixels)
        return float(self._error.take(color_codes(pixels) >> 6).mean())

    def _diffused(self, pixels):
        holder = Image.new("P", (1, 1))
        holder.putpalette(self.palette.tobytes())
        image = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
        return np.asarray(image.quantize(palette=holder, dither=Image.Dither.FLOYDSTEINBERG))

    def _chosen(self, codes, thresholds):
        """Palette indices (N,) of colors, and the places among them of those whose cell was not met, which get any.

        Args:
            codes: (N,), of the colors.
            thresholds: (N,), Bayer's at their pixels.
        """
        shares = self._shares.take(codes, mode="wrap")  # "wrap" is the fastest; none is out of range
        pairs = self._pairs.take(codes >> 6, mode="wrap")
        # Bit operations, since `np.where` is ten times as slow.
        pairs >>= np.multiply(shares > thresholds + np.uint8(1), 8, dtype=np.uint16)
        return pairs.astype(np.uint8), np.flatnonzero(shares == 0)

    def _fill_met_by(self, pixels):
        """Fills the tables for those cells of pixels (N, 3 or 4) that were not met."""
        cells = color_codes(pixels) >> 6
        cells = cells[self._shares.take(cells * CELL_COLORS) == 0]
        if not len(cells):
            return
        wanted = np.zeros(CELLS, bool)  # faster than np.unique
        wanted[cells] = True
        cells = np.flatnonzero(wanted)
        for start in range(0, len(cells), BLOCK):
            self._fill(cells[start : start + BLOCK])

    def _fill(self, cells):
        corners = cell_corners(cells)
        color = corners + np.float32(1.5)
        palette = self.palette.astype(np.float32)
        distances = squared_distances(color, palette)
        first = distances.argmin(1)
        offset = color - palette[first]
        self._error[cells] = (offset**2).sum(1)
        if self.dither != "ordered":
            self._store_pairs(cells, corners, first, first)
            return
        along = sum(self._towards[c].take(first, axis=0) * offset[:, c, None] for c in range(3))
        length = self._lengths.take(first, axis=0)
        share = np.clip(along / np.maximum(length, 1), 0, 1)
        error = share * (share * length - 2 * along)  # the mix's, less the nearest color's, which all pairs share
        best = (error + SPECKLE * share * (1 - share) * length).argmin(1)
        self._store_pairs(cells, corners, first, self._neighbors[first, best])

    def _store_pairs(self, cells, corners, one, other):
        """Writes the cells' pairs into the table.

        The darker color comes first: else the pattern would flip between two shades nearest to either of a pair.
        """
        palette = self.palette.astype(np.float32)
        luma = palette @ LUMA_SHARES.astype(np.float32)
        swap = luma[one] > luma[other]
        first, second = select(swap, other, one), select(swap, one, other)
        towards = palette[second] - palette[first]
        slope = towards / np.maximum((towards**2).sum(1, keepdims=True), 1)
        steps = np.arange(4, dtype=np.float32)[:, None]
        red, green, blue = slope.T[:, None] * ((corners - palette[first]).T[:, None] + steps)  # (4, N) each
        shares = red[:, None, None] + green[:, None] + blue
        shares *= BAYER.size
        shares -= 0.5
        np.ceil(shares, out=shares)  # how many thresholds are below the share
        shares = shares.clip(0, BAYER.size).astype(np.uint8) + np.uint8(1)
        self._shares.reshape(CELLS, CELL_COLORS)[cells] = shares.reshape(CELL_COLORS, -1).T
        self._pairs[cells] = first | second << 8


def check_palette(palette):
    palette = np.asarray(palette)
    if palette.ndim != 2 or palette.shape[1] != 3 or palette.dtype != np.uint8 or not 1 <= len(palette) <= 256:
        raise ValueError(f"Received: a palette {palette.dtype} {palette.shape}. Expected uint8 (1 to 256, 3).")
    return palette


def bayer_matrix(order):
    """Bayer's matrix of 2^order x 2^order: the ranks 0 to 4^order - 1, k for a threshold of (k + 1/2) / 4^order.

    Source: Bayer, "An optimum method for two-level rendition of continuous-tone pictures", 1973.
    """
    matrix = np.zeros((1, 1), np.uint8)
    for _ in range(order):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return matrix


def bayer_pattern(height, width, left, top):
    """Bayer's 8 x 8 matrix repeated over height x width pixels, from its column `left` and row `top` (both below 8)."""
    rows, columns = -(-(top + height) // 8), -(-(left + width) // 8)
    return np.tile(BAYER, (rows, columns))[top : top + height, left : left + width]


BAYER = bayer_matrix(3)
