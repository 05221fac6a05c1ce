"""The generator: a small residual network whose output is added to the bilinearly upsampled input.

Residual blocks without batch normalisation follow EDSR (Lim et al. 2017, arXiv:1707.02921), pixel shuffle is Shi et
al. 2016 (arXiv:1609.05158), its ICNR initialisation Aitken et al. 2017 (arXiv:1707.02937).
"""

import math

import keras
import tensorflow as tf
from keras import layers

from srwgan.activations import LeakyReLU

ACTIVATIONS = ("leaky_relu", "prelu")
SCALES = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}  # scale -> the factors of its pixel-shuffle blocks


@keras.saving.register_keras_serializable("srwgan")
class Generator(keras.Model):
    """(B, H, W, 3) -> (B, scale H, scale W, 3), RGB in [-1, 1], float32 in and out, any H and W.

    Args:
        filters: channels of the residual blocks; each pixel-shuffle block halves them.
        blocks: number of residual blocks.
        scale: 2, 3, 4 or 8.
        activation: "leaky_relu" of slope 0.2, which runs inside the convolution before it, or "prelu", a trained slope
            for each channel (He et al. 2015, arXiv:1502.01852), which ends near 0.2 and costs passes over memory.
        dtype: Keras dtype policy of the convolutions, e.g. "mixed_bfloat16".

    Attributes:
        receptive_field: how many low-resolution pixels around a pixel its result depends on, on each side.
        alignment: tile origins and sizes have to be multiples of this many low-resolution pixels.
    """

    def __init__(self, filters=64, blocks=8, scale=4, activation="leaky_relu", dtype=None, **kwargs):
        check_generator_arguments(filters, blocks, scale, activation)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        low_res = keras.Input((None, None, 3), dtype="float32", name="low_res")

        first = conv(filters, policy, "first")(low_res)
        x = first
        for i in range(blocks):
            x = residual_block(x, filters, activation, policy, f"block{i + 1}")
        x = conv(filters, policy, "last_low_res")(x)
        x = layers.Add(dtype=policy, name="long_skip")([x, first])
        for i, factor in enumerate(SCALES[scale]):
            x = pixel_shuffle_block(x, upsampling_filters(filters, i), factor, activation, policy, f"upsampling{i + 1}")
        residual = conv(3, policy, "last", kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3))(x)
        high_res = AddUpsampled(scale, name="add_upsampled")([residual, low_res])

        super().__init__(inputs=low_res, outputs=high_res, **kwargs)
        self.filters, self.blocks, self.scale, self.activation = filters, blocks, scale, activation
        self.receptive_field = receptive_field(blocks, scale)
        self.alignment = 1

    def get_config(self):
        return {"filters": self.filters, "blocks": self.blocks, "scale": self.scale, "activation": self.activation,
                "name": self.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**{"activation": "prelu", **config})  # as it was before the configuration said


def with_precision(network, policy):
    """The same network, its weights copied, computing in `policy` ("float32", "mixed_bfloat16", "mixed_float16")."""
    twin = type(network)(**network.get_config(), dtype=policy)
    twin.set_weights(network.get_weights())
    return twin


def check_generator_arguments(filters, blocks, scale, activation):
    if scale not in SCALES:
        raise ValueError(f"Received: scale={scale}. Expected one of {', '.join(map(str, SCALES))}.")
    if filters < 4:
        raise ValueError(f"Received: filters={filters}. Expected 4 or more.")
    if blocks < 1:
        raise ValueError(f"Received: blocks={blocks}. Expected 1 or more.")
    if activation not in ACTIVATIONS:
        raise ValueError(f"Received: activation={activation}. Expected {' or '.join(ACTIVATIONS)}.")


def upsampling_filters(filters, i):
    """Channels after the i-th pixel-shuffle block: fewer at each resolution, where every pixel costs more."""
    return max(filters // 2 ** (i + 1), 3)


def receptive_field(blocks, scale):
    """Halo of the 3x3 convolutions in low-resolution pixels: one each there, 1/f each at f times the resolution."""
    halo, resolution = 2 + 2 * blocks, 1
    for factor in SCALES[scale]:
        halo += 1 / resolution
        resolution *= factor
    return math.ceil(halo + 1 / resolution)


def conv(filters, policy, name, **kwargs):
    return layers.Conv2D(filters, 3, padding="same", dtype=policy, name=name, **kwargs)


def activate(x, activation, policy, name):
    if activation == "leaky_relu":
        return LeakyReLU(0.2, dtype=policy, name=f"{name}_lrelu")(x)
    start = keras.initializers.Constant(0.25)
    return layers.PReLU(shared_axes=[1, 2], alpha_initializer=start, dtype=policy, name=f"{name}_prelu")(x)


def residual_block(x, filters, activation, policy, name):
    y = conv(filters, policy, f"{name}_conv1")(x)
    y = activate(y, activation, policy, name)
    y = conv(filters, policy, f"{name}_conv2")(y)
    return layers.Add(dtype=policy, name=f"{name}_add")([x, y])


def pixel_shuffle_block(x, filters, factor, activation, policy, name):
    """Convolution to factor^2 times the channels, activation, rearranged into factor times the height and width."""
    x = conv(filters * factor**2, policy, f"{name}_conv", kernel_initializer=ICNR(factor))(x)
    if activation == "leaky_relu":
        x = activate(x, activation, policy, name)
    x = PixelShuffle(factor, dtype=policy, name=f"{name}_shuffle")(x)
    return activate(x, activation, policy, name) if activation == "prelu" else x  # a slope for each channel of these


@keras.saving.register_keras_serializable("srwgan")
class ICNR(keras.initializers.Initializer):
    """The same kernel for all sub-pixels, so that the shuffled picture starts as nearest-neighbour, no checkerboard."""

    def __init__(self, factor, initializer="glorot_uniform"):
        self.factor, self.initializer = factor, keras.initializers.get(initializer)

    def __call__(self, shape, dtype=None):
        *window, channels_in, channels_out = shape
        kernel = self.initializer((*window, channels_in, channels_out // self.factor**2), dtype=dtype)
        return tf.tile(kernel, [1, 1, 1, self.factor**2])  # depth_to_space takes channels as (sub-pixel, channel)

    def get_config(self):
        return {"factor": self.factor, "initializer": keras.initializers.serialize(self.initializer)}


@keras.saving.register_keras_serializable("srwgan")
class PixelShuffle(layers.Layer):
    """(B, H, W, f^2 C) -> (B, f H, f W, C)."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return tf.nn.depth_to_space(x, self.factor)

    def compute_output_shape(self, shape):
        batch, height, width, channels = shape
        f = self.factor
        return batch, height and height * f, width and width * f, channels // f**2

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("srwgan")
class AddUpsampled(layers.Layer):
    """residual (B, sH, sW, 3) + bilinear upsampling of the picture (B, H, W, 3), in float32 whatever the policy."""

    def __init__(self, scale, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})
        self.scale = scale

    def call(self, inputs):
        residual, low_res = inputs
        size = tf.shape(low_res)[1:3] * self.scale
        return tf.cast(residual, "float32") + tf.image.resize(tf.cast(low_res, "float32"), size, "bilinear")

    def compute_output_shape(self, shapes):
        return shapes[0]

    def get_config(self):
        config = super().get_config()
        config.pop("dtype", None)
        return {**config, "scale": self.scale}
