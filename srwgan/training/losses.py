"""The losses, one value per sample, so that a mean over any division of a batch is the mean over the batch.

Images are (B, H, W, 3) in [-1, 1], scores (B, 1); every loss is (B,) float32 whatever the networks compute in.
"""

import math

import tensorflow as tf

from srwgan.measuring.lpips import unit_length
from srwgan.pixels import LUMA_SHARES

PSNR_FLOOR = 4e-4  # mean squared error of pixels in [-1, 1] at 40 dB


def discriminator_loss(real_scores, fake_scores):
    """D(fake) - D(real): minus the critic's estimate of the Wasserstein distance (Arjovsky et al. 2017)."""
    return as_vector(fake_scores) - as_vector(real_scores)


def adversarial_loss(fake_scores):
    """-D(fake), what the generator descends."""
    return -as_vector(fake_scores)


def gradient_penalty(discriminator, real, fake, *, e, loss_scale=1.0):
    """(||grad D(x)|| - 1)^2 at x = real + e (fake - real), and the norm; both (B,) (Gulrajani et al. 2017).

    Args:
        e: (B,) position on the line between the two images, one draw per sample.
        loss_scale: the score is multiplied by it before and its gradient divided by it after, against underflow in
            float16.
    """
    x = real + tf.reshape(e, (-1, 1, 1, 1)) * (fake - real)
    with tf.GradientTape() as tape:
        tape.watch(x)
        scores = discriminator(x, training=True) * loss_scale
    gradient = tf.cast(tape.gradient(scores, x), "float32") / loss_scale
    # The square root's slope is infinite at 0, where a critic that ignores its input has its norm.
    norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]) + 1e-12)
    return tf.square(norm - 1.0), norm


def reconstruction_loss(real, fake, *, kind: str = "mse", luma: float = 0.0):
    """Mean squared ("mse") or absolute ("l1") difference of the pixels, or the former's logarithm ("psnr").

    "psnr" is log10(1 + mse / PSNR_FLOOR), as the mean PSNR is a mean of logarithms: each sample counts by its relative
    error, less where that is small already (after Chen et al. 2021, HINet, arXiv:2105.06086).

    Args:
        luma: share of the loss, 0 to 1, that is of the difference in luma alone, which PSNR-Y measures and where the
            eye sees detail; on RGB alone much of a small network serves the chroma.
    """
    measure = tf.abs if kind == "l1" else tf.square
    difference = tf.cast(fake, "float32") - tf.cast(real, "float32")
    error = mean_per_sample(measure(difference))
    if luma:
        of_luma = tf.reduce_sum(difference * LUMA_SHARES, axis=-1, keepdims=True)
        error = (1 - luma) * error + luma * mean_per_sample(measure(of_luma))
    return tf.math.log1p(error / PSNR_FLOOR) / math.log(10) if kind == "psnr" else error


def lattice_loss(real, fake, *, scale: int, window: int = 8):
    """Mean squared difference of the local means of each sub-pixel phase, over windows of low-resolution pixels.

    A content loss rewards detail wherever it is, and the cheapest detail is the pattern of the `scale` x `scale`
    phases of pixel shuffle itself, a regular grid. Its local means differ from phase to phase, a photograph's do not.
    """
    phases = tf.nn.space_to_depth(tf.cast(fake, "float32") - tf.cast(real, "float32"), scale)
    return mean_per_sample(tf.square(tf.nn.avg_pool2d(phases, window, window // 2, "VALID")))


def steady_loss(fake: tf.Tensor, moved: tf.Tensor, *, margin: int) -> tf.Tensor:
    """The mean absolute difference of two results of one scene that lie over each other.

    Where a camera moves by less than a low-resolution pixel, what a generator invents changes with the phase of the
    pixels and flickers. Both results descend this loss if either does, since each is as often the first.

    Args:
        fake: (B, H, W, 3), the result of the crop.
        moved: (B, H, W, 3), the result of the moved crop, put back. No gradient flows to it.
        margin: pixels at each edge that are left out, where a moved crop holds something else.

    Returns:
        (B,) float32.
    """
    difference = tf.abs(fake - tf.stop_gradient(moved))
    return mean_per_sample(difference[:, margin:-margin, margin:-margin])


def content_loss(real_maps, fake_maps, *, norm: str = "energy", channel_weights=None):
    """Mean over the layers of the squared difference between hyperpixels.

    Args:
        real_maps, fake_maps: lists of feature maps (B, h, w, c), a pair for each layer.
        norm: "energy" divides each layer by the real map's mean square, so that a weight means the same on every
            backbone; "unit" scales each pixel's channel vector to length 1 first (Zhang et al. 2018, LPIPS).
        channel_weights: with "unit", (c,) for each layer, by which the channels' squared differences are weighted, as
            LPIPS's linear layers do; None for 1.
    """
    weights = channel_weights or [None] * len(real_maps)
    layers = [
        content_norms[norm](tf.cast(r, "float32"), tf.cast(f, "float32"), w)
        for r, f, w in zip(real_maps, fake_maps, weights, strict=True)
    ]
    return tf.add_n(layers) / len(layers)


def energy_normalised(real, fake, _):
    return mean_per_sample(tf.square(fake - real)) / (mean_per_sample(tf.square(real)) + 1e-8)


def unit_normalised(real, fake, channel_weights):
    squares = tf.square(unit_length(fake) - unit_length(real))
    if channel_weights is not None:
        squares *= channel_weights
    return tf.reduce_mean(tf.reduce_sum(squares, axis=-1), axis=[1, 2])


content_norms = {"energy": energy_normalised, "unit": unit_normalised}


def mean_per_sample(x):
    return tf.reduce_mean(x, axis=list(range(1, x.shape.rank)))


def as_vector(scores):
    return tf.reshape(tf.cast(scores, "float32"), [-1])
