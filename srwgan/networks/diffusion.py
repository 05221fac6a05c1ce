"""The diffusion generator: a generator that also sees a noisy version of what it is to add to the upsampled picture.

What is diffused is the residual y, the high resolution minus the bilinearly upsampled low resolution. So the noisy end
is the upsampled picture with noise of the residual's size on it, not noise alone, as in ResShift (Yue et al. 2023,
arXiv:2307.12348): what is known is not generated again, and few steps are enough. At the noise level t, 0 to 1,

    z_t = (1 - t) y + t k n          n white noise of variance 1, k = NOISE

which is the straight path of flow matching (Lipman et al. 2023, arXiv:2210.02747; Liu et al. 2023, arXiv:2209.03003).
At t = 1 nothing of y is left, so that a sampler begins with what training saw. Esser et al. 2024 (arXiv:2403.03206)
found straight paths better than EDM's and DDPM's for samplers of few steps.

The network's output R enters as Karras et al. 2022 (EDM, arXiv:2206.00364) derive it for data of the noise's size, so
that input and target have variance 1 at every level:

    estimate of y = c_skip z_t + c_out R(low_res, z_t, t)
    c_skip = (1 - t) / r^2      c_out = t / r      r^2 = (1 - t)^2 + t^2

At t = 1 the estimate is R: one step is a `Generator`. At t = 0 it is z_0 itself, the boundary condition of a
consistency model (Song et al. 2023, arXiv:2303.01469), whatever the weights.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from srwgan.networks.blocks import Parts
from srwgan.networks.diffusion_process import noise_in, noised
from srwgan.networks.edges import crop, image_operator, with_margin
from srwgan.networks.generator import SCALES, Generator, check_arguments, check_choices
from srwgan.networks.layers import LevelFeatures, PixelUnshuffle, Preconditioned, ToUnitVariance
from srwgan.networks.noise import key_of, white_noise
from srwgan.networks.receptive_field import receptive_field_of
from srwgan.networks.sampling import Sampling, levels, renewed_share


@keras.saving.register_keras_serializable("srwgan")
class DiffusionGenerator(keras.Model):
    """(low_res (B, H, W, 3), noisy (B, scale H, scale W, 3), level (B,)) -> an estimate of the residual, as `noisy`.

    low_res is RGB in [-1, 1], noisy a residual z_t, level its noise level t. The estimate is float32. `sampled` makes
    pictures with it.

        low_res    noisy, as scale^2 x 3 channels        level
           |---------|                                     |
         first  (both side by side)                    embedding
           |---------+                                     |
         block1..N   |   residual blocks  <----------------|
           |         |                                     |
         last_low_res                                      |
           |         |                                     |
          (+)--------+                                     |
           |                                               |
         upsampling1..M                                    |
           |                                               |
         high_res_block, beside noisy once more <----------|
           |
         last         R
           |
         c_skip noisy + c_out R

    These are the generator's own blocks, at its own resolutions: with 64 filters and 8 blocks a step has 1.14 times the
    multiplications of a generator. The level enters every block as a generator's condition does (FiLM). What is drawn
    with fewer lines here is drawn in `Generator`.

    Args:
        filters, blocks, scale, activation: as of a `Generator`.
        steps: how many steps of a sampler it is made for; a student's are 1.
        dtype: Keras dtype policy of the convolutions, e.g. "mixed_bfloat16".

    Attributes:
        receptive_field: low-resolution pixels on each side of a pixel that one estimate depends on.
        alignment: 1.

    Raises:
        ValueError: an argument outside of these.
    """

    family, condition = "diffusion", "none"

    def __init__(
        self,
        filters: int = 64,
        blocks: int = 8,
        scale: int = 4,
        activation: str = "leaky_relu",
        steps: int = 4,
        dtype: Any = None,
        **kwargs,
    ):
        check_arguments(filters=filters, blocks=blocks, scale=scale)
        check_choices(activation=activation, upsampling="pixelshuffle", attention="none", condition="none")
        Sampling(steps=steps)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        make = Parts(activation, policy)
        low_res = keras.Input((None, None, 3), dtype="float32", name="low_res")
        noisy = keras.Input((None, None, 3), dtype="float32", name="noisy")
        level = keras.Input((), dtype="float32", name="level")
        embedding = LevelFeatures(name="level_features", dtype="float32")(level)
        for i in range(2):
            name = f"level_embedding{i + 1}"
            embedding = layers.Dense(filters, activation="silu", dtype="float32", name=name)(embedding)

        unit = ToUnitVariance(name="noisy_unit", dtype="float32")([noisy, level])
        folded = PixelUnshuffle(scale, dtype=policy, name="noisy_unshuffle")(unit)
        x = layers.Concatenate(dtype=policy, name="inputs")([low_res, folded])
        x = first = make.convolution(x, filters, "first")
        for i in range(blocks):
            x = make.residual_block(x, f"block{i + 1}", embedding=embedding)
        x = make.convolution(x, filters, "last_low_res")
        x = make.sum(x, first, "long_skip")
        for i, factor in enumerate(SCALES[scale]):
            fewer = max(filters // 2 ** (i + 1), 3)
            x = make.upsampling_block(x, f"upsampling{i + 1}", kind="pixelshuffle", filters=fewer, factor=factor)
        x = high_res_block(make, x, unit, embedding)
        output = make.convolution(x, 3, "last", initializer=keras.initializers.RandomNormal(stddev=1e-3))
        estimate = Preconditioned(name="estimate")([output, noisy, level])

        super().__init__(inputs=[low_res, noisy, level], outputs=estimate, **kwargs)
        self.filters, self.blocks, self.scale, self.activation = filters, blocks, scale, activation
        self.steps = steps
        self.receptive_field, self.alignment = receptive_field_of(self), 1

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("filters", "blocks", "scale", "activation", "steps", "name")}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "DiffusionGenerator":
        return cls(**config)


def high_res_block(make: Parts, x: Any, unit: Any, embedding: Any) -> Any:
    """A residual block at the high resolution that sees the noisy residual beside the features.

    Through the low resolution alone all noisy pixels of a low-resolution pixel would have to pass its few channels. The
    block starts without effect.
    """
    filters, name = x.shape[-1], "high_res_block"
    y = layers.Concatenate(dtype=make.policy, name=f"{name}_inputs")([x, unit])
    y = make.convolution(y, filters, f"{name}_conv1")
    y = make.activate(make.conditioned(y, name, embedding), name)
    y = make.convolution(y, filters, f"{name}_conv2", initializer="zeros")
    return make.sum(x, y, f"{name}_add")


def upsampled(low_res: tf.Tensor, scale: int) -> tf.Tensor:
    """The picture that a residual is added to: (B, H, W, 3) -> (B, scale H, scale W, 3), bilinear."""
    return tf.image.resize(low_res, tf.shape(low_res)[1:3] * scale, "bilinear")


def sampled(
    generator: Any, low_res: tf.Tensor, sampling: Sampling | None = None, *, margin: int = 0, edges: str = "mirrored"
) -> tf.Tensor:
    """Pictures drawn by a diffusion model, all with the noise of one seed.

    Each step estimates the residual y of z_t and goes on to z_s, the noise that z_t then has being kept or, in part,
    drawn anew:

        z_1 = k n      y = generator(low_res, z_t, t)      n = (z_t - (1 - t) y) / (k t)      z_s = (1 - s) y + s k n

    With all of the noise kept this is Euler's method for the flow, and DDIM's step (Song et al. 2020,
    arXiv:2010.02502).

    Beyond the edges, in the margin, the picture and the estimate are mirrored, and the noise goes on.

    Args:
        generator: a `DiffusionGenerator`, or a function of [low_res, noisy, level] with `scale` and `steps`.
        low_res: (B, H, W, 3) in [-1, 1].
        sampling: steps and randomness; by default as many steps as the generator was made for, and seed 0.
        margin: low-resolution pixels on each side.
        edges: what the margin is, see `edges.with_margin`.

    Returns:
        (B, scale H, scale W, 3), in about [-1, 1].
    """
    sampling, scale = sampling or Sampling(), generator.scale
    path = levels(sampling.steps or generator.steps)
    padded, around = with_margin(low_res, margin, edges), margin * scale
    batch, height, width, _ = tf.unstack(tf.shape(padded))

    def plane(use):
        keys = tf.fill([batch], tf.constant(key_of(sampling.seed, use), tf.int64))
        noise = white_noise(keys, height=height * scale, width=width * scale, top=-around, left=-around)
        return tf.ensure_shape(noise, (low_res.shape[0], None, None, 3))

    def renew(noise, step):
        renewed = renewed_share(path[step], path[step + 1], sampling.stochasticity)
        return (1 - renewed**2) ** 0.5 * noise + renewed * plane(step + 1) if renewed else noise

    steps = sampling_steps(generator, padded, plane(0), path, around=around, edges=edges, renew=renew)
    *_, (_, _, residual) = steps
    return upsampled(low_res, scale) + crop(residual, around)


def sampling_steps(
    generator: Any,
    padded: tf.Tensor,
    noise: tf.Tensor,
    path: list,
    *,
    around: int = 0,
    edges: str = "mirrored",
    renew: Callable | None = None,
) -> Iterator[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """The steps of `sampled`, one after another: (z_t, its levels t (B,), the estimate of the residual from it).

    Args:
        padded: the low resolution with its margin.
        noise: n of z_1, as large as the result with its margin.
        path: the levels, 1 to 0.
        around: high-resolution pixels of the margin.
        edges: what the margin is.
        renew: the noise after a step, of that before and the step's number, from 0; None keeps it.
    """
    residual = tf.zeros_like(noise)
    for step, (level, following) in enumerate(zip(path, path[1:], strict=False)):
        at_level = tf.fill([tf.shape(padded)[0]], level)
        noisy = noised(residual, noise, at_level)
        residual = generator([padded, noisy, at_level], training=False)
        yield noisy, at_level, residual
        if following:
            residual = with_margin(crop(residual, around), around, edges)
            noise = placed_inside(noise, crop(noise_in(noisy, residual, level), around), around)
            noise = renew(noise, step) if renew else noise


def placed_inside(outer, inner, margin):
    """`outer`, but `inner` in all but the margin, both (B, H, W, C)."""
    if not margin:
        return inner
    around = [[0, 0], [margin, margin], [margin, margin], [0, 0]]
    outside = 1 - tf.pad(tf.ones_like(inner[:1, ..., :1]), around)  # of one sample: it is a constant of a program
    return outer * outside + tf.pad(inner, around)


def diffusion_image_operator(generator: Any, images: tf.Tensor, sampling: Sampling | None = None) -> tf.Tensor:
    """The definition of upscaling by a diffusion model: `sampled` with a margin of the receptive field.

    Each step is as `edges.image_operator`, with a wider margin. So every way of running it, in tiles of any size or
    whole, gives the same pixels for the same sampling.
    """
    return sampled(generator, images, sampling, margin=generator.receptive_field)


def image_operator_of(generator: Any) -> Callable:
    """The definition of upscaling by this generator: a function of it and its inputs."""
    return diffusion_image_operator if isinstance(generator, DiffusionGenerator) else image_operator


def from_generator(generator: Generator, *, steps: int = 4, dtype: Any = None) -> DiffusionGenerator:
    """A diffusion generator that begins as a plain generator: at level 1 its estimate is that generator's result.

    Raises:
        ValueError: a generator with options.
    """
    if not generator.is_plain or generator.upsampling != "pixelshuffle":
        raise ValueError("Received: a generator with other upsampling, attention or a condition. Expected a plain one.")
    network = DiffusionGenerator(
        filters=generator.filters,
        blocks=generator.blocks,
        scale=generator.scale,
        activation=generator.activation,
        steps=steps,
        dtype=dtype,
    )
    for layer in generator.layers:
        weights = layer.get_weights()
        if layer.name == "first":  # its further channels, of the noisy residual, start without effect
            kernel, bias = weights
            further = network.get_layer("first").kernel.shape[2] - kernel.shape[2]
            weights = [tf.pad(kernel, [[0, 0], [0, 0], [0, further], [0, 0]]).numpy(), bias]
        if weights:
            network.get_layer(layer.name).set_weights(weights)
    return network
