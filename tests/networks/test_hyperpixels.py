import urllib.error

import keras
import numpy as np
import pytest
import tensorflow as tf

from srwgan.networks import hyperpixels
from srwgan.networks.hyperpixels import APPLICATIONS, build_hyperpixels

NAMES = {
    "resnet50": ["conv1_conv", "conv2_block1_1_conv", "conv2_block1_2_conv", "conv2_block1_3_conv"],
    "resnet101": ["conv1_conv", "conv2_block1_1_conv", "conv2_block1_2_conv", "conv2_block1_3_conv"],
    "vgg16": ["block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3"],
    "vgg19": ["block1_conv2", "block2_conv2", "block3_conv4", "block4_conv4"],
}
MEAN_BGR = np.array([103.939, 116.779, 123.68])  # of ImageNet, subtracted by the ResNets' and VGGs' "caffe" mode


def images(seed=0, size=32):
    return np.random.default_rng(seed).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)


@pytest.fixture
def unweighted(monkeypatch):
    """The applications with random weights where ImageNet's would be downloaded."""

    def offline(constructor):
        return lambda weights, **options: constructor(weights=None if weights == "imagenet" else weights, **options)

    known = {name: (offline(constructor), *rest) for name, (constructor, *rest) in APPLICATIONS.items()}
    monkeypatch.setattr(hyperpixels, "APPLICATIONS", known)


@pytest.fixture
def own_backbone(tmp_path):
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, name="edges")(image)
    x = keras.layers.Conv2D(6, 3, strides=2, name="textures")(x)
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D(name="pool")(x))
    model.save(tmp_path / "own.keras")
    return str(tmp_path / "own.keras")


@pytest.mark.parametrize("name", NAMES)
def test_each_backbones_own_layers(name, unweighted):
    features = build_hyperpixels(name).features
    assert [tensor._keras_history.operation.name for tensor in features.outputs] == NAMES[name]
    assert not features.trainable_variables and features.non_trainable_variables


def test_a_weights_file_and_the_backbones_own_preprocessing(tmp_path):
    keras.utils.set_random_seed(0)
    backbone = keras.applications.VGG16(include_top=False, weights=None, input_shape=(None, None, 3))
    file = str(tmp_path / "vgg16.weights.h5")
    backbone.save_weights(file)
    maps = build_hyperpixels("vgg16", [2, "block2_conv2", "9"], file)(tf.constant(images()))
    preprocessed = (images() + 1)[..., ::-1] * 127.5 - MEAN_BGR
    reference = keras.Model(backbone.input, [backbone.get_layer(name).output for name in NAMES["vgg16"][:3]])
    for made, expected in zip(maps, reference(preprocessed.astype(np.float32)), strict=True):
        np.testing.assert_allclose(made, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())

    with pytest.raises(ValueError, match="not weights of vgg19 without its top layers"):
        build_hyperpixels("vgg19", weights=file)


@pytest.mark.parametrize("name", NAMES)
def test_preprocessing_of_pure_colors(name):
    """Red, in [-1, 1] RGB, becomes 0..255 BGR minus ImageNet's mean."""
    module = APPLICATIONS[name][1]
    seen = []
    features = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Identity()])
    calls = hyperpixels.Hyperpixels(features, lambda x: seen.append(module.preprocess_input(x)) or seen[0])
    calls(tf.constant([[[[1.0, -1.0, -1.0]]]]))
    np.testing.assert_allclose(seen[0][0, 0, 0], np.array([0, 0, 255]) - MEAN_BGR, atol=1e-3)


def test_the_loss_reaches_the_image_in_mixed_precision_too(unweighted):
    before = keras.config.dtype_policy().name
    network = build_hyperpixels("vgg16", [1, 2], dtype="mixed_bfloat16")
    assert keras.config.dtype_policy().name == before
    x = tf.constant(images())
    with tf.GradientTape() as tape:
        tape.watch(x)
        maps = network(x)
        loss = tf.add_n([tf.reduce_mean(tf.square(tf.cast(m, tf.float32))) for m in maps])
    assert maps[0].dtype == tf.bfloat16
    gradient = tape.gradient(loss, x).numpy()
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_a_users_own_keras_file_takes_images_as_they_are(own_backbone):
    network = build_hyperpixels(own_backbone, ["edges", "2"])
    maps = network(tf.constant(images()))
    kernel, bias = network.features.get_layer("edges").get_weights()
    np.testing.assert_allclose(maps[0], tf.nn.conv2d(images(), kernel, 1, "VALID") + bias, atol=1e-4)
    assert maps[1].shape == (2, 14, 14, 6)
    assert not network.features.trainable_variables
    (single,) = build_hyperpixels(own_backbone, ["edges"])(tf.constant(images()))
    np.testing.assert_array_equal(single, maps[0])


def test_channel_weights_from_a_file(own_backbone, tmp_path):
    network = build_hyperpixels(own_backbone, ["edges", "textures"])
    stored = {"lin1": np.arange(6.0).reshape(1, 1, 6), "lin0": np.arange(4.0)}
    np.savez(tmp_path / "lpips.npz", **stored)
    edges, textures = hyperpixels.read_channel_weights(tmp_path / "lpips.npz", network)
    np.testing.assert_array_equal(edges, np.arange(4))
    np.testing.assert_array_equal(textures, np.arange(6))
    assert edges.dtype == np.float32

    (tmp_path / "text.npz").write_text("none")
    np.savez(tmp_path / "other.npz", lin0=np.arange(4.0))
    for file, message in [
        ("text.npz", "not a readable .npz"),
        ("missing.npz", "not a readable .npz"),
        ("other.npz", "with arrays of [4] channels. Expected [4, 6]"),
    ]:
        with pytest.raises(ValueError) as error:
            hyperpixels.read_channel_weights(tmp_path / file, network)
        assert message in str(error.value) and "\n" not in str(error.value)


def test_wrong_choices_are_named(own_backbone, tmp_path, unweighted):
    torn = tmp_path / "torn.keras"
    torn.write_bytes(open(own_backbone, "rb").read()[:500])
    for arguments, message in [
        (("alexnet",), "Received: pretrained=alexnet. Expected resnet50, resnet101, vgg16, vgg19 or a .keras file."),
        (("vgg16", ["99"]), "Received: hyperpixel layer 99. Expected 1 to 18 or one of"),
        (("vgg16", ["0"]), "Received: hyperpixel layer 0. Expected 1 to 18 or one of"),
        (("vgg16", ["conv9"]), "Received: hyperpixel layer conv9. Expected"),
        (("vgg16", None, "missing.h5"), "Received: pretrained weights missing.h5, not a file."),
        (("missing.keras",), "Received: pretrained=missing.keras, not a file."),
        ((own_backbone,), "without hyperpixel layers. Expected some of"),
        ((own_backbone, ["edges"], "w.h5"), "Expected none: a .keras file holds its own."),
        ((str(torn), ["edges"]), "not a Keras model"),
    ]:
        with pytest.raises(ValueError) as error:
            build_hyperpixels(*arguments)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def test_a_failed_download_names_the_ways_out(monkeypatch, tmp_path):
    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", unreachable)
    monkeypatch.setattr(keras.config, "keras_home", lambda: str(tmp_path), raising=False)
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    with pytest.raises(ValueError) as error:
        build_hyperpixels("vgg16")
    assert "--pretrained-weights FILE" in str(error.value) and "--cweight 0" in str(error.value)
    assert "vgg16" in str(error.value) and "\n" not in str(error.value)
