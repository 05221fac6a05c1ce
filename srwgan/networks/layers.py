"""The generator's own small layers and its initializer, registered with Keras as "srwgan>NAME".

Files and checkpoints name layers by their registered names, so these names do not change.
"""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from srwgan.networks.diffusion_process import NOISE, c_out, c_skip, per_pixel, radius


@keras.saving.register_keras_serializable("srwgan")
class LeakyReLU(layers.Layer):
    """Leaky ReLU of any shape: x where x > 0, slope * x elsewhere. It takes no pass over memory of its own.

    Its gradient looks at the sign of the result, which is the sign of the input. TensorFlow runs an activation inside
    the convolution before it only where nothing else uses the convolution's result. So the activation is fused in
    training too, also where the gradient penalty differentiates twice.
    """

    def __init__(self, slope: float, **kwargs):
        super().__init__(**kwargs)
        self.slope = slope

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return leaky_relu(x, self.slope)

    def compute_output_shape(self, shape: tuple) -> tuple:
        return shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "slope": self.slope}


def leaky_relu(x: tf.Tensor, slope: float) -> tf.Tensor:
    @tf.custom_gradient
    def forward(x):
        y = tf.nn.leaky_relu(x, slope)
        sign = tf.stop_gradient(y)  # the second derivative is 0
        return y, lambda dy: tf.raw_ops.LeakyReluGrad(gradients=dy, features=sign, alpha=slope)

    return forward(x)


@keras.saving.register_keras_serializable("srwgan")
class ICNR(keras.initializers.Initializer):
    """Starts the convolution before a pixel shuffle with one kernel for all sub-pixels (Aitken et al. 2017).

    The shuffled features start as a nearest-neighbor upsampling, without a checkerboard (arXiv:1707.02937).

    Args:
        factor: that of the pixel shuffle.
        initializer: of the one kernel.
    """

    def __init__(self, factor: int, initializer: Any = "glorot_uniform"):
        self.factor, self.initializer = factor, keras.initializers.get(initializer)

    def __call__(self, shape: tuple, dtype: Any = None) -> tf.Tensor:
        *window, channels_in, channels_out = shape
        kernel = self.initializer((*window, channels_in, channels_out // self.factor**2), dtype=dtype)
        return tf.tile(kernel, [1, 1, 1, self.factor**2])  # depth_to_space takes channels as (sub-pixel, channel)

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor, "initializer": keras.initializers.serialize(self.initializer)}


class Shuffle(layers.Layer):
    """Between pixels and channels: `PixelShuffle` and `PixelUnshuffle`."""

    def __init__(self, factor: int, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("srwgan")
class PixelShuffle(Shuffle):
    """(B, H, W, f^2 C) -> (B, f H, f W, C) (Shi et al. 2016, arXiv:1609.05158). C channels become each sub-pixel.

        1 pixel of 4 C channels       2 x 2 pixels of C channels
                                          +---+---+
        | a | b | c | d |       ->        | a | b |
                                          | c | d |
                                          +---+---+

    Args:
        factor: f.
    """

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.depth_to_space(x, self.factor)

    def compute_output_shape(self, shape: tuple) -> tuple:
        batch, height, width, channels = shape
        f = self.factor
        return batch, height and height * f, width and width * f, channels // f**2


@keras.saving.register_keras_serializable("srwgan")
class ScaleAndShift(layers.Layer):
    """x (1 + scale) + shift (FiLM, Perez et al. 2018, arXiv:1709.07871): x (B, H, W, C), (scale, shift) (B, 2 C)."""

    def call(self, inputs: list) -> tf.Tensor:
        x, scale_and_shift = inputs
        scale, shift = tf.split(scale_and_shift[:, None, None], 2, axis=-1)
        return x * (1 + scale) + shift

    def compute_output_shape(self, shapes: list) -> tuple:
        return shapes[0]


@keras.saving.register_keras_serializable("srwgan")
class AddUpsampled(layers.Layer):
    """residual (B, scale H, scale W, 3) + the bilinearly upsampled picture (B, H, W, 3), in float32 under any policy.

    Args:
        scale: the factor between picture and residual.
    """

    def __init__(self, scale: int, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})
        self.scale = scale

    def call(self, inputs: list) -> tf.Tensor:
        residual, low_res = inputs
        size = tf.shape(low_res)[1:3] * self.scale
        return tf.cast(residual, "float32") + tf.image.resize(tf.cast(low_res, "float32"), size, "bilinear")

    def compute_output_shape(self, shapes: list) -> tuple:
        return shapes[0]

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("dtype", None)
        return {**config, "scale": self.scale}


FREQUENCIES = 8  # of a noise level's features


@keras.saving.register_keras_serializable("srwgan")
class LevelFeatures(layers.Layer):
    """Noise levels (B,) in [0, 1] -> (B, 2 x FREQUENCIES) sines and cosines, of half a period to 64 periods."""

    def call(self, level: tf.Tensor) -> tf.Tensor:
        angles = level[:, None] * (3.14159265 * 2.0 ** tf.range(FREQUENCIES, dtype="float32"))
        return tf.concat([tf.sin(angles), tf.cos(angles)], axis=-1)

    def compute_output_shape(self, shape: tuple) -> tuple:
        return (*shape, 2 * FREQUENCIES)


@keras.saving.register_keras_serializable("srwgan")
class ToUnitVariance(layers.Layer):
    """[noisy (B, H, W, 3), level (B,)] -> noisy divided by its standard deviation NOISE r, see the module."""

    def call(self, inputs: list) -> tf.Tensor:
        noisy, level = inputs
        return noisy / per_pixel(NOISE * radius(level))

    def compute_output_shape(self, shapes: list) -> tuple:
        return shapes[0]


@keras.saving.register_keras_serializable("srwgan")
class PixelUnshuffle(Shuffle):
    """(B, f H, f W, C) -> (B, H, W, f^2 C), the inverse of `PixelShuffle`.

    Args:
        factor: f.
    """

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.space_to_depth(x, self.factor)

    def compute_output_shape(self, shape: tuple) -> tuple:
        batch, height, width, channels = shape
        f = self.factor
        return batch, height and height // f, width and width // f, channels * f**2


@keras.saving.register_keras_serializable("srwgan")
class Preconditioned(layers.Layer):
    """[R (B, H, W, 3), noisy alike, level (B,)] -> c_skip noisy + c_out R, in float32 under any policy."""

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})

    def call(self, inputs: list) -> tf.Tensor:
        output, noisy, level = (tf.cast(x, "float32") for x in inputs)
        return per_pixel(c_skip(level)) * noisy + per_pixel(c_out(level)) * output

    def compute_output_shape(self, shapes: list) -> tuple:
        return shapes[1]

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("dtype", None)
        return config
