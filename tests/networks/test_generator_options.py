"""Upsampling, attention and condition of the generator: known answers, tiles, export and the command line."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import testGenerator
from srwgan.media.still.images import Picture, write_image
from srwgan.networks.attention import RADIUS, WINDOW, WindowAttention, channel_attention
from srwgan.networks.fourier import FourierUpsampling
from srwgan.networks.generator import Generator, with_precision
from srwgan.networks.saving import export_generator, load_generator
from srwgan.upscaling.network import network_for
from srwgan.upscaling.upscaler import Upscaler
from utils.testGenerate import generate_one_img, load_gen

OPTIONS = [
    {"upsampling": "fourier"},
    {"upsampling": "resize-conv"},
    {"attention": "channel"},
    {"attention": "window"},
    {"condition": "noise"},
]


def shaken(blocks=2, scale=4, seed=0, **options):
    """A generator whose weights are far from their start, so that every layer matters to the result."""
    generator, random = Generator(8, blocks, scale, **options), np.random.default_rng(seed)
    generator.set_weights(
        [random.normal(0, 0.5 / np.sqrt(max(np.prod(w.shape[:-1]), 4)), w.shape) for w in generator.get_weights()]
    )
    return generator


def pixels(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def name(options):
    return "-".join(options.values())


# Known answers


@pytest.mark.parametrize("factor", [2, 3])
def test_a_band_limited_signal_comes_back_exactly_from_fourier_upsampling(factor):
    """Cosines that are even about the borders: their values between the pixels, and no jump at the borders."""
    height, width = 12, 7

    def signal(y, x):
        return np.cos(np.pi * 3 * y / height)[:, None] * np.cos(np.pi * 5 * x / width)[None] + 0.3

    centers = [(np.arange(n) + 0.5) for n in (height, width)]
    finer = [(np.arange(n * factor) + 0.5) / factor for n in (height, width)]
    result = FourierUpsampling(factor)(signal(*centers)[None, ..., None].astype(np.float32))
    np.testing.assert_allclose(result[0, ..., 0], signal(*finer), atol=1e-5)


def test_fourier_upsampling_does_not_wrap_round():
    ramp = np.tile(np.linspace(-1, 1, 16, dtype=np.float32)[:, None], (1, 8))[None, ..., None]
    result = FourierUpsampling(2)(ramp)[0, ..., 0].numpy()
    assert result[:4].max() < -0.6 and result[-4:].min() > 0.6  # a plain transform would pull them together


def test_the_learned_amplitudes_change_their_own_frequencies_alone():
    layer = FourierUpsampling(2, bands=3)
    x = np.ones((1, 8, 8, 1), np.float32)
    layer(x)
    layer.gains.assign([[1.0], [0.0], [0.0]])  # the lowest frequencies twice as strong
    np.testing.assert_allclose(layer(x), 2.0, atol=1e-5)
    wave = np.cos(np.pi * 7 * (np.arange(8) + 0.5) / 8)  # the highest frequency
    highest = np.outer(wave, wave).astype(np.float32)[None, ..., None]
    changed = layer(highest).numpy()
    layer.gains.assign([[0.0], [0.0], [0.0]])
    np.testing.assert_allclose(changed, layer(highest), atol=1e-5)


def test_resize_conv_starts_without_a_checkerboard():
    generator = shaken(upsampling="resize-conv")
    flat = np.full((1, 24, 24, 3), 0.2, np.float32)
    middle = generator(flat).numpy()[0, 40:-40, 40:-40]
    np.testing.assert_allclose(middle, np.broadcast_to(middle[:1, :1], middle.shape), atol=1e-5)


def test_channel_attention_gates_by_the_means_of_its_neighborhood():
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 8))
    model = keras.Model(image, channel_attention(image, "attention", policy="float32"))
    x = np.random.default_rng(0).uniform(0.5, 1, (1, 30, 30, 8)).astype(np.float32)
    gate = model(x).numpy() / x
    assert ((gate > 0) & (gate < 1)).all()
    far = x.copy()
    far[0, 0, 0] += 100
    changed = np.abs(model(far).numpy() / far - gate).max(-1)[0]
    assert changed[: RADIUS + 1, : RADIUS + 1].min() > 1e-4
    assert changed[RADIUS + 1 :].max() < 1e-6 and changed[:, RADIUS + 1 :].max() < 1e-6


@pytest.mark.parametrize("shift", [0, WINDOW // 2])
def test_window_attention_looks_into_its_own_window_alone(shift):
    layer = WindowAttention(2, shift=shift)
    x = np.random.default_rng(0).normal(0, 1, (1, 21, 26, 8)).astype(np.float32)
    before = layer(x).numpy()
    x[0, 9, 10] += 5
    changed = np.abs(layer(x).numpy() - before).max(-1)[0] > 1e-6
    start = (9 - shift) // WINDOW * WINDOW + shift, (10 - shift) // WINDOW * WINDOW + shift
    expected = np.zeros_like(changed)
    expected[start[0] : start[0] + WINDOW, start[1] : start[1] + WINDOW] = True
    np.testing.assert_array_equal(changed, expected)


def test_equal_pixels_attend_to_each_other_equally():
    """Softmax of equal logits is a mean: with the bias at 0, each pixel becomes its window's mean value, projected."""
    layer = WindowAttention(1, window=4)
    x = np.random.default_rng(0).normal(0, 1, (1, 4, 4, 6)).astype(np.float32)
    layer(x)
    layer.bias.assign(tf.zeros_like(layer.bias))
    kernel, bias = layer.qkv.kernel.numpy(), layer.qkv.bias.numpy()
    kernel[:, :12] = 0  # queries and keys
    layer.qkv.set_weights([kernel, bias])
    mean = (x.reshape(16, 6) @ kernel[:, 12:]).mean(0) @ layer.projection.kernel.numpy()
    np.testing.assert_allclose(layer(x).numpy().reshape(16, 6), np.tile(mean, (16, 1)), atol=1e-5)


def test_a_condition_starts_without_effect_and_then_has_one():
    low_res = tf.constant(pixels(6, 7)[None] / np.float32(127.5) - 1)
    new = Generator(8, 1, 2, condition="noise")
    none, much = (new((low_res, tf.fill([1], strength))) for strength in (0.0, 1.0))
    np.testing.assert_array_equal(none, much)
    trained = shaken(1, 2, condition="noise")
    none, much = (trained((low_res, tf.fill([1], strength))) for strength in (0.0, 1.0))
    assert np.abs(none - much).max() > 1e-3
    both = trained((tf.repeat(low_res, 2, 0), tf.constant([0.0, 1.0])))  # each picture its own
    np.testing.assert_allclose(both, np.concatenate([none, much]), atol=1e-5)


# Tiles


@pytest.mark.parametrize("options", OPTIONS[1:], ids=name)
@pytest.mark.parametrize("tile", [8, 19])
def test_tiles_are_exact(options, tile):
    generator, image = shaken(**options), pixels(37, 50)
    strength = {"strength": 0.7} if "condition" in options else {}
    whole = Upscaler(generator, "float32", **strength).image(image)
    tiled = Upscaler(generator, "float32", tile=tile, **strength).image(image)
    assert whole.shape == (148, 200, 3) and whole.std() > 10
    assert np.abs(tiled.astype(int) - whole).max() <= 1


def test_what_sees_the_whole_picture_is_run_whole():
    generator, image = shaken(upsampling="fourier"), pixels(9, 13)
    result = Upscaler(generator, "float32", tile=4).image(image)
    expected = generator(image[None] / np.float32(127.5) - 1)[0]
    np.testing.assert_allclose(result, np.clip((expected + 1) * 127.5, 0, 255), atol=1)


@pytest.mark.parametrize("options", OPTIONS, ids=name)
def test_half_precision_is_close(options):
    generator, image = shaken(**options), pixels(17, 22)
    exact, half = (Upscaler(generator, precision).image(image).astype(int) for precision in ("float32", "bfloat16"))
    assert np.abs(half - exact).mean() < 2


# Files


@pytest.mark.parametrize("options", OPTIONS, ids=name)
def test_an_exported_generator_and_its_saved_model_give_the_same(options, tmp_path):
    generator, image = shaken(1, 2, **options), pixels(11, 14)
    export_generator(generator, tmp_path / "Gen")
    loaded = load_generator(tmp_path / "Gen")
    assert loaded.get_config() == {**generator.get_config(), **options}
    expected = Upscaler(loaded, "float32", strength=0.25 if "condition" in options else None).image(image)
    served = tf.saved_model.load(str(tmp_path / "Gen"))
    inputs = [tf.constant(image[None] / np.float32(127.5) - 1)]
    inputs += [tf.constant([0.25])] if "condition" in options else []
    result = served.serve(*inputs)["output"][0]
    np.testing.assert_allclose(expected, np.clip((result + 1) * 127.5, 0, 255), atol=1)


def test_the_strength_on_the_command_line_and_in_the_library(tmp_path, capsys):
    for condition in ("noise", "none"):
        export_generator(shaken(1, 2, condition=condition), tmp_path / condition, served=False)
    image = pixels(8, 9)
    write_image(Picture(image), tmp_path / "low.png")

    def run(folder, *strength):
        return testGenerator.main(
            [
                str(tmp_path / "low.png"),
                "--model",
                str(tmp_path / folder),
                "--output",
                str(tmp_path / "out.png"),
                "--overwrite",
                *strength,
            ]
        )

    assert run("noise", "--strength", "0.5") == 0
    assert run("none", "--strength", "0.5") == 2
    assert "strength 0.5 for a generator that takes none" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        run("noise", "--strength", "2")
    assert ended.value.code == 2
    assert "--strength: Received: 2. Expected a number from 0 to 1." in capsys.readouterr().err
    weak, strong = (generate_one_img(load_gen(tmp_path / "noise", strength=s), image / 255.0) for s in (0.0, 1.0))
    assert np.abs(weak - strong).max() > 1e-3
    with pytest.raises(ValueError, match="that takes none"):
        load_gen(tmp_path / "none", strength=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"upsampling": "bilinear"},
            "Received: upsampling=bilinear. Expected one of pixelshuffle, pixelshuffledirect, fourier, resize-conv.",
        ),
        ({"attention": "full"}, "Received: attention=full. Expected one of none, channel, window."),
        ({"condition": "blur"}, "Received: condition=blur. Expected none or noise."),
    ],
)
def test_unknown_options(options, message):
    with pytest.raises(ValueError) as error:
        Generator(8, 1, 4, **options)
    assert str(error.value) == message


def test_the_plain_generator_is_as_before():
    plain = Generator(8, 1, 4)
    assert plain.is_plain and not any("attention" in layer.name or "condition" in layer.name for layer in plain.layers)
    assert type(network_for(plain, "float32")).__name__ == "FastGenerator"
    assert with_precision(shaken(attention="window"), "mixed_bfloat16").attention == "window"
