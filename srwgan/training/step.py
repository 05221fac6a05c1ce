"""The training step: discriminator steps, then generator steps, each with its own tf.GradientTape.

A Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028), whose generator also descends a
reconstruction loss and a content loss. Read `Trainer` from top to bottom: `train_batch` is the step,
`discriminator_gradients` and `generator_gradients` are what it is made of, the rest serves these two.
"""

import functools
from dataclasses import dataclass

import tensorflow as tf

from srwgan.networks.edges import with_edges
from srwgan.pixels import downscale_by_sums, range_to_levels, to_range
from srwgan.training.accumulation import mean_over_parts
from srwgan.training.averaging import WeightAverage
from srwgan.training.balancing import Balance
from srwgan.training.control.controls import Controls
from srwgan.training.losses import (
    adversarial_loss,
    content_loss,
    discriminator_loss,
    gradient_penalty,
    lattice_loss,
    reconstruction_loss,
    steady_loss,
)
from srwgan.training.objective import Objective
from srwgan.training.patch_transport import patch_features, transport_loss
from srwgan.training.replicas import maximum_over_replicas, mean_over_replicas, mirrored_variable, sample_means
from srwgan.training.teaching import Teacher

COUNTS = ("stop", "bad_steps", "bad_in_a_row")  # metrics that are not means
STEADY_MARGIN = 2  # low-resolution pixels at a moved crop's edges that show something else
FIRST_LOSS_SCALE, LARGEST_LOSS_SCALE = 2.0**12, 2.0**20
SHIFT_KEY, TRANSPORT_KEY, STEADY_KEY = 0, 1, 2  # what random numbers are drawn for, see `Trainer.step_key`


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """How a step is taken, beside what it descends.

    Args:
        dstep: discriminator steps for each batch.
        gstep: generator steps for each batch.
        ema: decay of the generator's averaged weights, see `WeightAverage`.
        clip: global norm that a network's gradient is brought down to; 0 for none.
        shift: discriminator and hyperpixels see the images from an offset below this many pixels, another at every
            step; 0 for none. Without it their strides stay in phase with the grid of low-resolution pixels, and their
            uneven gradients draw that grid into the pictures.
        margin: low-resolution pixels beyond the edges of what the generator gets, see `with_edges`.
        edges: what the margin is, "mirrored" or "repeated".
        accumulate: parts that a batch is computed in, one after another: the same step in less memory.
        loss_scaling: whether losses are scaled against underflow, as float16 needs it.
    """

    dstep: int = 1
    gstep: int = 1
    ema: float = 0.998
    clip: float = 0.0
    shift: int = 0
    margin: int = 0
    edges: str = "mirrored"
    accumulate: int = 1
    loss_scaling: bool = False


class Trainer:
    """Networks, optimizers and the step that trains them, on one device or many.

    Build it, and what it is given, inside `strategy.scope()`.

    Args:
        generator: (B, H, W, 3) -> (B, sH, sW, 3), images in [-1, 1]; with a condition from (images, strength (B,)).
        discriminator: (B, sH, sW, 3) -> (B, 1), or one with semantics, which are the last of the hyperpixels; None
            where no loss needs one.
        average: a second generator, for the exponential moving average of the first one's weights.
        generator_optimizer: a `GuardedAdam`, or any Keras optimizer.
        discriminator_optimizer: the same; None without a discriminator.
        hyperpixels: (B, sH, sW, 3) -> list of feature maps; None where the content weight is 0 and
            the discriminator has no semantics.
        objective: which losses are descended, in which form and with which weight.
        options: how a step is taken.
        taught_by: a `Teacher`, whose results the losses compare with too; None for the photographs alone.
        controls: what a controller moves; None without one.
        strategy: a tf.distribute.Strategy; the default one is a single device.
    """

    def __init__(
        self,
        generator,
        discriminator,
        *,
        average,
        generator_optimizer,
        discriminator_optimizer=None,
        hyperpixels=None,
        objective: Objective | None = None,
        options: StepOptions | None = None,
        taught_by: Teacher | None = None,
        controls: Controls | None = None,
        strategy: tf.distribute.Strategy | None = None,
    ):
        objective, options = objective or Objective(), options or StepOptions()
        self.generator, self.discriminator, self.average = generator, discriminator, average
        self.hyperpixels, self.objective, self.options = hyperpixels, objective, options
        self.taught_by, self.controls = taught_by, controls
        self.generator_optimizer, self.discriminator_optimizer = generator_optimizer, discriminator_optimizer
        self.strategy = strategy or tf.distribute.get_strategy()
        generator_optimizer.build(generator.trainable_variables)
        if discriminator:
            discriminator_optimizer.build(discriminator.trainable_variables)
        self.weight_average = WeightAverage(generator, average, options.ema)
        self.balance = Balance(objective, controls)
        self.patch_features = patch_features(objective.otspace, discriminator) if objective.otweight else None
        self.loss_scale = mirrored_variable(FIRST_LOSS_SCALE if options.loss_scaling else 1.0)
        self.bad_steps, self.bad_in_a_row = mirrored_variable(0.0), mirrored_variable(0.0)

    def generate(self, low_res, training=False):
        """What the generator makes of the low resolution."""
        return with_edges(self.generator, self.options.margin, self.options.edges)(low_res, training=training)

    def generate_average(self, low_res, training=False):
        """What the averaged generator makes of it."""
        return with_edges(self.average, self.options.margin, self.options.edges)(low_res, training=training)

    @tf.function
    def train_batch(self, batch, phase="full", stop=0.0, dstep=None):
        """Train on one batch: `dstep` discriminator steps, then `gstep` generator steps.

        Args:
            batch: (low_res, high_res, e). low_res (B, H, W, 3) is what the generator takes, with a condition
                (images, strength (B,)). high_res is (B, sH, sW, 3). e (B, dstep) are positions of the penalty.
            phase: "warmup", "critic" or "full", see `Schedule`.
            stop: the number of the signal that asks this worker to stop, 0 for none.
            dstep: a controller's number of discriminator steps, an int; None takes that of the options. Each number is
                a graph of its own.

        Returns:
            A dict of float32 scalars. Losses and norms are means over all replicas, and there where the phase has them.
            "stop" is the largest of all workers'; "bad_steps" and "bad_in_a_row" count steps that were not finite.
        """
        metrics = self.strategy.run(self.replica_step, (batch, phase, stop, dstep))
        metrics = {name: self.strategy.experimental_local_results(value)[0] for name, value in metrics.items()}
        finite = metrics.pop("finite") > 0.5
        self.update_state(metrics, finite, phase)
        return {**metrics, "bad_steps": self.bad_steps.read_value(), "bad_in_a_row": self.bad_in_a_row.read_value()}

    def replica_step(self, batch, phase, stop, dstep):
        """The steps on one replica's batch: its metrics, and whether all gradients were finite."""
        low_res, high_res, e = batch
        if self.taught_by:
            high_res = self.taught_by.targets(low_res, high_res, margin=self.options.margin, edges=self.options.edges)
        metrics, finite = {}, tf.constant(True)
        if phase == "critic" or (phase == "full" and self.objective.advweight):
            for i in range(dstep or self.options.dstep):
                values, good = self.discriminator_step(low_res, high_res, e[:, i])
                metrics, finite = {**metrics, **values}, finite & good
        if phase != "critic":
            for _ in range(self.options.gstep):
                values, good = self.generator_step(low_res, high_res, phase)
                metrics, finite = {**metrics, **values}, finite & good
        return {**metrics, "finite": tf.cast(finite, tf.float32), "stop": maximum_over_replicas(stop)}

    def discriminator_step(self, low_res, high_res, e):
        """One step of the discriminator's optimizer: (metrics, whether the gradients were finite)."""
        metrics, gradients = mean_over_parts(
            self.discriminator_gradients, (low_res, high_res, e), parts=self.options.accumulate
        )
        return metrics, self.apply(self.discriminator_optimizer, gradients, self.discriminator.trainable_variables)

    def discriminator_gradients(self, low_res, high_res, e):
        """Gradients of D(fake) - D(real) + gpweight x penalty by the discriminator's weights."""
        real, fake = self.shifted(high_res), self.shifted(self.generate(low_res, training=False))
        critic = self.critic_of(self.maps_of(real) if self.has_semantics else None)
        with tf.GradientTape() as tape:
            difference = discriminator_loss(critic(real, training=True), critic(fake, training=True))
            penalty, norm = gradient_penalty(critic, real, fake, e=e, loss_scale=self.loss_scale)
            loss = difference + self.objective.gpweight * penalty
            scaled = tf.reduce_mean(loss) * self.loss_scale
        gradients = tape.gradient(scaled, self.discriminator.trainable_variables)
        metrics = {"wasserstein": -difference, "gradient_penalty": penalty, "critic_norm": norm, "d_loss": loss}
        return sample_means(metrics), gradients

    def generator_step(self, low_res, high_res, phase):
        """One step of the generator's optimizer: (metrics, whether the gradients were finite)."""
        metrics, gradients = mean_over_parts(
            lambda *part: self.generator_gradients(*part, phase), (low_res, high_res), parts=self.options.accumulate
        )
        return metrics, self.apply(self.generator_optimizer, gradients, self.generator.trainable_variables)

    def generator_gradients(self, low_res, high_res, phase):
        """Gradients of the weighted sum of the losses by the generator's weights.

        ```
        low_res --generator--> fake --+--> adversarial ----> gradient at fake x factor --+
                                      +--> reconstruction -> gradient at fake x factor --+--> sum
                                      +--> content --------> gradient at fake x factor --+     |
        gradients of the weights <------ one pass back through the generator <-----------------+
        ```

        Each loss has its own gradient at the generated image, so that its norm can be measured and the losses be
        balanced by it. The generator, which is most of the work, is passed through once.
        """
        with tf.GradientTape() as tape:
            fake = self.generate(low_res, training=True)
        losses, image_gradients = self.loss_gradients(high_res, fake, phase)
        norms = {f"{term}_norm": image_norms(gradient) for term, gradient in image_gradients.items()}
        metrics = sample_means({**losses, **norms})
        factors = self.balance.factors(metrics, phase)
        total = tf.add_n([factors[term] * gradient for term, gradient in image_gradients.items()])
        mean = total * self.loss_scale / tf.cast(tf.shape(fake)[0], tf.float32)
        gradients = tape.gradient(fake, self.generator.trainable_variables, output_gradients=mean)
        metrics["g_loss_total"] = tf.add_n([factors[term] * metrics[term] for term in image_gradients])
        if self.objective.weighting == "self-adaptive":
            metrics.update({f"adaptive_{term}": tf.convert_to_tensor(factors[term]) for term in image_gradients})
        return metrics, gradients

    def loss_gradients(self, high_res, fake, phase):
        """Each term's loss per sample, (B,), and the gradient of that at the fake image, (B, sH, sW, 3)."""
        terms = self.objective.weights(phase)
        functions = self.loss_functions(high_res, terms)
        losses, gradients = {}, {}
        for term in terms:
            with tf.GradientTape() as tape:
                tape.watch(fake)
                losses[term] = functions[term](fake)
                scaled = losses[term] * self.loss_scale
            gradients[term] = tf.cast(tape.gradient(scaled, fake), tf.float32) / self.loss_scale
        return losses, gradients

    def loss_functions(self, high_res, terms):
        """Each term's loss, and those of more terms, as functions of the fake image, (B, sH, sW, 3) -> (B,)."""
        looks = "content" in terms or ("adversarial" in terms and self.has_semantics)
        maps = self.maps_of(self.shifted(high_res)) if looks else None
        functions = {
            "adversarial": functools.partial(self.adversarial_loss, maps=maps),
            "reconstruction": self.reconstruction_loss,
            "content": functools.partial(self.content_loss, maps=maps),
            "lattice": self.lattice_loss,
            "transport": self.transport_loss,
            "steady": self.steady_loss,
        }
        return {term: functools.partial(function, high_res) for term, function in functions.items()}

    # The generator's losses of (real, fake), each (B,). Two of them look at feature maps of the real images too.

    def adversarial_loss(self, _, fake, *, maps):
        return adversarial_loss(self.critic_of(maps)(self.shifted(fake), training=False))

    def reconstruction_loss(self, real, fake):
        return reconstruction_loss(real, fake, kind=self.objective.reconstruction, luma=self.objective.luma)

    def content_loss(self, _, fake, *, maps):
        fake_maps = self.hyperpixels(self.shifted(fake))
        channel_weights = getattr(self.hyperpixels, "channel_weights", None)
        return content_loss(maps, fake_maps, norm=self.objective.content_norm, channel_weights=channel_weights)

    def lattice_loss(self, real, fake):
        return lattice_loss(real, fake, scale=self.generator.scale)

    def transport_loss(self, real, fake):
        """The divergence between the patches of this replica's whole batch, the same for each of its samples.

        Divergences of the halves of a batch do not add up to it. So two replicas with half the batch each do not take
        the step of one with the whole.
        """
        real_features, fake_features = (self.patch_features(self.shifted(images)) for images in (real, fake))
        divergence = transport_loss(real_features, fake_features, key=self.step_key(TRANSPORT_KEY))
        return tf.repeat(divergence, tf.shape(fake)[0])

    def steady_loss(self, real, fake):
        """How far the result is from that of the crop moved by less than a low-resolution pixel, put back.

        The crop is moved by whole high-resolution pixels, which are known exactly, and wraps round at its edges, which
        are left out of the loss. No gradient goes through the moved crop's result: it is a second pass forward only.
        """
        scale = self.generator.scale
        offset = tf.random.stateless_uniform([2], self.step_key(STEADY_KEY), 1 - scale, scale, tf.int32)
        moved = tf.roll(real, offset, [1, 2])
        low_res = to_range(downscale_by_sums(range_to_levels(moved), scale))
        put_back = tf.roll(self.generate(low_res, training=False), -offset, [1, 2])
        return steady_loss(fake, put_back, margin=STEADY_MARGIN * scale)

    # What serves both steps.

    @property
    def has_semantics(self):
        """Whether the discriminator is told what the original shows."""
        return bool(getattr(self.discriminator, "semantics", 0))

    def maps_of(self, images):
        """The classifier's feature maps of (B, h, w, 3), to which no gradient flows."""
        return [tf.stop_gradient(maps) for maps in self.hyperpixels(images)]

    def critic_of(self, maps):
        """The discriminator as a function of images alone, whose originals have these feature maps.

        It looks at the last of them. The maps are of the same window as the images; a discriminator without semantics
        needs none.
        """
        if not self.has_semantics:
            return self.discriminator

        def critic(images, training=False):
            return self.discriminator([tf.convert_to_tensor(images), maps[-1]], training=training)

        return critic

    def shifted(self, images):
        """The window of (B, H, W, 3) at this step's offset, `shift` pixels smaller each way."""
        shift = self.options.shift
        if not shift:
            return images
        top, left = tf.unstack(tf.random.stateless_uniform([2], self.step_key(SHIFT_KEY), 0, shift, tf.int32))
        rolled = tf.roll(images, [-top, -left], [1, 2])  # a slice at a changing place would be compiled anew by XLA
        return rolled[:, : images.shape[1] - shift, : images.shape[2] - shift]

    def step_key(self, use):
        """A key for the random numbers of one use: another at every step, the same on all replicas."""
        optimizers = [each for each in (self.discriminator_optimizer, self.generator_optimizer) if each]
        step = tf.add_n([tf.cast(each.iterations, tf.int64) for each in optimizers])
        return tf.stack([tf.constant(use, tf.int64), step])

    def apply(self, optimizer, gradients, variables):
        """Average the gradients over the replicas, clip them, and step unless one is not finite.

        Returns:
            Whether all gradients are finite, () bool. Where they are not, weights and optimizer stay as they were.
        """
        gradients = mean_over_replicas([tf.cast(gradient, tf.float32) / self.loss_scale for gradient in gradients])
        norm = tf.linalg.global_norm(gradients)
        finite = tf.math.is_finite(norm)
        factor = tf.minimum(1.0, self.options.clip / (norm + 1e-12)) if self.options.clip else 1.0
        # A Keras optimizer sums the gradients over the replicas once more; NaN makes `GuardedAdam` step back.
        factor = tf.where(finite, factor / self.strategy.num_replicas_in_sync, float("nan"))
        optimizer.apply([gradient * factor for gradient in gradients], variables)
        optimizer.iterations.assign(optimizer.iterations - tf.cast(~finite, optimizer.iterations.dtype))
        return finite

    def update_state(self, metrics, finite, phase):
        """What follows the steps, alike on all replicas: balance, counts of bad steps, loss scale, average."""
        self.balance.update(metrics, finite, phase)
        bad = 1.0 - tf.cast(finite, tf.float32)
        self.bad_steps.assign_add(bad)
        self.bad_in_a_row.assign((self.bad_in_a_row + 1.0) * bad)
        if self.options.loss_scaling:  # it doubles in a thousand good steps and halves at a bad one
            grown = tf.minimum(self.loss_scale * 2.0 ** (1 / 1000), LARGEST_LOSS_SCALE)
            self.loss_scale.assign(tf.where(finite, grown, tf.maximum(self.loss_scale / 2, 1.0)))
        if self.controls:
            self.controls.batches.assign_add(1)
        if phase != "critic":
            self.weight_average.update(self.strategy, finite)

    @tf.function
    def train_batches(self, batches, number, phase="full", stop=0.0, dstep=None):
        """Train on `number` (a tensor) batches of an iterator in one call.

        Returns:
            What `train_batch` returns: means over the batches, and the last ones of the counts.
        """
        metrics = self.train_batch(next(batches), phase, stop, dstep)
        for _ in tf.range(number - 1):
            more = self.train_batch(next(batches), phase, stop, dstep)
            metrics = {name: more[name] if name in COUNTS else metrics[name] + more[name] for name in metrics}
        steps = tf.cast(number, tf.float32)
        return {name: value if name in COUNTS else value / steps for name, value in metrics.items()}

    def checkpoint(self, **more) -> tf.train.Checkpoint:
        """All that training changes. The names are those of the files, so they stay, for runs from before to go on."""
        if self.discriminator:
            more |= {"discriminator": self.discriminator, "discriminator_optimizer": self.discriminator_optimizer}
        if self.controls:
            more["controls"] = self.controls
        return tf.train.Checkpoint(
            generator=self.generator,
            average=self.average,
            generator_optimizer=self.generator_optimizer,
            running_norms=self.balance.running_norms,
            adaptive=self.balance.adaptive,
            loss_scale=self.loss_scale,
            averaged_steps=self.weight_average.steps,
            bad_steps=self.bad_steps,
            bad_in_a_row=self.bad_in_a_row,
            **more,
        )


def image_norms(gradient):
    """(B, H, W, 3) -> (B,), the norm of each image's gradient in float32."""
    return tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]))
