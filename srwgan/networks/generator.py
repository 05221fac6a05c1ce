"""The generator: a small residual network whose output is added to the bilinearly upsampled input.

Residual blocks without batch normalisation follow EDSR (Lim et al. 2017, arXiv:1707.02921), pixel shuffle is Shi et
al. 2016 (arXiv:1609.05158), its ICNR initialisation Aitken et al. 2017 (arXiv:1707.02937). Options: resizing before the
convolution, Odena et al. 2016 (doi:10.23915/distill.00003), see `fourier.py` and `attention.py` for the others; a
condition that scales and shifts features, Perez et al. 2018 (FiLM, arXiv:1709.07871).
"""

import keras
import tensorflow as tf
from keras import layers

from srwgan.networks.attention import RADIUS, WINDOW, channel_attention, window_attention
from srwgan.networks.fourier import FourierUpsampling
from srwgan.networks.layers import LeakyReLU

ACTIVATIONS = ("leaky_relu", "prelu")
UPSAMPLINGS = ("pixelshuffle", "fourier", "resize-conv")
ATTENTIONS = ("none", "channel", "window")
CONDITIONS = ("none", "noise")
SCALES = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}  # scale -> the factors of its pixel-shuffle blocks


@keras.saving.register_keras_serializable("srwgan")
class Generator(keras.Model):
    """(B, H, W, 3) -> (B, scale H, scale W, 3), RGB in [-1, 1], float32 in and out, any H and W.

    With a condition it takes (images, strength), strength (B,) float32 in [0, 1].

    Args:
        filters: channels of the residual blocks; each pixel-shuffle block halves them.
        blocks: number of residual blocks.
        scale: 2, 3, 4 or 8.
        activation: "leaky_relu" of slope 0.2, which runs inside the convolution before it, or "prelu", a trained slope
            for each channel (He et al. 2015, arXiv:1502.01852), which ends near 0.2 and costs passes over memory.
        upsampling: "pixelshuffle"; "fourier", zeros beyond the features' spectrum; "resize-conv", nearest neighbour.
        attention: "none", or in every block "channel" or "window".
        condition: "none"; "noise", the strength of the pictures' degradation, from 0 (none) to 1 (the strongest).
        dtype: Keras dtype policy of the convolutions, e.g. "mixed_bfloat16".

    Attributes:
        receptive_field: how many low-resolution pixels around a pixel its result depends on, on each side; None where
            it is the whole picture ("fourier").
        alignment: tile origins and sizes have to be multiples of this many low-resolution pixels.
    """

    def __init__(
        self,
        filters=64,
        blocks=8,
        scale=4,
        activation="leaky_relu",
        upsampling="pixelshuffle",
        attention="none",
        condition="none",
        dtype=None,
        **kwargs,
    ):
        check_generator_arguments(filters, blocks, scale, activation, upsampling, attention, condition)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        low_res = keras.Input((None, None, 3), dtype="float32", name="low_res")
        strength = keras.Input((), dtype="float32", name="strength") if condition == "noise" else None

        told = embed(strength, filters) if condition == "noise" else None
        first = conv(filters, policy, "first")(low_res)
        x = first
        for i in range(blocks):
            x = residual_block(x, filters, activation, policy, f"block{i + 1}", attention, told)
            if attention == "window":
                x = window_attention(x, filters, i % 2 == 1, policy, f"block{i + 1}_attention")
        x = conv(filters, policy, "last_low_res")(x)
        x = layers.Add(dtype=policy, name="long_skip")([x, first])
        block = {"pixelshuffle": pixel_shuffle_block, "fourier": fourier_block, "resize-conv": resize_block}[upsampling]
        for i, factor in enumerate(SCALES[scale]):
            x = block(x, upsampling_filters(filters, i), factor, activation, policy, f"upsampling{i + 1}")
        residual = conv(3, policy, "last", kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3))(x)
        high_res = AddUpsampled(scale, name="add_upsampled")([residual, low_res])

        inputs = low_res if condition == "none" else (low_res, strength)
        super().__init__(inputs=inputs, outputs=high_res, **kwargs)
        self.filters, self.blocks, self.scale, self.activation = filters, blocks, scale, activation
        self.upsampling, self.attention, self.condition = upsampling, attention, condition
        self.receptive_field = receptive_field(blocks, scale, upsampling, attention)
        self.alignment = alignment(upsampling, attention)

    @property
    def is_plain(self):
        """Whether it has none of the options beyond its size and activation."""
        return (self.upsampling, self.attention, self.condition) == ("pixelshuffle", "none", "none")

    def get_config(self):
        names = ("filters", "blocks", "scale", "activation", "upsampling", "attention", "condition", "name")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**{"activation": "prelu", **config})  # as it was before the configuration said


def with_precision(network, policy):
    """The same network, its weights copied, computing in `policy` ("float32", "mixed_bfloat16", "mixed_float16")."""
    twin = type(network)(**network.get_config(), dtype=policy)
    twin.set_weights(network.get_weights())
    return twin


def check_generator_arguments(filters, blocks, scale, activation, upsampling, attention, condition):
    if scale not in SCALES:
        raise ValueError(f"Received: scale={scale}. Expected one of {', '.join(map(str, SCALES))}.")
    if filters < 4:
        raise ValueError(f"Received: filters={filters}. Expected 4 or more.")
    if blocks < 1:
        raise ValueError(f"Received: blocks={blocks}. Expected 1 or more.")
    if activation not in ACTIVATIONS:
        raise ValueError(f"Received: activation={activation}. Expected {' or '.join(ACTIVATIONS)}.")
    if upsampling not in UPSAMPLINGS:
        raise ValueError(f"Received: upsampling={upsampling}. Expected one of {', '.join(UPSAMPLINGS)}.")
    if attention not in ATTENTIONS:
        raise ValueError(f"Received: attention={attention}. Expected one of {', '.join(ATTENTIONS)}.")
    if condition not in CONDITIONS:
        raise ValueError(f"Received: condition={condition}. Expected {' or '.join(CONDITIONS)}.")


def upsampling_filters(filters, i):
    """Channels after the i-th pixel-shuffle block: fewer at each resolution, where every pixel costs more."""
    return max(filters // 2 ** (i + 1), 3)


def receptive_field(blocks, scale, upsampling="pixelshuffle", attention="none"):
    """Low-resolution pixels on each side that the farthest-seeing result depends on; None: the whole picture."""
    if upsampling == "fourier":
        return None
    pixels = range(scale * (WINDOW if attention == "window" else 1))  # after these it repeats itself
    return max(reach(pixel, blocks, scale, upsampling, attention) for pixel in pixels)


def reach(pixel, blocks, scale, upsampling, attention):
    """The same of the result's pixel at this index, by going back through the layers from first to last seen."""
    first, last = pixel - 1, pixel + 1
    for factor in reversed(SCALES[scale]):
        if upsampling == "resize-conv":
            first, last = (first - 1) // factor, (last + 1) // factor
        else:
            first, last = first // factor - 1, last // factor + 1
    first, last = first - 1, last + 1
    for i in reversed(range(blocks)):
        if attention == "window":
            shift = WINDOW // 2 * (i % 2)
            first = (first - shift) // WINDOW * WINDOW + shift
            last = (last - shift) // WINDOW * WINDOW + shift + WINDOW - 1
        extra = RADIUS if attention == "channel" else 0
        first, last = first - 2 - extra, last + 2 + extra
    return max(pixel // scale - (first - 1), last + 1 - pixel // scale)


def alignment(upsampling, attention):
    """What is run whole needs none: windows begin at the picture's corner."""
    return WINDOW if attention == "window" and upsampling != "fourier" else 1


def conv(filters, policy, name, **kwargs):
    return layers.Conv2D(filters, 3, padding="same", dtype=policy, name=name, **kwargs)


def activate(x, activation, policy, name):
    if activation == "leaky_relu":
        return LeakyReLU(0.2, dtype=policy, name=f"{name}_lrelu")(x)
    start = keras.initializers.Constant(0.25)
    return layers.PReLU(shared_axes=[1, 2], alpha_initializer=start, dtype=policy, name=f"{name}_prelu")(x)


def residual_block(x, filters, activation, policy, name, attention="none", told=None):
    y = conv(filters, policy, f"{name}_conv1")(x)
    y = activate(y, activation, policy, name)
    y = conv(filters, policy, f"{name}_conv2")(y)
    if told is not None:
        y = modulate(y, told, filters, policy, name)
    if attention == "channel":
        y = channel_attention(y, filters, policy, f"{name}_attention")
    return layers.Add(dtype=policy, name=f"{name}_add")([x, y])


def embed(strength, filters):
    """(B,) -> (B, filters), in float32."""
    x = layers.Reshape((1,), dtype="float32", name="strength_column")(strength)
    return layers.Dense(filters, activation="silu", dtype="float32", name="strength_embedding")(x)


def modulate(x, told, filters, policy, name):
    """x (1 + scale) + shift, a scale and a shift for each channel from what was told, which start at 0."""
    scale_and_shift = layers.Dense(2 * filters, kernel_initializer="zeros", dtype="float32", name=f"{name}_condition")
    return ScaleAndShift(dtype=policy, name=f"{name}_modulated")([x, scale_and_shift(told)])


@keras.saving.register_keras_serializable("srwgan")
class ScaleAndShift(layers.Layer):
    """x (B, H, W, C) (1 + scale) + shift of scale and shift (B, 2 C)."""

    def call(self, inputs):
        x, scale_and_shift = inputs
        scale, shift = tf.split(scale_and_shift[:, None, None], 2, axis=-1)
        return x * (1 + scale) + shift

    def compute_output_shape(self, shapes):
        return shapes[0]


def pixel_shuffle_block(x, filters, factor, activation, policy, name):
    """Convolution to factor^2 times the channels, activation, rearranged into factor times the height and width."""
    x = conv(filters * factor**2, policy, f"{name}_conv", kernel_initializer=ICNR(factor))(x)
    if activation == "leaky_relu":
        x = activate(x, activation, policy, name)
    x = PixelShuffle(factor, dtype=policy, name=f"{name}_shuffle")(x)
    return activate(x, activation, policy, name) if activation == "prelu" else x  # a slope for each channel of these


def fourier_block(x, filters, factor, activation, policy, name):
    """Convolution, band-limited interpolation, and the activation, which alone makes frequencies beyond the band."""
    x = conv(filters, policy, f"{name}_conv")(x)
    x = FourierUpsampling(factor, dtype=policy, name=f"{name}_fourier")(x)
    return activate(x, activation, policy, name)


def resize_block(x, filters, factor, activation, policy, name):
    """Each pixel repeated, convolution at the higher resolution, activation."""
    x = layers.UpSampling2D(factor, dtype=policy, name=f"{name}_resize")(x)
    x = conv(filters, policy, f"{name}_conv")(x)
    return activate(x, activation, policy, name)


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
