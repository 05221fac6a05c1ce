"""Frames of a GIF or video: only what changed since the last frame, grown by the receptive field, is run again.

The feature maps between the network's parts are kept too. What changed grows by one part's halo in each of them, so
that a patch needs little more than its own result: on small frames the halo of a whole network is most of the cost.
"""

import numpy as np
import tensorflow as tf

from srwgan.networks.edges import with_margin

PATCH_OVERHEAD = 500  # what starting a patch costs, in low-resolution pixels
SIZE_STEP = 4  # patches come in multiples of this size, so that convolutions are set up for few shapes


class Canvas:
    """The latest frame of one plane of an animation and its upscaled picture.

    Args:
        compiled: a CompiledNetwork.
        run_region: (padded, high_res, (top, bottom, left, right)) -> None, fills that region of high_res through tiles.
        keep_maps: whether a whole frame and its feature maps fit in memory.

    Attributes:
        high_res: (1, scale H, scale W, C), valid after the first `update`, changed in place by the next.
    """

    def __init__(self, compiled, run_region, keep_maps):
        self.compiled, self.run_region, self.keep_maps = compiled, run_region, keep_maps
        self.network = compiled.network
        self.halos = self.network.halos if keep_maps else [self.network.halo]
        self.padded = self.high_res = self.maps = None
        self.all_changed = False

    def update(self, padded):
        """Takes the next frame, (1, H + 2 halo, W + 2 halo, C) with its edges replicated."""
        rectangles = self.changed(padded)
        all_changed, self.padded = rectangles is None, padded
        if all_changed or (rectangles and self.keep_maps and self.maps is None):
            # Where all changes twice in a row it will again: then maps, which take time, are not kept for a patch.
            self.run_whole(with_maps=self.keep_maps and not (all_changed and self.all_changed))
        else:
            for rectangle in rectangles:
                self.run_patch(*rectangle)
        self.all_changed = all_changed

    def changed(self, padded):
        """Rectangles (top, bottom, left, right) of padded to run again; None for all of it."""
        if self.padded is None or self.padded.shape != padded.shape:
            return None
        changed = any_channel(padded[0] != self.padded[0])
        if not changed.any():
            return []
        if self.network.whole:
            return None
        size = np.subtract(changed.shape, 2 * self.network.halo)

        def cost(heights, widths):
            return patch_cost(self.halos, heights, widths, *size)

        rectangles = changed_rectangles(changed, cost)
        total = sum(cost(bottom - top, right - left) for top, bottom, left, right in rectangles)
        whole = self.picture_cost(*size) if self.keep_maps else cost(*changed.shape)
        return rectangles if total < whole else None

    def picture_cost(self, height, width):
        margin = 2 * self.network.mean_margin
        return PATCH_OVERHEAD + (height + margin) * (width + margin)

    def run_whole(self, with_maps):
        self.maps = None  # their memory is needed again
        _, height, width, channels = self.padded.shape
        halo, scale = self.network.halo, self.network.scale
        height, width = height - 2 * halo, width - 2 * halo
        if self.keep_maps:
            picture = self.padded[:, halo : halo + height, halo : halo + width]
            if with_maps:
                high_res, self.maps = self.compiled.picture_with_maps(picture)
                self.high_res = np.array(high_res)
            else:
                self.high_res = np.asarray(self.compiled.picture(picture))
        else:
            self.high_res = np.empty((1, height * scale, width * scale, channels), self.padded.dtype)
            self.run_region(self.padded, self.high_res, (0, height, 0, width))

    def run_patch(self, top, bottom, left, right):
        if self.keep_maps:
            self.run_parts(top, bottom, left, right)
        else:
            self.run_region(self.padded, self.high_res, self.grown(top, bottom, left, right))

    def grown(self, top, bottom, left, right):
        """What of the result depends on a rectangle of the padded frame."""
        _, height, width, _ = self.padded.shape
        grow = 2 * self.network.halo
        return max(top - grow, 0), min(bottom, height - grow), max(left - grow, 0), min(right, width - grow)

    def run_parts(self, top, bottom, left, right):
        if not isinstance(self.maps[0], tf.Variable):  # the first patch since a whole frame
            self.maps = [self.variable(k, features) for k, features in enumerate(self.maps)]
        rectangle = tf.constant([top, bottom, left, right])
        patch = self.compiled.updated(tf.constant(self.padded), self.maps, rectangle)
        top, bottom, left, right = (self.network.scale * x for x in self.grown(top, bottom, left, right))
        self.high_res[:, top:bottom, left:right] = patch

    def variable(self, k, features):
        """A feature map with all the halo that parts k + 1 and later need, as `CompiledNetwork.of_update` takes it."""
        wanted = self.padded.shape[1] - 2 * sum(self.halos[: k + 1])
        features = with_margin(features, (wanted - features.shape[1]) // 2)
        rows = tf.reshape(features, [-1, features.shape[-1]])
        return tf.Variable(rows, shape=[None, rows.shape[-1]], trainable=False)


def any_channel(mask):
    """mask (H, W, C) -> (H, W); for few channels several times as fast as `mask.any(-1)`."""
    return np.logical_or.reduce([mask[..., channel] for channel in range(mask.shape[-1])])


def bounding_box(mask):
    """(top, bottom, left, right) of what is True in mask (H, W), or None."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if len(rows) else None


def patch_cost(halos, heights, widths, height, width):
    """Cost of patches whose changed pixels measure heights x widths in a frame of height x width, in pixels.

    Each part's work goes with its halo, and its mean size is that of its output grown by half its halo on each side.
    """
    halos = np.reshape(halos, [-1] + [1] * np.ndim(heights))
    grown = halos.cumsum(0)
    total = grown[-1]
    left = 2 * (total - grown)
    rows = np.minimum(heights + 2 * grown, height + left) + halos
    columns = np.minimum(widths + 2 * grown, width + left) + halos
    return PATCH_OVERHEAD + (rows * columns * halos).sum(0) / np.maximum(total, 1)


def changed_rectangles(changed, cost):
    """Rectangles (top, bottom, left, right) that cover every True of changed (H, W), split wherever that costs less.

    cost(heights, widths) takes and gives numbers or arrays of them.
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


def cheapest_cut(box, cost):
    """(row, cost): where to cut a box between rows so that the bounding boxes of both sides cost least together."""
    if len(box) < 2:
        return 0, np.inf
    width = box.shape[1]
    filled = box.any(1)
    first = np.where(filled, box.argmax(1), width)
    last = np.where(filled, width - 1 - box[:, ::-1].argmax(1), -1)
    row = np.arange(len(box))

    def sizes(first, last, filled, row):
        """Heights and widths of the bounding boxes of rows 0..k, for each k."""
        heights = np.maximum.accumulate(np.where(filled, row, -1)) + 1
        widths = np.maximum.accumulate(last) - np.minimum.accumulate(first) + 1
        return rounded_up(heights), rounded_up(widths)

    upper = cost(*sizes(first, last, filled, row))[:-1]
    lower = cost(*sizes(first[::-1], last[::-1], filled[::-1], row))[::-1][1:]
    best = np.argmin(upper + lower)
    return best + 1, (upper + lower)[best]


def rounded_up(size):
    return -(-size // SIZE_STEP) * SIZE_STEP
