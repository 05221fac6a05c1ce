"""Frames of an animation: what changed since the frame before, and the part of the result that depends on it.

The changed pixels are covered by rectangles, each of which is run as one patch. A patch costs more than its pixels, so
that far-off changes (x) become several rectangles, and near ones become one:

        . . . . . . . . . . . .
        . +-------+ . . . . . .
        . | x   x | . . . . . .
        . |   x   | . . . . . .
        . +-------+ . . +---+ .
        . . . . . . . . | x | .
        . . . . . . . . +---+ .

Feature maps between the network's parts are kept where memory allows. Then the change grows by one part's halo in each
of them (see `PixelGraph.update`). Without maps, a patch is run through the whole network, as tiles with their halo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # clips are upscaled without TensorFlow too
    from srwgan.upscaling.pixel_graph import PixelGraph

PATCH_OVERHEAD = 500  # what starting a patch costs, in low-resolution pixels
SIZE_STEP = 4  # patches come in multiples of this size, so that convolutions are set up for few shapes


class Canvas:
    """The latest frame of one plane of an animation and its upscaled picture.

    Args:
        graph: of the plane's kind of pixels.
        run_region: (padded, high_res, (top, bottom, left, right)) -> None, fills that region of high_res in tiles.
        keep_maps: whether a whole frame and its feature maps fit in memory. Needs a `NetworkWithMaps`.

    Attributes:
        high_res: (1, scale H, scale W, C), valid after the first `update`, changed in place by the next.
    """

    def __init__(self, graph: PixelGraph, run_region: Callable, *, keep_maps: bool):
        self.graph, self.run_region, self.keep_maps = graph, run_region, keep_maps
        self.network = graph.network
        self.halos = self.network.halos if keep_maps else [self.network.halo]
        self.padded = self.high_res = None
        self.maps, self.maps_are_kept = None, False  # once a patch was run, they are as `PixelGraph.kept` gives them
        self.all_changed = False  # whether the latest frame was run whole

    def update(self, padded: np.ndarray) -> None:
        """Brings `high_res` up to the next frame.

        Args:
            padded: the frame with its margin, (1, H + 2 margin, W + 2 margin, C).
        """
        rectangles = self.changed(padded)
        all_changed, self.padded = rectangles is None, padded
        if all_changed or (rectangles and self.keep_maps and self.maps is None):
            # Keeping maps takes time, and serves patches of the next frame. After two frames in a row that changed all
            # over, the next one is expected to do so too.
            self.run_whole(with_maps=self.keep_maps and not (all_changed and self.all_changed))
        else:
            for rectangle in rectangles:
                self.run_patch(*rectangle)
        self.all_changed = all_changed

    def changed(self, padded: np.ndarray) -> list[tuple[int, int, int, int]] | None:
        """Rectangles (top, bottom, left, right) of `padded` to run again, or None where a whole frame costs less."""
        if self.padded is None or self.padded.shape != padded.shape:
            return None
        changed = any_channel(padded[0] != self.padded[0])
        if not changed.any():
            return []
        if self.network.whole:
            return None

        def cost(heights, widths):
            return patch_cost(self.halos, heights, widths, frame=changed.shape)

        rectangles = changed_rectangles(changed, cost)
        total = sum(cost(bottom - top, right - left) for top, bottom, left, right in rectangles)
        return rectangles if total < cost(*changed.shape) else None

    def run_whole(self, *, with_maps: bool) -> None:
        self.maps, self.maps_are_kept = None, False  # before new ones are made: their memory is needed again
        _, height, width, channels = self.padded.shape
        scale, height, width = self.network.scale, *(size - 2 * self.network.margin for size in (height, width))
        if with_maps:
            high_res, self.maps = self.graph.windows_with_maps(self.padded)
            self.high_res = np.array(high_res)
        elif self.keep_maps:  # the frame is one tile
            self.high_res = np.asarray(self.graph.windows(self.padded))
        else:
            self.high_res = np.empty((1, height * scale, width * scale, channels), self.padded.dtype)
            self.run_region(self.padded, self.high_res, (0, height, 0, width))

    def run_patch(self, top: int, bottom: int, left: int, right: int) -> None:
        """Runs again what depends on one changed rectangle of `padded`."""
        region = self.depending(top, bottom, left, right)
        if not self.keep_maps:
            self.run_region(self.padded, self.high_res, region)
            return
        if not self.maps_are_kept:  # the first patch since a whole frame
            self.maps, self.maps_are_kept = self.graph.kept(self.maps), True
        rectangle = np.array([top, bottom, left, right], np.int32)
        patch = self.graph.patch(self.graph.tensor(self.padded), self.maps, self.graph.tensor(rectangle))
        top, bottom, left, right = (self.network.scale * side for side in region)
        self.high_res[:, top:bottom, left:right] = patch

    def depending(self, top: int, bottom: int, left: int, right: int) -> tuple[int, int, int, int]:
        """The region of the result, in low-resolution pixels, that depends on a rectangle of `padded`.

        The rectangle grows by the halo on each side. `padded` begins a margin further up and left than the result.
        """
        _, height, width, _ = self.padded.shape
        margin = self.network.margin
        before, after = -sum(self.halos) - margin, sum(self.halos) - margin
        bottom, right = min(bottom + after, height - 2 * margin), min(right + after, width - 2 * margin)
        return max(top + before, 0), bottom, max(left + before, 0), right


def any_channel(mask: np.ndarray) -> np.ndarray:
    """mask (H, W, C) -> (H, W): for few channels several times as fast as `mask.any(-1)`."""
    return np.logical_or.reduce([mask[..., channel] for channel in range(mask.shape[-1])])


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """(top, bottom, left, right) of what is True in mask (H, W), or None where nothing is."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if len(rows) else None


def patch_cost(halos: list[int], heights: np.ndarray, widths: np.ndarray, *, frame: tuple[int, int]) -> np.ndarray:
    """Cost of patches whose changed pixels measure heights x widths, in low-resolution pixels of work.

    A part's work is its number of convolutions, which is its halo, times the size of what it looks at.

    Args:
        halos: how far each of the network's parts looks on each side.
        frame: (height, width) of the frame with its margin.
    """
    halos = np.reshape(halos, [-1] + [1] * np.ndim(heights))
    seen = 2 * (halos.cumsum(0) + halos)  # what a part changes, and as far round that as it looks
    rows, columns = np.minimum(heights + seen, frame[0]), np.minimum(widths + seen, frame[1])
    return PATCH_OVERHEAD + (rows * columns * halos).sum(0) / np.maximum(halos.sum(0), 1)


def changed_rectangles(changed: np.ndarray, cost: Callable) -> list[tuple[int, int, int, int]]:
    """Rectangles (top, bottom, left, right) that cover every True of changed (H, W).

    The bounding box is cut in two, between rows or between columns, wherever the boxes of both sides cost less
    together; and each side again.

    Args:
        cost: (heights, widths) -> the cost of a patch. It takes and gives numbers, or arrays of them.
    """
    whole = bounding_box(changed)
    if whole is None:
        return []
    top, bottom, left, right = whole
    box = changed[top:bottom, left:right]
    unsplit = cost(*map(rounded_up, box.shape))
    row, row_cost = cheapest_cut(box, cost)
    column, column_cost = cheapest_cut(box.T, lambda widths, heights: cost(heights, widths))
    if unsplit <= min(row_cost, column_cost):
        height, width = map(rounded_up, box.shape)
        return [(top, min(top + height, changed.shape[0]), left, min(left + width, changed.shape[1]))]
    parts = []
    for first in (True, False):
        part = np.zeros_like(changed)
        if row_cost <= column_cost:
            half = np.s_[top : top + row, left:right] if first else np.s_[top + row : bottom, left:right]
        else:
            half = np.s_[top:bottom, left : left + column] if first else np.s_[top:bottom, left + column : right]
        part[half] = changed[half]
        parts += changed_rectangles(part, cost)
    return parts


def cheapest_cut(box: np.ndarray, cost: Callable) -> tuple[int, float]:
    """(row, cost): before which row to cut a box so that the bounding boxes of both sides cost least together."""
    if len(box) < 2:
        return 0, np.inf
    width = box.shape[1]
    filled = box.any(1)
    first = np.where(filled, box.argmax(1), width)
    last = np.where(filled, width - 1 - box[:, ::-1].argmax(1), -1)
    row = np.arange(len(box))

    def sizes(first, last, filled, row):
        """Heights and widths of the bounding boxes of rows 0..k, for every k."""
        heights = np.maximum.accumulate(np.where(filled, row, -1)) + 1
        widths = np.maximum.accumulate(last) - np.minimum.accumulate(first) + 1
        return rounded_up(heights), rounded_up(widths)

    upper = cost(*sizes(first, last, filled, row))[:-1]
    lower = cost(*sizes(first[::-1], last[::-1], filled[::-1], row))[::-1][1:]
    best = np.argmin(upper + lower)
    return best + 1, (upper + lower)[best]


def rounded_up(size: int | np.ndarray) -> int | np.ndarray:
    return -(-size // SIZE_STEP) * SIZE_STEP
