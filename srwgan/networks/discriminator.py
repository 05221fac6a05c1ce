"""The discriminator (critic): strided convolutions to a map of patch scores, without batch normalization.

The gradient penalty is per sample, so no layer may mix samples (Gulrajani et al. 2017, arXiv:1704.00028).
"""

from typing import Any

import keras
import tensorflow as tf
from keras import KerasTensor, layers

from srwgan.networks.layers import LeakyReLU


@keras.saving.register_keras_serializable("srwgan")
class Discriminator(keras.Model):
    """(B, H, W, 3) RGB in [-1, 1] -> (B, 1) unbounded score in float32, any H and W of 8 or more.

        image (H, W, 3)
          |
        space_to_depth    2x2 pixels -> 12 channels                        H/2
        conv1             3x3, `filters` channels                          H/2
        conv2             4x4, stride 2, 1.5 times as many                 H/4
        conv3             4x4, stride 2, 3 times as many                   H/8
        conv4             3x3, 3 times as many                             H/8
        block1 ...        `blocks` times: x + convolution, activation,
                          convolution, 3x3, as many                        H/8
        patch_scores      3x3, 1 channel, the score of each patch          H/8
        projected_scores  with `semantics`: the patches' scores, plus the
                          products of their features with a vector that
                          follows from what the original shows there       H/8
        score             their mean times the square root of their number
          |
        score (1)

    A leaky ReLU of slope 0.2 follows each convolution but the last of all and the last of each block.

    A patch is as many pixels wide as its score depends on:

        blocks    0     1     2     3     4
        pixels   56    88   120   152   184

    The last convolution of each block begins at 0. So a block begins without effect, and `grown` can add one to a
    trained discriminator.

    With `semantics` its inputs are [image, semantics]: a classifier's features of the original picture, (B, h, w,
    `semantic_channels`) at any resolution. Original and generated picture get the same ones, so that grass is compared
    with grass (Lin et al. 2024, SeD, arXiv:2402.19387). They enter each patch's score as a class enters that of the
    projection discriminator (Miyato and Koyama 2018, arXiv:1802.05637):

        semantics -> semantics_at_patches -> semantics_embedding -> semantics_projection -> <. , features of the patch>
                     of unit length, H/8     1x1, leaky ReLU        1x1, begins at 0

    No gradient flows to them.

    Args:
        filters: channels of the first convolution, 4 or more.
        blocks: residual blocks.
        semantics: channels of the embedding of semantic features; 0 for a discriminator of one input.
        semantic_channels: of the features themselves.
        dtype: Keras dtype policy of the convolutions.

    Raises:
        ValueError: fewer filters, or a negative number of blocks.
    """

    def __init__(
        self,
        filters: int = 64,
        blocks: int = 0,
        semantics: int = 0,
        semantic_channels: int = 0,
        dtype: Any = None,
        **kwargs,
    ):
        if filters < 4:
            raise ValueError(f"Received: discriminator filters={filters}. Expected 4 or more.")
        if blocks < 0:
            raise ValueError(f"Received: discriminator blocks={blocks}. Expected 0 or more.")
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        image = keras.Input((None, None, 3), dtype="float32", name="image")

        x = SpaceToDepth(2, dtype=policy, name="space_to_depth")(image)
        x = conv_block(x, "conv1", filters=filters, kernel_size=3, strides=1, policy=policy)
        x = conv_block(x, "conv2", filters=filters * 3 // 2, kernel_size=4, strides=2, policy=policy)
        x = conv_block(x, "conv3", filters=filters * 3, kernel_size=4, strides=2, policy=policy)
        x = conv_block(x, "conv4", filters=filters * 3, kernel_size=3, strides=1, policy=policy)
        for i in range(blocks):
            x = residual_block(x, f"block{i + 1}", policy=policy)
        patches = layers.Conv2D(1, 3, padding="same", dtype=policy, name="patch_scores")(x)
        inputs = image
        if semantics:
            inputs = [image, keras.Input((None, None, semantic_channels), dtype="float32", name="semantics")]
            y = SemanticsAtPatches(name="semantics_at_patches")([inputs[1], x])
            y = conv_block(y, "semantics_embedding", filters=semantics, kernel_size=1, strides=1, policy=policy)
            options = {"use_bias": False, "kernel_initializer": "zeros", "dtype": policy}
            y = layers.Conv2D(x.shape[-1], 1, name="semantics_projection", **options)(y)
            patches = ProjectedScores(name="projected_scores")([patches, x, y])
        score = PatchMean(name="score")(patches)

        super().__init__(inputs=inputs, outputs=score, **kwargs)
        self.filters, self.blocks = filters, blocks
        self.semantics, self.semantic_channels = semantics, semantic_channels

    @property
    def patch_features(self) -> KerasTensor:
        """(B, H/8, W/8, C), what the patches are scored by."""
        return self.get_layer("patch_scores").input

    def get_config(self):
        names = ("filters", "blocks", "semantics", "semantic_channels", "name")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def grown(discriminator: Discriminator, **more) -> Discriminator:
    """A larger discriminator that gives the scores of a trained one.

    Args:
        discriminator: whose weights it takes.
        more: arguments of `Discriminator` that differ: more blocks, semantics where there were none.
    """
    larger = Discriminator(**{**discriminator.get_config(), **more})
    for layer in discriminator.layers:
        larger.get_layer(layer.name).set_weights(layer.get_weights())
    return larger


def conv_block(x: KerasTensor, name: str, *, filters: int, kernel_size: int, strides: int, policy: Any) -> KerasTensor:
    """Convolution and leaky ReLU."""
    x = layers.Conv2D(filters, kernel_size, strides, padding="same", dtype=policy, name=name)(x)
    return LeakyReLU(0.2, dtype=policy, name=f"{name}_lrelu")(x)


def residual_block(x: KerasTensor, name: str, *, policy: Any) -> KerasTensor:
    """x + convolution, leaky ReLU, convolution, the last of which begins at 0."""
    filters = x.shape[-1]
    y = conv_block(x, f"{name}_conv1", filters=filters, kernel_size=3, strides=1, policy=policy)
    options = {"padding": "same", "kernel_initializer": "zeros", "dtype": policy}
    y = layers.Conv2D(filters, 3, name=f"{name}_conv2", **options)(y)
    return layers.Add(dtype=policy, name=f"{name}_add")([x, y])


@keras.saving.register_keras_serializable("srwgan")
class SpaceToDepth(layers.Layer):
    """(B, H, W, C) -> (B, ceil(H/f), ceil(W/f), f^2 C): the inverse of a pixel shuffle, with zeros beyond H and W.

    The first convolution sees all pixels at less cost.

    Args:
        factor: f.
    """

    def __init__(self, factor: int, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        height, width = (x.shape[i] or tf.shape(x)[i] for i in (1, 2))  # XLA needs constants
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

    The gradient of the mean of n patches has about 1 / sqrt(n) times the norm that one patch's has. With the factor, a
    unit gradient norm asks the same of a patch whatever the crop's size.
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})

    def call(self, patches):
        patches = tf.cast(patches, "float32")
        number = tf.cast(tf.shape(patches)[1] * tf.shape(patches)[2], "float32")
        return tf.reduce_mean(patches, axis=[1, 2]) * tf.sqrt(number)

    def compute_output_shape(self, shape):
        return shape[0], 1


@keras.saving.register_keras_serializable("srwgan")
class SemanticsAtPatches(layers.Layer):
    """[semantics (B, h, w, C), features of patches (B, H, W, P)] -> (B, H, W, C), the semantics of each patch, float32.

    A stride of a classifier or of the discriminator begins at the picture's corner and is a power of 2. So a patch's
    semantics are those of the pixel at its place, found by the ratio of strides. A classifier that drops incomplete
    windows at the last edges has no pixel there, and the last one stands for it.

    Each pixel's vector is scaled to the length sqrt(C), where its elements have a mean square of 1, whatever the
    classifier's own range. No gradient flows to the semantics.
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})

    def call(self, inputs):
        semantics, patches = inputs
        semantics = tf.stop_gradient(tf.cast(semantics, "float32"))
        for axis in 1, 2:
            size, wanted = (x.shape[axis] or tf.shape(x)[axis] for x in (semantics, patches))  # XLA needs constants
            semantics = tf.gather(semantics, nearest(size, wanted), axis=axis)
        return tf.math.l2_normalize(semantics, axis=-1) * semantics.shape[-1] ** 0.5

    def compute_output_shape(self, shapes):
        (_, _, _, channels), patches = shapes
        return *patches[:3], channels


def nearest(size, wanted) -> tf.Tensor:
    """For each of `wanted` places the index of the one at it among `size`, whose number is a power of 2 apart."""
    ratio = tf.cast(wanted, "float32") / tf.cast(size, "float32")
    ratio = 2.0 ** tf.round(tf.math.log(ratio) / tf.math.log(2.0))
    middles = tf.range(tf.cast(wanted, "float32")) + 0.5
    return tf.minimum(tf.cast(middles / ratio, "int32"), size - 1)


@keras.saving.register_keras_serializable("srwgan")
class ProjectedScores(layers.Layer):
    """[scores (B, h, w, 1), x (B, h, w, P), y (B, h, w, P)] -> scores + <x, y> (B, h, w, 1), in float32."""

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})

    def call(self, inputs):
        scores, x, y = (tf.cast(each, "float32") for each in inputs)
        return scores + tf.reduce_sum(x * y, axis=-1, keepdims=True)

    def compute_output_shape(self, shapes):
        return shapes[0]
