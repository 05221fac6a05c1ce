"""The image operator is what `np.pad(..., "symmetric")`, the network and a crop give, all ways of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from srwgan.networks.edges import (
    MARGIN,
    crop,
    halo_of,
    image_operator,
    margin_of,
    pixels_with_margin,
    with_edges,
    with_margin,
)
from srwgan.networks.generator import Generator
from srwgan.upscaling.upscaler import Upscaler


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def padded(x, *widths, mode="symmetric"):
    """(top, bottom, left, right), or one width for all."""
    top, bottom, left, right = widths if len(widths) == 4 else 4 * widths
    return np.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)], mode)


def shaken(**options):
    keras.utils.set_random_seed(0)
    generator, random = Generator(8, 1, 2, **options), np.random.default_rng(0)
    generator.set_weights([random.normal(0, 0.3, weight.shape) for weight in generator.get_weights()])
    return generator


@pytest.fixture(scope="module")
def generator():
    return shaken()


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (12, 7)])
def test_the_image_operator_pads_runs_and_crops(generator, size):
    images = noise(2, *size, 3)
    expected = generator(padded(images, MARGIN))[:, 2 * MARGIN : -2 * MARGIN, 2 * MARGIN : -2 * MARGIN]
    np.testing.assert_array_equal(image_operator(generator, tf.constant(images)), expected)
    assert np.abs(expected - generator(images)).max() > 0.01, "zeros beyond the edges give something else"


def test_the_image_operator_keeps_to_the_alignment():
    generator, images = shaken(attention="window"), noise(1, 9, 16, 3)
    halo, alignment = halo_of(generator), generator.alignment
    assert alignment == 8 and halo % alignment == 0 and 0 <= halo - generator.receptive_field < alignment
    margin = margin_of(generator)
    assert margin % alignment == 0 and 0 <= margin - MARGIN < alignment
    expected = generator(padded(images, margin, margin + 7, margin, margin))[:, 2 * margin :, 2 * margin :][:, :18, :32]
    np.testing.assert_array_equal(image_operator(generator, tf.constant(images)), expected)


def test_the_image_operator_of_what_sees_the_whole_picture_is_the_network():
    generator, images = shaken(upsampling="fourier"), noise(1, 6, 5, 3)
    assert halo_of(generator) == margin_of(generator) == 0
    np.testing.assert_array_equal(image_operator(generator, tf.constant(images)), generator(images))


def test_edges_mirrored_by_the_margin_give_what_an_upscaler_does(generator):
    low_res = noise(2, 6, 9, 3)
    mirrored = with_edges(generator, margin_of(generator))(low_res)
    np.testing.assert_allclose(np.clip(mirrored, -1, 1), Upscaler(generator, "float32").tensor(low_res), atol=1e-4)
    assert with_edges(generator, 0) is generator


def test_edges_are_there_under_a_condition_too():
    generator, low_res, strength = shaken(condition="noise"), noise(2, 5, 4, 3), tf.constant([0.2, 0.9])
    expected = generator((tf.constant(padded(low_res, 2)), strength))[:, 4:-4, 4:-4]
    np.testing.assert_array_equal(with_edges(generator, 2)((low_res, strength)), expected)


@pytest.mark.parametrize(("receptive_field", "alignment"), [(None, 1), (3, 1), (20, 8), (None, 8)])
@pytest.mark.parametrize("size", [(1, 1), (5, 16)])
def test_margins_in_numpy_and_in_tensorflow_agree(receptive_field, alignment, size):
    pixels = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)

    class Identity:  # of which the image operator shows the input
        scale = 1

        def __call__(self, images, training=False):
            self.seen = images
            return images

    identity = Identity()
    identity.receptive_field, identity.alignment = receptive_field, alignment
    in_numpy = pixels_with_margin(pixels, margin_of(identity), alignment)
    assert in_numpy.dtype == np.uint8 and all(length % alignment == 0 for length in in_numpy.shape[1:3])
    result = image_operator(identity, tf.constant(pixels))
    np.testing.assert_array_equal(identity.seen, in_numpy)
    np.testing.assert_array_equal(result, pixels)


@pytest.mark.parametrize(("edges", "mode"), [("mirrored", "symmetric"), ("repeated", "edge")])
@pytest.mark.parametrize("margin", [0, 1, 4, 7, 9, 40])
def test_a_margin_may_be_wider_than_the_picture(margin, edges, mode):
    x = noise(2, 7, 9, 3)
    np.testing.assert_array_equal(with_margin(x, margin, edges), padded(x, margin, mode=mode))
    np.testing.assert_array_equal(with_margin(x[:, :1, :2], margin, edges), padded(x[:, :1, :2], margin, mode=mode))


def test_crop_undoes_a_margin():
    x = noise(1, 4, 5, 2)
    np.testing.assert_array_equal(crop(with_margin(x, 3), 3), x)
    assert crop(x, 0) is x
