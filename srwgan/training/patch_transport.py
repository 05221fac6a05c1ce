"""Optimal transport between the patches of generated and of real images, as a loss of a whole batch.

The other losses compare each image with its own original. This one compares two sets of patches, by their debiased
Sinkhorn divergence (Genevay et al. 2018, arXiv:1706.00292; Feydy et al. 2019, arXiv:1810.08278).
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from srwgan.training.sinkhorn import sinkhorn_divergence

PATCHES = 256  # drawn from a batch; the cost of a step grows with the square of their number
PATCH = 8  # side of a patch of pixels
REGULARIZATION = 0.1  # independent features are at distances near 2
ITERATIONS = 30


def transport_loss(real_features: tf.Tensor, fake_features: tf.Tensor, *, key: tf.Tensor) -> tf.Tensor:
    """The Sinkhorn divergence between `PATCHES` real and as many generated feature vectors.

    The vectors are drawn at the same places of both. They are divided by the root mean square of the real ones and by
    the root of their length C, so that a weight means the same in both spaces and at every stage of the discriminator.
    No gradient flows to the real features.

    Args:
        real_features, fake_features: (B, h, w, C).
        key: (2,) int64; the drawn places depend on it alone.

    Returns:
        () float32: 0 for equal features, and the more, the farther the sets are apart.
    """
    channels = real_features.shape[-1]
    real, fake = (tf.reshape(tf.cast(x, "float32"), [-1, channels]) for x in (real_features, fake_features))
    places = tf.random.stateless_uniform([PATCHES], key, 0, tf.shape(real)[0], tf.int32)
    real, fake = tf.stop_gradient(tf.gather(real, places)), tf.gather(fake, places)
    scale = tf.math.rsqrt(tf.reduce_mean(tf.square(real)) * channels + 1e-12)
    return sinkhorn_divergence(fake * scale, real * scale, REGULARIZATION, ITERATIONS)


def patch_features(space: str, discriminator) -> Callable:
    """A function from images (B, H, W, 3) to the features of their patches, (B, h, w, C).

    Args:
        space: "discriminator" takes its last feature map before the patch scores, "pixels" the pixels of patches of
            8x8, side by side.
    """
    if space == "discriminator":
        return keras.Model(discriminator.inputs[0], discriminator.patch_features)
    return pixel_patches


def pixel_patches(images: tf.Tensor) -> tf.Tensor:
    """(B, H, W, 3) -> (B, H // 8, W // 8, 192), the pixels of each patch; what is left at the edges is cut off."""
    height, width = (size - size % PATCH for size in images.shape[1:3])
    return tf.nn.space_to_depth(images[:, :height, :width], PATCH)
