import keras
import numpy as np
import pytest
import tensorflow as tf

from srwgan.networks.generator import SCALES, Generator, with_precision
from srwgan.networks.layers import PixelShuffle


def tiny(scale=4, blocks=1, filters=8, dtype=None, seed=0, **options):
    keras.utils.set_random_seed(seed)
    return Generator(filters, blocks, scale, dtype=dtype, **options)


def noise(shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def part(generator, name):
    """The generator up to the output of one of its layers."""
    return keras.Model(generator.input, generator.get_layer(name).output)


def shake(generator, seed=0):
    """Random weights instead of the careful start, so that every convolution counts."""
    random = np.random.default_rng(seed)
    generator.set_weights(
        [random.normal(0, 0.3 / np.sqrt(np.prod(w.shape[:-1])) ** 0.5, w.shape) for w in generator.get_weights()]
    )
    return generator


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [(1, 1), (7, 5)])
def test_any_size_becomes_scale_times_as_large(scale, size):
    high_res = tiny(scale)(noise((2, *size, 3)))
    assert high_res.shape == (2, scale * size[0], scale * size[1], 3)
    assert high_res.dtype == tf.float32


@pytest.mark.parametrize("scale", SCALES)
def test_training_starts_from_the_bilinearly_upsampled_input(scale):
    low_res = noise((1, 9, 11, 3))
    expected = tf.image.resize(low_res, (9 * scale, 11 * scale), "bilinear")
    np.testing.assert_allclose(tiny(scale)(low_res), expected, atol=0.05)


def test_a_seed_gives_the_weights_that_it_always_gave():
    """Initializers draw their seeds in the order in which they are made: an order that a change must keep."""
    kernels = [weight for weight in tiny(seed=3).get_weights() if weight.ndim == 4][-4:]
    made = [np.abs(kernel.astype(np.float64)).sum() for kernel in kernels]
    assert made == pytest.approx([59.87784, 140.45465, 65.02515, 0.0686313], rel=1e-5)


@pytest.mark.parametrize("scale", SCALES)
def test_icnr_leaves_no_checkerboard(scale):
    """Before training, the pixel-shuffle convolution's output is a nearest-neighbor upsampling: f x f equal pixels."""
    generator = tiny(scale)
    shuffled = part(generator, "upsampling1_shuffle")(noise((1, 6, 5, 3))).numpy()
    factor = SCALES[scale][0]
    nearest = shuffled[:, ::factor, ::factor].repeat(factor, 1).repeat(factor, 2)
    kernel = generator.get_layer("upsampling1_conv").get_weights()[0]
    groups = kernel.reshape(*kernel.shape[:3], factor**2, -1)
    np.testing.assert_array_equal(groups, groups[:, :, :, :1].repeat(factor**2, axis=3))
    # Of equal kernels, a processor may still sum some channels in another order.
    np.testing.assert_allclose(shuffled, nearest, rtol=0, atol=1e-6)
    assert shuffled.std() > 1e-3


def test_icnr_kernels_differ_between_channels():
    kernel = tiny(3).get_layer("upsampling1_conv").get_weights()[0]
    assert kernel.shape == (3, 3, 8, 9 * 4)
    groups = kernel.reshape(3, 3, 8, 9, 4)
    np.testing.assert_array_equal(groups, groups[:, :, :, :1].repeat(9, axis=3))
    assert np.abs(np.diff(groups[..., 0, :], axis=-1)).max() > 1e-3


@pytest.mark.parametrize("factor", [2, 3])
def test_pixel_shuffle_puts_sub_pixels_in_their_places(factor):
    x = noise((2, 3, 4, factor**2 * 5))
    y = PixelShuffle(factor)(x).numpy()
    for row in range(factor):
        for column in range(factor):
            first = (row * factor + column) * 5
            np.testing.assert_array_equal(y[:, row::factor, column::factor], x[..., first : first + 5])


def test_precision_changes_the_arithmetic_only():
    generator = shake(tiny())
    low_res = noise((1, 12, 12, 3))
    exact = generator(low_res).numpy()
    for policy, tolerance in ("mixed_bfloat16", 0.1), ("mixed_float16", 0.02):
        twin = with_precision(generator, policy)
        assert twin.get_layer("first").compute_dtype == policy.removeprefix("mixed_")
        assert all(weight.dtype == "float32" for weight in twin.weights)
        result = twin(low_res)
        assert result.dtype == tf.float32
        assert 0 < np.abs(result - exact).max() < tolerance * np.abs(exact).max()
    back = with_precision(twin, "float32")
    np.testing.assert_array_equal(back(low_res), exact)


def test_the_added_picture_keeps_float32_under_a_mixed_policy():
    """With a residual of exactly 0 the result is the bilinear picture to float32's precision."""
    generator = tiny(dtype="mixed_bfloat16")
    generator.get_layer("last").set_weights([w * 0 for w in generator.get_layer("last").get_weights()])
    low_res = noise((1, 6, 6, 3))
    np.testing.assert_allclose(generator(low_res), tf.image.resize(low_res, (24, 24), "bilinear"), atol=1e-6)


def test_prelu_has_one_slope_per_channel_and_no_batch_normalization():
    generator = tiny(4, blocks=2, filters=16, activation="prelu")
    slopes = {
        layer.name: layer.get_weights()[0].shape for layer in generator.layers if isinstance(layer, keras.layers.PReLU)
    }
    assert slopes == {
        "block1_prelu": (1, 1, 16),
        "block2_prelu": (1, 1, 16),
        "upsampling1_prelu": (1, 1, 8),
        "upsampling2_prelu": (1, 1, 4),
    }
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in generator.layers)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 5}, "Received: scale=5. Expected one of 2, 3, 4, 8."),
        ({"activation": "relu"}, "Received: activation=relu. Expected leaky_relu or prelu."),
        ({"filters": 3}, "Received: filters=3. Expected 4 or more."),
        ({"blocks": 0}, "Received: blocks=0. Expected 1 or more."),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError) as error:
        Generator(**arguments)
    assert str(error.value) == message


def test_a_keras_file_gives_the_same_generator(tmp_path):
    generator = shake(tiny(3, blocks=2))
    generator.save(tmp_path / "g.keras")
    loaded = keras.models.load_model(tmp_path / "g.keras")
    assert isinstance(loaded, Generator)
    assert (loaded.filters, loaded.blocks, loaded.scale) == (8, 2, 3)
    assert (loaded.receptive_field, loaded.alignment) == (generator.receptive_field, 1)
    low_res = noise((1, 5, 8, 3))
    np.testing.assert_array_equal(loaded(low_res), generator(low_res))
