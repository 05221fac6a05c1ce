import keras
import numpy as np
import pytest
import tensorflow as tf

from srwgan.networks.discriminator import Discriminator, PatchMean, SpaceToDepth


def noise(shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.fixture(scope="module")
def discriminator():
    keras.utils.set_random_seed(0)
    return Discriminator(4)


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (32, 17)])
def test_one_score_per_image_of_any_size(discriminator, size):
    scores = discriminator(noise((3, *size, 3)))
    assert scores.shape == (3, 1)
    assert scores.dtype == tf.float32


def test_scores_are_float32_under_a_mixed_policy():
    assert Discriminator(4, dtype="mixed_bfloat16")(noise((2, 16, 16, 3))).dtype == tf.float32


def test_an_images_score_does_not_depend_on_the_rest_of_its_batch(discriminator):
    images = noise((4, 16, 16, 3))
    together = discriminator(images, training=True)
    alone = tf.concat([discriminator(images[i : i + 1], training=True) for i in range(4)], 0)
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    gradient = tf.Variable(images)
    with tf.GradientTape() as tape:
        score = discriminator(gradient, training=True)[0]
    of_others = tape.gradient(score, gradient)[1:]
    np.testing.assert_array_equal(of_others, np.zeros((3, 16, 16, 3)))


def test_the_score_is_the_mean_patch_times_the_root_of_their_number():
    patches = noise((2, 3, 5, 1))
    np.testing.assert_allclose(PatchMean()(patches), patches.sum(axis=(1, 2)) / np.sqrt(15), rtol=1e-5)


def test_a_unit_gradient_asks_the_same_of_a_patch_at_every_size():
    """Independent patches: the gradient's norm at the image does not grow or shrink with the crop."""
    norms = []
    for size in 4, 16:
        patches = tf.constant(noise((1, size, size, 1)))
        with tf.GradientTape() as tape:
            tape.watch(patches)
            score = PatchMean()(patches)
        norms.append(np.linalg.norm(tape.gradient(score, patches)))
    np.testing.assert_allclose(norms, 1.0, rtol=1e-5)


def test_space_to_depth_keeps_every_pixel_of_odd_sizes():
    x = noise((1, 5, 7, 3))
    y = SpaceToDepth(2)(x).numpy()
    assert y.shape == (1, 3, 4, 12)
    np.testing.assert_array_equal(tf.nn.depth_to_space(y, 2)[:, :5, :7], x)


def test_a_keras_file_gives_the_same_discriminator(discriminator, tmp_path):
    discriminator.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    images = noise((1, 16, 16, 3))
    assert isinstance(loaded, Discriminator) and loaded.filters == 4
    np.testing.assert_array_equal(loaded(images), discriminator(images))


def test_too_few_filters_are_named():
    with pytest.raises(ValueError, match="Received: discriminator filters=2. Expected 4 or more."):
        Discriminator(2)
