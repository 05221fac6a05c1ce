"""The losses of both networks.

Images are (B, H, W, 3) in [-1, 1], and scores of the discriminator (B, 1). Each loss is (B,) in float32, whatever the
networks compute in: one value for each sample, so that the mean over any parts of a batch is the mean over the batch.
"""

import math

import tensorflow as tf

from srwgan.measuring.lpips import unit_length
from srwgan.pixels import LUMA_SHARES

PSNR_FLOOR = 4e-4  # mean squared error of pixels in [-1, 1] at 40 dB


def discriminator_loss(real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
    """D(fake) - D(real), minus the discriminator's estimate of the Wasserstein distance (Arjovsky et al. 2017)."""
    return as_vector(fake_scores) - as_vector(real_scores)


def adversarial_loss(fake_scores: tf.Tensor) -> tf.Tensor:
    """-D(fake), which the generator descends."""
    return -as_vector(fake_scores)


def gradient_penalty(
    discriminator, real: tf.Tensor, fake: tf.Tensor, *, e: tf.Tensor, loss_scale=1.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradient penalty (||grad D(x)|| - 1)^2 at x = real + e (fake - real) (Gulrajani et al. 2017).

    Args:
        discriminator: (B, H, W, 3) -> (B, 1).
        e: (B,), the position of each sample's x on the line through its two images.
        loss_scale: the scores are multiplied by it and their gradient divided by it, against underflow in float16.

    Returns:
        The penalty, and the norm of the gradient over all of H, W, C; both (B,) float32.
    """
    x = real + tf.reshape(e, (-1, 1, 1, 1)) * (fake - real)
    with tf.GradientTape() as tape:
        tape.watch(x)
        scores = discriminator(x, training=True) * loss_scale
    gradient = tf.cast(tape.gradient(scores, x), "float32") / loss_scale
    # The slope of the square root is infinite at 0, which is the norm where a discriminator ignores its input.
    norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]) + 1e-12)
    return tf.square(norm - 1.0), norm


def reconstruction_loss(real: tf.Tensor, fake: tf.Tensor, *, kind: str = "mse", luma: float = 0.0) -> tf.Tensor:
    """The difference of the pixels.

    ```
    kind    loss
    mse     mean squared difference
    l1      mean absolute difference
    psnr    log10(1 + mse / PSNR_FLOOR)
    ```

    A mean of PSNRs is a mean of logarithms. So "psnr" lets each sample count by its relative error, and by less where
    that is small already (after Chen et al. 2021, HINet, arXiv:2105.06086).

    Args:
        kind: "mse", "l1" or "psnr".
        luma: share of the loss, 0 to 1, that is of the difference in luma alone. PSNR-Y measures luma, and the eye sees
            detail in it. A loss on RGB alone spends much of a small network on the chroma.
    """
    measure = tf.abs if kind == "l1" else tf.square
    difference = tf.cast(fake, "float32") - tf.cast(real, "float32")
    error = mean_per_sample(measure(difference))
    if luma:
        of_luma = tf.reduce_sum(difference * LUMA_SHARES, axis=-1, keepdims=True)
        error = (1 - luma) * error + luma * mean_per_sample(measure(of_luma))
    return tf.math.log1p(error / PSNR_FLOOR) / math.log(10) if kind == "psnr" else error


def lattice_loss(real: tf.Tensor, fake: tf.Tensor, *, scale: int, window: int = 8) -> tf.Tensor:
    """The mean squared difference of the local means of each sub-pixel phase.

    The pixels of a low-resolution pixel's `scale` x `scale` square each belong to a phase. A content loss rewards
    detail wherever it is, and the cheapest detail is the pattern of the phases, a regular grid. The local means of such
    a grid differ from phase to phase; those of a photograph do not.

    Args:
        window: side of the windows that means are taken over, in low-resolution pixels.
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


def content_loss(real_maps: list, fake_maps: list, *, norm: str = "energy", channel_weights=None) -> tf.Tensor:
    """The squared difference of hyperpixels, its mean over the layers.

    Args:
        real_maps, fake_maps: feature maps (B, h, w, c), a pair for each layer.
        norm: "energy" divides each layer's difference by the mean square of its real map, so that a weight means the
            same with every classifier. "unit" scales each pixel's feature vector to length 1 first, as LPIPS does
            (Zhang et al. 2018).
        channel_weights: with "unit", (c,) for each layer, by which the channels' squared differences are multiplied, as
            LPIPS's linear layers do. None stands for 1.
    """
    weights = channel_weights or [None] * len(real_maps)
    layers = [
        CONTENT_NORMS[norm](tf.cast(real, "float32"), tf.cast(fake, "float32"), weight)
        for real, fake, weight in zip(real_maps, fake_maps, weights, strict=True)
    ]
    return tf.add_n(layers) / len(layers)


def energy_difference(real, fake, _):
    return mean_per_sample(tf.square(fake - real)) / (mean_per_sample(tf.square(real)) + 1e-8)


def unit_difference(real, fake, channel_weights):
    squares = tf.square(unit_length(fake) - unit_length(real))
    if channel_weights is not None:
        squares *= channel_weights
    return tf.reduce_mean(tf.reduce_sum(squares, axis=-1), axis=[1, 2])


CONTENT_NORMS = {"energy": energy_difference, "unit": unit_difference}


def mean_per_sample(x: tf.Tensor) -> tf.Tensor:
    """(B, ...) -> (B,)."""
    return tf.reduce_mean(x, axis=list(range(1, x.shape.rank)))


def as_vector(scores: tf.Tensor) -> tf.Tensor:
    """(B, 1) of any type -> (B,) float32."""
    return tf.reshape(tf.cast(scores, "float32"), [-1])
