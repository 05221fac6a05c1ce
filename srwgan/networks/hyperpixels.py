"""Hyperpixels: feature maps of a frozen ImageNet classifier, stacked over chosen layers, for the content loss.

Hypercolumns are Hariharan et al. 2015 (arXiv:1411.5752); as a loss for super-resolution, Ledig et al. 2017
(arXiv:1609.04802).
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from srwgan.networks.foreign_generator import short
from srwgan.pixels import range_to_levels

APPLICATIONS = {  # name -> (constructor, module of its preprocess_input, default positions in model.layers)
    "resnet50": (keras.applications.ResNet50, keras.applications.resnet50, (2, 7, 10, 14)),
    "resnet101": (keras.applications.ResNet101, keras.applications.resnet, (2, 7, 10, 14)),
    "vgg16": (keras.applications.VGG16, keras.applications.vgg16, (2, 5, 9, 13)),
    "vgg19": (keras.applications.VGG19, keras.applications.vgg19, (2, 5, 10, 15)),
}


def build_hyperpixels(
    pretrained: str = "resnet50",
    layers: list[int | str] | None = None,
    weights: str | os.PathLike | None = None,
    dtype: str = "float32",
) -> "Hyperpixels":
    """A frozen Keras model: (B, H, W, 3) RGB in [-1, 1] -> a list of feature maps (B, h, w, c).

    Args:
        pretrained: "resnet50", "resnet101", "vgg16", "vgg19", or a `.keras` file that takes RGB in [-1, 1].
        layers: positions in `model.layers`, or layer names. By default those of `APPLICATIONS`; a file has no default.
        weights: file of weights without the top layers. By default ImageNet's, which Keras downloads.
        dtype: Keras dtype policy of the classifier.

    Raises:
        ValueError: unknown backbone or layer, unreadable file, or weights that cannot be downloaded.
    """
    if pretrained in APPLICATIONS:
        constructor, module, default_layers = APPLICATIONS[pretrained]
        backbone = load_application(pretrained, constructor, weights, dtype)
        preprocess = module.preprocess_input
    elif str(pretrained).endswith(".keras"):
        backbone, default_layers, preprocess = load_own_backbone(pretrained, weights), (), None
    else:
        raise ValueError(unknown(pretrained))
    outputs = [find_layer(backbone, layer).output for layer in (layers or default_layers)]
    if not outputs:
        names = [layer.name for layer in backbone.layers]
        raise ValueError(f"Received: {pretrained} without hyperpixel layers. Expected some of {names}.")
    return Hyperpixels(keras.Model(backbone.inputs[0], outputs), preprocess)  # a discriminator may have a second input


def unknown(pretrained: str) -> str:
    return f"Received: pretrained={pretrained}. Expected {', '.join(APPLICATIONS)} or a .keras file."


def channels_of_last_map(pretrained: str, layers: list[int | str] | None = None) -> int:
    """The channels of the last map of `build_hyperpixels`, found without weights.

    Raises:
        ValueError: unknown backbone or layer, or unreadable file.
    """
    if pretrained in APPLICATIONS:
        constructor, _, default_layers = APPLICATIONS[pretrained]
        backbone = constructor(include_top=False, weights=None, input_shape=(None, None, 3))
    elif str(pretrained).endswith(".keras"):
        backbone, default_layers = load_own_backbone(pretrained, None), ()
    else:
        raise ValueError(unknown(pretrained))
    return find_layer(backbone, (layers or default_layers or ("none",))[-1]).output.shape[-1]


class Hyperpixels:
    """Calls `features` on images in [-1, 1], through the classifier's own preprocessing where it has one.

    Attributes:
        channel_weights: None, or an array (c,) for each map, see `read_channel_weights`.
    """

    def __init__(self, features: keras.Model, preprocess: Callable | None):
        features.trainable = False
        self.features, self.preprocess = features, preprocess
        self.channel_weights = None

    def __call__(self, images: tf.Tensor) -> list[tf.Tensor]:
        if self.preprocess:
            images = self.preprocess(range_to_levels(images))
        maps = self.features(images, training=False)
        return list(maps) if isinstance(maps, (list, tuple)) else [maps]


def read_channel_weights(path: str | os.PathLike, hyperpixels: Hyperpixels) -> list[np.ndarray]:
    """An array (c,) float32 for each map of `hyperpixels`, from an .npz file in the order of its names.

    Raises:
        ValueError: not such a file, or other numbers of channels.
    """
    channels = [features.shape[-1] for features in hyperpixels.features.outputs]
    try:
        with np.load(path) as stored:
            weights = [stored[name].astype(np.float32).reshape(-1) for name in sorted(stored.files)]
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(
            f"Received: {path}, not a readable .npz file. Expected one with an array of channel weights "
            "for each hyperpixel layer."
        ) from error
    if [len(each) for each in weights] != channels:
        raise ValueError(
            f"Received: {path}, with arrays of {[len(each) for each in weights]} channels. "
            f"Expected {channels}, those of the hyperpixel layers."
        )
    return weights


def load_application(name, constructor, weights, dtype):
    if weights and not Path(weights).is_file():
        raise ValueError(f"Received: pretrained weights {weights}, not a file. Expected a weights file of {name}.")
    try:
        with global_dtype_policy(dtype):
            return constructor(include_top=False, weights=weights or "imagenet", input_shape=(None, None, 3))
    except Exception as error:  # Keras raises its own kinds for a failed download, a bad file, a wrong shape
        if weights:
            message = f"Received: {weights}, not weights of {name} without its top layers ({short(error)})."
            raise ValueError(message) from error
        raise ValueError(
            f"The ImageNet weights of {name} could not be downloaded ({short(error)}). "
            "Give a file with --pretrained-weights FILE, or train without the content loss: --cweight 0."
        ) from error


def load_own_backbone(path, weights):
    if not Path(path).is_file():
        raise ValueError(f"Received: pretrained={path}, not a file. Expected a .keras file.")
    if weights:
        raise ValueError(f"Received: weights {weights} beside {path}. Expected none: a .keras file holds its own.")
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(f"Received: {path}, not a Keras model ({short(error)}).") from error


def find_layer(backbone: keras.Model, layer: int | str) -> keras.Layer:
    """The layer at a position in `model.layers` (an int or its digits), or the one of a name.

    Raises:
        ValueError: there is no such layer.
    """
    names = [each.name for each in backbone.layers]
    if str(layer).isdigit() and 0 < int(layer) < len(names):
        return backbone.layers[int(layer)]
    if layer in names:
        return backbone.get_layer(layer)
    raise ValueError(f"Received: hyperpixel layer {layer}. Expected 1 to {len(names) - 1} or one of {names}.")


@contextlib.contextmanager
def global_dtype_policy(policy: Any):
    """Sets Keras's global policy for the block: keras.applications take no dtype, and read it while they are built."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
