"""Attention in the generator's residual blocks, with a finite receptive field, so that tiles stay exact.

Channel attention is RCAN's (Zhang et al. 2018, arXiv:1807.02758), with the mean of a neighborhood in place of the
picture's. Window attention is that of Swin and SwinIR (Liu et al. 2021, arXiv:2103.14030; Liang et al. 2021,
arXiv:2108.10257). The residual block's convolutions take the place of the perceptron that follows it there.
"""

from typing import Any

import keras
import tensorflow as tf
from keras import KerasTensor, layers

RADIUS = 4  # of channel attention's neighborhood, in pixels
REDUCTION = 8  # of channels, in channel attention
WINDOW = 8  # side of window attention's windows, in pixels


def channel_attention(x: KerasTensor, name: str, *, policy: Any) -> KerasTensor:
    """x (B, H, W, C), each channel multiplied by a gate in [0, 1].

    The gate depends on the means of all channels over the (2 RADIUS + 1)^2 pixels round each pixel. At a picture's
    borders the mean is that of the pixels inside.
    """
    filters, side = x.shape[-1], 2 * RADIUS + 1
    mean = x
    for axis, size in ("rows", (side, 1)), ("columns", (1, side)):
        mean = layers.AveragePooling2D(size, 1, "same", dtype=policy, name=f"{name}_mean_{axis}")(mean)
    gate = layers.Conv2D(max(filters // REDUCTION, 4), 1, activation="relu", dtype=policy, name=f"{name}_squeeze")(mean)
    gate = layers.Conv2D(filters, 1, activation="sigmoid", dtype=policy, name=f"{name}_gate")(gate)
    return layers.Multiply(dtype=policy, name=name)([x, gate])


def window_attention(x: KerasTensor, name: str, *, shifted: bool, policy: Any) -> KerasTensor:
    """x (B, H, W, C) + attention between the pixels of each window of its normalized features."""
    y = layers.LayerNormalization(dtype=policy, name=f"{name}_norm")(x)
    shift = WINDOW // 2 if shifted else 0
    y = WindowAttention(heads_of(x.shape[-1]), window=WINDOW, shift=shift, dtype=policy, name=name)(y)
    return layers.Add(dtype=policy, name=f"{name}_add")([x, y])


def heads_of(filters: int) -> int:
    """The largest number of heads, up to 8, that share the channels evenly with 16 or more for each."""
    return max(heads for heads in (1, 2, 4, 8) if heads == 1 or (filters % heads == 0 and filters // heads >= 16))


@keras.saving.register_keras_serializable("srwgan")
class WindowAttention(layers.Layer):
    """Multi-head self-attention within windows, with a learned bias by relative position: (B, H, W, C) -> the same.

    A window begins at every multiple of `window`, plus `shift`. The parts of windows beyond the borders are masked:

        shift 0   |-------|-------|----          shift 4   ----|-------|-------|
                  0       8       16                       0   4       12      20

    Args:
        heads: number of heads, which share the channels evenly.
        window: side of the windows in pixels.
        shift: where the first whole window begins, below `window`.
    """

    def __init__(self, heads: int, window: int = WINDOW, shift: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.window, self.shift = heads, window, shift

    def build(self, shape):
        start = keras.initializers.TruncatedNormal(stddev=0.02)
        options = {"kernel_initializer": start, "dtype": self.dtype_policy}
        self.qkv = layers.Dense(3 * shape[-1], name="qkv", **options)
        self.projection = layers.Dense(shape[-1], name="projection", **options)
        for layer in (self.qkv, self.projection):
            layer.build((None, shape[-1]))
        self.bias = self.add_weight(name="bias", shape=((2 * self.window - 1) ** 2, self.heads), initializer=start)

    def call(self, x):
        height, width = tf.shape(x)[1], tf.shape(x)[2]
        before = -self.shift % self.window
        after = [-(size + before) % self.window for size in (height, width)]
        borders = [(0, 0), *[(before, size) for size in after], (0, 0)]
        windows = partition(tf.pad(x, borders), self.window)
        inside = partition(tf.pad(tf.ones((1, height, width, 1)), borders), self.window)
        y = self.attend(windows, inside[..., 0])
        rows, columns = ((before + height + after[0]) // self.window, (before + width + after[1]) // self.window)
        merged = merge(by_pixel(self.projection, y), rows=rows, columns=columns, window=self.window)
        return merged[:, before : before + height, before : before + width]

    def attend(self, windows, inside):
        """Windows (B, N, T, C) of T pixels, `inside` (1, N, T) 1 in the picture or 0 beyond it -> (B, N, T, C)."""
        batch, number, pixels, channels = tf.unstack(tf.shape(windows))
        qkv = tf.reshape(
            by_pixel(self.qkv, windows), [batch, number, pixels, 3, self.heads, windows.shape[-1] // self.heads]
        )
        q, k, v = tf.unstack(tf.transpose(qkv, [3, 0, 1, 4, 2, 5]))  # each (B, N, heads, T, C / heads)
        logits = tf.cast(tf.matmul(q, k, transpose_b=True), "float32") * (windows.shape[-1] // self.heads) ** -0.5
        logits += self.position_bias() + (inside[:, :, None, None] - 1) * 1e9
        y = tf.matmul(tf.cast(tf.nn.softmax(logits), v.dtype), v)
        return tf.reshape(tf.transpose(y, [0, 1, 3, 2, 4]), [batch, number, pixels, channels])

    def position_bias(self):
        """(heads, T, T) float32: for each pair of a window's T pixels the entry of their relative position."""
        y, x = (tf.reshape(axis, [-1]) for axis in tf.meshgrid(*2 * [tf.range(self.window)], indexing="ij"))
        rows, columns = (axis[:, None] - axis[None] + self.window - 1 for axis in (y, x))
        bias = tf.gather(tf.cast(self.bias, "float32"), rows * (2 * self.window - 1) + columns)
        return tf.transpose(bias, [2, 0, 1])

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "window": self.window, "shift": self.shift}


def by_pixel(dense: layers.Dense, x: tf.Tensor) -> tf.Tensor:
    """A dense layer on the last axis. With more, training crashes TensorFlow 2.21 on a CPU with Keras up to 3.12."""
    pixels = dense(tf.reshape(x, [-1, x.shape[-1]]))
    return tf.reshape(pixels, tf.concat([tf.shape(x)[:-1], [pixels.shape[-1]]], 0))


def partition(x: tf.Tensor, window: int) -> tf.Tensor:
    """(B, rows window, columns window, C) -> (B, rows columns, window^2, C)."""
    batch, height, width, _ = tf.unstack(tf.shape(x))
    channels, rows, columns = x.shape[-1], height // window, width // window
    x = tf.transpose(tf.reshape(x, [batch, rows, window, columns, window, channels]), [0, 1, 3, 2, 4, 5])
    return tf.reshape(x, [batch, rows * columns, window**2, channels])


def merge(windows: tf.Tensor, rows: int, columns: int, window: int) -> tf.Tensor:
    """The inverse of `partition`: (B, rows columns, window^2, C) -> (B, rows window, columns window, C)."""
    channels = windows.shape[-1]
    x = tf.reshape(windows, [-1, rows, columns, window, window, channels])
    return tf.reshape(tf.transpose(x, [0, 1, 3, 2, 4, 5]), [-1, rows * window, columns * window, channels])
