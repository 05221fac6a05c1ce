"""A plain `Generator` as it runs for upscaling: the same layers and results at less cost.

This follows the constructor of `srwgan/networks/generator.py` layer by layer. Who changes the one changes the other:
`FastGenerator` refuses a Generator with layers that it does not run. tests/upscaling/test_fast_generator.py compares
the results and the receptive fields of both.

What makes it fast:

- At the low resolution convolutions pad with zeros, as the Generator's do: features keep their size, and no pass over
  memory cuts their edges off. After that they do not pad, and use up what is left of the margin: no layer of high
  resolution, which are the costly ones, computes it.
- Activations run before the pixel shuffles, inside the convolution before them.
- The last convolution runs before the last pixel shuffle, on sub-pixels, where the vectors of a CPU are full: see
  `sub_pixel_kernel`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from srwgan.networks.blocks import SLOPE
from srwgan.networks.edges import crop, halo_of, margin_of
from srwgan.networks.generator import SCALES, Generator


class FastGenerator:
    """A `NetworkWithMaps` (see network.py) of a plain Generator, with its weights as they are now.

    Part 0 is the first convolution, part k the k-th residual block, and the tail is the rest.

    Args:
        generator: one that `is_plain`.
        precision: what the weights are cast to, once: "float32", "bfloat16" or "float16".

    Raises:
        ValueError: the generator has layers that are not run here.
    """

    has_maps = True
    whole = False

    def __init__(self, generator: Generator, precision: str):
        self.precision = precision
        self.scale, self.filters = generator.scale, generator.filters
        self.halo, self.margin, self.alignment = halo_of(generator), margin_of(generator), generator.alignment

        weights = Weights(generator, precision)
        self.first = weights.convolution("first")
        self.blocks = [weights.residual_block(f"block{k + 1}") for k in range(generator.blocks)]
        self.last_low_res = weights.convolution("last_low_res")
        self.is_direct = generator.upsampling == "pixelshuffledirect"
        if self.is_direct:
            self.last_activation = weights.activation("last_low_res")
        factors = () if self.is_direct else SCALES[self.scale]
        self.upsampling = [weights.upsampling_block(f"upsampling{i + 1}", factor) for i, factor in enumerate(factors)]
        self.last = weights.convolution("last", "float32")
        weights.check_all_are_used()

        if self.is_direct:
            self.last_factor = self.scale
            self.last_kernel, self.last_bias = self.last.kernel, self.last.bias
        else:
            self.last_factor = factors[-1]
            self.last_kernel = sub_pixel_kernel(self.last.kernel, self.last_factor)
            self.last_bias = np.tile(self.last.bias, self.last_factor**2)
        self.bilinear_kernel = bilinear_kernel(self.scale, self.last_factor, shifted=not self.is_direct)

        self.halos = [1, *[2] * len(self.blocks), generator.receptive_field - 1 - 2 * len(self.blocks)]
        self.upsampling_halo = self.halos[-1] - 1  # what comes after `last_low_res` takes off

    def sub_pixels(self, low_res: tf.Tensor, gain: float = 1.0, offset: float = 0.0) -> tf.Tensor:
        return self.sub_pixels_and_maps(low_res, gain, offset)[0]

    def sub_pixels_and_maps(
        self, low_res: tf.Tensor, gain: float = 1.0, offset: float = 0.0
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        maps = [x := self.part(0, low_res)]
        for k in range(1, len(self.blocks) + 1):
            maps.append(x := self.part(k, x))
        tail_input = (crop(features, self.margin - self.halos[-1]) for features in (x, maps[0], low_res))
        return self.tail(*tail_input, gain=gain, offset=offset), maps

    def shuffled(self, sub_pixels: tf.Tensor) -> tf.Tensor:
        """(B, scale h / f + 1, scale w / f + 1, f^2 C) -> (B, scale h, scale w, C), f the last shuffle's factor.

        Where the last convolution alone upsamples, f is the scale and sub-pixels are (B, h, w, f^2 C).
        """
        if self.is_direct:
            return pixel_shuffle(sub_pixels, self.last_factor)
        end = 1 - self.last_factor
        return pixel_shuffle(sub_pixels, self.last_factor)[:, 1:end, 1:end]

    def part(self, k: int, x: tf.Tensor) -> tf.Tensor:
        if k == 0:
            return self.first(tf.cast(x, self.precision), "SAME")
        # A difference, since TensorFlow 2.21 would run a sum inside the second convolution, and that operation crashes
        # where two threads call it at once.
        block = self.blocks[k - 1]
        return x - block.negated_convolution2(block.activation(block.convolution1(x, "SAME")), "SAME")

    def tail(
        self, x: tf.Tensor, first: tf.Tensor, low_res: tf.Tensor, gain: float = 1.0, offset: float = 0.0
    ) -> tf.Tensor:
        """All three have `halos[-1]` pixels on each side that the result does not have."""
        x = self.last_low_res(x) + crop(first, 1)
        low_res = crop(low_res, self.halos[-1] - 2)  # what `bilinear` takes
        if self.is_direct:
            x = self.last_activation(x)
            return self.sub_pixels_of(x, gain) + self.bilinear(low_res, gain, offset)
        spent, resolution = 0, 1  # of the halo, in low-resolution pixels
        for i, block in enumerate(self.upsampling, start=1):
            x = block.activation(block.convolution(x))
            spent += 1 / resolution
            if i < len(self.upsampling):
                x, resolution = pixel_shuffle(x, block.factor), resolution * block.factor
        x = crop(x, round((self.upsampling_halo - spent) * resolution) - 1)
        return self.sub_pixels_of(x, gain) + self.bilinear(low_res, gain, offset)

    def sub_pixels_of(self, x: tf.Tensor, gain: float) -> tf.Tensor:
        """The last convolution, times `gain`, in float32."""
        kernel, bias = ((array * gain).astype(x.dtype.as_numpy_dtype) for array in (self.last_kernel, self.last_bias))
        return tf.cast(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), bias), "float32")

    def bilinear(self, low_res: tf.Tensor, gain: float, offset: float) -> tf.Tensor:
        """Sub-pixels of the bilinearly upsampled picture, from the picture with a halo of 2."""
        if self.is_direct:
            low_res = crop(low_res, 1)
        x = tf.nn.conv2d(low_res, self.bilinear_kernel * gain, 1, "VALID")
        x = tf.nn.bias_add(x, tf.fill([x.shape[-1]], offset))
        if self.is_direct:
            return x
        factor = self.scale // self.last_factor
        x, end = pixel_shuffle(x, factor), 1 - factor or None
        return x[:, factor:end, factor:end]

    def bytes_per_pixel(self) -> int:
        """Memory per low-resolution pixel where most activations live at once; measured peaks are below it."""
        widest, resolution = 4 * self.filters, 1
        for block in self.upsampling:
            channels = len(block.convolution.bias)
            widest = max(widest, 4 * channels * resolution**2)  # before and after shuffle and activation
            resolution *= block.factor
        pictures = 4 * 3 * 4 * self.scale**2  # the float32 result on its way to integers
        return widest * tf.as_dtype(self.precision).size + pictures

    def map_bytes_per_pixel(self) -> int:
        return (len(self.blocks) + 1) * self.filters * tf.as_dtype(self.precision).size

    def multiply_adds_per_pixel(self) -> int:
        """The convolutions' multiply-adds for each low-resolution pixel, counted from their shapes, without halos."""
        low_res = [
            self.first,
            *(conv for block in self.blocks for conv in (block.convolution1, block.negated_convolution2)),
        ]
        count, resolution = sum(conv.kernel.size for conv in (*low_res, self.last_low_res)), 1
        for block in self.upsampling:
            count += block.convolution.kernel.size * resolution**2
            resolution *= block.factor
        return count + self.last.kernel.size * resolution**2


@dataclass(frozen=True, eq=False)
class Convolution:
    """Kernel (k, k, C, D) and bias (D,) as arrays.

    A graph holds arrays as constants. oneDNN brings constants into its own order once, variables at every call.
    """

    kernel: np.ndarray
    bias: np.ndarray

    def __call__(self, x: tf.Tensor, padding: str = "VALID") -> tf.Tensor:
        return tf.nn.bias_add(tf.nn.conv2d(x, self.kernel, 1, padding), self.bias)

    def negated(self) -> "Convolution":
        return Convolution(-self.kernel, -self.bias)


class Activation:
    """Leaky ReLU, or PReLU with `slopes` (1, 1, C)."""

    def __init__(self, slopes: np.ndarray | None = None):
        self.slopes = slopes
        self.is_maximum = slopes is not None and bool(((slopes >= 0) & (slopes <= 1)).all())

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        if self.slopes is None:
            return tf.nn.leaky_relu(x, SLOPE)
        if self.is_maximum:
            return tf.maximum(x, self.slopes * x)  # half the passes over memory of the general form
        return tf.nn.relu(x) + self.slopes * tf.minimum(x, 0)


class ResidualBlock(NamedTuple):
    convolution1: Convolution
    activation: Activation
    negated_convolution2: Convolution


class UpsamplingBlock(NamedTuple):
    convolution: Convolution
    activation: Activation
    factor: int


class Weights:
    """Reads a Generator's layers by their names, as arrays in `precision`, and knows which were read."""

    def __init__(self, generator: Generator, precision: str):
        self.generator, self.precision = generator, precision
        self.unread = {id(weight): weight.path for weight in generator.weights}

    def layer(self, name: str) -> keras.Layer:
        layer = self.generator.get_layer(name)
        for weight in layer.weights:
            del self.unread[id(weight)]
        return layer

    def convolution(self, name: str, precision: str | None = None) -> Convolution:
        layer = self.layer(name)
        return Convolution(*(tf.cast(x, precision or self.precision).numpy() for x in (layer.kernel, layer.bias)))

    def activation(self, name: str, sub_pixels: int = 1) -> Activation:
        """With `sub_pixels` for features before a pixel shuffle, which have so many times the channels."""
        if self.generator.activation == "leaky_relu":
            return Activation()
        slopes = tf.cast(self.layer(f"{name}_prelu").alpha, self.precision).numpy()
        return Activation(np.tile(slopes, [1, 1, sub_pixels]))

    def residual_block(self, name: str) -> ResidualBlock:
        first, second = (self.convolution(f"{name}_conv{i}") for i in (1, 2))
        return ResidualBlock(first, self.activation(name), second.negated())

    def upsampling_block(self, name: str, factor: int) -> UpsamplingBlock:
        return UpsamplingBlock(self.convolution(f"{name}_conv"), self.activation(name, factor**2), factor)

    def check_all_are_used(self) -> None:
        if self.unread:
            raise ValueError(
                f"Received: a Generator with the weights {', '.join(self.unread.values())}. "
                "Expected those of the layers that srwgan/upscaling/fast_generator.py runs, which follows Generator."
            )


def pixel_shuffle(x: tf.Tensor, factor: int) -> tf.Tensor:
    """As tf.nn.depth_to_space, faster on a CPU: it moves the sub-pixels of one row of one pixel together.

    Integers are not transposed, but cut and joined: oneDNN prints an error for a transposition of integers, which it
    then leaves to TensorFlow. Bytes are moved in pairs.
    """
    if factor == 1:
        return x
    batch, height, width = tf.unstack(tf.shape(x)[:3])
    channels = x.shape[-1] // factor**2
    row = factor * channels
    in_pairs = x.dtype == tf.uint8 and row % 2 == 0
    if in_pairs:
        x, row = tf.bitcast(tf.reshape(x, [batch, height, width, factor * row // 2, 2]), tf.uint16), row // 2
    if x.dtype.is_integer:
        x = tf.reshape(x, [batch * height, width, factor * row])
        rows = tf.concat([x[..., i * row : (i + 1) * row] for i in range(factor)], axis=1)
    else:
        rows = tf.transpose(tf.reshape(x, [batch * height, width, factor, row]), [0, 2, 1, 3])
    if in_pairs:
        rows = tf.bitcast(rows, tf.uint8)
    return tf.reshape(rows, [batch, factor * height, factor * width, channels])


def sub_pixel_kernel(kernel: np.ndarray, factor: int) -> np.ndarray:
    """A convolution (3, 3, C, D) after a pixel shuffle, as one before it: (2, 2, f^2 C, f^2 D), f the factor.

    It gives all f x f results of a cell at once. A cell is shifted up and left by one sub-pixel. For f = 2:

        +-----+-----+    4 pixels before the shuffle, each of 2x2 sub-pixels a b c d.
        | a b | a b |
        | c D | C d |    The cell of results at D, C, B, A: the 3x3 windows round these four lie within the 4 pixels,
        +-----+-----+    so that a 2x2 convolution before the shuffle gives all four.
        | a B | A b |
        | c d | c d |    A cell a b c d, which is not shifted, would look at 3x3 pixels.
        +-----+-----+

    Shuffled, the result starts with the row above and the column left of the picture's first.
    """
    channels, filters = kernel.shape[2:]
    result = np.zeros((2, 2, factor, factor, channels, factor, factor, filters), kernel.dtype)
    for y, x, i, j in np.ndindex(3, 3, factor, factor):  # tap (y, x) of result (i, j) looks at sub-pixel:
        (row, from_i), (column, from_j) = divmod(i + y - 2, factor), divmod(j + x - 2, factor)
        result[row + 1, column + 1, from_i, from_j, :, i, j] = kernel[y, x]
    return result.reshape(2, 2, factor**2 * channels, factor**2 * filters)


def bilinear_kernel(scale: int, last_factor: int, *, shifted: bool = True) -> np.ndarray:
    """(3, 3, 3, 3 scale^2): bilinear upsampling as a convolution before two pixel shuffles, the last by last_factor.

    Args:
        scale: of the upsampling.
        last_factor: that of the last pixel shuffle; the scale where there is one.
        shifted: whether the result is shifted as that of `sub_pixel_kernel`.
    """
    # place: of each sub-pixel's center, in low-resolution pixels
    place = (np.arange(scale) + (-0.5 if shifted else 0.5)) / scale - 0.5
    weights = np.stack([np.maximum(-place, 0), 1 - np.abs(place), np.maximum(place, 0)])  # (3, scale)
    weights = weights.reshape(3, scale // last_factor, last_factor)
    kernel = np.einsum("yai,xbj,cd->yxcabijd", weights, weights, np.eye(3))
    return kernel.reshape(3, 3, 3, 3 * scale**2).astype(np.float32)
