import keras
import numpy as np
import pytest
import tensorflow as tf

from srwgan.networks.discriminator import Discriminator, PatchMean, SpaceToDepth, grown, nearest


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
    with pytest.raises(ValueError, match="Received: discriminator blocks=-1. Expected 0 or more."):
        Discriminator(4, -1)


def shaken(discriminator, seed=0):
    """The same with random weights, so that blocks are not without effect."""
    random = np.random.default_rng(seed)
    discriminator.set_weights([random.normal(0, 0.3, w.shape) for w in discriminator.get_weights()])
    return discriminator


@pytest.mark.parametrize(("blocks", "pixels"), [(0, 56), (1, 88), (2, 120)])
def test_a_patch_is_as_wide_as_the_documentation_says(blocks, pixels):
    """As far as the gradient of one patch's score reaches."""
    discriminator, size = shaken(Discriminator(4, blocks)), 200
    patches = keras.Model(discriminator.input, discriminator.get_layer("patch_scores").output)
    image = tf.Variable(noise((1, size, size, 3)))
    with tf.GradientTape() as tape:
        score = patches(image)[0, 12, 12, 0]
    reached = np.abs(tape.gradient(score, image)[0]).max(-1) > 0
    for axis in 0, 1:
        seen = np.flatnonzero(reached.any(axis))
        assert seen[-1] - seen[0] + 1 == pixels
    assert f"{pixels}" in Discriminator.__doc__.split("pixels  ")[1].splitlines()[0].split()[blocks]


def test_new_blocks_change_no_score_and_can_be_trained(discriminator):
    images = noise((2, 32, 32, 3))
    larger = grown(discriminator, blocks=2)
    assert (larger.filters, larger.blocks) == (4, 2)
    np.testing.assert_allclose(larger(images), discriminator(images), rtol=1e-6)
    with tf.GradientTape() as tape:
        score = tf.reduce_sum(larger(images))
    last = [larger.get_layer(f"block{i}_conv2").kernel for i in (1, 2)]
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(score, last))


def test_a_keras_file_gives_the_same_discriminator_with_blocks(tmp_path):
    larger, images = shaken(Discriminator(4, 2)), noise((1, 16, 16, 3))
    larger.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    assert loaded.blocks == 2
    np.testing.assert_array_equal(loaded(images), larger(images))


def test_with_blocks_an_images_score_does_not_depend_on_the_rest_of_its_batch():
    larger, images = shaken(Discriminator(4, 1)), tf.Variable(noise((3, 16, 16, 3)))
    with tf.GradientTape() as tape:
        score = larger(images, training=True)[0]
    gradient = tape.gradient(score, images).numpy()
    assert gradient[0].any() and not gradient[1:].any()


# Semantics


@pytest.fixture(scope="module")
def told():
    """A discriminator that is told semantics of 5 channels, of which it makes 6."""
    return shaken(Discriminator(4, semantics=6, semantic_channels=5))


def test_semantics_begin_without_effect_and_can_be_trained(discriminator):
    images, semantics = noise((2, 32, 32, 3)), noise((2, 2, 2, 5), seed=1)
    larger = grown(discriminator, blocks=1, semantics=6, semantic_channels=5)
    np.testing.assert_allclose(larger([images, semantics]), discriminator(images), rtol=1e-6)
    projection = larger.get_layer("semantics_projection").kernel
    with tf.GradientTape() as tape:
        score = tf.reduce_sum(larger([images, semantics]))
    assert np.abs(tape.gradient(score, projection)).max() > 0


def test_semantics_change_scores_and_get_no_gradient(told):
    images, semantics = tf.constant(noise((2, 32, 32, 3))), [tf.constant(noise((2, 4, 4, 5), seed)) for seed in (1, 2)]
    with tf.GradientTape() as tape:
        tape.watch(semantics)
        score = told([images, semantics[0]])
    assert not np.allclose(score, told([images, semantics[1]]), rtol=1e-2)
    assert tape.gradient(score, semantics[0]) is None
    np.testing.assert_allclose(told([images, 100.0 * semantics[0]]), score, rtol=1e-4)  # whatever their range


def test_an_images_score_depends_on_no_others_semantics(told):
    images, semantics = noise((2, 16, 16, 3)), noise((2, 2, 2, 5))
    alone = [told([images[i : i + 1], semantics[i : i + 1]])[0] for i in range(2)]
    np.testing.assert_allclose(told([images, semantics]), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "wanted", "indices"),
    [
        (4, 4, [0, 1, 2, 3]),
        (15, 16, [*range(15), 14]),  # the classifier drops half a window at the end
        (7, 16, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 6, 6]),
        (8, 4, [1, 3, 5, 7]),
        (1, 3, [0, 0, 0]),
    ],
)
def test_semantics_are_those_at_the_patch(size, wanted, indices):
    assert list(np.array(nearest(size, wanted))) == indices
    assert list(np.array(tf.function(nearest)(tf.constant(size), tf.constant(wanted)))) == indices


def test_semantics_of_one_place_reach_the_patches_there_alone(told):
    patches = keras.Model(told.inputs, told.get_layer("projected_scores").output)
    images, semantics = noise((1, 64, 64, 3)), noise((1, 4, 4, 5))
    changed = semantics.copy()
    changed[0, 1, 2] *= -1
    difference = np.abs(patches([images, changed]) - patches([images, semantics]))[0, ..., 0]
    rows, columns = np.nonzero(difference > 1e-6)
    assert set(rows) == {2, 3} and set(columns) == {4, 5}


def test_a_keras_file_gives_the_same_discriminator_with_semantics(told, tmp_path):
    told.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    inputs = [noise((1, 16, 24, 3)), noise((1, 1, 3, 5))]
    assert (loaded.semantics, loaded.semantic_channels) == (6, 5)
    np.testing.assert_array_equal(loaded(inputs), told(inputs))
