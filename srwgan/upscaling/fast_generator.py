"""A generator as it runs for upscaling: a tile costs little more than its own pixels.

A padded convolution keeps computing the halo that later layers no longer need. Without padding the halo shrinks layer
by layer and is gone before the costly high-resolution layers. Round a whole picture it is smaller still: where edges
are replicated, features repeat from as many pixels beyond the edge on as convolutions came before, and are not computed
either. Activations run before the pixel shuffles, with the convolution whose result they take, and the last convolution
runs before the last shuffle, on sub-pixels: f^2 times the channels at 1/f of the resolution, where a CPU's vectors are
full. Cells of f x f sub-pixels that start a pixel further up and left than the shuffle's see 2x2 of these, no 3x3. The
pixels are the same.
"""

import logging
import math

import keras
import numpy as np
import tensorflow as tf

from srwgan.networks.edges import crop, with_margin
from srwgan.networks.generator import SCALES, Generator, with_precision
from srwgan.networks.precision import choose_policy

WIDTH_PADDING = [[0, 0], [0, 0], [1, 1], [0, 0]]
log = logging.getLogger(__name__)


def network_for(generator, precision="auto", strength=None):
    """UnpaddedNetwork of a plain Generator; OpaqueNetwork round any other model with `scale` and `receptive_field`.

    Args:
        strength: of the pictures' degradation, 0 to 1, for a Generator with that condition (default: its attribute
            `strength`, else 0).

    Raises ValueError for an unknown precision, and for a strength that is not in [0, 1] or that the model cannot take.
    """
    policy = keras.dtype_policies.get(choose_policy(precision))
    conditional = getattr(generator, "condition", "none") == "noise"
    if strength is None and conditional:
        strength = getattr(generator, "strength", None)
    check_strength(strength, conditional)
    if isinstance(generator, Generator):
        if generator.is_plain:
            return UnpaddedNetwork(generator, policy.compute_dtype)
        twin = with_precision(generator, policy.name)
        return OpaqueNetwork(twin, policy.compute_dtype, (strength or 0.0) if conditional else None)
    if precision not in ("auto", "float32"):
        log.warning("This model computes in the precision it was saved with; precision=%s is left aside.", precision)
    return OpaqueNetwork(generator)


def check_strength(strength, conditional):
    if strength is None:
        return
    if not conditional:
        raise ValueError(
            f"Received: strength {strength} for a generator that takes none. "
            "Expected none, or a generator trained with --condition noise."
        )
    if not 0 <= strength <= 1:
        raise ValueError(f"Received: strength {strength}. Expected a number from 0 to 1.")


class UnpaddedNetwork:
    """The layers of a Generator with its weights as they are now, cast to `precision` once.

    Called with (B, h + 2 halo, w + 2 halo, 3) float32 in [-1, 1] it gives (B, scale h, scale w, 3) float32.

    `sub_pixels` gives the same before the last pixel shuffle, that by `last_factor` f: (B, scale h / f + 1,
    scale w / f + 1, 3 f^2), times `gain` plus `offset`, and `shuffled` the picture of them, of any type.

    `picture` gives the sub-pixels of whole pictures (B, h, w, 3), whose edges it replicates itself, and what a small
    part of one that changes is brought up to date with: the feature maps between the parts. `part(0)` is the first
    convolution, `part(k)` the k-th residual block, `tail` is the rest. Each part takes `halos[k]` pixels off every
    side. The maps may have less halo than a part needs; replicating their edges gives the rest.
    """

    takes_pictures = True

    def __init__(self, generator, precision):
        self.precision = precision
        self.scale, self.blocks, self.filters = generator.scale, generator.blocks, generator.filters
        self.halo, self.alignment, self.whole = generator.receptive_field, generator.alignment, False
        # Arrays, which a graph holds as constants: oneDNN brings those into its own order once, variables every time.
        self.weights = {
            f"{layer.name}/{weight.name}": tf.cast(weight.value, precision).numpy()
            for layer in generator.layers
            for weight in layer.weights
        }
        self.last_halo = self.halo - 2 * (self.blocks + 1)  # what upsampling takes off every side
        self.halos = [1, *[2] * self.blocks, self.last_halo + 1]
        self.margins = margins(self.blocks, self.halo)
        self.mean_margin = mean_margin(self.margins, self.halo)
        self.activation = generator.activation
        self.slopes_within_1 = {
            name: bool(((slopes >= 0) & (slopes <= 1)).all())
            for name, slopes in self.weights.items()
            if name.endswith("/alpha")
        }
        self.last_factor = SCALES[self.scale][-1]
        kernel, bias = (weight.numpy() for weight in generator.get_layer("last").weights)
        self.last_kernel = sub_pixel_kernel(kernel, self.last_factor)
        self.last_bias = np.tile(bias, self.last_factor**2)
        self.bilinear_kernel = bilinear_kernel(self.scale, self.last_factor)

    def __call__(self, low_res):
        return self.shuffled(self.sub_pixels(low_res))

    def shuffled(self, sub_pixels):
        end = 1 - self.last_factor
        return shuffle(sub_pixels, self.last_factor)[:, 1:end, 1:end]

    def sub_pixels(self, low_res, gain=1.0, offset=0.0):
        first = x = self.part(0, low_res)
        for k in range(1, self.blocks + 1):
            x = self.part(k, x)
        before = self.halo - self.halos[-1]
        return self.tail(x, crop(first, before - 1), crop(low_res, before), gain, offset)

    def picture(self, low_res, gain=1.0, offset=0.0):
        x = first = self.part(0, with_margin(low_res, self.margins[0]))
        depth, halo, spoilt, maps = 1, self.margins[0] - 1, 0, [x]
        for k in range(1, self.blocks + 1):
            if depth in self.margins:
                x, halo, spoilt = with_margin(x, self.margins[depth] - halo, spoilt), self.margins[depth], 0
            depth, halo = depth + 2, halo - 2
            if depth in self.margins:  # a margin that takes the place of what is spoilt
                x, spoilt = self.block_of_whole_rows(k, x), 2
            else:
                x = self.part(k, x)
            maps.append(x[:, :, spoilt:-spoilt] if spoilt else x)
        first, low_res = with_margin(first, self.last_halo - (self.margins[0] - 1)), with_margin(low_res, 2)
        return self.upsampled(x, first, low_res, gain, offset), maps

    def part(self, k, x):
        if k == 0:
            return self.conv(tf.cast(x, self.precision), "first")
        # At equal sizes, with padding, TensorFlow 2.21 would run the addition inside the second convolution, 3% faster;
        # but that operation crashes where two threads call it at once.
        y = self.activate(self.conv(x, f"block{k}_conv1"), f"block{k}")
        return crop(x, 2) + self.conv(y, f"block{k}_conv2")

    def block_of_whole_rows(self, k, x):
        """As `part`, but only rows are cropped, which takes no pass over memory; 2 columns on each side are spoilt."""
        y = self.activate(self.conv(x, f"block{k}_conv1", WIDTH_PADDING), f"block{k}")
        return crop_rows(x, 2) + self.conv(y, f"block{k}_conv2", WIDTH_PADDING)

    def tail(self, x, first, low_res, gain=1.0, offset=0.0):
        """Sub-pixels by the last part; takes the same window of the last map, of map 0 and of the low-res picture."""
        return self.upsampled(x, crop(first, 1), crop(low_res, self.last_halo - 1), gain, offset)

    def upsampled(self, x, first, low_res, gain, offset):
        """From the last block on; `first` has `last_halo` pixels of halo, one less than x, the picture has two."""
        x = self.conv(x, "last_low_res") + first
        spent, resolution = 0, 1
        for i, factor in enumerate(SCALES[self.scale], start=1):
            x = self.activate(self.conv(x, f"upsampling{i}_conv"), f"upsampling{i}", factor**2)
            spent += 1 / resolution
            if i < len(SCALES[self.scale]):
                x, resolution = shuffle(x, factor), resolution * factor
        x = crop(x, round((self.last_halo - spent) * resolution) - 1)
        kernel, bias = ((array * gain).astype(x.dtype.as_numpy_dtype) for array in (self.last_kernel, self.last_bias))
        x = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), bias)
        return tf.cast(x, "float32") + self.bilinear(low_res, gain, offset)

    def bilinear(self, low_res, gain, offset):
        """Sub-pixels of a picture with two pixels of margin, which are gone afterwards."""
        x = tf.nn.conv2d(low_res, self.bilinear_kernel * gain, 1, "VALID")
        x = tf.nn.bias_add(x, tf.fill([x.shape[-1]], offset))
        factor = self.scale // self.last_factor
        x, end = shuffle(x, factor), 1 - factor or None
        return x[:, factor:end, factor:end]

    def conv(self, x, name, padding="VALID"):
        x = tf.nn.conv2d(x, self.weights[f"{name}/kernel"], 1, padding)
        return tf.nn.bias_add(x, self.weights[f"{name}/bias"])

    def activate(self, x, name, sub_pixels=1):
        """Of x before a pixel shuffle there are `sub_pixels` times the layer's channels."""
        if self.activation == "leaky_relu":
            return tf.nn.leaky_relu(x, 0.2)
        slopes = tf.tile(self.weights[f"{name}_prelu/alpha"], [1, 1, sub_pixels])
        if self.slopes_within_1[f"{name}_prelu/alpha"]:
            return tf.maximum(x, slopes * x)  # half the passes over memory of the general form
        return tf.nn.relu(x) + slopes * tf.minimum(x, 0)

    def bytes_per_pixel(self):
        """Memory per low-resolution pixel where most activations live at once; measured peaks are below it."""
        widest, resolution = 4 * self.filters, 1
        for i, factor in enumerate(SCALES[self.scale], start=1):
            channels = self.weights[f"upsampling{i}_conv/bias"].shape[0]
            widest = max(widest, 4 * channels * resolution**2)  # before and after shuffle and activation
            resolution *= factor
        pictures = 4 * 3 * 4 * self.scale**2  # the float32 result on its way to integers
        return widest * tf.as_dtype(self.precision).size + pictures

    def map_bytes_per_pixel(self):
        """Memory of the feature maps between the parts, per low-resolution pixel."""
        return (self.blocks + 1) * self.filters * tf.as_dtype(self.precision).size

    def multiply_adds_per_pixel(self):
        """Analytic count of the convolutions' multiply-adds per low-resolution pixel of the result."""
        count, resolution = 0, {"last": self.scale}
        for i in range(1, len(SCALES[self.scale]) + 1):
            resolution[f"upsampling{i}_conv"] = math.prod(SCALES[self.scale][: i - 1])
        for name, weight in self.weights.items():
            layer, _, kind = name.partition("/")
            if kind == "kernel":
                count += math.prod(weight.shape) * resolution.get(layer, 1) ** 2
        return count


def margins(blocks, halo):
    """{convolutions done: halo to give the features then, by replicating their edges} on a whole picture's way.

    After k convolutions rows and columns from the k-th beyond an edge on are alike, so that replicating a halo of k or
    more is exact, and what is replicated need not be computed. Done before each block, a pass over memory, it leaves
    few pixels too many. In the second half later convolutions need less halo than there is.
    """
    depths = [0, *(depth for depth in range(3, 2 * blocks, 2) if 2 * depth < halo)]
    ends = [2 * after for after in depths[1:]] + [halo]
    return {depth: end - depth for depth, end in zip(depths, ends, strict=True)}


def mean_margin(margins, halo):
    """Of the features after each of `halo` convolutions."""
    total, now = 0, 0
    for depth in range(halo):
        now = margins.get(depth, now) - 1
        total += now
    return total / halo


class OpaqueNetwork:
    """Any model (B, H, W, 3) -> (B, scale H, scale W, 3), run as it is and its halo cut off afterwards.

    Without a known receptive field (`receptive_field` None) it has no halo and has to be given whole pictures. A model
    with a condition is told the same `strength` for all of them.
    """

    takes_pictures = False

    def __init__(self, generator, precision="float32", strength=None):
        self.generator, self.scale, self.precision = generator, generator.scale, precision
        self.strength = strength
        self.alignment = getattr(generator, "alignment", 1)
        self.whole = generator.receptive_field is None
        self.halo = 0 if self.whole else math.ceil(generator.receptive_field / self.alignment) * self.alignment

    def __call__(self, low_res):
        told = low_res if self.strength is None else (low_res, tf.fill(tf.shape(low_res)[:1], self.strength))
        high_res = tf.cast(self.generator(told), "float32")
        size = tf.shape(low_res)[1:3] * self.scale
        message = f"The model does not upscale by {self.scale} as it says it does."
        tf.debugging.assert_equal(tf.shape(high_res)[1:3], size, message)
        return crop(high_res, self.halo * self.scale)

    def sub_pixels(self, low_res, gain=1.0, offset=0.0):
        return self(low_res) * gain + offset

    def shuffled(self, sub_pixels):
        return sub_pixels

    def bytes_per_pixel(self):
        channels = max(getattr(self.generator, "filters", 64), 64)
        return channels * 4 * self.scale**2  # that many at the result's resolution: a cautious guess


def crop_rows(x, margin):
    """x (B, H, W, C) without `margin` rows at the top and at the bottom: of a single picture a view, not a copy."""
    batch, height, width, _ = tf.unstack(tf.shape(x))

    def view():
        rows = tf.reshape(x, [height, -1])[margin:-margin]
        return tf.reshape(rows, [1, height - 2 * margin, width, x.shape[-1]])

    return tf.cond(batch == 1, view, lambda: x[:, margin:-margin])


def shuffle(x, factor):
    """As tf.nn.depth_to_space, faster on a CPU: sub-pixels are moved a row of them at once, of bytes two as one."""
    if factor == 1:
        return x
    batch, height, width = tf.unstack(tf.shape(x)[:3])
    channels = x.shape[-1] // factor**2
    row = factor * channels
    in_pairs = x.dtype == tf.uint8 and row % 2 == 0
    if in_pairs:
        x, row = tf.bitcast(tf.reshape(x, [batch, height, width, factor * row // 2, 2]), tf.uint16), row // 2
    rows = tf.transpose(tf.reshape(x, [batch * height, width, factor, row]), [0, 2, 1, 3])
    if in_pairs:
        rows = tf.bitcast(rows, tf.uint8)
    return tf.reshape(rows, [batch, factor * height, factor * width, channels])


def sub_pixel_kernel(kernel, factor):
    """The convolution (3, 3, c, d) after a pixel shuffle as one before it, (2, 2, f^2 c, f^2 d).

    Its result is shifted by one pixel: shuffled, it starts with that above and left of the picture's first.
    """
    channels, filters = kernel.shape[2:]
    result = np.zeros((2, 2, factor, factor, channels, factor, factor, filters), kernel.dtype)
    for y, x, i, j in np.ndindex(3, 3, factor, factor):  # tap (y, x) of sub-pixel (i, j) looks at:
        (row, from_i), (column, from_j) = divmod(i + y - 2, factor), divmod(j + x - 2, factor)
        result[row + 1, column + 1, from_i, from_j, :, i, j] = kernel[y, x]
    return result.reshape(2, 2, factor**2 * channels, factor**2 * filters)


def bilinear_kernel(scale, last_factor):
    """(3, 3, 3, 3 scale^2): bilinear upsampling as a convolution before two pixel shuffles, the last by last_factor.

    Its result is shifted as that of `sub_pixel_kernel` is.
    """
    place = (np.arange(scale) - 0.5) / scale - 0.5  # of each sub-pixel's centre, in low-resolution pixels
    weights = np.stack([np.maximum(-place, 0), 1 - np.abs(place), np.maximum(place, 0)])  # (3, scale)
    weights = weights.reshape(3, scale // last_factor, last_factor)
    kernel = np.einsum("yai,xbj,cd->yxcabijd", weights, weights, np.eye(3))
    return kernel.reshape(3, 3, 3, 3 * scale**2).astype(np.float32)
