"""This project's upscaler beside OpenVINO on the same SavedModel, in turns, where OpenVINO is installed."""

import importlib.util
from pathlib import Path

import numpy as np

from utils.benchmark.results import Section, Target
from utils.benchmark.turns import in_turns, median_ratio

SIZE = 180, 320  # of the low-resolution picture; OpenVINO is given a model of this one size, which it is fastest with
HINTS = {"float32": "f32", "bfloat16": "bf16"}


def can_be_compared(model: Path | None) -> bool:
    """Whether OpenVINO is installed and the model's folder is one that it reads."""
    return bool(importlib.util.find_spec("openvino") and model and (model / "saved_model.pb").is_file())


def measure_beside_openvino(model: Path, upscalers: dict, *, repeats: int) -> Section:
    """A picture's time, pixels to pixels here, floats to floats there.

    Args:
        model: a generator's folder, with a SavedModel.
        upscalers: {precision: `Upscaler`}.
    """
    height, width = SIZE
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    low_res = pixels[None].astype(np.float32) / 127.5 - 1
    tasks = {}
    for precision, upscaler in upscalers.items():
        tasks[precision, "here"] = lambda upscaler=upscaler: upscaler.image(pixels)
        compiled = compiled_by_openvino(model, precision, low_res.shape)
        tasks[precision, "OpenVINO"] = lambda compiled=compiled: compiled(low_res)
    times = in_turns(tasks, repeats)
    figures, lines, targets = {}, [], []
    for precision in upscalers:
        here, there = (times[precision, place] for place in ("here", "OpenVINO"))
        ratio = median_ratio(here, there)
        figures[f"720p {precision}, time : OpenVINO's"] = ratio
        lines.append(f"720p {precision}: {1000 * np.median(here):.0f} ms, OpenVINO {1000 * np.median(there):.0f} ms")
        targets.append(Target(f"720p, {precision}, time : OpenVINO's", ratio, most=1))
    return Section(figures, lines, targets)


def compiled_by_openvino(model, precision, shape):
    import openvino

    converted = openvino.convert_model(str(model))
    converted.reshape(list(shape))
    return openvino.compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": HINTS[precision]})
