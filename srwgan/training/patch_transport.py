"""Optimal transport between the patches of generated and of real images, as a loss of a whole batch.

Where the other losses compare each image with its own original, this one compares two sets of patches by their debiased
Sinkhorn divergence (Genevay et al. 2018, arXiv:1706.00292; Feydy et al. 2019, arXiv:1810.08278).
"""

import keras
import tensorflow as tf

from srwgan.training.sinkhorn import sinkhorn_divergence

PATCHES = 256  # drawn from the batch: the cost of a step grows with their square
PATCH = 8  # side of a patch of pixels
REGULARISATION = 0.1  # of distances near 2 between independent features
ITERATIONS = 30


def transport_loss(real_features, fake_features, *, key):
    """Divergence between `PATCHES` feature vectors of each, drawn at the same places.

    Features are divided by the real ones' root mean square, and distances by their length, so that a weight means the
    same in both spaces and at every stage of the discriminator. No gradient flows to the real features.

    Args:
        real_features, fake_features: (B, h, w, C).
        key: (2,) int64, which the drawn places depend on alone.

    Returns:
        () float32, 0 for equal features, and more the farther the sets are apart.
    """
    channels = real_features.shape[-1]
    real, fake = (tf.reshape(tf.cast(x, "float32"), [-1, channels]) for x in (real_features, fake_features))
    places = tf.random.stateless_uniform([PATCHES], key, 0, tf.shape(real)[0], tf.int32)
    real, fake = tf.stop_gradient(tf.gather(real, places)), tf.gather(fake, places)
    scale = tf.math.rsqrt(tf.reduce_mean(tf.square(real)) * channels + 1e-12)
    return sinkhorn_divergence(fake * scale, real * scale, REGULARISATION, ITERATIONS)


def patch_features(space, discriminator):
    """A function from images (B, H, W, 3) to features (B, h, w, C).

    "discriminator": its last feature map before the patch scores. "pixels": patches of 8x8 pixels side by side.
    """
    if space == "discriminator":
        return keras.Model(discriminator.input, discriminator.get_layer("conv4_lrelu").output)
    return pixel_patches


def pixel_patches(images):
    height, width = (size - size % PATCH for size in images.shape[1:3])
    return tf.nn.space_to_depth(images[:, :height, :width], PATCH)
