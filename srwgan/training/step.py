"""The training step: discriminator steps, then generator steps, each with its own tf.GradientTape.

Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028), a reconstruction and a content loss.
"""

import dataclasses
import math

import tensorflow as tf

from srwgan.networks.edges import with_repeated_edges
from srwgan.training.losses import (
    adversarial_loss,
    content_loss,
    discriminator_loss,
    gradient_penalty,
    lattice_loss,
    reconstruction_loss,
)
from srwgan.training.patch_transport import patch_features, transport_loss

TERMS = ("adversarial", "reconstruction", "content", "lattice", "transport")
ADAPTIVE_BOUND, ADAPTIVE_RATE = 10.0, 1e-3  # largest change of a weight, and the sum of all changes in a step
COUNTS = ("stop", "bad_steps", "bad_in_a_row")  # metrics that are not means
PHASES = ("warmup", "critic", "full")  # reconstruction alone; discriminator alone; both networks, all losses


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is optimised: the weight of each loss and the form it takes."""

    gpweight: float = 10.0
    cweight: float = 1e-3
    advweight: float = 1.0
    rweight: float = 1.0
    latweight: float = 0.0
    reconstruction: str = "mse"  # or "l1", "psnr"
    luma: float = 0.0  # the share of that loss that is of the luma alone
    content_norm: str = "energy"  # or "unit"
    weighting: str = "fixed"  # "gradient": each term's gradient is divided by a running mean of its norm first
    # "self-adaptive": each weight times a factor that is trained against the networks, see `Trainer.adapt`
    otweight: float = 0.0
    otspace: str = "discriminator"  # or "pixels"

    def weights(self, phase):
        if phase == "warmup":
            return {"reconstruction": self.rweight or 1.0}
        weights = {
            "adversarial": self.advweight,
            "reconstruction": self.rweight,
            "content": self.cweight,
            "lattice": self.latweight,
            "transport": self.otweight,
        }
        return {term: weight for term, weight in weights.items() if weight}


class Trainer:
    """Networks, optimizers and the step that trains them, on one device or many.

    Build it, and what it is given, inside `strategy.scope()`.

    Args:
        generator: (B, H, W, 3) -> (B, sH, sW, 3), images in [-1, 1]; with a condition from (images, strength (B,)).
        discriminator: (B, sH, sW, 3) -> (B, 1).
        hyperpixels: images -> list of feature maps; None where the content weight is 0.
        objective: an `Objective`.
        average: a second generator that holds the exponential moving average of the first one's weights.
        dstep, gstep: discriminator and generator steps for each batch.
        ema: decay of the average, reached after some steps.
        clip: global norm that a network's gradient is brought down to; 0 for none.
        shift: the discriminator and the hyperpixels see the images from an offset below this many pixels, another at
            every step; 0 for none. Without it their strides stay in phase with the low-resolution lattice, and their
            uneven gradients draw that lattice into the pictures.
        repeat_edges: low-resolution pixels by which the edges of what the generator gets are repeated, see
            `with_repeated_edges`.
        accumulate: parts that a batch is computed in, one after another: the same step in less memory.
        loss_scaling: whether losses are scaled against underflow, for float16.
        strategy: a tf.distribute.Strategy; the default one is a single device.
    """

    def __init__(
        self,
        generator,
        discriminator,
        hyperpixels,
        objective,
        generator_optimizer,
        discriminator_optimizer,
        average,
        dstep=1,
        gstep=1,
        ema=0.998,
        clip=0.0,
        shift=0,
        repeat_edges=0,
        accumulate=1,
        loss_scaling=False,
        strategy=None,
    ):
        self.generator, self.discriminator, self.average = generator, discriminator, average
        self.generate = with_repeated_edges(generator, repeat_edges)
        self.generate_average = with_repeated_edges(average, repeat_edges)
        self.hyperpixels, self.objective = hyperpixels, objective
        self.generator_optimizer, self.discriminator_optimizer = generator_optimizer, discriminator_optimizer
        self.dstep, self.gstep, self.ema, self.clip = dstep, gstep, ema, clip
        self.shift, self.accumulate = shift, accumulate
        self.strategy = strategy or tf.distribute.get_strategy()
        self.loss_scaling = loss_scaling
        generator_optimizer.build(generator.trainable_variables)
        discriminator_optimizer.build(discriminator.trainable_variables)
        # Options that are off leave nothing in a checkpoint, so that runs from before they were there go on.
        self.running_norms = {term: state(0.0) for term in TERMS if term != "transport" or objective.otweight}
        adaptive = objective.weights("full") if objective.weighting == "self-adaptive" else ()
        self.adaptive = {term: state(0.0) for term in adaptive}
        self.patch_features = patch_features(objective.otspace, discriminator) if objective.otweight else None
        self.loss_scale = state(2.0**12 if loss_scaling else 1.0)
        self.averaged_steps, self.bad_steps, self.bad_in_a_row = state(0.0), state(0.0), state(0.0)

    @tf.function
    def train_batch(self, batch, phase="full", stop=0.0):
        """One batch of (low_res, high_res, e) through `dstep` discriminator and `gstep` generator steps.

        Args:
            batch: low_res is what the generator takes: (B, H, W, 3), or with a condition (images, strength (B,)).
            stop: this worker's wish to stop; the largest of all workers' is among the results.

        Returns:
            A dict of float32 scalars, means over all replicas; a name's presence depends on the phase.
        """
        metrics = self.strategy.run(self.replica_step, (batch, phase, stop))
        metrics = {name: self.strategy.experimental_local_results(value)[0] for name, value in metrics.items()}
        finite = metrics.pop("finite") > 0.5
        self.update_state(metrics, finite, average=phase != "critic")
        if self.objective.weighting == "self-adaptive" and phase == "full":
            self.adapt(metrics, finite)
        return {**metrics, "bad_steps": self.bad_steps.read_value(), "bad_in_a_row": self.bad_in_a_row.read_value()}

    @tf.function
    def train_batches(self, batches, number, phase="full", stop=0.0):
        """`number` (a tensor) batches of an iterator in one call: means of the metrics, the last counts."""
        metrics = self.train_batch(next(batches), phase, stop)
        for _ in tf.range(number - 1):
            more = self.train_batch(next(batches), phase, stop)
            metrics = {name: more[name] if name in COUNTS else metrics[name] + more[name] for name in metrics}
        steps = tf.cast(number, tf.float32)
        return {name: value if name in COUNTS else value / steps for name, value in metrics.items()}

    def replica_step(self, batch, phase, stop):
        low_res, high_res, e = batch
        metrics, finite = {}, tf.constant(True)
        if phase == "critic" or (phase == "full" and self.objective.advweight):
            for i in range(self.dstep):
                values, good = self.discriminator_step(low_res, high_res, e[:, i])
                metrics, finite = {**metrics, **values}, finite & good
        if phase != "critic":
            for _ in range(self.gstep):
                values, good = self.generator_step(low_res, high_res, phase)
                metrics, finite = {**metrics, **values}, finite & good
        return {**metrics, "finite": tf.cast(finite, tf.float32), "stop": self.global_max(stop)}

    def discriminator_step(self, low_res, high_res, e):
        """Descend D(fake) - D(real) + gpweight x penalty."""
        metrics, gradients = self.in_parts(self.discriminator_gradients, low_res, high_res, e)
        return metrics, self.apply(self.discriminator_optimizer, gradients, self.discriminator.trainable_variables)

    def discriminator_gradients(self, low_res, high_res, e):
        high_res, fake = self.shifted(high_res), self.shifted(self.generate(low_res, training=False))
        with tf.GradientTape() as tape:
            wasserstein = discriminator_loss(
                self.discriminator(high_res, training=True), self.discriminator(fake, training=True)
            )
            penalty, norm = gradient_penalty(self.discriminator, high_res, fake, e, self.loss_scale)
            loss = wasserstein + self.objective.gpweight * penalty
            scaled = tf.reduce_mean(loss) * self.loss_scale
        gradients = tape.gradient(scaled, self.discriminator.trainable_variables)
        metrics = {"wasserstein": -wasserstein, "gradient_penalty": penalty, "critic_norm": norm, "d_loss": loss}
        return self.global_means(metrics), gradients

    def generator_step(self, low_res, high_res, phase):
        """Descend the weighted sum of the losses."""
        metrics, gradients = self.in_parts(lambda *part: self.generator_gradients(*part, phase), low_res, high_res)
        return metrics, self.apply(self.generator_optimizer, gradients, self.generator.trainable_variables)

    def generator_gradients(self, low_res, high_res, phase):
        """The terms' gradients meet at the fake image; one pass through the generator takes their sum on."""
        with tf.GradientTape() as tape:
            fake = self.generate(low_res, training=True)
        losses, image_gradients = self.loss_gradients(high_res, fake, phase)
        norms = {f"{term}_norm": image_norms(gradient) for term, gradient in image_gradients.items()}
        metrics = self.global_means({**losses, **norms})
        factors = self.term_factors(metrics, phase)
        total = tf.add_n([factors[term] * gradient for term, gradient in image_gradients.items()])
        mean = total * self.loss_scale / tf.cast(tf.shape(fake)[0], tf.float32)
        gradients = tape.gradient(fake, self.generator.trainable_variables, output_gradients=mean)
        metrics["g_loss_total"] = tf.add_n([factors[term] * metrics[term] for term in image_gradients])
        if self.objective.weighting == "self-adaptive":
            metrics.update({f"adaptive_{term}": tf.convert_to_tensor(factors[term]) for term in image_gradients})
        return metrics, gradients

    def loss_gradients(self, high_res, fake, phase):
        """Each term's loss per sample, (B,), and the gradient of that at the fake image, (B, H, W, 3)."""
        functions = {
            "adversarial": lambda x: adversarial_loss(self.discriminator(self.shifted(x), training=False)),
            "reconstruction": lambda x: reconstruction_loss(
                high_res, x, self.objective.reconstruction, self.objective.luma
            ),
            "content": self.content_loss_to(high_res),
            "lattice": lambda x: lattice_loss(high_res, x, self.generator.scale),
            "transport": self.transport_loss_to(high_res),
        }
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
            real_maps = [tf.stop_gradient(maps) for maps in self.hyperpixels(self.shifted(high_res))]
            return content_loss(
                real_maps,
                self.hyperpixels(self.shifted(fake)),
                self.objective.content_norm,
                getattr(self.hyperpixels, "channel_weights", None),
            )

        return loss

    def transport_loss_to(self, high_res):
        """The loss of this replica's whole batch, for each sample: halves of a batch do not add up to it.

        So two replicas with half the batch each do not take the step of one with the whole.
        """

        def loss(fake):
            real_features = self.patch_features(self.shifted(high_res))
            divergence = transport_loss(real_features, self.patch_features(self.shifted(fake)), self.step_key(1))
            return tf.repeat(divergence, tf.shape(fake)[0])

        return loss

    def step_key(self, use):
        """A key for random numbers of one use: another at every step, alike on all replicas."""
        step = self.discriminator_optimizer.iterations + self.generator_optimizer.iterations
        return tf.stack([tf.constant(use, tf.int64), tf.cast(step, tf.int64)])

    def shifted(self, images):
        """The window of (B, H, W, 3) at this step's offset, `shift` pixels smaller each way."""
        if not self.shift:
            return images
        top, left = tf.unstack(tf.random.stateless_uniform([2], self.step_key(0), 0, self.shift, tf.int32))
        rolled = tf.roll(images, [-top, -left], [1, 2])  # a slice at a changing place would be compiled anew by XLA
        return rolled[:, : images.shape[1] - self.shift, : images.shape[2] - self.shift]

    def term_factors(self, norms, phase):
        """What each term's gradient at the fake image is multiplied by."""
        factors = self.objective.weights(phase)
        if self.objective.weighting == "gradient":
            for term in factors:
                running, now = self.running_norms[term].read_value(), norms[f"{term}_norm"]
                factors[term] /= tf.where(running > 0, running, now) + 1e-12
        if self.objective.weighting == "self-adaptive" and phase == "full":
            factors = {term: weight * mask(self.adaptive[term].read_value()) for term, weight in factors.items()}
        return factors

    def in_parts(self, function, *batch):
        """Means of `function`'s results over the parts of a batch, each begun when the one before is done."""
        if self.accumulate == 1:
            return function(*batch)
        total = None
        for part in zip(*[tf.split(x, self.accumulate) for x in tf.nest.flatten(batch)], strict=True):
            with tf.control_dependencies(tf.nest.flatten(total) if total else []):
                part = [tf.identity(x) for x in part]
            result = function(*tf.nest.pack_sequence_as(batch, part))
            total = tf.nest.map_structure(tf.add, total, result) if total else result
        return tf.nest.map_structure(lambda x: x / self.accumulate, total)

    def apply(self, optimizer, gradients, variables):
        """Average the gradients over the replicas, clip, step unless one is not finite; returns whether all are."""
        gradients = [tf.cast(gradient, tf.float32) / self.loss_scale for gradient in gradients]
        replicas = self.strategy.num_replicas_in_sync
        if replicas > 1:
            gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
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

    def adapt(self, metrics, finite):
        """Each term's weight climbs the weighted loss that the generator descends.

        After the self-adaptive weights of McClenny and Braga-Neto 2020 (arXiv:2009.04544), with two changes: the ascent
        is normalised by the sum of the terms, and its positive `mask` is bounded. The adversarial loss is defined up to
        a constant only, so its term is D(real) - D(fake), taken before the critic's step; where it is negative its
        weight falls.
        """
        weights = self.objective.weights("full")
        losses = {term: metrics["wasserstein" if term == "adversarial" else term] for term in weights}
        slopes = {term: weight * losses[term] * mask_slope(self.adaptive[term]) for term, weight in weights.items()}
        total = tf.add_n([tf.abs(slope) for slope in slopes.values()]) + 1e-12
        for term, slope in slopes.items():
            self.adaptive[term].assign_add(tf.where(finite, ADAPTIVE_RATE * slope / total, 0.0))

    def update_average(self, finite):
        self.averaged_steps.assign_add(tf.cast(finite, tf.float32))
        decay = tf.minimum(self.ema, (1.0 + self.averaged_steps) / (10.0 + self.averaged_steps))
        decay = tf.where(finite, decay, 1.0)
        for mean, weight in zip(self.average.weights, self.generator.weights, strict=True):
            self.strategy.extended.update(
                mean.value, lambda m, w, d: m.assign(m * d + w * (1.0 - d)), args=(weight.value, decay)
            )

    def global_means(self, per_sample):
        """Means over the samples of all replicas, in one reduction."""
        means = tf.stack([tf.reduce_mean(values) for values in per_sample.values()])
        if self.strategy.num_replicas_in_sync > 1:
            means = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, means)
        return dict(zip(per_sample, tf.unstack(means), strict=True))

    def global_max(self, value):
        """The largest of all replicas' scalars, which are at least 0 (there is no maximum among the reductions)."""
        value = tf.convert_to_tensor(value, tf.float32)
        replicas = self.strategy.num_replicas_in_sync
        if replicas == 1:
            return value
        context = tf.distribute.get_replica_context()
        mine = tf.one_hot(context.replica_id_in_sync_group, replicas) * value
        return tf.reduce_max(context.all_reduce(tf.distribute.ReduceOp.SUM, mine))

    def checkpoint(self, **more):
        """A tf.train.Checkpoint of all that training changes."""
        return tf.train.Checkpoint(
            generator=self.generator,
            discriminator=self.discriminator,
            average=self.average,
            generator_optimizer=self.generator_optimizer,
            discriminator_optimizer=self.discriminator_optimizer,
            running_norms=self.running_norms,
            adaptive=self.adaptive,
            loss_scale=self.loss_scale,
            averaged_steps=self.averaged_steps,
            bad_steps=self.bad_steps,
            bad_in_a_row=self.bad_in_a_row,
            **more,
        )


def mask(value):
    """The factor of a self-adaptive weight: positive, 1 at 0, rising, within 1 / ADAPTIVE_BOUND and ADAPTIVE_BOUND."""
    return ADAPTIVE_BOUND ** tf.tanh(value)


def mask_slope(value):
    return mask(value) * math.log(ADAPTIVE_BOUND) * (1 - tf.tanh(value) ** 2)


def image_norms(gradient):
    """(B, H, W, 3) -> (B,), the norm of each image's gradient in float32."""
    return tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]))


def state(value):
    return tf.Variable(value, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
