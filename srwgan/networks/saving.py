"""Networks on disk and back: a SavedModel that needs none of this code, with the Keras file for fine-tuning in it."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

# Keras finds a file's layers by their registered names, so the modules that register them have to be imported.
from srwgan.networks import attention, blocks, fourier, layers  # noqa: F401
from srwgan.networks.diffusion import DiffusionGenerator, image_operator_of
from srwgan.networks.discriminator import Discriminator
from srwgan.networks.foreign_generator import ForeignGenerator, short
from srwgan.networks.generator import Generator, with_precision
from srwgan.networks.model_folder import DISCRIMINATOR_FILE, GENERATOR_FILE
from srwgan.whole_files import folder_written_whole, write_json, write_text


def export_generator(
    generator: Generator | DiffusionGenerator,
    path: str | os.PathLike,
    training: dict[str, Any] | None = None,
    served: bool = True,
    more: Callable[[Generator, Path], None] | None = None,
) -> str | None:
    """Writes a generator as a SavedModel folder. What stood there is moved aside.

    The folder's serving signature takes `images` (B, H, W, 3) in [-1, 1], and with a condition also `strength` (B,) in
    [0, 1]. It gives (B, scale H, scale W, 3), edges included (see `image_operator`). A diffusion model's draws it in as
    many steps as it was made for, with seed 0. The folder also holds
    `generator.keras`, `config.json` and a model card `README.md`. Its weights are float32, whatever the training
    computed in.

    Args:
        generator: the network.
        path: the folder.
        training: what the model card says of the training, names and values.
        served: False writes `generator.keras` and `config.json` alone, which is enough for DIR/faithful and DIR/robust.
        more: writes further files, called with the generator in float32 and the folder before it has its name.

    Returns:
        Where an earlier folder was moved to, or None.

    Raises:
        OSError: the folder cannot be written. Then nothing is left of it, and what stood there stays.
    """
    config = {
        "family": getattr(generator, "family", "gan"),
        **generator.get_config(),
        "receptive_field": generator.receptive_field,
        "alignment": generator.alignment,
        "parameters": generator.count_params(),
        "value_range": [-1, 1],
        "training": training or {},
    }
    served_parts = {"card": model_card(config), "function": image_operator_of(generator)} if served else {}
    in_float32 = with_precision(generator, "float32")
    return export_network(in_float32, path, GENERATOR_FILE, config=config, more=more, **served_parts)


def export_discriminator(discriminator: Discriminator, path: str | os.PathLike) -> str | None:
    """Writes a discriminator as a SavedModel folder with `discriminator.keras`, as `export_generator` does.

    Its serving signature takes `images` and, of one with semantics, `semantics` (B, h, w, C).
    """
    config = {**discriminator.get_config(), "parameters": discriminator.count_params(), "value_range": [-1, 1]}
    in_float32 = with_precision(discriminator, "float32")
    return export_network(in_float32, path, DISCRIMINATOR_FILE, config=config, function=scores_of)


def scores_of(discriminator: Discriminator, *inputs) -> tf.Tensor:
    return discriminator(list(inputs) if len(inputs) > 1 else inputs[0])


def export_network(
    network: keras.Model,
    path: str | os.PathLike,
    keras_file: str,
    *,
    config: dict[str, Any],
    card: str | None = None,
    function: Callable | None = None,
    more: Callable[[keras.Model, Path], None] | None = None,
) -> str | None:
    """Writes the folder of a network whole or not at all; without `function` (network, *inputs), no SavedModel."""
    path = Path(os.path.abspath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = free_name(path) if os.path.lexists(path) else None
    with folder_written_whole(path, aside=aside) as temporary:
        if function:
            write_saved_model(network, function, temporary)
        network.save(temporary / keras_file)
        write_json(temporary / "config.json", config)
        if card:
            write_text(temporary / "README.md", card)
        if more:
            more(network, temporary)
    return aside and str(aside)


def write_saved_model(network: keras.Model, function: Callable, folder: Path) -> None:
    """Writes a SavedModel that serves function(network, *inputs)."""
    module = tf.Module()
    module.network = network
    signature = [tf.TensorSpec((None, None, None, 3), tf.float32, name="images")]
    if getattr(network, "condition", "none") != "none":
        signature.append(tf.TensorSpec((None,), tf.float32, name="strength"))
    if getattr(network, "semantics", 0):
        signature.append(tf.TensorSpec((None, None, None, network.semantic_channels), tf.float32, name="semantics"))
    module.serve = tf.function(lambda *inputs: {"output": function(network, *inputs)}, input_signature=signature)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})


def free_name(path: Path) -> Path:
    """`path` with the time at its end, as a name that is not taken."""
    stamp = f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}"
    aside, number = path.with_name(stamp), 1
    while os.path.lexists(aside):
        aside, number = path.with_name(f"{stamp}-{number}"), number + 1
    return aside


def load_generator(path: str | os.PathLike) -> Generator | DiffusionGenerator | ForeignGenerator:
    """A generator from an exported folder, a `.keras` file, or any SavedModel folder that maps images to images.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: something else than a generator is there.
    """
    path = Path(path)
    keras_file = path if path.suffix == ".keras" else path / GENERATOR_FILE
    if keras_file.is_file():
        generator = load_keras(keras_file)
        if not hasattr(generator, "receptive_field"):
            raise ValueError(f"Received: {keras_file}, a {type(generator).__name__}. Expected a generator.")
        return generator
    if (path / "saved_model.pb").is_file():
        return ForeignGenerator(path)
    message = f"Received: model {path}. Expected a folder with {GENERATOR_FILE} or saved_model.pb, or a .keras file."
    raise (ValueError if path.exists() else FileNotFoundError)(message)


def load_discriminator(path: str | os.PathLike) -> Discriminator | None:
    """The discriminator of an exported folder, or None where the folder has none.

    Raises:
        ValueError: its file cannot be read.
    """
    keras_file = Path(path) / DISCRIMINATOR_FILE
    return load_keras(keras_file) if keras_file.is_file() else None


def load_keras(path: Path) -> keras.Model:
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # a torn zip file, a missing class, a wrong version: each its own kind
        raise ValueError(f"Received: {path}, not a readable Keras file ({short(error)}).") from error


def model_card(config: dict[str, Any]) -> str:
    """The README.md of a generator's folder, in Markdown, from its config.json."""
    rows = "".join(f"| {name} | {value} |\n" for name, value in config["training"].items())
    strength = (
        " It also takes the strength of their degradation, (B,) in [0, 1]: `model.serve(images, strength)`."
        if config.get("condition", "none") != "none"
        else ""
    )
    drawn = (
        f" A diffusion model: what it is not told by the low resolution, it draws, here in {config['steps']} step(s) "
        "with seed 0."
        if config.get("family") == "diffusion"
        else ""
    )
    trained = f"## Training\n| | |\n|---|---|\n{rows}" if rows else "Not said how it was trained.\n"
    return f"""# Super-resolution generator, x{config["scale"]}

A generator of [SRWGAN](../README.md): {config["filters"]} filters, {config["blocks"]} residual blocks, \
{config["parameters"]:,} parameters. \
Images (B, H, W, 3), RGB in [-1, 1], become (B, {config["scale"]} H, {config["scale"]} W, 3).{strength}{drawn}

- `saved_model.pb`, `variables/`: a TensorFlow SavedModel. `model = tf.saved_model.load(folder)` and then
  `model.serve(images)["output"]` need none of SRWGAN's code.
- `generator.tflite`: for LiteRT, on phones and small computers, where it is there.
- `generator.keras`: the Keras model in float32, for fine-tuning (`train_SRWGAN.py --init FOLDER`).
- `config.json`: this card for programs.

{trained}"""
