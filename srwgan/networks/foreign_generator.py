"""A SavedModel that somebody else made, called like a generator."""

import os

import tensorflow as tf

from srwgan.commandline import one_line


class ForeignGenerator:
    """A SavedModel that maps images to images, called like a `Generator`.

    Args:
        path: folder of the SavedModel. Its serving signature has one input (B, H, W, 3) and one output.

    Attributes:
        scale: found by running it once.
        receptive_field: None, since it is not known. So the model is run on whole pictures.
        alignment: 1.

    Raises:
        ValueError: the folder cannot be read, or its model does not map images to larger or equal images.
    """

    receptive_field, alignment = None, 1

    def __init__(self, path: str | os.PathLike):
        try:
            self.module = tf.saved_model.load(os.fspath(path))
        except Exception as error:  # a torn file, missing variables, an unknown operation: each its own kind
            raise ValueError(f"Received: {path}, not a readable SavedModel ({short(error)}).") from error
        signature = self.module.signatures.get("serving_default")
        inputs = list(signature.structured_input_signature[1].items()) if signature else []
        shape = inputs[0][1].shape if len(inputs) == 1 else tf.TensorShape(None)
        if shape.rank != 4 or shape[-1] not in (3, None) or len(signature.structured_outputs) != 1:
            raise ValueError(f"Received: {path}, a SavedModel. Expected one that maps images to images when served.")
        self.signature, (self.input_name, self.input) = signature, inputs[0]
        self.scale = self.find_scale(path)

    def find_scale(self, path: str | os.PathLike) -> int:
        """The whole factor between the sizes of its input and its output, of an input of the size that it asks for."""
        _, height, width, _ = [size or 32 for size in self.input.shape]
        try:
            shape = self(tf.zeros((1, height, width, 3))).shape.as_list()
        except (ValueError, tf.errors.OpError) as error:
            raise ValueError(f"Received: {path}, a SavedModel that takes no RGB image ({short(error)}).") from error
        scale = whole_factor((height, width), shape)
        if not scale:
            raise ValueError(
                f"Received: {path}, a SavedModel that makes {shape} of [1, {height}, {width}, 3]. "
                "Expected images at a whole multiple of their size."
            )
        return scale

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        (result,) = self.signature(**{self.input_name: tf.cast(images, self.input.dtype)}).values()
        return tf.cast(result, "float32")


def whole_factor(size: tuple[int, int], shape: list[int]) -> int:
    """How many times larger a result of this shape is than a picture of (height, width); 0 for no RGB image of such."""
    height, width = size
    factor = shape[1] // height if len(shape) == 4 else 0
    return factor if shape == [1, factor * height, factor * width, 3] else 0


def short(error: Exception) -> str:
    """The beginning of an error's one line: TensorFlow's go on for pages."""
    return one_line(error)[:200]
