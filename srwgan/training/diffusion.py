"""The training step of the diffusion generator; that of a student of one step is in `distillation.py`.

`DiffusionTrainer` is a `Trainer` without a discriminator: replicas, precision, averaged weights, checkpoints and the
portable step are that one's. Read `network_gradients`, then `denoising_loss`.
"""

import tensorflow as tf

from srwgan.networks.diffusion import sampled, upsampled
from srwgan.networks.diffusion_process import NOISE, c_out, noised
from srwgan.networks.edges import crop, with_margin
from srwgan.networks.noise import mixed, sample_keys, uniform, white_noise
from srwgan.networks.sampling import Sampling
from srwgan.training.accumulation import mean_over_parts
from srwgan.training.losses import mean_per_sample
from srwgan.training.objective import Objective
from srwgan.training.replicas import maximum_over_replicas, sample_means
from srwgan.training.step import Trainer

LOWEST_LEVEL = 1e-3
LEVEL_USE = 0x5BD1E995  # what a sample's key is combined with for its noise level


class DiffusionTrainer(Trainer):
    """A diffusion generator, its optimizer and the step that trains it, on one device or many.

    Build it, and what it is given, inside `strategy.scope()`.

    Args:
        generator: a `DiffusionGenerator`.
        average: a second one, for the exponential moving average of the first one's weights.
        generator_optimizer: a `GuardedAdam`, or any Keras optimizer.
        options: how a step is taken.
        strategy: a tf.distribute.Strategy; the default one is a single device.
    """

    def __init__(self, generator, *, average, generator_optimizer, options=None, strategy=None):
        super().__init__(
            generator,
            None,
            average=average,
            generator_optimizer=generator_optimizer,
            objective=Objective(gpweight=0.0, cweight=0.0, advweight=0.0),
            options=options,
            strategy=strategy,
        )

    def generate_average(self, low_res, training=False):
        """What the averaged network makes of (B, H, W, 3), with its own number of steps and seed 0."""
        return sampled(self.average, low_res, Sampling(), margin=self.options.margin, edges=self.options.edges)

    def replica_step(self, batch, phase, stop, dstep=None):
        """The step on one replica's batch (low_res, high_res, e (B, 1)): its metrics, and whether it was finite.

        A GAN's e are positions of its penalty. Here their bits are the keys of a sample's noise and noise level. In the
        phase "warmup" all noise levels are 1, where the network is an ordinary generator.
        """
        metrics, gradients = mean_over_parts(
            lambda *part: self.network_gradients(*part, phase), batch, parts=self.options.accumulate
        )
        finite = self.apply(self.generator_optimizer, gradients, self.generator.trainable_variables)
        return {**metrics, "finite": tf.cast(finite, tf.float32), "stop": maximum_over_replicas(stop)}

    def network_gradients(self, low_res, high_res, e, phase):
        """Gradients of the loss by the network's weights.

        The picture gets the margin that the options say, and the estimate there counts for nothing.
        """
        scale, margin, edges = self.generator.scale, self.options.margin, self.options.edges
        residual = with_margin(high_res - upsampled(low_res, scale), margin * scale, edges)
        _, height, width, _ = tf.unstack(tf.shape(residual))
        keys = sample_keys(e[:, 0])
        noise = tf.ensure_shape(white_noise(keys, height=height, width=width), residual.shape)
        level = tf.ones_like(e[:, 0]) if phase == "warmup" else noise_levels(keys)
        with tf.GradientTape() as tape:
            padded = with_margin(low_res, margin, edges)
            losses = self.denoising_loss(padded, residual, noise, level, margin=margin * scale)
            scaled = tf.reduce_mean(losses["g_loss_total"]) * self.loss_scale
        return sample_means(losses), tape.gradient(scaled, self.generator.trainable_variables)

    def denoising_loss(self, low_res, residual, noise, level, *, margin):
        """The squared error of the estimate, divided by c_out^2: the error of the network's output, of variance 1.

        ```
        residual y, noise n -> z_t --+
                                     +--> network --> estimate of y
        low_res ---------------------+
        ```

        Its minimum is the conditional mean of y (Karras et al. 2022, arXiv:2206.00364).

        Args:
            margin: high-resolution pixels on each side that are left out.

        Returns:
            A dict of (B,): the loss, and "reconstruction", the mean squared error of the estimate.
        """
        estimate = self.generator([low_res, noised(residual, noise, level), level], training=True)
        error = mean_per_sample(tf.square(crop(estimate - residual, margin)))
        return {"g_loss_total": error / tf.square(c_out(level) * NOISE), "reconstruction": error}


def noise_levels(keys: tf.Tensor) -> tf.Tensor:
    """A noise level for each of (B,) keys, drawn evenly, at least `LOWEST_LEVEL`.

    Evenly, since a sampler's are: a sampler of few steps depends on the estimate at each of them alike.
    """
    return tf.maximum(uniform(mixed(tf.bitwise.bitwise_xor(keys, tf.constant(LEVEL_USE, tf.int64)))), LOWEST_LEVEL)
