"""Networks on disk and back: a SavedModel that needs none of this code, with the Keras file for fine-tuning in it."""

import json
import os
import shutil
import tempfile
import time

import keras
import tensorflow as tf

from srwgan.networks import discriminator as _discriminator  # noqa: F401 (registers its layers for load_model)
from srwgan.networks.edges import image_operator
from srwgan.networks.generator import with_precision
from srwgan.networks.model_folder import GENERATOR_FILE

DISCRIMINATOR_FILE = "discriminator.keras"


def export_generator(generator, path, training=None, served=True):
    """Write a generator as a SavedModel folder; what stood there is moved aside.

    The folder's serving signature takes `images` (B, H, W, 3) in [-1, 1], with a condition `strength` (B,) in [0, 1]
    too, and gives (B, scale H, scale W, 3), edges included (see `image_operator`). It also holds
    `generator.keras`, `config.json` and a model card `README.md`.

    Files hold float32, whatever the training computed in.

    Args:
        training: what the model card should say of the training, a dict of names and values.
        served: False writes `generator.keras` and `config.json` alone, as is enough for DIR/faithful and DIR/robust.

    Returns:
        Where an earlier folder was moved to, or None.
    """
    config = {
        **generator.get_config(),
        "receptive_field": generator.receptive_field,
        "alignment": generator.alignment,
        "parameters": generator.count_params(),
        "value_range": [-1, 1],
        "training": training or {},
    }
    generator = with_precision(generator, "float32")
    card = model_card(config) if served else None
    return export_network(generator, path, image_operator if served else None, GENERATOR_FILE, config, card)


def export_discriminator(discriminator, path):
    """Write a discriminator as a SavedModel folder with `discriminator.keras`; what stood there is moved aside."""
    config = {**discriminator.get_config(), "parameters": discriminator.count_params(), "value_range": [-1, 1]}
    return export_network(with_precision(discriminator, "float32"), path, lambda d, x: d(x), DISCRIMINATOR_FILE, config)


def load_generator(path):
    """A generator from an exported folder, a `.keras` file, or any SavedModel folder that maps images to images.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: something else than a generator is there.
    """
    path = os.fspath(path)
    keras_file = path if path.endswith(".keras") else os.path.join(path, GENERATOR_FILE)
    if os.path.isfile(keras_file):
        generator = load_keras(keras_file)
        if not hasattr(generator, "receptive_field"):
            raise ValueError(f"Received: {keras_file}, a {type(generator).__name__}. Expected a generator.")
        return generator
    if os.path.isfile(os.path.join(path, "saved_model.pb")):
        return ForeignGenerator(path)
    message = f"Received: model {path}. Expected a folder with {GENERATOR_FILE} or saved_model.pb, or a .keras file."
    raise (ValueError if os.path.exists(path) else FileNotFoundError)(message)


def load_discriminator(path):
    """The discriminator of an exported folder, or None where there is none."""
    keras_file = os.path.join(os.fspath(path), DISCRIMINATOR_FILE)
    return load_keras(keras_file) if os.path.isfile(keras_file) else None


class ForeignGenerator:
    """A SavedModel of somebody else's: called like a generator; how far it looks is unknown, so it is run whole.

    Attributes:
        scale: found by running it once.
        receptive_field: None.

    Raises:
        ValueError: it cannot be read, or does not map images to larger or equal images.
    """

    receptive_field, alignment = None, 1

    def __init__(self, path):
        try:
            self.module = tf.saved_model.load(path)
        except Exception as error:  # a torn file, missing variables, an unknown operation: each its own kind
            raise ValueError(f"Received: {path}, not a readable SavedModel ({in_a_line(error)}).") from error
        signature = self.module.signatures.get("serving_default")
        inputs = list(signature.structured_input_signature[1].items()) if signature else []
        shape = inputs[0][1].shape if len(inputs) == 1 else tf.TensorShape(None)
        if shape.rank != 4 or shape[-1] not in (3, None) or len(signature.structured_outputs) != 1:
            raise ValueError(f"Received: {path}, a SavedModel. Expected one that maps images to images when served.")
        self.signature, (self.input_name, self.input) = signature, inputs[0]
        self.scale = self.find_scale(path)

    def find_scale(self, path):
        _, height, width, _ = [size or 32 for size in self.input.shape]
        try:
            shape = self(tf.zeros((1, height, width, 3))).shape.as_list()
        except (ValueError, tf.errors.OpError) as error:
            message = f"Received: {path}, a SavedModel that takes no RGB image ({in_a_line(error)})."
            raise ValueError(message) from error
        scale = shape[1] // height if len(shape) == 4 else 0
        if not scale or shape != [1, scale * height, scale * width, 3]:
            raise ValueError(
                f"Received: {path}, a SavedModel that makes {shape} of [1, {height}, {width}, 3]. "
                "Expected images at a whole multiple of their size."
            )
        return scale

    def __call__(self, images, training=False):
        (result,) = self.signature(**{self.input_name: tf.cast(images, self.input.dtype)}).values()
        return tf.cast(result, "float32")


def export_network(network, path, function, keras_file, config, card=None):
    """Write beside `path` first, then move the old aside and the new in; without `function`, no SavedModel."""
    path = os.path.abspath(os.fspath(path))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = tempfile.mkdtemp(prefix=os.path.basename(path) + ".", dir=os.path.dirname(path))
    try:
        if function:
            write_saved_model(network, function, temporary)
        network.save(os.path.join(temporary, keras_file))
        write_text(os.path.join(temporary, "config.json"), json.dumps(config, indent=2) + "\n")
        if card:
            write_text(os.path.join(temporary, "README.md"), card)
        os.chmod(temporary, 0o755)
        aside = move_aside(path)
        os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return aside


def write_saved_model(network, function, folder):
    module = tf.Module()
    module.network = network
    signature = [tf.TensorSpec((None, None, None, 3), tf.float32, name="images")]
    if getattr(network, "condition", "none") != "none":
        signature.append(tf.TensorSpec((None,), tf.float32, name="strength"))
    module.serve = tf.function(lambda *inputs: {"output": function(network, *inputs)}, input_signature=signature)
    tf.saved_model.save(module, folder, signatures={"serving_default": module.serve})


def move_aside(path):
    """Rename what stands at `path` to `path.TIME`; returns the new name, or None if nothing stood there."""
    if not os.path.lexists(path):
        return None
    stamp = f"{path}.{time.strftime('%Y%m%d-%H%M%S')}"
    aside, number = stamp, 1
    while os.path.lexists(aside):
        aside, number = f"{stamp}-{number}", number + 1
    os.rename(path, aside)
    return aside


def load_keras(path):
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # a torn zip file, a missing class, a wrong version: each its own kind
        raise ValueError(f"Received: {path}, not a readable Keras file ({in_a_line(error)}).") from error


def in_a_line(error):
    return " ".join(str(error).split())[:200]


def write_text(path, text):
    with open(path, "w") as file:
        file.write(text)


def model_card(config):
    rows = "".join(f"| {name} | {value} |\n" for name, value in config["training"].items())
    told = (
        ""
        if config.get("condition", "none") == "none"
        else (" It is told the strength of their degradation too, (B,) in [0, 1]: `model.serve(images, strength)`.")
    )
    trained = f"## Training\n| | |\n|---|---|\n{rows}" if rows else "Not said how it was trained.\n"
    return f"""# Super-resolution generator, x{config["scale"]}

A generator of [SRWGAN](../README.md): {config["filters"]} filters, {config["blocks"]} residual blocks, \
{config["parameters"]:,} parameters. \
Images (B, H, W, 3), RGB in [-1, 1], become (B, {config["scale"]} H, {config["scale"]} W, 3).{told}

- `saved_model.pb`, `variables/`: a TensorFlow SavedModel. `model = tf.saved_model.load(folder)` and then
  `model.serve(images)["output"]` need none of SRWGAN's code.
- `generator.keras`: the Keras model in float32, for fine-tuning (`train_SRWGAN.py --init FOLDER`).
- `config.json`: this card for programs.

{trained}"""
