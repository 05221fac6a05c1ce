"""Small networks in ncnn's format, written by hand."""

import struct
from pathlib import Path

import numpy as np

INPUT = "Input in 0 1 data"


def write_ncnn(path: Path, *lines: str, weights: bytes = b"") -> Path:
    """Writes PATH.param, of an input `data` and these layers, and PATH.bin. Gives the former's path."""
    lines = INPUT, *lines
    made = sum(int(line.split()[3]) for line in lines if len(line.split()) > 3)
    param = path.with_name(f"{path.name}.param")
    param.write_text("\n".join(["7767517", f"{len(lines)} {made}", *lines, ""]))
    path.with_name(f"{path.name}.bin").write_bytes(weights)
    return param


def raw(values) -> bytes:
    """Biases, slopes and the like: float32."""
    return np.asarray(values, "<f4").tobytes()


def tagged(values, *, half: bool = False) -> bytes:
    """A convolution's weights: four bytes that say what they are, then float32, or float16 up to a fourth byte."""
    if not half:
        return struct.pack("<I", 0) + raw(values)
    data = np.asarray(values, "<f2").tobytes()
    return struct.pack("<I", 0x01306B47) + data + b"\0" * (-len(data) % 4)
