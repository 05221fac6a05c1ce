"""The receptive field that follows from a generator's layers is the one that its results show."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from srwgan.networks.attention import WINDOW
from srwgan.networks.generator import SCALES, Generator
from srwgan.networks.receptive_field import receptive_field_of, rows_seen_by

OPTIONS = [
    {},
    {"blocks": 3},
    {"activation": "prelu"},
    {"upsampling": "pixelshuffledirect", "scale": 4},
    {"upsampling": "resize-conv"},
    {"upsampling": "resize-conv", "scale": 4},
    {"attention": "channel"},
    {"attention": "window"},
    {"attention": "window", "blocks": 2},
    {"attention": "window", "upsampling": "resize-conv"},
    {"condition": "noise"},
    *({"scale": scale} for scale in SCALES),
]


def name(options):
    return "-".join(map(str, options.values())) or "plain"


def shaken(**options):
    generator, random = Generator(**{"filters": 8, "blocks": 1, "scale": 2, **options}), np.random.default_rng(0)
    generator.set_weights(
        [random.normal(0, 0.5 / np.sqrt(max(np.prod(w.shape[:-1]), 4)), w.shape) for w in generator.get_weights()]
    )
    return generator


@pytest.mark.parametrize("options", OPTIONS, ids=name)
def test_the_receptive_field_of_the_layers_is_how_far_gradients_reach(options):
    """Where this fails, `rows_seen_by` in receptive_field.py says something wrong of a layer."""
    generator = shaken(**options)
    scale, middle = generator.scale, 4 * WINDOW
    low_res = tf.Variable(np.random.default_rng(1).uniform(-1, 1, (1, 8 * WINDOW, 8 * WINDOW, 3)).astype(np.float32))
    strength = (tf.constant([0.5]),) if generator.condition != "none" else ()

    @tf.function
    def gradient(row):
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(generator((low_res, *strength) if strength else low_res)[0, row])
        return tape.gradient(value, low_res)[0]

    reach = 0
    for row in range(middle * scale, (middle + generator.alignment) * scale):  # then all repeats itself
        seen = np.flatnonzero(np.abs(gradient(tf.constant(row))).max((1, 2)) > 0)
        reach = max(reach, row // scale - seen[0], seen[-1] - row // scale)
    assert reach == generator.receptive_field


@pytest.mark.parametrize(("options", "field"), [({"blocks": 8, "scale": 4}, 20), ({"upsampling": "fourier"}, None)])
def test_known_receptive_fields(options, field):
    assert Generator(4, **options).receptive_field == field


def test_pixels_beyond_the_receptive_field_change_nothing():
    generator = shaken(blocks=2)
    reach, size = generator.receptive_field, 2 * generator.receptive_field + 5
    low_res = np.random.default_rng(0).uniform(-1, 1, (1, size, size, 3)).astype(np.float32)
    changed = low_res.copy()
    changed[0, size // 2, size // 2] += 1.0
    difference = np.abs(generator(changed) - generator(low_res)).max(axis=(0, 3))
    rows, columns = np.nonzero(difference.reshape(size, 2, size, 2).max(axis=(1, 3)))
    assert np.maximum(np.abs(rows - size // 2), np.abs(columns - size // 2)).max() == reach


def test_a_layer_without_a_rule_is_named():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layers.Conv2D(3, 3, strides=2, padding="same", name="strided")(image))
    model.scale = 1
    with pytest.raises(NotImplementedError, match=r"strided \(Conv2D\).*Say in `rows_seen_by`"):
        receptive_field_of(model)


def test_rows_of_single_layers():
    assert rows_seen_by(layers.Conv2D(1, 3, padding="same"), 5, 6) == (4, 7)
    assert rows_seen_by(layers.Conv2D(1, 4, padding="same"), 5, 5) == (4, 7)
    assert rows_seen_by(layers.Conv2D(1, 3), 5, 5) == (5, 7)
    assert rows_seen_by(layers.AveragePooling2D((9, 1), 1, "same"), 5, 5) == (1, 9)
    assert rows_seen_by(layers.UpSampling2D(2), 5, 6) == (2, 3)
