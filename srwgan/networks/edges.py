"""A picture's edges: the image operator, and what it is made of.

The image operator is: repeat the picture's edges by the receptive field, run the network, crop.
"""

import math

import tensorflow as tf


def image_operator(generator, images, *condition):
    """Pad the edges by the receptive field (repeating them), run, crop: what every tile size gives alike.

    The padding ends on multiples of the alignment. Without a known receptive field the picture is run as it is.
    """
    alignment, scale = generator.alignment, generator.scale
    halo = math.ceil((generator.receptive_field or 0) / alignment) * alignment
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    for axis, size in (1, height), (2, width):
        places = tf.range(-halo, size + -size % alignment + halo)
        images = tf.gather(images, tf.clip_by_value(places, 0, size - 1), axis=axis)
    high_res = generator((images, *condition) if condition else images, training=False)
    top = halo * scale
    return high_res[:, top : top + height * scale, top : top + width * scale]


def with_repeated_edges(generator, pixels):
    """The generator on low_res with its edges repeated by so many pixels, which its result loses again.

    By its receptive field or more that is what an `Upscaler` gives; a generator by itself sees zeros beyond the edges.
    """
    if not pixels:
        return generator

    def run(low_res, training=False):
        images, *strength = tf.nest.flatten(low_res)
        inputs = tf.nest.pack_sequence_as(low_res, [with_margin(images, pixels), *strength])
        return crop(generator(inputs, training=training), pixels * generator.scale)

    return run


def with_margin(x, margin, spoilt=0):
    """x (B, H, W, C) with `margin` pixels more on each side, those at the edges replicated; a negative one crops.

    Columns of which the outermost `spoilt` on each side are of no use lose these first.
    """
    if margin <= 0 and not spoilt:
        return crop(x, -margin)
    batch, height, width, channels = tf.unstack(tf.shape(x))
    rows = tf.clip_by_value(tf.range(-margin, height + margin), 0, height - 1)
    columns = tf.clip_by_value(tf.range(spoilt - margin, width - spoilt + margin), spoilt, width - spoilt - 1)
    places = tf.reshape(rows[:, None] * width + columns, [-1])  # one pass over memory, where two axes would take two
    pixels = tf.gather(tf.reshape(x, [batch, height * width, channels]), places, axis=1)
    result = tf.reshape(pixels, [batch, tf.size(rows), tf.size(columns), channels])
    return tf.ensure_shape(result, [None, None, None, x.shape[-1]])


def crop(x, margin):
    """x (B, H, W, C) without `margin` pixels on each side."""
    return x[:, margin:-margin, margin:-margin] if margin else x
