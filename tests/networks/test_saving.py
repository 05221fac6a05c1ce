import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from srwgan.networks import saving
from srwgan.networks.discriminator import Discriminator
from srwgan.networks.generator import Generator
from srwgan.networks.saving import export_discriminator, export_generator, load_discriminator, load_generator


def noise(shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def shaken(seed=0, **arguments):
    """A generator whose convolutions all count, unlike at the start of a training."""
    generator = Generator(**{"filters": 4, "blocks": 1, "scale": 2, **arguments})
    random = np.random.default_rng(seed)
    generator.set_weights([random.normal(0, 0.15, weight.shape) for weight in generator.get_weights()])
    return generator


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A generator and the folder it was exported to."""
    generator = shaken()
    path = str(tmp_path_factory.mktemp("export") / "SRWGAN_Gen")
    assert export_generator(generator, path, {"photographs": 24, "batch": "4 crops of 256x256"}) is None
    return generator, path


def test_reloading_gives_the_same_pixels(exported):
    generator, path = exported
    for name in path, os.path.join(path, "generator.keras"):
        loaded = load_generator(name)
        assert isinstance(loaded, Generator)
        assert (loaded.scale, loaded.receptive_field) == (generator.scale, generator.receptive_field)
        np.testing.assert_array_equal(loaded(noise((2, 9, 7, 3))), generator(noise((2, 9, 7, 3))))


@pytest.mark.parametrize("shape", [(1, 3, 5, 3), (2, 20, 16, 3)])
def test_the_saved_model_pads_runs_and_crops(exported, shape):
    """What TF Serving and tf.saved_model.load give: the generator on the picture with its edges mirrored."""
    generator, path = exported
    module = tf.saved_model.load(path)
    images, margin = noise(shape), 4
    padded = np.pad(images, [(0, 0), (margin, margin), (margin, margin), (0, 0)], mode="symmetric")
    expected = generator(padded).numpy()[:, 2 * margin : -2 * margin, 2 * margin : -2 * margin]
    np.testing.assert_allclose(module.serve(tf.constant(images))["output"], expected, rtol=1e-4, atol=1e-5)
    served = module.signatures["serving_default"](images=tf.constant(images))
    np.testing.assert_allclose(served["output"], expected, rtol=1e-4, atol=1e-5)


def test_the_card_and_the_configuration(exported):
    generator, path = exported
    with open(os.path.join(path, "config.json")) as file:
        config = json.load(file)
    assert (config["filters"], config["blocks"], config["scale"]) == (4, 1, 2)
    assert config["receptive_field"] == generator.receptive_field
    assert config["parameters"] == sum(weight.size for weight in generator.get_weights())
    assert config["training"] == {"photographs": 24, "batch": "4 crops of 256x256"}
    with open(os.path.join(path, "README.md")) as file:
        card = file.read()
    assert "x2" in card and "| photographs | 24 |" in card and "| batch | 4 crops of 256x256 |" in card


def test_files_hold_float32_whatever_the_training_computed_in(tmp_path):
    generator = shaken(dtype="mixed_bfloat16")
    export_generator(generator, tmp_path / "g")
    loaded = load_generator(tmp_path / "g")
    assert all(layer.compute_dtype == "float32" for layer in loaded.layers)
    for made, wanted in zip(loaded.get_weights(), generator.get_weights(), strict=True):
        np.testing.assert_array_equal(made, wanted)
    operations = {
        op.type
        for op in tf.saved_model.load(str(tmp_path / "g")).serve.concrete_functions[0].graph.get_operations()
        for out in op.outputs
        if out.dtype == tf.bfloat16
    }
    assert not operations


def test_what_stood_there_is_moved_aside(tmp_path):
    path = str(tmp_path / "SRWGAN_Dis")
    first, second = Discriminator(4), Discriminator(4)
    images = noise((1, 16, 16, 3))
    assert export_discriminator(first, path) is None
    aside = [export_discriminator(second, path), export_discriminator(second, path)]
    assert len(set(aside)) == 2 and all(name.startswith(path + ".") for name in aside)
    assert sorted(os.listdir(tmp_path)) == sorted(map(os.path.basename, [path, *aside]))
    np.testing.assert_array_equal(load_discriminator(aside[0])(images), first(images))
    np.testing.assert_array_equal(load_discriminator(path)(images), second(images))
    assert load_discriminator(tmp_path) is None


def test_a_failure_leaves_nothing_behind_and_the_old_in_place(tmp_path, monkeypatch):
    path = tmp_path / "SRWGAN_Gen"
    path.mkdir()
    (path / "mine.txt").write_text("keep")

    def fails(network, function, folder):
        (tmp_path / os.path.basename(folder) / "half").touch()
        raise OSError("No space left on device")

    monkeypatch.setattr(saving, "write_saved_model", fails)
    with pytest.raises(OSError, match="No space left"):
        export_generator(shaken(), path)
    assert os.listdir(tmp_path) == ["SRWGAN_Gen"] and os.listdir(path) == ["mine.txt"]


class Tripled(tf.Module):
    """Somebody else's network: another signature, names of its own."""

    @tf.function(input_signature=[tf.TensorSpec((None, 16, 16, 3), tf.float32, name="picture")])
    def serve(self, picture):
        return {"enlarged": tf.repeat(tf.repeat(picture, 3, 1), 3, 2)}

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
    def classify(self, picture):
        return {"score": tf.reduce_mean(picture, [1, 2, 3])}

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 1), tf.float32)])
    def gray(self, picture):
        return {"output": picture}


def test_a_saved_model_of_somebody_elses(tmp_path):
    module, path = Tripled(), str(tmp_path / "foreign")
    tf.saved_model.save(module, path, signatures={"serving_default": module.serve})
    loaded = load_generator(path)
    assert (loaded.scale, loaded.receptive_field, loaded.alignment) == (3, None, 1)
    images = noise((2, 16, 16, 3))
    np.testing.assert_array_equal(loaded(images), images.repeat(3, 1).repeat(3, 2))


def test_saved_models_that_make_no_images_of_images(tmp_path):
    for name in "classify", "gray":
        module, path = Tripled(), str(tmp_path / name)
        tf.saved_model.save(module, path, signatures={"serving_default": getattr(module, name)})
        with pytest.raises(ValueError) as error:
            load_generator(path)
        assert path in str(error.value) and "\n" not in str(error.value)
    tf.saved_model.save(tf.Module(), str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="Expected one that maps images to images"):
        load_generator(tmp_path / "empty")


def test_what_is_not_a_generator(tmp_path, exported):
    with pytest.raises(FileNotFoundError, match="Expected a folder with generator.keras or saved_model.pb"):
        load_generator(tmp_path / "missing")
    with pytest.raises(ValueError, match="Expected a folder with generator.keras or saved_model.pb"):
        load_generator(tmp_path)
    Discriminator(4).save(tmp_path / "d.keras")
    with pytest.raises(ValueError, match="a Discriminator. Expected a generator."):
        load_generator(tmp_path / "d.keras")
    with open(os.path.join(exported[1], "generator.keras"), "rb") as file:
        (tmp_path / "torn.keras").write_bytes(file.read()[:1000])
    with pytest.raises(ValueError, match="not a readable Keras file") as error:
        load_generator(tmp_path / "torn.keras")
    assert "\n" not in str(error.value)
    (tmp_path / "torn").mkdir()
    for content in b"", b"\x08\x01\x12\xff\xff":
        (tmp_path / "torn" / "saved_model.pb").write_bytes(content)
        with pytest.raises(ValueError, match="torn") as error:
            load_generator(tmp_path / "torn")
        assert "\n" not in str(error.value)


def test_a_saved_model_without_its_variables(tmp_path, exported):
    (tmp_path / "g").mkdir()
    with open(os.path.join(exported[1], "saved_model.pb"), "rb") as file:
        (tmp_path / "g" / "saved_model.pb").write_bytes(file.read())
    with pytest.raises(ValueError, match="not a readable SavedModel"):
        load_generator(tmp_path / "g")


def test_registered_layers_need_no_lambda(exported):
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in load_generator(exported[1]).layers)
