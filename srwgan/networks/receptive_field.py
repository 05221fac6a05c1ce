"""How far a network looks, derived from the layers of the Keras model itself.

For one row of the result, the rows that each layer looks at are followed from the last layer back to the picture:

                            row of the result
        last                     ...|...               3x3 convolution: one row more on each side
        pixel shuffle              .|.                 sub-pixels' rows -> rows of pixels
        ...
        first              .........|.........
        low_res            first         last          receptive field: the larger distance from the row itself

Columns are as rows. A layer that is not named in `rows_seen_by` has to be added there: it is an error, not a guess.
"""

import math

import keras
from keras import layers

from srwgan.networks.attention import WindowAttention
from srwgan.networks.fourier import FourierUpsampling
from srwgan.networks.layers import (
    AddUpsampled,
    LeakyReLU,
    PixelShuffle,
    PixelUnshuffle,
    Preconditioned,
    ScaleAndShift,
    ToUnitVariance,
)

POINTWISE = (  # layers whose results depend on no pixel but their own
    layers.Activation,
    layers.Add,
    layers.Concatenate,
    layers.LayerNormalization,
    layers.Multiply,
    layers.PReLU,
    LeakyReLU,
    Preconditioned,
    ScaleAndShift,
    ToUnitVariance,
)


def receptive_field_of(generator: keras.Model) -> int | None:
    """Low-resolution pixels on each side of a pixel that its result depends on, for the result that looks farthest.

    Args:
        generator: a functional Keras model with the attribute `scale`, whose first input is the picture. Further
            inputs with pixels are at the high resolution.

    Returns:
        None where a result depends on the whole picture.

    Raises:
        NotImplementedError: a layer of which it is not known what it looks at.
    """
    if any(isinstance(layer, FourierUpsampling) for layer in generator.layers):
        return None
    distance = 0
    for row in range(generator.scale * alignment_of(generator)):  # from there on all repeats itself
        for position, (first, last) in enumerate(rows_seen_of_inputs(generator, row)):
            if position:
                first, last = first // generator.scale, last // generator.scale
            distance = max(distance, row // generator.scale - first, last - row // generator.scale)
    return distance


def alignment_of(generator: keras.Model) -> int:
    """What origins and sizes of tiles have to be multiples of, in low-resolution pixels.

    Windows of attention begin at a picture's corner. A network that sees the whole picture is run whole, at any size.
    """
    if any(isinstance(layer, FourierUpsampling) for layer in generator.layers):
        return 1
    return math.lcm(*(layer.window for layer in generator.layers if isinstance(layer, WindowAttention)))


def rows_seen(model: keras.Model, row: int) -> tuple[int, int]:
    """(first, last) row of the model's first input that `row` of its output depends on."""
    return rows_seen_of_inputs(model, row)[0]


def rows_seen_of_inputs(model: keras.Model, row: int) -> list[tuple[int, int]]:
    """`rows_seen` for each of the model's inputs with pixels, in order."""
    seen = {id(model.output): (row, row)}
    for layer in reversed(model.layers):  # consumers come before what they consume
        if id(layer.output) not in seen:
            continue
        first, last = seen[id(layer.output)]
        inputs = layer.input if isinstance(layer.input, (list, tuple)) else [layer.input]
        for position, tensor in enumerate(inputs):
            if isinstance(layer, layers.InputLayer) or len(tensor.shape) != 4:
                continue
            start, end = rows_seen_by(layer, first, last, position)
            start_before, end_before = seen.get(id(tensor), (start, end))
            seen[id(tensor)] = min(start, start_before), max(end, end_before)
    return [seen[id(tensor)] for tensor in model.inputs if len(tensor.shape) == 4]


def rows_seen_by(layer: keras.Layer, first: int, last: int, position: int = 0) -> tuple[int, int]:
    """(first, last) row of a layer's input at `position` that rows first..last of its output depend on."""
    if isinstance(layer, layers.Conv2D) and layer.strides == layer.dilation_rate == (1, 1):
        return around(first, last, layer.kernel_size[0], layer.padding)
    if isinstance(layer, layers.AveragePooling2D) and layer.strides in (1, (1, 1)):
        return around(first, last, layer.pool_size[0], layer.padding)
    if isinstance(layer, PixelShuffle):
        return first // layer.factor, last // layer.factor
    if isinstance(layer, PixelUnshuffle):
        return first * layer.factor, last * layer.factor + layer.factor - 1
    if isinstance(layer, layers.UpSampling2D) and layer.interpolation == "nearest":
        return first // layer.size[0], last // layer.size[0]
    if isinstance(layer, WindowAttention):
        start, end = ((row - layer.shift) // layer.window * layer.window + layer.shift for row in (first, last))
        return start, end + layer.window - 1
    if isinstance(layer, AddUpsampled) and position == 1:
        start, end = ((row + 0.5) / layer.scale - 0.5 for row in (first, last))
        return math.floor(start), math.ceil(end)
    if isinstance(layer, (AddUpsampled, *POINTWISE)):
        return first, last
    raise NotImplementedError(
        f"The layer {layer.name} ({type(layer).__name__}) is new to srwgan/networks/receptive_field.py. "
        "Say in `rows_seen_by` which rows of its input a row of its output depends on."
    )


def around(first: int, last: int, size: int, padding: str) -> tuple[int, int]:
    """Rows that a window of `size` rows looks at, without a stride."""
    before = (size - 1) // 2 if padding == "same" else 0
    return first - before, last - before + size - 1
