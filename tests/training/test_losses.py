import numpy as np
import pytest
import tensorflow as tf

from srwgan.training import losses


def noise(shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


class LinearCritic:
    """score = <w, x> + 3: its gradient is w everywhere."""

    def __init__(self, norm, shape=(6, 5, 3), dtype=tf.float32):
        w = noise(shape, 7)
        self.w, self.dtype = tf.constant(w * norm / np.linalg.norm(w)), dtype

    def __call__(self, images, training=None):
        products = tf.cast(images, self.dtype) * tf.cast(self.w, self.dtype)
        return tf.reduce_sum(tf.cast(products, tf.float32), axis=[1, 2, 3])[:, None] + 3.0


class QuadraticCritic:
    """score = |x|^2 / 2: its gradient is x itself, so the norm tells where the penalty looked."""

    def __call__(self, images, training=None):
        return tf.reduce_sum(tf.square(images), axis=[1, 2, 3])[:, None] / 2


def test_wasserstein_terms():
    real, fake = tf.constant([[3.0], [-1.0]]), tf.constant([[0.5], [4.0]])
    np.testing.assert_allclose(losses.discriminator_loss(real, fake), [-2.5, 5.0])
    np.testing.assert_allclose(losses.adversarial_loss(fake), [-0.5, -4.0])


@pytest.mark.parametrize("norm", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("loss_scale", [1.0, 4096.0])
def test_penalty_of_a_critic_with_a_known_gradient(norm, loss_scale):
    real, fake = noise((4, 6, 5, 3)), noise((4, 6, 5, 3), 1)
    penalty, norms = losses.gradient_penalty(LinearCritic(norm), real, fake, e=noise(4, 2), loss_scale=loss_scale)
    assert penalty.shape == norms.shape == (4,)
    np.testing.assert_allclose(norms, norm, rtol=1e-5)
    np.testing.assert_allclose(penalty, (norm - 1) ** 2, rtol=1e-4, atol=1e-8)


def test_the_penalty_is_taken_at_real_plus_e_times_the_difference():
    """Also outside of the line's ends, where e from N(0, 1) falls; one e for all of a sample's pixels."""
    real, fake, e = noise((4, 6, 5, 3)), noise((4, 6, 5, 3), 1), np.array([0.0, 1.0, -1.5, 2.5], np.float32)
    _, norms = losses.gradient_penalty(QuadraticCritic(), real, fake, e=e)
    points = real + e[:, None, None, None] * (fake - real)
    np.testing.assert_allclose(norms, np.linalg.norm(points.reshape(4, -1), axis=1), rtol=1e-5)


def test_the_penalty_pulls_a_critics_gradient_to_norm_1():
    weight = tf.Variable(0.5)
    critic = LinearCritic(1.0)
    with tf.GradientTape() as tape:
        penalty, _ = losses.gradient_penalty(
            lambda x, training: weight * critic(x), noise((2, 6, 5, 3)), noise((2, 6, 5, 3), 1), e=noise(2, 2)
        )
    np.testing.assert_allclose(tape.gradient(penalty, weight), 2 * 2 * (0.5 - 1), rtol=1e-4)  # d (w - 1)^2, 2 samples


def test_the_penalty_of_a_critic_that_ignores_its_input_is_finite():
    weight = tf.Variable(0.0)
    with tf.GradientTape() as tape:
        penalty, norms = losses.gradient_penalty(
            lambda x, training: weight * tf.reduce_sum(x, [1, 2, 3])[:, None],
            noise((2, 6, 5, 3)),
            noise((2, 6, 5, 3), 1),
            e=noise(2, 2),
        )
    np.testing.assert_allclose(penalty, 1.0, atol=1e-5)
    np.testing.assert_allclose(norms, 0.0, atol=1e-5)
    assert np.isfinite(tape.gradient(penalty, weight))


def test_reconstruction():
    real, fake = noise((3, 4, 4, 3)), noise((3, 4, 4, 3), 1)
    mse, l1 = losses.reconstruction_loss(real, fake), losses.reconstruction_loss(real, fake, kind="l1")
    np.testing.assert_allclose(mse, ((real - fake) ** 2).mean(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(l1, np.abs(real - fake).mean(axis=(1, 2, 3)), rtol=1e-5)


def test_reconstruction_as_psnr_loses_a_bel_where_the_squared_error_is_ten_times_as_large():
    real = np.zeros((3, 8, 8, 3), np.float32)
    fake = real + np.float32([0.1, 0.1 * 10**0.5, 0])[:, None, None, None]
    better, worse, equal = losses.reconstruction_loss(real, fake, kind="psnr").numpy()
    np.testing.assert_allclose(worse - better, 1, atol=0.02)
    assert equal == 0


@pytest.mark.parametrize("kind, measure", [("mse", np.square), ("l1", np.abs)])
def test_reconstruction_of_the_luma(kind, measure):
    real, fake = noise((3, 4, 4, 3)), noise((3, 4, 4, 3), 1)
    of_luma = measure((fake - real) @ [0.299, 0.587, 0.114]).mean(axis=(1, 2))
    np.testing.assert_allclose(losses.reconstruction_loss(real, fake, kind=kind, luma=1.0), of_luma, rtol=1e-5)
    of_pixels = measure(fake - real).mean(axis=(1, 2, 3))
    mixed = losses.reconstruction_loss(real, fake, kind=kind, luma=0.8)
    np.testing.assert_allclose(mixed, 0.2 * of_pixels + 0.8 * of_luma, rtol=1e-5)


def maps(seed):
    return [noise((3, 8, 8, 4), seed), 50 * noise((3, 4, 4, 6), seed + 10)]


def test_content_loss_divided_by_the_real_energy():
    real, fake = maps(0), maps(1)
    expected = (
        sum(((f - r) ** 2).mean(axis=(1, 2, 3)) / (r**2).mean(axis=(1, 2, 3)) for r, f in zip(real, fake, strict=True))
        / 2
    )
    np.testing.assert_allclose(losses.content_loss(real, fake), expected, rtol=1e-4)


def test_content_loss_of_unit_vectors():
    real, fake = maps(0), maps(1)

    def unit(x):
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    expected = sum(((unit(f) - unit(r)) ** 2).sum(-1).mean(axis=(1, 2)) for r, f in zip(real, fake, strict=True)) / 2
    np.testing.assert_allclose(losses.content_loss(real, fake, norm="unit"), expected, rtol=1e-4)


def test_content_loss_with_a_weight_for_each_channel():
    """Real vectors lie along channel 0, fake along 1 or 2: each is off by 1 in both of two channels."""
    real, fake = np.zeros((2, 3, 3, 4), np.float32), np.zeros((2, 3, 3, 4), np.float32)
    real[..., 0] = 5
    fake[0, ..., 1] = fake[1, ..., 2] = 0.1
    weights = [np.array([0.5, 2, 8, 100], np.float32)]
    np.testing.assert_allclose(
        losses.content_loss([real], [fake], norm="unit", channel_weights=weights), [2.5, 8.5], rtol=1e-4
    )
    np.testing.assert_allclose(losses.content_loss([real], [fake], norm="unit"), [2, 2], rtol=1e-4)


@pytest.mark.parametrize("norm", ["energy", "unit"])
def test_a_content_weight_means_the_same_whatever_the_features_scale(norm):
    real, fake = maps(0), maps(1)
    larger = losses.content_loss([100 * r for r in real], [100 * f for f in fake], norm=norm)
    np.testing.assert_allclose(larger, losses.content_loss(real, fake, norm=norm), rtol=1e-4)
    np.testing.assert_allclose(losses.content_loss(real, real, norm=norm), 0, atol=1e-7)


def test_values_are_per_sample_and_float32_in_half_precision():
    real, fake = [tf.cast(m, tf.float16) for m in maps(0)], [tf.cast(m, tf.float16) for m in maps(1)]
    whole = losses.content_loss(real, fake)
    assert whole.shape == (3,) and whole.dtype == tf.float32
    single = losses.content_loss([r[1:2] for r in real], [f[1:2] for f in fake])
    np.testing.assert_allclose(single, whole[1:2], rtol=1e-5)
    assert losses.adversarial_loss(tf.zeros((2, 1), tf.bfloat16)).dtype == tf.float32
    assert losses.reconstruction_loss(tf.zeros((2, 4, 4, 3)), tf.zeros((2, 4, 4, 3), tf.float16)).dtype == tf.float32


def test_lattice_loss_sees_a_regular_grid_and_no_other_texture():
    random = np.random.default_rng(0)
    real = tf.constant(random.uniform(-1, 1, (2, 64, 64, 3)), tf.float32)
    grid = np.zeros((64, 64, 1), np.float32)
    grid[::4, ::4] = 0.1
    noise = random.normal(0, 0.1 / 4, (2, 64, 64, 3)).astype(np.float32)  # as strong as the grid
    seen = losses.lattice_loss(real, real + grid, scale=4)
    np.testing.assert_allclose(seen, [0.1**2 / 16] * 2, rtol=1e-4)  # one phase of sixteen is off by 0.1
    assert np.all(losses.lattice_loss(real, real + noise, scale=4) < seen / 20)
    np.testing.assert_allclose(losses.lattice_loss(real, real, scale=4), 0)
