"""Somebody's generator from ncnn's files, in TensorFlow, and as a SavedModel that `load_generator` takes.

Those of Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833) and SPAN (Wan et al. 2024, arXiv:2311.12770) are in Python
packages in this form. What the files look like: `srwgan/networks/ncnn_file.py`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from srwgan.networks.foreign_generator import short, whole_factor
from srwgan.networks.ncnn_file import HINTS, Layer, Weights, read_layers
from srwgan.networks.saving import free_name, write_saved_model
from srwgan.whole_files import folder_written_whole

TRIED = 16  # pixels of each side of what it is run on to find its scale
SAME = -233  # ncnn's padding that depends on the size, which is TensorFlow's "SAME"


class NcnnNetwork(tf.Module):
    """A network of ncnn's files that maps RGB images to RGB images.

    It is called with images (B, H, W, 3) in [-1, 1] and gives (B, scale H, scale W, 3), not clipped to [-1, 1]. Its
    layers take and give [0, 1], as is usual in ncnn. It computes in float32, whatever its weights were rounded to.

    Args:
        param: path of the .param file.
        weights: path of the .bin file.

    Attributes:
        scale: found by running it once.
        parameters: the number of its weights.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not what it should be, a layer or an option is not known here, or the network does not map
            RGB images to images at a whole multiple of their size.
    """

    def __init__(self, param: str | os.PathLike, weights: str | os.PathLike):
        super().__init__()
        self.path, layers = os.fspath(param), read_layers(param)
        for layer in layers:
            check_layer(layer, param)
        file = Weights(weights)
        self.steps = tuple(self.step_of(layer, file) for layer in layers)
        file.check_end()
        taken = {name for layer in layers for name in layer.inputs}
        (self.output,) = (name for layer in layers for name in layer.outputs if name not in taken)
        self.parameters = sum(int(np.prod(each.shape)) for each in self.variables)
        self.scale = self.find_scale()

    def step_of(self, layer: Layer, file: Weights) -> "Step":
        """What a layer does, with its weights, which are the next in the file."""
        try:
            function, arrays = LAYERS[layer.kind].make(layer, file)
        except NotKnown as error:
            raise ValueError(f"Received: {self.path}, whose layer {layer} has {error}") from error
        constants = [tf.Variable(each, trainable=False, dtype=tf.float32) for each in arrays]
        return Step(layer, function, constants)

    def find_scale(self) -> int:
        """The whole factor between the sizes of its input and its output."""
        shape = self(tf.zeros((1, TRIED, TRIED, 3))).shape.as_list()
        scale = whole_factor((TRIED, TRIED), shape)
        if not scale:
            raise ValueError(
                f"Received: {self.path}, whose network makes {shape} of [1, {TRIED}, {TRIED}, 3]. "
                "Expected RGB images at a whole multiple of their size."
            )
        return scale

    @tf.autograph.experimental.do_not_convert
    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        made = {}
        for step in self.steps:
            is_input = step.layer.kind == "Input"
            inputs = [(images + 1) / 2] if is_input else [made[name] for name in step.layer.inputs]
            try:
                result = step.function(*inputs, *step.constants)
            except (ValueError, tf.errors.OpError) as error:
                raise ValueError(
                    f"Received: {self.path}, whose layer {step.layer} cannot be run ({short(error)}). "
                    "Expected a network of RGB images."
                ) from error
            made.update(dict.fromkeys(step.layer.outputs, result))
        return made[self.output] * 2 - 1


def export_ncnn(network: NcnnNetwork, path: str | os.PathLike) -> str | None:
    """Writes a network as a SavedModel folder. What stood there is moved aside.

    The folder's serving signature takes `images` (B, H, W, 3) in [-1, 1] and gives `output` (B, scale H, scale W, 3).

    Returns:
        Where what stood there was moved to, or None.

    Raises:
        OSError: the folder cannot be written. Then nothing is left of it, and what stood there stays.
        ValueError: the network's own files are in the folder, and would be moved with it.
    """
    path = Path(os.path.abspath(path))
    if path in Path(os.path.abspath(network.path)).parents:
        raise ValueError(f"Received: {path} for the result, which has {network.path} in it. Expected another folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = free_name(path) if os.path.lexists(path) else None
    with folder_written_whole(path, aside=aside) as temporary:
        write_saved_model(network, lambda network, images: network(images), temporary)
    return aside and str(aside)


class Step(tf.Module):
    """A layer, the function of its inputs and constants that gives the one tensor for all its outputs, and these."""

    def __init__(self, layer: Layer, function: Callable, constants: list[tf.Variable]):
        super().__init__()
        self.layer, self.function, self.constants = layer, function, constants


@dataclass(frozen=True)
class Kind:
    """What is known of a kind of layers.

    Attributes:
        make: (layer, weights) -> (function, arrays). The function takes the inputs (B, H, W, C) and the arrays, as
            tensors, and gives a tensor. The arrays are read from `weights`.
        inputs: how many it takes, None for one or more.
        outputs: how many it makes, None for one or more.
        whole: numbers of the options that are read, of whole numbers.
        real: of those that are numbers.
        lists: of those that are lists of numbers.
        fixed: {number: value} of the options that may be there with this value alone.
    """

    make: Callable[[Layer, Weights], tuple[Callable, list[np.ndarray]]]
    inputs: int | None = 1
    outputs: int | None = 1
    whole: tuple[int, ...] = ()
    real: tuple[int, ...] = ()
    lists: tuple[int, ...] = ()
    fixed: dict[int, float] = field(default_factory=dict)

    def takes(self, number: int, value: Any) -> bool:
        if isinstance(value, list):
            return number in self.lists
        if number in self.fixed:
            return value == self.fixed[number]
        return number in self.real or (number in self.whole and isinstance(value, int))


class NotKnown(Exception):
    """An option of a layer that is not known here: "option=value. Expected something"."""


def check_layer(layer: Layer, path: str | os.PathLike) -> None:
    """Raises ValueError for a layer of a kind, a number of inputs or outputs, or an option that is not known here."""
    kind = LAYERS.get(layer.kind)
    if kind is None:
        known = ", ".join(sorted(LAYERS))
        raise ValueError(f"Received: {path}, whose layer {layer.name} is a {layer.kind}. Expected one of: {known}.")
    for names, number, what in ((layer.inputs, kind.inputs, "inputs"), (layer.outputs, kind.outputs, "outputs")):
        if len(names) != number and (number is not None or not names):
            expected = "one or more" if number is None else number
            raise ValueError(f"Received: {path}, whose layer {layer} has {len(names)} {what}. Expected {expected}.")
    for number, value in layer.options.items():
        if number in HINTS or kind.takes(number, value):
            continue
        if (layer.kind, number) == ("Convolution", 8):
            raise ValueError(f"Received: {path}, whose layer {layer} has int8 weights. Expected float32 or float16.")
        expected = f"{number}={kind.fixed[number]}" if number in kind.fixed else "an option that is known for it"
        raise ValueError(f"Received: {path}, whose layer {layer} has the option {number}={value}. Expected {expected}.")


# For each kind of layer the function `make` of its `Kind`, then the table of them all.


def same(layer, weights):
    return lambda x: x, []


def convolution(layer, weights):
    """A convolution of (B, H, W, C) with bias and activation. ncnn's kernels are (outputs, inputs, height, width)."""
    option = layer.options.get
    outputs, width, count = option(0, 0), option(1, 0), option(6, 0)
    height, stride = option(11, width), option(3, 1)
    strides = option(13, stride), stride
    left = option(4, 0)
    top = option(14, left)
    pads = top, option(16, top), left, option(15, left)
    if min(outputs, width, height, count, *strides) < 1 or count % (outputs * width * height):
        raise NotKnown(f"{count} weights for {outputs} outputs of {height}x{width}. Expected as many for each output.")
    if min(pads) < 0 and set(pads) != {SAME}:
        raise NotKnown(f"the padding {min(pads)}. Expected 0 pixels or more, or {SAME}.")
    padding = "SAME" if SAME in pads else [(0, 0), pads[:2], pads[2:], (0, 0)]
    kernel = weights.tagged(count, layer).reshape(outputs, -1, height, width).transpose(2, 3, 1, 0)
    bias = weights.raw(outputs, layer) if option(5, 0) else np.zeros(outputs, np.float32)
    activate = activation(option(9, 0), option(10, []))

    def run(x, kernel, bias):
        if x.shape[-1] != kernel.shape[2]:  # some of them TensorFlow would take for a convolution of groups
            raise ValueError(f"{x.shape[-1]} channels instead of {kernel.shape[2]}")
        return activate(tf.nn.bias_add(tf.nn.conv2d(x, kernel, strides, padding), bias))

    return run, [kernel, bias]


def activation(kind: int, numbers: list[float]) -> Callable:
    """The function that a convolution ends with; `numbers` are the slope of a leaky ReLU or the ends of a clip."""
    kinds = {
        0: (0, lambda x: x),
        1: (0, tf.nn.relu),
        2: (1, lambda x: tf.nn.leaky_relu(x, *numbers)),
        3: (2, lambda x: tf.clip_by_value(x, *numbers)),
        4: (0, tf.sigmoid),
    }
    if kind not in kinds:
        raise NotKnown(f"the activation 9={kind}. Expected 0 to {max(kinds)}.")
    count, function = kinds[kind]
    if count and len(numbers) != count:
        raise NotKnown(f"{len(numbers)} numbers for the activation 9={kind}. Expected {count}.")
    return function


def concat(layer, weights):
    return lambda *inputs: tf.concat(inputs, -1), []


def eltwise(layer, weights):
    """The product, the sum, weighted where coefficients are given, or the maximum of all inputs."""
    kind, factors = layer.options.get(0, 0), layer.options.get(1, [])
    if kind == 1 and factors:
        if len(factors) != len(layer.inputs):
            raise NotKnown(f"{len(factors)} coefficients for {len(layer.inputs)} inputs. Expected one for each.")
        return lambda *inputs: tf.add_n([factor * x for factor, x in zip(factors, inputs, strict=True)]), []
    return combined(kind, {0: tf.multiply, 1: tf.add, 2: tf.maximum}), []


def combined(kind: int, functions: dict[int, Callable]) -> Callable:
    """A function of one input or more: the first with the second, the result with the third and so on."""
    if kind not in functions:
        raise NotKnown(f"0={kind}. Expected one of {', '.join(map(str, functions))}.")

    def run(first, *others):
        for other in others:
            first = functions[kind](first, other)
        return first

    return run


def binary(layer, weights):
    """Two inputs, or one and a number, the second one for all pixels or for each channel where it is smaller."""
    function = combined(layer.options.get(0, 0), BINARY)
    has_number = bool(layer.options.get(1, 0))
    if len(layer.inputs) != 2 - has_number:
        raise NotKnown(f"{len(layer.inputs)} inputs. Expected {2 - has_number}.")
    if not has_number:
        return function, []
    number = float(layer.options.get(2, 0.0))
    return lambda x: function(x, tf.constant(number, x.dtype)), []


BINARY = {
    0: tf.add,
    1: tf.subtract,
    2: tf.multiply,
    3: tf.divide,
    4: tf.maximum,
    5: tf.minimum,
    6: tf.pow,
    7: lambda x, y: y - x,
    8: lambda x, y: y / x,
}


def memory(layer, weights):
    """Constants: one number or one for each channel, (C,), or (C, H, W), as (1, H, W, C)."""
    width, height, channels = (layer.options.get(number, 0) for number in range(3))
    shape = (channels, height, width) if channels else (width, 1, 1)
    if min(shape) < 1 or (height and not channels):
        raise NotKnown(f"the size {width}, {height}, {channels}. Expected one number, or width, height and channels.")
    read = weights.raw if layer.options.get(21, 1) else weights.tagged
    return lambda constants: constants, [read(int(np.prod(shape)), layer).reshape(shape).transpose(1, 2, 0)[None]]


def interp(layer, weights):
    """Resizes to factors of the size, rounded down, by the pixels' centres."""
    option = layer.options.get
    kind, factors = option(0, 0), (float(option(1, 1)), float(option(2, 1)))
    if kind not in (1, 2):
        raise NotKnown(f"the interpolation 0={kind}. Expected 1 (nearest) or 2 (bilinear).")
    if min(factors) <= 0 or (kind == 1 and any(factor % 1 for factor in factors)):
        # Between whole factors, which pixel is the nearest depends on how it was rounded.
        raise NotKnown(f"factors {factors[0]:g} and {factors[1]:g}. Expected whole ones, or bilinear interpolation.")

    def run(x):
        size = tf.cast(tf.cast(tf.shape(x)[1:3], tf.float32) * factors, tf.int32)
        return tf.image.resize(x, size, "nearest" if kind == 1 else "bilinear")

    return run, []


def shuffle(layer, weights):
    """(B, H, W, C r^2) -> (B, r H, r W, C).

    What goes to row i, column j and channel c is channel c r^2 + i r + j, or in mode 1 channel (i r + j) C + c.
    """
    factor, mode = layer.options.get(0, 1), layer.options.get(1, 0)
    if factor < 1 or mode not in (0, 1):
        raise NotKnown(f"0={factor} and 1={mode}. Expected a factor of 1 or more and the mode 0 or 1.")

    def run(x):
        if factor == 1:
            return x
        if mode == 0:  # TensorFlow has the other one
            order = np.arange(x.shape[-1]).reshape(-1, factor**2).T.reshape(-1)
            x = tf.gather(x, order, axis=-1)
        return tf.nn.depth_to_space(x, factor)

    return run, []


def relu(layer, weights):
    slope = float(layer.options.get(0, 0.0))
    return lambda x: tf.nn.leaky_relu(x, slope) if slope else tf.nn.relu(x), []


def prelu(layer, weights):
    """A slope below 0, one for all channels or for each."""
    count = layer.options.get(0, 0)
    if count < 1:
        raise NotKnown(f"{count} slopes. Expected 1, or one for each channel.")
    return lambda x, slopes: tf.nn.relu(x) + slopes * tf.minimum(x, 0.0), [weights.raw(count, layer)]


def clip(layer, weights):
    largest = float(np.finfo(np.float32).max)
    least, most = float(layer.options.get(0, -largest)), float(layer.options.get(1, largest))
    return lambda x: tf.clip_by_value(x, least, most), []


def of_each(function: Callable) -> Callable:
    """The `make` of a layer without options, a function of each value."""
    return lambda layer, weights: (function, [])


LAYERS = {
    "Input": Kind(same, inputs=0, whole=(0, 1), fixed={2: 3, 11: 0}),
    "Split": Kind(same, outputs=None),
    "Noop": Kind(same),
    "Convolution": Kind(
        convolution,
        whole=(0, 1, 3, 4, 5, 6, 9, 11, 13, 14, 15, 16),
        lists=(10,),
        fixed={2: 1, 8: 0, 12: 1, 18: 0, 19: 0},  # dilations, int8, the value of the padding, weights as an input
    ),
    "Concat": Kind(concat, inputs=None, fixed={0: 0}),  # the channels
    "Eltwise": Kind(eltwise, inputs=None, whole=(0,), lists=(1,)),
    "BinaryOp": Kind(binary, inputs=None, whole=(0, 1), real=(2,)),
    "MemoryData": Kind(memory, inputs=0, whole=(0, 1, 2, 21), fixed={11: 0}),
    "Interp": Kind(interp, whole=(0,), real=(1, 2), fixed={3: 0, 4: 0, 5: 0, 6: 0}),  # sizes, aligned corners
    "PixelShuffle": Kind(shuffle, whole=(0, 1)),
    "ReLU": Kind(relu, real=(0,)),
    "PReLU": Kind(prelu, whole=(0,)),
    "Clip": Kind(clip, real=(0, 1)),
    "Sigmoid": Kind(of_each(tf.sigmoid)),
    "Swish": Kind(of_each(tf.nn.silu)),
    "TanH": Kind(of_each(tf.tanh)),
}
