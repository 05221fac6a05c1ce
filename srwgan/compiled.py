"""A network in one graph with the conversions on both sides of it: integer pixels in, integer pixels out."""

from functools import cached_property, partial

import tensorflow as tf

from srwgan.alpha import within_neighbours


class CompiledNetwork:
    """A network between pixels of one kind: conversion, network and rounding in one graph, traced once for all sizes.

    `run` takes (B, h + 2 halo, w + 2 halo, C) pixels and gives (B, scale h, scale w, C) pixels; `run_with_maps`,
    `parts` and `tail` are those of an UnpaddedNetwork, with pixels in and out.
    """

    def __init__(self, network, dtype, channels, is_alpha):
        self.network, self.dtype, self.is_alpha = network, tf.as_dtype(dtype), is_alpha
        self.half_range = self.dtype.max / 2 if self.dtype.is_integer else None
        self.pixels = tf.TensorSpec([None, None, None, channels], self.dtype)

    @cached_property
    def run(self):
        def run(pixels):
            return self.to_pixels(self.network(self.to_network(pixels)), pixels, self.network.halo)

        return traced(run, self.pixels)

    @cached_property
    def run_with_maps(self):
        def run_with_maps(pixels):
            high_res, maps = self.network.with_maps(self.to_network(pixels))
            return self.to_pixels(high_res, pixels, self.network.halo), maps

        return traced(run_with_maps, self.pixels)

    @cached_property
    def parts(self):
        def first(pixels):
            return self.network.part(0, self.to_network(pixels))

        later = [traced(partial(self.network.part, k), self.features) for k in range(1, len(self.network.halos) - 1)]
        return [traced(first, self.pixels), *later]

    @cached_property
    def tail(self):
        def tail(x, first, pixels):
            high_res = self.network.tail(x, first, self.to_network(pixels))
            return self.to_pixels(high_res, pixels, self.network.halos[-1])

        return traced(tail, self.features, self.features, self.pixels)

    @property
    def features(self):
        return tf.TensorSpec([None, None, None, self.network.filters], self.network.precision)

    def to_network(self, pixels):
        """RGB in [-1, 1]; gray as three equal channels."""
        if self.half_range:
            pixels = tf.cast(pixels, "float32") / self.half_range - 1
        return tf.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels

    def to_pixels(self, high_res, low_res, halo):
        """The network's result, clipped and rounded; low_res are the pixels it comes from, with their halo."""
        high_res = tf.clip_by_value(high_res, -1, 1)
        if low_res.shape[-1] == 1:
            high_res = tf.reduce_mean(high_res, axis=-1, keepdims=True)
        if not self.half_range:
            return high_res
        high_res = (high_res + 1) * self.half_range
        if self.is_alpha:
            high_res = within_neighbours(high_res, tf.cast(low_res, "float32"), self.network.scale, halo)
        return tf.cast(tf.round(high_res), self.dtype)


def traced(function, *signature):
    return tf.function(function, input_signature=signature).get_concrete_function()
