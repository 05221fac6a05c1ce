"""Upsampling of features in their spectrum, after Deep Fourier Up-Sampling (Zhou et al. 2022, arXiv:2210.05171)."""

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable("srwgan")
class FourierUpsampling(layers.Layer):
    """(B, H, W, C) -> (B, f H, f W, C): band-limited interpolation by zeros beyond the spectrum, in float32.

        spectrum (H, W)          spectrum (f H, f W)
        +-------+                +-------+-------+
        | gains |       ->       | gains |   0   |     the lowest frequency is at the upper left
        +-------+                +-------+       |
                                 |   0       0   |
                                 +---------------+

    The spectrum is the discrete cosine transform, which is that of the features mirrored at their borders. So nothing
    wraps round, and pixel centers lie where bilinear resizing puts them. Amplitudes are learned: each channel has a
    gain at `bands` radial frequencies, linear between them, which starts at 1. A mirrored signal has phases 0 or pi, so
    that there are none to learn.

    Every result depends on every pixel of the picture.

    Args:
        factor: f.
        bands: number of radial frequencies with a gain of their own.
    """

    def __init__(self, factor: int, bands: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.factor, self.bands = factor, bands

    def build(self, shape):
        self.gains = self.add_weight(name="gains", shape=(self.bands, shape[-1]), initializer="zeros")

    def call(self, x):
        spectrum = rows_spectrum(columns_first(rows_spectrum(channels_first(tf.cast(x, "float32")))))
        spectrum *= 1 + self.gain(tf.shape(spectrum)[-2], tf.shape(spectrum)[-1])  # (B, C, W, H)
        high_res = columns_first(self.interpolated_rows(spectrum))
        high_res = self.interpolated_rows(high_res)
        return tf.cast(tf.transpose(high_res, [0, 2, 3, 1]), self.compute_dtype)

    def gain(self, *size):
        """(C, *size): the change of each frequency's amplitude, as a share of it. The gain is 1 more."""
        u, v = (tf.range(n, dtype="float32") / tf.cast(n, "float32") for n in size)
        radius = tf.sqrt((u[:, None] ** 2 + v[None] ** 2) / 2) * (self.bands - 1)
        near = tf.nn.relu(1 - tf.abs(radius[..., None] - tf.range(self.bands, dtype="float32")))
        return tf.einsum("uvb,bc->cuv", near, tf.cast(self.gains, "float32"))

    def interpolated_rows(self, spectrum):
        """(..., n) frequencies -> (..., f n) values."""
        size = tf.shape(spectrum)[-1]
        padded = tf.pad(spectrum, [(0, 0), (0, 0), (0, 0), (0, (self.factor - 1) * size)])
        return tf.signal.idct(padded, norm="ortho") * self.factor**0.5

    def compute_output_shape(self, shape):
        batch, height, width, channels = shape
        return batch, height and height * self.factor, width and width * self.factor, channels

    def get_config(self):
        return {**super().get_config(), "factor": self.factor, "bands": self.bands}


def rows_spectrum(x):
    return tf.signal.dct(x, norm="ortho")


def channels_first(x):
    return tf.transpose(x, [0, 3, 1, 2])


def columns_first(x):
    return tf.transpose(x, [0, 1, 3, 2])
