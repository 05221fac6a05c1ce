"""The discriminator (critic): strided convolutions to a map of patch scores, without batch normalisation.

The gradient penalty is per sample, so no layer may mix samples (Gulrajani et al. 2017, arXiv:1704.00028).
"""

import keras
import tensorflow as tf
from keras import layers

from srwgan.networks.layers import LeakyReLU


@keras.saving.register_keras_serializable("srwgan")
class Discriminator(keras.Model):
    """(B, H, W, 3) RGB in [-1, 1] -> (B, 1) unbounded score in float32, any H and W of 8 or more.

    Args:
        filters: channels of the first convolution; the strided ones have 1.5 and 3 times as many.
        dtype: Keras dtype policy of the convolutions.
    """

    def __init__(self, filters=64, dtype=None, **kwargs):
        if filters < 4:
            raise ValueError(f"Received: discriminator filters={filters}. Expected 4 or more.")
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        image = keras.Input((None, None, 3), dtype="float32", name="image")

        x = SpaceToDepth(2, dtype=policy, name="space_to_depth")(image)
        x = conv_block(x, filters, 3, 1, policy, "conv1")
        x = conv_block(x, filters * 3 // 2, 4, 2, policy, "conv2")
        x = conv_block(x, filters * 3, 4, 2, policy, "conv3")
        x = conv_block(x, filters * 3, 3, 1, policy, "conv4")
        patches = layers.Conv2D(1, 3, padding="same", dtype=policy, name="patch_scores")(x)
        score = PatchMean(name="score")(patches)

        super().__init__(inputs=image, outputs=score, **kwargs)
        self.filters = filters

    def get_config(self):
        return {"filters": self.filters, "name": self.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def conv_block(x, filters, kernel_size, strides, policy, name):
    x = layers.Conv2D(filters, kernel_size, strides, padding="same", dtype=policy, name=name)(x)
    return LeakyReLU(0.2, dtype=policy, name=f"{name}_lrelu")(x)


@keras.saving.register_keras_serializable("srwgan")
class SpaceToDepth(layers.Layer):
    """(B, H, W, C) -> (B, ceil(H/f), ceil(W/f), f^2 C): the first convolution sees sub-pixels at less cost."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        height, width = (x.shape[i] or tf.shape(x)[i] for i in (1, 2))  # XLA asks for constants
        x = tf.pad(x, [[0, 0], [0, -height % self.factor], [0, -width % self.factor], [0, 0]])
        return tf.nn.space_to_depth(x, self.factor)

    def compute_output_shape(self, shape):
        batch, height, width, channels = shape
        f = self.factor
        return batch, height and -(-height // f), width and -(-width // f), channels * f**2

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("srwgan")
class PatchMean(layers.Layer):
    """(B, h, w, 1) -> (B, 1): the mean patch score times sqrt(h w), in float32.

    The gradients of n patches add up to about sqrt(n) times one patch's in norm, so without the factor a unit gradient
    norm would ask more of each patch the larger the crop.
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})

    def call(self, patches):
        patches = tf.cast(patches, "float32")
        number = tf.cast(tf.shape(patches)[1] * tf.shape(patches)[2], "float32")
        return tf.reduce_mean(patches, axis=[1, 2]) * tf.sqrt(number)

    def compute_output_shape(self, shape):
        return shape[0], 1
