"""`FastGenerator` is the same network as `Generator`, for less: results, receptive field and what is left out."""

import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from srwgan.networks.edges import image_operator, pixels_with_margin
from srwgan.networks.generator import SCALES, Generator
from srwgan.upscaling.fast_generator import FastGenerator, pixel_shuffle
from srwgan.upscaling.network import network_for
from srwgan.upscaling.pixel_graph import PixelGraph

SIZES = [  # blocks, scale, activation, upsampling
    *((1, scale, "leaky_relu", "pixelshuffle") for scale in SCALES),
    (2, 4, "prelu", "pixelshuffle"),
    (1, 3, "prelu", "pixelshuffle"),
    (4, 2, "leaky_relu", "pixelshuffle"),
    (8, 4, "leaky_relu", "pixelshuffle"),
    (16, 3, "leaky_relu", "pixelshuffle"),
    *((1, scale, "leaky_relu", "pixelshuffledirect") for scale in SCALES),
    (4, 4, "prelu", "pixelshuffledirect"),
]


def shaken(blocks, scale, activation="leaky_relu", upsampling="pixelshuffle", filters=4, constructor=Generator):
    """A generator whose weights are far from their start, so that every layer matters to the result."""
    generator = constructor(filters, blocks, scale, activation=activation, upsampling=upsampling)
    random = np.random.default_rng(0)
    generator.set_weights(
        [random.normal(0, 1 / np.sqrt(max(np.prod(w.shape[:-1]), 4)), w.shape) for w in generator.get_weights()]
    )
    return generator


def noise(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize(("blocks", "scale", "activation", "upsampling"), SIZES)
def test_change_fast_generator_and_generator_together_results(blocks, scale, activation, upsampling):
    """Where this fails, fast_generator.py does not run the layers that Generator's constructor makes."""
    generator, low_res = shaken(blocks, scale, activation, upsampling), noise(2, 9, 14, 3)
    network = FastGenerator(generator, "float32")
    expected = image_operator(generator, tf.constant(low_res)).numpy()
    bilinear = tf.image.resize(low_res, expected.shape[1:3])
    assert np.abs(expected - bilinear).mean() > 0.05, "the network's part of the result is too small to test anything"
    tolerance = 1e-4 * max(np.abs(expected).max(), 1)
    padded = tf.constant(pixels_with_margin(low_res, network.margin))
    np.testing.assert_allclose(network.shuffled(network.sub_pixels(padded)), expected, atol=tolerance)
    sub_pixels, maps = network.sub_pixels_and_maps(padded)
    np.testing.assert_allclose(network.shuffled(sub_pixels), expected, atol=tolerance)
    assert [features.shape[:3] for features in maps] == [padded.shape[:3]] * (blocks + 1)


@pytest.mark.parametrize(("blocks", "scale", "upsampling"), [(size[0], size[1], size[3]) for size in SIZES])
def test_change_fast_generator_and_generator_together_receptive_field(blocks, scale, upsampling):
    """Where this fails, fast_generator.py's halos are not Generator's receptive field."""
    generator = shaken(blocks, scale, upsampling=upsampling)
    network = FastGenerator(generator, "float32")
    assert sum(network.halos) == generator.receptive_field <= network.halo
    middle = network.halo + 1  # of the picture, whose own edges are too far away to matter
    side = 2 * middle + 1
    low_res = tf.Variable(noise(1, side + 2 * network.margin, side + 2 * network.margin, 3))
    reach = []
    for row in range(scale):  # of the one pixel's result
        with tf.GradientTape() as tape:
            result = network.shuffled(network.sub_pixels(low_res))
            value = tf.reduce_sum(result[0, scale * middle + row, scale * middle : scale * (middle + 1)])
        assert result.shape == (1, scale * side, scale * side, 3)
        seen = np.flatnonzero(np.abs(tape.gradient(value, low_res)[0]).max((1, 2)) > 0) - network.margin
        reach += [middle - seen[0], seen[-1] - middle]
    assert max(reach) == generator.receptive_field


class Widened(Generator):
    """A Generator to which somebody added a layer, not a subclass as `network_for` sees it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.added = layers.Conv2D(3, 1, name="added")
        self.added.build((None, None, None, 3))

    @property
    def weights(self):
        """Those of the added layer too, which Keras up to 3.12 does not find in a functional model."""
        added = self.added.weights if hasattr(self, "added") else []
        return list({id(weight): weight for weight in [*super().weights, *added]}.values())


def test_change_fast_generator_and_generator_together_layers():
    with pytest.raises(ValueError, match=r"added/kernel.* Expected those of the layers that .*fast_generator\.py"):
        FastGenerator(shaken(1, 2, constructor=Widened), "float32")
    assert isinstance(network_for(shaken(1, 2), "float32"), FastGenerator)
    assert not isinstance(network_for(shaken(1, 2, constructor=Widened), "float32"), FastGenerator)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(("factor", "channels"), [(2, 1), (2, 3), (3, 3), (3, 2)])
def test_the_fast_pixel_shuffle_is_depth_to_space(factor, channels, dtype):
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 4, factor**2 * channels)).astype(dtype)
    expected = tf.nn.depth_to_space(tf.cast(x, "int32"), factor)
    np.testing.assert_array_equal(tf.cast(pixel_shuffle(tf.constant(x), factor), "int32"), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_no_integers_are_transposed_for_which_onednn_would_print_an_error(channels):
    graph = PixelGraph(FastGenerator(shaken(1, 4), "float32"), "uint8", channels, is_alpha=False)
    for function in graph.windows, graph.windows_with_maps:
        operations = function.graph.get_operations()
        types = {op.inputs[0].dtype for op in operations if op.type in ("Transpose", "ConjugateTranspose")}
        assert types <= {tf.float32}
