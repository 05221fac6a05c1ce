"""The training step: discriminator steps, then generator steps, each with its own tf.GradientTape.

Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028) plus a reconstruction and a content loss.
"""

import dataclasses

import tensorflow as tf

from srwgan.losses import (
    adversarial_loss,
    content_loss,
    discriminator_loss,
    gradient_penalty,
    reconstruction_loss,
)

TERMS = ("adversarial", "reconstruction", "content")
PHASES = ("warmup", "critic", "full")  # reconstruction alone; discriminator alone; both networks, all losses


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is optimised: the weight of each loss and the form it takes."""

    gpweight: float = 10.0
    cweight: float = 1e-3
    advweight: float = 1.0
    rweight: float = 1.0
    reconstruction: str = "mse"  # or "l1"
    content_norm: str = "energy"  # or "unit"
    weighting: str = "fixed"  # or "gradient": each term's gradient is divided by a running mean of its norm first

    def weights(self, phase):
        if phase == "warmup":
            return {"reconstruction": self.rweight or 1.0}
        weights = {"adversarial": self.advweight, "reconstruction": self.rweight, "content": self.cweight}
        return {term: weight for term, weight in weights.items() if weight}


class Trainer:
    """Networks, optimizers and the step that trains them, on one device or many.

    Build it, and what it is given, inside `strategy.scope()`.

    Args:
        generator: (B, H, W, 3) -> (B, sH, sW, 3), images in [-1, 1].
        discriminator: (B, sH, sW, 3) -> (B, 1).
        hyperpixels: images -> list of feature maps; None where the content weight is 0.
        objective: an `Objective`.
        average: a second generator that holds the exponential moving average of the first one's weights.
        dstep, gstep: discriminator and generator steps for each batch.
        ema: decay of the average, reached after some steps.
        clip: global norm that a network's gradient is brought down to; 0 for none.
        loss_scaling: whether losses are scaled against underflow, for float16.
        strategy: a tf.distribute.Strategy; the default one is a single device.
    """

    def __init__(self, generator, discriminator, hyperpixels, objective, generator_optimizer, discriminator_optimizer,
                 average, dstep=1, gstep=1, ema=0.998, clip=0.0, loss_scaling=False, strategy=None):
        self.generator, self.discriminator, self.average = generator, discriminator, average
        self.hyperpixels, self.objective = hyperpixels, objective
        self.generator_optimizer, self.discriminator_optimizer = generator_optimizer, discriminator_optimizer
        self.dstep, self.gstep, self.ema, self.clip = dstep, gstep, ema, clip
        self.strategy = strategy or tf.distribute.get_strategy()
        self.loss_scaling = loss_scaling
        generator_optimizer.build(generator.trainable_variables)
        discriminator_optimizer.build(discriminator.trainable_variables)
        self.running_norms = {term: state(0.0) for term in TERMS}
        self.loss_scale = state(2.0**12 if loss_scaling else 1.0)
        self.averaged_steps, self.bad_steps, self.bad_in_a_row = state(0.0), state(0.0), state(0.0)

    @tf.function
    def train_batch(self, batch, phase="full"):
        """One batch of (low_res, high_res, e) through `dstep` discriminator and `gstep` generator steps.

        Returns:
            A dict of float32 scalars, means over all replicas; a name's presence depends on the phase.
        """
        metrics = self.strategy.run(self.replica_step, (batch, phase))
        metrics = {name: self.strategy.experimental_local_results(value)[0] for name, value in metrics.items()}
        finite = metrics.pop("finite") > 0.5
        self.update_state(metrics, finite, average=phase != "critic")
        return {**metrics, "bad_steps": self.bad_steps.read_value(), "bad_in_a_row": self.bad_in_a_row.read_value()}

    def replica_step(self, batch, phase):
        low_res, high_res, e = batch
        metrics, finite = {}, tf.constant(True)
        if phase != "warmup":
            for i in range(self.dstep):
                values, good = self.discriminator_step(low_res, high_res, e[:, i])
                metrics, finite = {**metrics, **values}, finite & good
        if phase != "critic":
            for _ in range(self.gstep):
                values, good = self.generator_step(low_res, high_res, phase)
                metrics, finite = {**metrics, **values}, finite & good
        return {**metrics, "finite": tf.cast(finite, tf.float32)}

    def discriminator_step(self, low_res, high_res, e):
        """Descend D(fake) - D(real) + gpweight x penalty."""
        fake = self.generator(low_res, training=False)
        with tf.GradientTape() as tape:
            wasserstein = discriminator_loss(self.discriminator(high_res, training=True),
                                             self.discriminator(fake, training=True))
            penalty, norm = gradient_penalty(self.discriminator, high_res, fake, e, self.loss_scale)
            loss = self.scaled_mean(wasserstein + self.objective.gpweight * penalty)
        gradients = tape.gradient(loss, self.discriminator.trainable_variables)
        metrics = self.global_means({"wasserstein": -wasserstein, "gradient_penalty": penalty, "critic_norm": norm,
                                     "d_loss": wasserstein + self.objective.gpweight * penalty})
        return metrics, self.apply(self.discriminator_optimizer, gradients, self.discriminator.trainable_variables)

    def generator_step(self, low_res, high_res, phase):
        """Descend the weighted sum of the losses: their gradients meet at the fake image, one pass takes them on."""
        with tf.GradientTape() as tape:
            fake = self.generator(low_res, training=True)
        losses, image_gradients = self.loss_gradients(high_res, fake, phase)
        norms = self.global_means({f"{term}_norm": image_norms(gradient) for term, gradient in image_gradients.items()})
        factors = self.term_factors(norms, phase)
        images = tf.cast(tf.shape(fake)[0] * self.strategy.num_replicas_in_sync, tf.float32)
        total = tf.add_n([factors[term] * gradient for term, gradient in image_gradients.items()]) / images
        gradients = tape.gradient(fake, self.generator.trainable_variables, output_gradients=total * self.loss_scale)
        metrics = {**self.global_means(losses), **norms}
        metrics["g_loss_total"] = tf.add_n([factors[term] * metrics[term] for term in image_gradients])
        return metrics, self.apply(self.generator_optimizer, gradients, self.generator.trainable_variables)

    def loss_gradients(self, high_res, fake, phase):
        """Each term's loss per sample, (B,), and the gradient of that at the fake image, (B, H, W, 3)."""
        functions = {"adversarial": lambda x: adversarial_loss(self.discriminator(x, training=False)),
                     "reconstruction": lambda x: reconstruction_loss(high_res, x, self.objective.reconstruction),
                     "content": self.content_loss_to(high_res)}
        losses, gradients = {}, {}
        for term in self.objective.weights(phase):
            with tf.GradientTape() as tape:
                tape.watch(fake)
                losses[term] = functions[term](fake)
                scaled = losses[term] * self.loss_scale
            gradients[term] = tf.cast(tape.gradient(scaled, fake), tf.float32) / self.loss_scale
        return losses, gradients

    def content_loss_to(self, high_res):
        def loss(fake):
            real_maps = [tf.stop_gradient(maps) for maps in self.hyperpixels(high_res)]
            return content_loss(real_maps, self.hyperpixels(fake), self.objective.content_norm)

        return loss

    def term_factors(self, norms, phase):
        """What each term's gradient at the fake image is multiplied by."""
        factors = self.objective.weights(phase)
        if self.objective.weighting == "gradient":
            for term in factors:
                running, now = self.running_norms[term].read_value(), norms[f"{term}_norm"]
                factors[term] /= tf.where(running > 0, running, now) + 1e-12
        return factors

    def apply(self, optimizer, gradients, variables):
        """Sum the gradients over the replicas, clip, and step, unless one is not finite; returns whether all are."""
        gradients = [tf.cast(gradient, tf.float32) / self.loss_scale for gradient in gradients]
        replicas = self.strategy.num_replicas_in_sync
        if replicas > 1:
            gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        norm = tf.linalg.global_norm(gradients)
        finite = tf.math.is_finite(norm)
        factor = tf.minimum(1.0, self.clip / (norm + 1e-12)) if self.clip else 1.0
        # A Keras optimizer sums the gradients over the replicas once more; NaN makes `GuardedAdam` step back.
        factor = tf.where(finite, factor / replicas, float("nan"))
        optimizer.apply([gradient * factor for gradient in gradients], variables)
        optimizer.iterations.assign(optimizer.iterations - tf.cast(~finite, optimizer.iterations.dtype))
        return finite

    def update_state(self, metrics, finite, average):
        """What is the same on all replicas: the averaged generator, running norms, loss scale, counts of bad steps."""
        for term, running in self.running_norms.items():
            if f"{term}_norm" in metrics:
                norm = metrics[f"{term}_norm"]
                update = tf.where(running > 0, 0.99 * running + 0.01 * norm, norm)
                running.assign(tf.where(finite, update, running))
        bad = 1.0 - tf.cast(finite, tf.float32)
        self.bad_steps.assign_add(bad)
        self.bad_in_a_row.assign((self.bad_in_a_row + 1.0) * bad)
        if self.loss_scaling:
            grown = tf.minimum(self.loss_scale * 2.0 ** (1 / 1000), 2.0**20)  # doubles in a thousand good steps
            self.loss_scale.assign(tf.where(finite, grown, tf.maximum(self.loss_scale / 2, 1.0)))
        if average:
            self.update_average(finite)

    def update_average(self, finite):
        self.averaged_steps.assign_add(tf.cast(finite, tf.float32))
        decay = tf.minimum(self.ema, (1.0 + self.averaged_steps) / (10.0 + self.averaged_steps))
        decay = tf.where(finite, decay, 1.0)
        for mean, weight in zip(self.average.weights, self.generator.weights, strict=True):
            self.strategy.extended.update(mean.value, lambda m, w, d: m.assign(m * d + w * (1.0 - d)),
                                          args=(weight.value, decay))

    def scaled_mean(self, per_sample):
        """Mean over the samples of all replicas once their gradients are summed, times the loss scale."""
        return tf.reduce_mean(per_sample) / self.strategy.num_replicas_in_sync * self.loss_scale

    def global_means(self, per_sample):
        """Means over the samples of all replicas, in one reduction."""
        means = tf.stack([tf.reduce_mean(values) for values in per_sample.values()])
        if self.strategy.num_replicas_in_sync > 1:
            means = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, means)
        return dict(zip(per_sample, tf.unstack(means), strict=True))

    def checkpoint(self, **more):
        """A tf.train.Checkpoint of all that training changes."""
        return tf.train.Checkpoint(
            generator=self.generator, discriminator=self.discriminator, average=self.average,
            generator_optimizer=self.generator_optimizer, discriminator_optimizer=self.discriminator_optimizer,
            running_norms=self.running_norms, loss_scale=self.loss_scale, averaged_steps=self.averaged_steps,
            bad_steps=self.bad_steps, bad_in_a_row=self.bad_in_a_row, **more)


def image_norms(gradient):
    """(B, H, W, 3) -> (B,), the norm of each image's gradient in float32."""
    return tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]))


def state(value):
    return tf.Variable(value, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
