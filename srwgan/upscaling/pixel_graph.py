"""A network in one TensorFlow graph with the conversions on both sides of it: integer pixels in, integer pixels out."""

from collections.abc import Callable
from functools import cached_property

import tensorflow as tf

from srwgan.upscaling.network import Network
from srwgan.upscaling.transparency import within_neighbors


class PixelGraph:
    """A network between pixels of one kind. Each way of running it is traced once, for all sizes.

    Args:
        network: a `Network`; a `NetworkWithMaps` for all ways but `windows`.
        dtype: of the pixels, in and out: "uint8", "uint16", or "float32" in [-1, 1].
        channels: 3 for RGB, 1 for gray.
        is_alpha: whether the one channel is transparency, which stays within the range of its neighbors.

    Attributes:
        windows: (B, h + 2 margin, w + 2 margin, C) pictures with their margin, or windows -> (B, scale h, scale w, C).
        windows_with_maps: the same -> (that result, the network's feature maps).
        patch: brings kept feature maps up to date where a picture changed, see `update`.
    """

    def __init__(self, network: Network, dtype: str, channels: int, *, is_alpha: bool):
        self.network, self.dtype, self.is_alpha = network, tf.as_dtype(dtype), is_alpha
        self.half_range = self.dtype.max / 2 if self.dtype.is_integer else None
        self.gain, self.offset, self.limits = 1.0, 0.0, (-1.0, 1.0)
        if self.half_range:  # levels straight from the last convolution, plus 0.5, since a cast to integers rounds down
            self.gain, self.offset = self.half_range, self.half_range + 0.5
            self.limits = (0.5, self.dtype.max + 0.5)
        self.pixels = tf.TensorSpec([None, None, None, channels], self.dtype)

    @cached_property
    def windows(self) -> Callable:
        def run(pixels):
            sub_pixels = self.network.sub_pixels(self.to_network(pixels), gain=self.gain, offset=self.offset)
            return self.to_pixels(sub_pixels, pixels, self.network.margin)

        return self.traced(run)

    @cached_property
    def windows_with_maps(self) -> Callable:
        def run(pixels):
            low_res = self.to_network(pixels)
            sub_pixels, maps = self.network.sub_pixels_and_maps(low_res, gain=self.gain, offset=self.offset)
            return self.to_pixels(sub_pixels, pixels, self.network.margin), maps

        return self.traced(run)

    def traced(self, function: Callable) -> Callable:
        """The function's graph for pixels of any size."""
        return traced(function, self.pixels, autograph=not self.network.has_maps)

    tensor = staticmethod(tf.constant)

    def kept(self, maps: list[tf.Tensor]) -> list[tf.Variable]:
        """Feature maps of `windows_with_maps`, for a batch of one, as `update` takes them.

        Each is a variable (its height x its width, features), so that rows are read and written at memory's speed.
        """
        rows = [tf.reshape(features, [-1, features.shape[-1]]) for features in maps]
        return [tf.Variable(each, shape=[None, each.shape[-1]], trainable=False) for each in rows]

    @cached_property
    def patch(self) -> Callable:
        return tf.function(self.update, reduce_retracing=True, autograph=False)

    def update(self, pixels: tf.Tensor, maps: list[tf.Variable], rectangle: tf.Tensor) -> tf.Tensor:
        """Brings feature maps up to date, and gives the part of the result that depends on the changed rectangle.

        What changed grows by each part's halo on its way through the maps. So a patch reads little more than its own
        result needs: on small frames the halo of the whole network would be most of the cost.

            changed pixels      map 0         map 1            result
                                               _______         _________
                                 _____        |       |       |         |
                 ___            |     |       |       |       |         |
                |___|     ->    |_____|   ->  |       |  ->   |         |
                                              |_______|       |_________|

        Args:
            pixels: a whole picture with its margin, (1, H + 2 margin, W + 2 margin, C).
            maps: those of the picture before, see `kept`.
            rectangle: int32 (top, bottom, left, right) of `pixels` that changed.
        """
        network, size = self.network, tf.shape(pixels)[1:3]
        changed = rectangle[0::2], rectangle[1::2]
        for k, (maps_k, halo) in enumerate(zip(maps, network.halos, strict=False)):
            changed = grown(changed, halo, size)
            seen = grown(changed, halo, size)
            before = read(maps[k - 1], size, *seen) if k else self.to_network(window(pixels, *seen))
            made = window(network.part(k, before), *(place - seen[0] for place in changed))
            write(maps_k, size, *changed, made)
        halo, margin = network.halos[-1], network.margin
        result = grown(tuple(place - margin for place in changed), halo, size - 2 * margin)
        seen = result[0] + margin - halo, result[1] + margin + halo
        low_res, first, last = window(pixels, *seen), read(maps[0], size, *seen), read(maps[-1], size, *seen)
        sub_pixels = network.tail(last, first, self.to_network(low_res), gain=self.gain, offset=self.offset)
        return self.to_pixels(sub_pixels, low_res, halo)

    def to_network(self, pixels: tf.Tensor) -> tf.Tensor:
        """RGB in [-1, 1]; gray as three equal channels."""
        if self.half_range:
            pixels = tf.cast(pixels, "float32") / self.half_range - 1
        return tf.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels

    def to_pixels(self, sub_pixels: tf.Tensor, low_res: tf.Tensor, halo: int) -> tf.Tensor:
        """The result from the network's sub-pixels.

        Args:
            low_res: the pixels that they were made of, with a halo.
        """
        lowest, highest = self.limits
        sub_pixels = tf.raw_ops.ClipByValue(t=sub_pixels, clip_value_min=lowest, clip_value_max=highest)
        if low_res.shape[-1] == 1:
            sub_pixels = mean_of_rgb(sub_pixels)
        if not self.is_alpha:
            return self.network.shuffled(tf.cast(sub_pixels, self.dtype))
        low_res = tf.cast(low_res, "float32") + lowest
        high_res = within_neighbors(self.network.shuffled(sub_pixels), low_res, self.network.scale, halo=halo)
        return tf.cast(high_res, self.dtype)


def grown(rectangle, halo, size):
    """(start, stop), each a row and a column, with the halo round it, inside of a picture of `size`."""
    start, stop = rectangle
    return tf.maximum(start - halo, 0), tf.minimum(stop + halo, size)


def window(x, start, stop):
    """x (B, H, W, C) from row and column `start` to `stop`."""
    return x[:, start[0] : stop[0], start[1] : stop[1]]


def read(rows, size, start, stop):
    """The window (1, h, w, C) of a map of `size` that is kept as a variable (height x width, C)."""
    window = rows.sparse_read(places(size, start, stop))
    return tf.reshape(window, [1, stop[0] - start[0], stop[1] - start[1], rows.shape[-1]])


def write(rows, size, start, stop, window):
    """Puts a window (1, h, w, C) into a map of `size` that is kept as a variable (height x width, C)."""
    window = tf.reshape(window, [-1, rows.shape[-1]])
    rows.scatter_update(tf.IndexedSlices(window, places(size, start, stop)))


def places(size, start, stop):
    """The numbers of a window's pixels in a picture of `size`, row by row."""
    rows, columns = (tf.range(start[i], stop[i]) for i in range(2))
    return tf.reshape(rows[:, None] * size[1] + columns, [-1])


def mean_of_rgb(sub_pixels):
    """(B, H, W, 3 n) -> (B, H, W, n)."""
    shape = tf.shape(sub_pixels)
    return tf.reduce_mean(tf.reshape(sub_pixels, tf.concat([shape[:3], [sub_pixels.shape[-1] // 3, 3]], 0)), axis=-1)


def traced(function: Callable, *signature: tf.TensorSpec, autograph: bool = True) -> Callable:
    """The function's graph.

    Args:
        autograph: whether Python's `if` and `for` may be on tensors, as in foreign models. To look for them takes most
            of the time.
    """
    return tf.function(function, input_signature=signature, autograph=autograph).get_concrete_function()
