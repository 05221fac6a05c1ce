"""The diffusion generator against known answers: its noise, its forward process, its sampler, its beginning."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from srwgan.networks.diffusion import DiffusionGenerator, diffusion_image_operator, from_generator, sampled, upsampled
from srwgan.networks.diffusion_process import NOISE, c_out, c_skip, noise_in, noised, radius
from srwgan.networks.generator import Generator, with_precision
from srwgan.networks.noise import key_of, mixed, sample_keys, white_noise
from srwgan.networks.sampling import Sampling, levels, renewed_share
from srwgan.networks.saving import export_generator, load_generator

SIDE = 200  # of windows of noise: their 240,000 numbers have a mean within 0.01 of 0 in all but one of 10^6 draws


def shaken(seed=0, **options):
    """A diffusion generator whose weights are far from their start, so that every layer matters to the result."""
    network = DiffusionGenerator(**{"filters": 6, "blocks": 1, "scale": 2, "steps": 3, **options})
    random = np.random.default_rng(seed)
    network.set_weights(
        [random.normal(0, 0.4 / np.sqrt(max(np.prod(w.shape[:-1]), 4)), w.shape) for w in network.get_weights()]
    )
    return network


def pictures(number=1, height=9, width=7, seed=0):
    return tf.constant(np.random.default_rng(seed).uniform(-1, 1, (number, height, width, 3)), tf.float32)


def keys(*numbers):
    return tf.constant(numbers, tf.int64)


# White noise


def test_noise_is_standard_normal_and_white():
    noise = white_noise(keys(1, 2), height=SIDE, width=SIDE).numpy()
    assert noise.dtype == np.float32 and np.isfinite(noise).all()
    moments = [np.mean(noise**power) for power in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.06)
    for shift in [(1, 0), (0, 1), (1, 1), (1, -1), (7, 0)]:
        assert abs(np.mean(noise * np.roll(noise, shift, (1, 2)))) < 0.015, shift
    for other in (noise[..., [1, 2, 0]], noise[::-1]):  # another channel's, another key's
        assert abs(np.mean(noise * other)) < 0.015
    spectrum = np.abs(np.fft.fft2(noise[0, ..., 0])) ** 2 / SIDE**2
    assert spectrum.mean() == pytest.approx(1, abs=0.03) and spectrum.max() < 25  # of white noise: exponential


def test_a_window_of_noise_is_a_part_of_the_plane():
    plane = white_noise(keys(5), height=30, width=40, top=-8, left=-6).numpy()
    window = white_noise(keys(5), height=9, width=11, top=2, left=4).numpy()
    np.testing.assert_array_equal(window, plane[:, 10:19, 10:21])


def test_the_extremes_of_noise_are_finite():
    """The lowest and the highest bits that a hash can have, which become the middles of the outermost intervals."""
    for bits in (0, 2**23 - 1):
        uniform = (np.float32(bits) + np.float32(0.5)) / np.float32(2**23)
        assert 0 < uniform < 1 and np.isfinite(float(tf.math.ndtri(tf.constant(uniform))))


def test_keys_are_distinct():
    made = {key_of(seed, use) for seed in range(200) for use in range(51)}
    assert len(made) == 200 * 51 and max(made) < 2**32
    numbers = tf.constant(np.random.default_rng(0).normal(size=2000), tf.float32)
    assert len(set(sample_keys(numbers).numpy())) == 2000
    assert len(set(mixed(tf.range(5000, dtype=tf.int64)).numpy())) == 5000  # a bijection of 32 bits


# The forward process


@pytest.mark.parametrize("level", [0.0, 0.3, 0.5, 1.0])
def test_moments_of_the_forward_process(level):
    """z_t of a residual y has the mean (1 - t) y and the standard deviation t k."""
    residual = tf.fill([1, SIDE, SIDE, 3], 0.25)
    noise = white_noise(keys(3), height=SIDE, width=SIDE)
    noisy = noised(residual, noise, tf.constant([level])).numpy()
    assert noisy.mean() == pytest.approx((1 - level) * 0.25, abs=2e-3)
    assert noisy.std() == pytest.approx(level * NOISE, abs=1e-3)
    if level:
        np.testing.assert_allclose(noise_in(noisy, residual, level), noise, atol=2e-6)


@pytest.mark.parametrize("level", [0.001, 0.2, 0.5, 0.9, 1.0])
def test_preconditioning_gives_unit_variance(level):
    """Of data with the noise's deviation: variance 1 of input and of target, and the best linear skip (EDM)."""
    random = np.random.default_rng(0)
    y, n = NOISE * random.normal(size=200_000), random.normal(size=200_000)
    noisy = (1 - level) * y + level * NOISE * n
    assert noisy.std() / (NOISE * radius(level)) == pytest.approx(1, abs=0.01)
    target = (y - c_skip(level) * noisy) / c_out(level)
    assert target.std() / NOISE == pytest.approx(1, abs=0.01)
    assert abs(np.mean(target * noisy)) < 1e-3 * NOISE  # nothing of it could be told from the input by a line


def test_at_level_0_the_estimate_is_the_input():
    network, noisy = shaken(), pictures(2, 18, 14, seed=1)
    estimate = network([pictures(2), noisy, tf.zeros([2])])
    np.testing.assert_array_equal(estimate, noisy)


# The sampler


class Gaussian:
    """The exact denoiser of residuals that are independent, with a mean and a deviation, instead of a network."""

    scale, steps, receptive_field = 2, 3, 1

    def __init__(self, mean, deviation):
        self.mean, self.variance = mean, deviation**2

    def gain(self, level):
        """Of the best estimate y = mean + gain (z - (1 - t) mean)."""
        return (1 - level) * self.variance / ((1 - level) ** 2 * self.variance + (level * NOISE) ** 2)

    def __call__(self, inputs, training=False):
        low_res, noisy, level = inputs
        level = level[:, None, None, None]
        return self.mean + self.gain(level) * (noisy - (1 - level) * self.mean)


def draw(model, margin=0, side=60, **sampling):
    """The residuals that a sampler draws."""
    low_res = tf.zeros([1, side, side, 3])
    return sampled(model, low_res, Sampling(**sampling), margin=margin).numpy()


@pytest.mark.parametrize("stochasticity", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 5, 50])
def test_a_known_residual_is_drawn_exactly(steps, stochasticity):
    """A Gaussian without width: every sampler has to end at its mean."""
    made = draw(Gaussian(0.3, 0.0), steps=steps, stochasticity=stochasticity, margin=1)
    np.testing.assert_allclose(made, 0.3, atol=1e-6)


@pytest.mark.parametrize("stochasticity", [0.0, 1.0])
@pytest.mark.parametrize("steps", [1, 4, 50])
def test_a_gaussian_is_drawn_as_computed_by_hand(steps, stochasticity):
    """The exact mean at every number of steps, and the deviation that the recursion of variances gives.

    With the best estimate every step is linear in z and new noise, so that mean and variance follow in closed form.
    """
    model, deviation = Gaussian(0.2, 0.9 * NOISE), NOISE  # of z - (1 - t) mean, at t = 1
    path = levels(steps)
    for level, following in zip(path, path[1:], strict=False):
        gain = model.gain(level)
        if not following:
            deviation *= gain
            break
        renewed = renewed_share(level, following, stochasticity)
        kept = (1 - following) * gain + (1 - renewed**2) ** 0.5 * following * (1 - (1 - level) * gain) / level
        deviation = ((kept * deviation) ** 2 + (renewed * following * NOISE) ** 2) ** 0.5
    made = draw(model, steps=steps, stochasticity=stochasticity)
    assert made.mean() == pytest.approx(0.2, abs=2e-3)
    assert made.std() == pytest.approx(deviation, rel=0.01, abs=1e-6)
    if steps == 50:  # and that is, but for the steps' width, the Gaussian's own
        assert deviation == pytest.approx(0.9 * NOISE, rel=0.05)


def test_the_flow_carries_noise_to_the_gaussian():
    """The deterministic sampler's map is mean + deviation x noise, to which steps converge in the first order."""
    wanted = 0.2 + 0.5 * NOISE * white_noise(keys(key_of(0)), height=120, width=120).numpy()
    errors = [np.abs(draw(Gaussian(0.2, 0.5 * NOISE), steps=steps) - wanted).max() for steps in (12, 24, 48)]
    assert errors[2] < 0.05 * NOISE * 3
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.4) and errors[1] / errors[2] == pytest.approx(2, abs=0.4)


def test_an_ancestral_step_draws_from_the_posterior():
    """Of z_t = (1 - t) y + t n, z_s given z_t and y has the variance that `renewed_share` leaves new (DDPM)."""
    random, t, s = np.random.default_rng(0), 0.7, 0.4
    # z_t from z_s by more noise: z_t = a z_s + b n', with a and b so that its mean and variance are those of level t.
    y, n, more = 0.3, *random.normal(size=(2, 400_000))
    a = (1 - t) / (1 - s)
    z_s = (1 - s) * y + s * n
    z_t = a * z_s + (t**2 - (a * s) ** 2) ** 0.5 * more
    near = np.abs(z_t - ((1 - t) * y + 0.5 * t)) < 0.01
    assert z_s[near].std() == pytest.approx(renewed_share(t, s, 1.0) * s, rel=0.03)
    assert renewed_share(1.0, 0.5, 1.0) == 1 and renewed_share(0.7, 0.4, 0.0) == 0


def test_the_same_seed_gives_the_same_pixels_and_another_one_others():
    network, low_res = shaken(), pictures(2)
    for stochasticity in (0.0, 1.0):
        first, again, other = (
            sampled(network, low_res, Sampling(seed=seed, stochasticity=stochasticity)) for seed in (4, 4, 5)
        )
        np.testing.assert_array_equal(first, again)
        assert np.abs(first - other).max() > 1e-3
    one = sampled(network, low_res[1:], Sampling(seed=4, stochasticity=1.0))  # whatever the batch around it
    np.testing.assert_allclose(one[0], sampled(network, low_res, Sampling(seed=4, stochasticity=1.0))[1], atol=2e-6)


def test_steps_and_their_default():
    network, low_res = shaken(steps=2), pictures()
    results = [sampled(network, low_res, Sampling(steps=steps)).numpy() for steps in (None, 2, 3)]
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(results[1] - results[2]).max() > 1e-4


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": 51}, {"seed": -1}, {"seed": 2**31}, {"stochasticity": 1.5}])
def test_a_wrong_sampling_is_refused(wrong):
    with pytest.raises(ValueError, match="Received: .* Expected"):
        Sampling(**wrong)


# The network


def test_one_step_of_a_network_from_a_generator_is_that_generator():
    keras.utils.set_random_seed(0)
    generator = Generator(filters=8, blocks=2, scale=4)
    last = generator.get_layer("last").kernel
    last.assign(np.random.default_rng(0).normal(0, 0.1, last.shape))
    network, low_res = from_generator(generator), pictures(2)
    np.testing.assert_allclose(sampled(network, low_res, Sampling(steps=1)), generator(low_res), atol=2e-6)
    with pytest.raises(ValueError, match="Expected a plain one"):
        from_generator(Generator(filters=8, blocks=1, scale=2, attention="channel"))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_stated_receptive_field_is_how_far_gradients_reach(scale):
    network = shaken(scale=scale)
    middle, side = 12, 25
    low_res = tf.Variable(pictures(1, side, 3, seed=1))
    noisy = tf.Variable(NOISE * pictures(1, side * scale, 3 * scale, seed=2))
    reach = 0
    for row in range(middle * scale, (middle + 1) * scale):
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(network([low_res, noisy, tf.constant([0.5])])[0, row])
        for gradient, factor in zip(tape.gradient(value, [low_res, noisy]), (1, scale), strict=True):
            seen = np.flatnonzero(np.abs(gradient[0]).max((1, 2)) > 0) // factor
            reach = max(reach, middle - seen[0], seen[-1] - middle)
    assert reach == network.receptive_field


def test_its_size_is_about_the_generators():
    generator, network = Generator(filters=64, blocks=8), DiffusionGenerator(filters=64, blocks=8)
    assert network.count_params() < 1.2 * generator.count_params()
    assert network.receptive_field == generator.receptive_field + 1


def test_reduced_precision_keeps_the_estimate_in_float32():
    network = with_precision(shaken(), "mixed_bfloat16")
    inputs = [pictures(), NOISE * pictures(1, 18, 14, seed=1), tf.constant([0.5])]
    estimate = network(inputs)
    assert estimate.dtype == tf.float32 and network.get_layer("first").compute_dtype == "bfloat16"
    np.testing.assert_allclose(estimate, shaken()(inputs), atol=0.03)


def test_the_exported_folder_serves_what_upscaling_gives(tmp_path):
    network, low_res = shaken(), pictures(2)
    export_generator(network, tmp_path / "model")
    loaded = load_generator(tmp_path / "model")
    assert isinstance(loaded, DiffusionGenerator) and loaded.steps == 3
    assert all(map(np.array_equal, loaded.get_weights(), network.get_weights()))
    wanted = diffusion_image_operator(network, low_res)
    model = tf.saved_model.load(str(tmp_path / "model"))
    served = model.serve(low_res)["output"]
    np.testing.assert_allclose(served, wanted, atol=1e-5)
    assert "A diffusion model" in (tmp_path / "model" / "README.md").read_text()
    assert wanted.shape == (2, 18, 14, 3)
    assert np.abs(wanted - upsampled(low_res, 2)).max() > 1e-3
