"""The training step of a student that draws in one step what its teacher, a diffusion generator, draws in several.

`StudentTrainer` is a `Trainer`: the student's picture is the fake, and its pixels are compared with those of the
teacher's sample of the same noise. Read `replica_step`, then `starts_and_targets`.
"""

import functools

import tensorflow as tf

from srwgan.networks.diffusion import sampled, sampling_steps, upsampled
from srwgan.networks.edges import crop, with_margin
from srwgan.networks.noise import mixed, sample_keys, uniform, white_noise
from srwgan.networks.sampling import Sampling, levels
from srwgan.training.step import Trainer

START_USE = 0x5BD1E995  # what a sample's key is combined with for its place on the teacher's path
FROM_NOISE = 0.75  # share of samples that begin at level 1, as a picture of one step does


class StudentTrainer(Trainer):
    """A student, its teacher, optimizers, and where there is an adversarial loss a discriminator.

    ```
    noise --> teacher, all its steps --------------------------> sample
                 |                                                 | reconstruction
                 +--> one of the states on the way --> student --> picture
                                                                   | content, lattice, adversarial
                                                               photograph
    ```

    The pairs of noise and sample are those of Luhman and Luhman 2021 (arXiv:2101.02388): the deterministic sampler
    gives one sample for each noise, so that a student can learn which, where pixels of a photograph would have it learn
    the mean of all. Beginning at each state on the way makes the student's estimates consistent (Song et al. 2023,
    arXiv:2303.01469), at no further evaluation of a network.

    A teacher's few steps leave some of what a photograph has. Features and the discriminator therefore look at
    photographs, as the discriminators of Sauer et al. 2023 (arXiv:2311.17042) and Kim et al. 2023 (arXiv:2310.02279) do
    beside a distillation, and as the pixels of Wang et al. 2024 (SinSR, arXiv:2311.14760). So a student may be better
    than its teacher.

    Args:
        generator: the student, a `DiffusionGenerator` that begins as its teacher.
        discriminator: as a `Trainer`'s; None without an adversarial loss.
        teacher: a `DiffusionGenerator`, which stays as it is; it draws in as many steps as it was made for.
        more: as a `Trainer`'s.
    """

    def __init__(self, generator, discriminator, *, teacher, **more):
        super().__init__(generator, discriminator, **more)
        self.teacher = teacher

    def generate_average(self, low_res, training=False):
        """What the averaged student makes of (B, H, W, 3), with its own number of steps and seed 0."""
        return sampled(self.average, low_res, Sampling(), margin=self.options.margin, edges=self.options.edges)

    def generate(self, low_res, training=False):
        """The student's pictures in one step from what `starts_and_targets` gives."""
        low_res, noisy, level = low_res
        margin, edges, scale = self.options.margin, self.options.edges, self.generator.scale
        residual = self.generator([with_margin(low_res, margin, edges), noisy, level], training=training)
        return self.picture(low_res, crop(residual, margin * scale))

    def picture(self, low_res, residual):
        scale, (batch, height, width, _) = self.generator.scale, low_res.shape
        size = (batch, height and height * scale, width and width * scale, 3)
        return tf.ensure_shape(upsampled(low_res, scale) + residual, size)

    def replica_step(self, batch, phase, stop, dstep=None):
        """A `Trainer`'s step, with a picture beside the photograph: the teacher's sample.

        e are the penalty's positions as there; their first ones' bits are also the keys of the samples' noise.
        """
        low_res, high_res, e = batch
        start, target = self.starts_and_targets(low_res, sample_keys(e[:, 0]))
        return super().replica_step((start, (high_res, target), e), phase, stop, dstep)

    def discriminator_gradients(self, low_res, high_res, e):
        photograph, _ = high_res
        return super().discriminator_gradients(low_res, photograph, e)

    def loss_functions(self, high_res, terms):
        photograph, target = high_res
        pixels = functools.partial(self.reconstruction_loss, target)
        return {**super().loss_functions(photograph, terms), "reconstruction": pixels}

    def starts_and_targets(self, low_res, keys):
        """What the student begins with, (low_res, noisy, level), and the pictures that the teacher ends with.

        Args:
            low_res: (B, H, W, 3).
            keys: (B,) int64, of the noise and of the place on the path.
        """
        margin, edges, scale = self.options.margin, self.options.edges, self.teacher.scale
        padded, around = with_margin(low_res, margin, edges), margin * scale
        _, height, width, _ = tf.unstack(tf.shape(padded))
        noise = white_noise(keys, height=height * scale, width=width * scale, top=-around, left=-around)
        path = levels(self.teacher.steps)
        steps = sampling_steps(self.teacher, padded, noise, path, around=around, edges=edges)
        noisy, at_level, estimates = zip(*steps, strict=True)
        place = places_on_path(keys, len(noisy))
        start = low_res, at_place(noisy, place), at_place(at_level, place)
        return start, self.picture(low_res, crop(estimates[-1], around))


def places_on_path(keys, number: int):
    """(B,) int32: 0, the noise, for a share `FROM_NOISE` of the keys, and evenly one of the others for the rest."""
    drawn = uniform(mixed(tf.bitwise.bitwise_xor(keys, tf.constant(START_USE, tf.int64))))
    beyond = (drawn - FROM_NOISE) / (1 - FROM_NOISE)  # 0 to 1 for the rest, negative for the others
    return tf.clip_by_value(tf.cast(tf.floor(beyond * (number - 1)), tf.int32) + 1, 0, number - 1)


def at_place(values, place):
    """Of a list of (B, ...) for each sample the one at its place, (B, ...)."""
    return tf.gather(tf.stack(values, 1), place, axis=1, batch_dims=1)
