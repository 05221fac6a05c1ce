"""A picture's edges, and the words for what lies round a picture or a tile.

Halo: the pixels round a tile that the tile's result depends on. The network's convolutions use them up. It is as wide
as the receptive field, rounded up to the alignment.

        +-----------------------------+
        |            halo             |
        |      +---------------+      |              +------------------+
        | halo |     tile      | halo |  network ->  |  scale x tile    |
        |      +---------------+      |              +------------------+
        |            halo             |
        +-----------------------------+

Margin: pixels round a whole picture, or round its feature maps, that repeat the edge. Here the margin is 2:

         a a | a b c d | d d

Alignment: where a network cuts pictures into windows, origins and sizes of tiles are multiples of it. Here it is 4:

        |. . . .|. . . .|. . . .|. .
        0       4       8      12

Invalid columns: the outermost columns that a convolution padded with zeros gets wrong (?). Two such convolutions leave
two on each side. A margin takes their place:

         ? ? c d e f ? ?   ->   c c | c d e f | f f

The image operator defines what a picture becomes: give it a margin as wide as the halo, run the network, crop. So every
way of running it, in tiles of any size or whole, gives the same pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # functions on tensors import it when they are called: tiles are cut without TensorFlow too
    import tensorflow as tf


def aligned(size: int, alignment: int) -> int:
    """The smallest multiple of the alignment that is not below `size`."""
    return math.ceil(size / alignment) * alignment


def halo_of(generator: Any) -> int:
    """Pixels of halo that a generator's tiles need: 0 where its receptive field is not known (None)."""
    return aligned(generator.receptive_field or 0, generator.alignment)


def image_operator(generator: Any, images: tf.Tensor, *condition: tf.Tensor) -> tf.Tensor:
    """The definition of upscaling: a margin as wide as the halo, the generator, crop.

    Pictures are also extended at the bottom and on the right to a multiple of the alignment, which is cut off again. A
    generator whose receptive field is not known gets no margin.

    Args:
        generator: a Generator, or a model with `scale`, `receptive_field` and `alignment`.
        images: (B, H, W, 3) in [-1, 1].
        condition: the strength (B,), for a generator that takes one.

    Returns:
        (B, scale H, scale W, 3).
    """
    import tensorflow as tf

    height, width = tf.shape(images)[1], tf.shape(images)[2]
    rows, columns = (places(size, 0, -size % generator.alignment) for size in (height, width))
    images = images if generator.alignment == 1 else gathered(images, rows, columns)
    run = with_repeated_edges(generator, halo_of(generator))
    high_res = run((images, *condition) if condition else images)
    return high_res[:, : height * generator.scale, : width * generator.scale]


def with_repeated_edges(generator: Any, margin: int) -> Callable[..., tf.Tensor]:
    """The generator as a function that gives its pictures a margin and crops the result: as large as without.

    A generator by itself sees zeros beyond the edges. With a margin of the receptive field or more the result is that
    of an `Upscaler`.

    Args:
        generator: takes images or (images, strength), and has a `scale`.
        margin: low-resolution pixels on each side; 0 gives the generator itself.
    """
    if not margin:
        return generator

    def run(low_res, training=False):
        import tensorflow as tf

        images, *strength = tf.nest.flatten(low_res)
        inputs = tf.nest.pack_sequence_as(low_res, [with_margin(images, margin), *strength])
        return crop(generator(inputs, training=training), margin * generator.scale)

    return run


def with_margin(x: tf.Tensor, margin: int, invalid: int = 0) -> tf.Tensor:
    """Gives x (B, H, W, C) a margin on all four sides; a negative margin crops.

    Args:
        invalid: columns on each side that are not valid, and are dropped before the margin is given.
    """
    if margin <= 0 and not invalid:
        return crop(x, -margin)
    import tensorflow as tf

    _, height, width, _ = tf.unstack(tf.shape(x))
    return gathered(x, places(height, margin, margin), places(width, margin, margin, invalid))


def places(size: tf.Tensor, before: int, after: int, invalid: int = 0) -> tf.Tensor:
    """Which of `size` rows or columns each one is that has `before` and `after` more beside it, edges repeated."""
    import tensorflow as tf

    return tf.clip_by_value(tf.range(invalid - before, size - invalid + after), invalid, size - invalid - 1)


def gathered(x: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """These rows and columns of x (B, H, W, C), in one pass over memory: one for each axis would take two."""
    import tensorflow as tf

    (batch, height, width, _), channels = tf.unstack(tf.shape(x)), x.shape[-1]
    pixels = tf.reshape(x, [batch, height * width, channels])
    pixels = tf.gather(pixels, tf.reshape(rows[:, None] * width + columns, [-1]), axis=1)
    return tf.reshape(pixels, [batch, tf.size(rows), tf.size(columns), channels])


def crop(x: tf.Tensor, margin: int) -> tf.Tensor:
    """x (B, H, W, C) without `margin` pixels on each side."""
    return x[:, margin:-margin, margin:-margin] if margin else x


def pixels_with_margin(pixels: np.ndarray, halo: int, alignment: int = 1) -> np.ndarray:
    """`image_operator`'s input for tiles, in NumPy: (B, H, W, C) -> with a margin as wide as the halo.

    At the bottom and on the right the margin is wider, so that the rest is a multiple of the alignment.
    """
    below, right = (halo + aligned(size, alignment) - size for size in pixels.shape[1:3])
    return np.pad(pixels, [(0, 0), (halo, below), (halo, right), (0, 0)], mode="edge")
