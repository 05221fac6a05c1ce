"""The image operator is what `np.pad(..., "edge")`, the network and a crop give; every way of making margins agrees."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from srwgan.networks.edges import (
    crop,
    halo_of,
    image_operator,
    pixels_with_margin,
    with_margin,
    with_repeated_edges,
)
from srwgan.networks.generator import Generator
from srwgan.upscaling.upscaler import Upscaler


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def padded(x, *widths):
    """(top, bottom, left, right), or one width for all."""
    top, bottom, left, right = widths if len(widths) == 4 else 4 * widths
    return np.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)], "edge")


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
    images, halo = noise(2, *size, 3), generator.receptive_field
    expected = generator(padded(images, halo))[:, 2 * halo : -2 * halo, 2 * halo : -2 * halo]
    np.testing.assert_array_equal(image_operator(generator, tf.constant(images)), expected)
    assert np.abs(expected - generator(images)).max() > 0.01, "zeros beyond the edges give something else"


def test_the_image_operator_keeps_to_the_alignment():
    generator, images = shaken(attention="window"), noise(1, 9, 16, 3)
    halo, alignment = halo_of(generator), generator.alignment
    assert alignment == 8 and halo % alignment == 0 and 0 <= halo - generator.receptive_field < alignment
    expected = generator(padded(images, halo, halo + 7, halo, halo))[:, 2 * halo :, 2 * halo :][:, :18, :32]
    np.testing.assert_array_equal(image_operator(generator, tf.constant(images)), expected)


def test_the_image_operator_of_what_sees_the_whole_picture_is_the_network():
    generator, images = shaken(upsampling="fourier"), noise(1, 6, 5, 3)
    assert halo_of(generator) == 0
    np.testing.assert_array_equal(image_operator(generator, tf.constant(images)), generator(images))


def test_repeated_edges_as_wide_as_the_receptive_field_give_what_an_upscaler_does(generator):
    low_res = noise(2, 6, 9, 3)
    repeated = with_repeated_edges(generator, generator.receptive_field)(low_res)
    np.testing.assert_allclose(np.clip(repeated, -1, 1), Upscaler(generator, "float32").tensor(low_res), atol=1e-4)
    assert with_repeated_edges(generator, 0) is generator


def test_edges_are_repeated_under_a_condition_too():
    generator, low_res, strength = shaken(condition="noise"), noise(2, 5, 4, 3), tf.constant([0.2, 0.9])
    expected = generator((tf.constant(padded(low_res, 2)), strength))[:, 4:-4, 4:-4]
    np.testing.assert_array_equal(with_repeated_edges(generator, 2)((low_res, strength)), expected)


@pytest.mark.parametrize(("halo", "alignment"), [(0, 1), (3, 1), (8, 8)])
@pytest.mark.parametrize("size", [(1, 1), (5, 16)])
def test_margins_in_numpy_and_in_tensorflow_agree(halo, alignment, size):
    pixels = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    in_numpy = pixels_with_margin(pixels, halo, alignment)
    assert in_numpy.dtype == np.uint8 and all(length % alignment == 0 for length in in_numpy.shape[1:3])

    class Identity:  # of which the image operator shows the input
        scale, receptive_field = 1, halo

        def __call__(self, images, training=False):
            self.seen = images
            return images

    identity = Identity()
    identity.alignment = alignment
    result = image_operator(identity, tf.constant(pixels))
    np.testing.assert_array_equal(identity.seen, in_numpy)
    np.testing.assert_array_equal(result, pixels)


@pytest.mark.parametrize("margin", [-2, -1, 0, 1, 4])
@pytest.mark.parametrize("invalid", [0, 1, 2])
def test_a_margin_takes_the_place_of_invalid_columns(margin, invalid):
    x = noise(2, 7, 9, 3)
    valid = x[:, :, invalid : 9 - invalid]
    expected = padded(valid, margin) if margin >= 0 else valid[:, -margin:margin, -margin:margin]
    np.testing.assert_array_equal(with_margin(x, margin, invalid), expected)


def test_crop_undoes_a_margin():
    x = noise(1, 4, 5, 2)
    np.testing.assert_array_equal(crop(with_margin(x, 3), 3), x)
    assert crop(x, 0) is x
