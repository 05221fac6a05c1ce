"""A picture's edges, and the words for what lies round a picture or a tile.

The image operator defines what a picture becomes: mirror it at its edges by the margin, run the network, whose
convolutions see zeros beyond that, and crop. Every way of running it, in tiles of any size or whole, gives the same
pixels.

Margin: pixels round a whole picture that mirror it at its edges, the outermost pixel first. Here the margin is 2:

         b a | a b c d | d c

Halo: the pixels round a tile that the tile's result depends on. It is as wide as the receptive field, rounded up to the
alignment. A window is a tile with its halo. It is run as a picture with a margin is, and the tile's part of the result
is taken:

        +-----------------------------+
        |           window            |
        |      +---------------+      |              +------------------+
        | halo |     tile      | halo |  network ->  |  scale x tile    |
        |      +---------------+      |              +------------------+
        |            halo             |
        +-----------------------------+

Near a picture's edge the halo would reach beyond the margin. There the window is moved inwards, to where the margin
ends, so that the network sees its zeros where the whole picture has them:

        picture with its margin   |--------------------------------|
        window                    |-----------|
        tile                      .....|--|

Alignment: where a network cuts pictures into windows of its own, origins and sizes of tiles are multiples of it. Here
it is 4:

        |. . . .|. . . .|. . . .|. .
        0       4       8      12

`python3 -m utils.studies.padding` compares other edges: repeated ones cost PSNR and LPIPS, and a mirror as wide as the
halo gains little over the margin here, and costs a tenth more seconds for small pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # functions on tensors import it when they are called: tiles are cut without TensorFlow too
    import tensorflow as tf


MARGIN = 4  # low-resolution pixels


def aligned(size: int, alignment: int) -> int:
    """The smallest multiple of the alignment that is not below `size`."""
    return math.ceil(size / alignment) * alignment


def halo_of(generator: Any) -> int:
    """Pixels of halo that a generator's tiles need: 0 where its receptive field is not known (None).

    They are no fewer than the margin, which is cropped from windows too.
    """
    return max(aligned(generator.receptive_field or 0, generator.alignment), margin_of(generator))


def margin_of(generator: Any) -> int:
    """Pixels by which a generator's pictures are mirrored: 0 where its receptive field is not known (None)."""
    return aligned(MARGIN, generator.alignment) if generator.receptive_field else 0


def image_operator(generator: Any, images: tf.Tensor, *condition: tf.Tensor) -> tf.Tensor:
    """The definition of upscaling: the margin, the generator, crop.

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

    margin, scale = margin_of(generator), generator.scale
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    if margin or generator.alignment > 1:
        sizes = ((size, margin, margin - size % -generator.alignment) for size in (height, width))
        images = gathered(images, *(places(*each) for each in sizes))
    high_res = generator((images, *condition) if condition else images, training=False)
    return high_res[:, margin * scale : (margin + height) * scale, margin * scale : (margin + width) * scale]


def with_edges(generator: Any, margin: int, edges: str = "mirrored") -> Callable[..., tf.Tensor]:
    """The generator as a function that gives its pictures a margin and crops the result: as large as without.

    A generator by itself sees zeros beyond the edges. With `margin_of(generator)`, mirrored, the result is that of an
    `Upscaler`.

    Args:
        generator: takes images or (images, strength), and has a `scale`.
        margin: low-resolution pixels on each side; 0 gives the generator itself.
        edges: "mirrored", or "repeated": the margin is the outermost pixel again and again.
    """
    if not margin:
        return generator

    def run(low_res, training=False):
        import tensorflow as tf

        images, *strength = tf.nest.flatten(low_res)
        inputs = tf.nest.pack_sequence_as(low_res, [with_margin(images, margin, edges), *strength])
        return crop(generator(inputs, training=training), margin * generator.scale)

    return run


def with_margin(x: tf.Tensor, margin: int, edges: str = "mirrored") -> tf.Tensor:
    """x (B, H, W, C) with a margin on all four sides, whose `edges` are "mirrored" or "repeated"."""
    if not margin:
        return x
    import tensorflow as tf

    _, height, width, _ = tf.unstack(tf.shape(x))
    return gathered(x, places(height, margin, margin, edges), places(width, margin, margin, edges))


def places(size: tf.Tensor, before: int, after: int, edges: str = "mirrored") -> tf.Tensor:
    """Which of `size` rows or columns each one is that has `before` and `after` more beside it."""
    import tensorflow as tf

    place = tf.range(-before, size + after)
    if edges == "repeated":
        return tf.clip_by_value(place, 0, size - 1)
    place = place % (2 * size)  # a margin may be wider than the picture: it is mirrored again and again
    return tf.minimum(place, 2 * size - 1 - place)


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


def pixels_with_margin(pixels: np.ndarray, margin: int, alignment: int = 1) -> np.ndarray:
    """What `image_operator` gives the network, in NumPy: (B, H, W, C) -> with the margin.

    At the bottom and on the right the margin is wider, so that the rest is a multiple of the alignment.
    """
    below, right = (margin + aligned(size, alignment) - size for size in pixels.shape[1:3])
    return np.pad(pixels, [(0, 0), (margin, below), (margin, right), (0, 0)], mode="symmetric")
