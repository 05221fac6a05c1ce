"""A network in one TensorFlow graph with the conversions on both sides of it: integer pixels in, integer pixels out."""

from collections.abc import Callable
from functools import cached_property

import tensorflow as tf

from srwgan.networks.edges import with_margin
from srwgan.upscaling.network import Network
from srwgan.upscaling.transparency import within_neighbors


class PixelGraph:
    """A network between pixels of one kind. Each way of running it is traced once, for all sizes.

    Args:
        network: a `Network`; a `PictureNetwork` for all ways but `tiles`.
        dtype: of the pixels, in and out: "uint8", "uint16", or "float32" in [-1, 1].
        channels: 3 for RGB, 1 for gray.
        is_alpha: whether the one channel is transparency, which stays within the range of its neighbors.

    Attributes:
        tiles: (B, h + 2 halo, w + 2 halo, C) tiles with their halo -> (B, scale h, scale w, C).
        pictures: (B, h, w, C) whole pictures -> (B, scale h, scale w, C).
        pictures_with_maps: the same -> (that result, the network's feature maps).
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
    def tiles(self) -> Callable:
        def run(pixels):
            sub_pixels = self.network.sub_pixels(self.to_network(pixels), gain=self.gain, offset=self.offset)
            return self.to_pixels(sub_pixels, pixels, self.network.halo)

        return self.traced(run)

    @cached_property
    def pictures(self) -> Callable:
        return self.traced(lambda pixels: self.run_pictures(pixels)[0])

    @cached_property
    def pictures_with_maps(self) -> Callable:
        return self.traced(self.run_pictures)

    def traced(self, function: Callable) -> Callable:
        """The function's graph for pixels of any size."""
        return traced(function, self.pixels, autograph=not self.network.takes_pictures)

    def run_pictures(self, pixels):
        sub_pixels, maps = self.network.picture(self.to_network(pixels), gain=self.gain, offset=self.offset)
        return self.to_pixels(sub_pixels, pixels, 0), maps

    tensor = staticmethod(tf.constant)

    def kept(self, maps: list[tf.Tensor], pixels_shape: tuple[int, ...]) -> list[tf.Variable]:
        """Feature maps of `pictures_with_maps` as `update` takes them: with all the halo that later parts need.

        Each is a variable (its height x its width, features), so that rows are read and written at memory's speed.

        Args:
            pixels_shape: of the picture with its halo, (1, H + 2 halo, W + 2 halo, C).
        """
        variables, height = [], pixels_shape[1]
        for features, halo in zip(maps, self.network.halos, strict=False):
            height -= 2 * halo
            features = with_margin(features, (height - features.shape[1]) // 2)
            rows = tf.reshape(features, [-1, features.shape[-1]])
            variables.append(tf.Variable(rows, shape=[None, rows.shape[-1]], trainable=False))
        return variables

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
            pixels: a whole picture with its halo, (1, H + 2 halo, W + 2 halo, C).
            maps: those of the picture before, see `kept`.
            rectangle: int32 (top, bottom, left, right) of `pixels` that changed.
        """
        network, sizes = self.network, [tf.shape(pixels)[1:3]]
        start, stop = rectangle[0::2], rectangle[1::2]
        for k, halo in enumerate(network.halos):  # start and stop become those of what part k gives
            sizes.append(sizes[k] - 2 * halo)
            start, stop = tf.maximum(start - 2 * halo, 0), tf.minimum(stop, sizes[-1])
            end = stop + 2 * halo  # part k takes start..end and gives start..stop
            if k == len(maps):
                break
            taken = read(maps[k - 1], sizes[k], start, end) if k else self.to_network(window(pixels, start, end))
            write(maps[k], sizes[-1], start, stop, network.part(k, taken))
        halo = network.halo - network.halos[-1]
        low_res = window(pixels, start + halo, end + halo)
        first = read(maps[0], sizes[1], start + halo - 1, end + halo - 1)
        last = read(maps[-1], sizes[-2], start, end)
        sub_pixels = network.tail(last, first, self.to_network(low_res), gain=self.gain, offset=self.offset)
        return self.to_pixels(sub_pixels, low_res, network.halos[-1])

    def to_network(self, pixels: tf.Tensor) -> tf.Tensor:
        """RGB in [-1, 1]; gray as three equal channels."""
        if self.half_range:
            pixels = tf.cast(pixels, "float32") / self.half_range - 1
        return tf.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels

    def to_pixels(self, sub_pixels: tf.Tensor, low_res: tf.Tensor, halo: int) -> tf.Tensor:
        """The result from the network's sub-pixels.

        Args:
            low_res: the pixels that they were made of, with their halo.
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
