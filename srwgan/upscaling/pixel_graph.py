"""A network in one graph with the conversions on both sides of it: integer pixels in, integer pixels out."""

from functools import cached_property

import tensorflow as tf

from srwgan.upscaling.transparency import within_neighbours


class CompiledNetwork:
    """A network between pixels of one kind: conversion, network and rounding in one graph, traced once for all sizes.

    `run` takes (B, h + 2 halo, w + 2 halo, C) pixels and gives (B, scale h, scale w, C) pixels; `picture` and
    `picture_with_maps` are those of an UnpaddedNetwork, with pixels in and out; `updated`: see `of_update`.
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
    def updated(self):
        return tf.function(self.of_update, reduce_retracing=True)

    def of_update(self, pixels, maps, rectangle):
        """Brings feature maps up to date and gives the result's part that depends on `rectangle` of the pixels.

        What changed grows by a part's halo in each of the maps, so that the patch needs little more than its own
        result: on small frames the halo of a whole network is most of the cost.

        Args:
            pixels: a whole picture (1, H + 2 halo, W + 2 halo, C), its edges replicated.
            maps: those of `picture_with_maps` with all the halo that later parts need, each a variable
                (its height x its width, features): rows are written and read at the speed of memory.
            rectangle: int32 (top, bottom, left, right) of pixels.
        """
        network, sizes = self.network, [tf.shape(pixels)[1:3]]
        start, stop = rectangle[0::2], rectangle[1::2]
        for k, halo in enumerate(network.halos):  # start and stop: of what the part gives
            sizes.append(sizes[k] - 2 * halo)
            start, stop = tf.maximum(start - 2 * halo, 0), tf.minimum(stop, sizes[-1])
            end = stop + 2 * halo
            if k == len(maps):
                break
            taken = read(maps[k - 1], sizes[k], start, end) if k else self.to_network(window(pixels, start, end))
            write(maps[k], sizes[-1], start, stop, network.part(k, taken))
        halo = network.halo - network.halos[-1]
        low_res = window(pixels, start + halo, end + halo)
        first = read(maps[0], sizes[1], start + halo - 1, end + halo - 1)
        last = read(maps[-1], sizes[-2], start, end)
        sub_pixels = network.tail(last, first, self.to_network(low_res), self.gain, self.offset)
        return self.to_pixels(sub_pixels, low_res, network.halos[-1])

    def to_network(self, pixels):
        """RGB in [-1, 1]; gray as three equal channels."""
        if self.half_range:
            pixels = tf.cast(pixels, "float32") / self.half_range - 1
        return tf.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels

    def to_pixels(self, sub_pixels, low_res, halo):
        """The result from the network's sub-pixels; low_res are the pixels that they come from, with their halo."""
        lowest, highest = self.limits
        sub_pixels = tf.raw_ops.ClipByValue(t=sub_pixels, clip_value_min=lowest, clip_value_max=highest)
        if low_res.shape[-1] == 1:
            sub_pixels = mean_of_rgb(sub_pixels)
        if not self.is_alpha:
            return self.network.shuffled(tf.cast(sub_pixels, self.dtype))
        low_res = tf.cast(low_res, "float32") + lowest
        high_res = within_neighbours(self.network.shuffled(sub_pixels), low_res, self.network.scale, halo)
        return tf.cast(high_res, self.dtype)


def window(x, start, stop):
    return x[:, start[0] : stop[0], start[1] : stop[1]]


def read(rows, size, start, stop):
    """The window of a map of `size` that is kept as a variable (height x width, features)."""
    window = rows.sparse_read(places(size, start, stop))
    return tf.reshape(window, [1, stop[0] - start[0], stop[1] - start[1], rows.shape[-1]])


def write(rows, size, start, stop, window):
    window = tf.reshape(window, [-1, rows.shape[-1]])
    rows.scatter_update(tf.IndexedSlices(window, places(size, start, stop)))


def places(size, start, stop):
    """Row by row, the numbers of a window's pixels in a picture of `size`."""
    rows, columns = (tf.range(start[i], stop[i]) for i in range(2))
    return tf.reshape(rows[:, None] * size[1] + columns, [-1])


def mean_of_rgb(sub_pixels):
    """(B, H, W, 3 n) -> (B, H, W, n)."""
    shape = tf.shape(sub_pixels)
    return tf.reduce_mean(tf.reshape(sub_pixels, tf.concat([shape[:3], [sub_pixels.shape[-1] // 3, 3]], 0)), axis=-1)


def traced(function, *signature):
    return tf.function(function, input_signature=signature).get_concrete_function()
