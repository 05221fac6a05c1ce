"""A network in one graph with the conversions on both sides of it: integer pixels in, integer pixels out."""

from functools import cached_property, partial

import tensorflow as tf

from srwgan.alpha import within_neighbours
from srwgan.inference import shuffle


class CompiledNetwork:
    """A network between pixels of one kind: conversion, network and rounding in one graph, traced once for all sizes.

    `run` takes (B, h + 2 halo, w + 2 halo, C) pixels and gives (B, scale h, scale w, C) pixels; `picture`,
    `picture_with_maps`, `parts` and `tail` are those of an UnpaddedNetwork, with pixels in and out.
    """

    def __init__(self, network, dtype, channels, is_alpha):
        self.network, self.dtype, self.is_alpha = network, tf.as_dtype(dtype), is_alpha
        self.half_range = self.dtype.max / 2 if self.dtype.is_integer else None
        self.gain, self.offset, self.limits = 1.0, 0.0, (-1.0, 1.0)
        if self.half_range:  # pixels straight from the last convolution, 0.5 too large for a cast that rounds down
            self.gain, self.offset = self.half_range, self.half_range + 0.5
            self.limits = (0.5, self.dtype.max + 0.5)
        self.pixels = tf.TensorSpec([None, None, None, channels], self.dtype)

    @cached_property
    def run(self):
        def run(pixels):
            sub_pixels = self.network.sub_pixels(self.to_network(pixels), self.gain, self.offset)
            return self.to_pixels(sub_pixels, pixels, self.network.halo)

        return traced(run, self.pixels)

    @cached_property
    def picture(self):
        return traced(lambda pixels: self.of_picture(pixels)[0], self.pixels)

    @cached_property
    def picture_with_maps(self):
        return traced(self.of_picture, self.pixels)

    def of_picture(self, pixels):
        sub_pixels, maps = self.network.picture(self.to_network(pixels), self.gain, self.offset)
        return self.to_pixels(sub_pixels, pixels, 0), maps

    @cached_property
    def parts(self):
        def first(pixels):
            return self.network.part(0, self.to_network(pixels))

        later = [traced(partial(self.network.part, k), self.features) for k in range(1, len(self.network.halos) - 1)]
        return [traced(first, self.pixels), *later]

    @cached_property
    def tail(self):
        def tail(x, first, pixels):
            sub_pixels = self.network.tail(x, first, self.to_network(pixels), self.gain, self.offset)
            return self.to_pixels(sub_pixels, pixels, self.network.halos[-1])

        return traced(tail, self.features, self.features, self.pixels)

    @property
    def features(self):
        return tf.TensorSpec([None, None, None, self.network.filters], self.network.precision)

    def to_network(self, pixels):
        """RGB in [-1, 1]; gray as three equal channels."""
        if self.half_range:
            pixels = tf.cast(pixels, "float32") / self.half_range - 1
        return tf.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels

    def to_pixels(self, sub_pixels, low_res, halo):
        """The result from the network's sub-pixels; low_res are the pixels that they come from, with their halo."""
        factor, (lowest, highest) = self.network.last_factor, self.limits
        sub_pixels = tf.raw_ops.ClipByValue(t=sub_pixels, clip_value_min=lowest, clip_value_max=highest)
        if low_res.shape[-1] == 1:
            sub_pixels = mean_of_rgb(sub_pixels)
        if not self.is_alpha:
            return shuffle(tf.cast(sub_pixels, self.dtype), factor)
        low_res = tf.cast(low_res, "float32") + lowest
        high_res = within_neighbours(shuffle(sub_pixels, factor), low_res, self.network.scale, halo)
        return tf.cast(high_res, self.dtype)


def mean_of_rgb(sub_pixels):
    """(B, H, W, 3 n) -> (B, H, W, n)."""
    shape = tf.shape(sub_pixels)
    return tf.reduce_mean(tf.reshape(sub_pixels, tf.concat([shape[:3], [sub_pixels.shape[-1] // 3, 3]], 0)), axis=-1)


def traced(function, *signature):
    return tf.function(function, input_signature=signature).get_concrete_function()
