"""Seconds until a command line is there, and until pictures and a GIF are written, by either engine.

Warm: files lie in the system's memory, as after a run before. Cold: what the engine is loaded from was dropped from
there, as it is when a machine has just started.
"""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from statistics import median

from PIL import Image
from tqdm import tqdm

from srwgan.convert.engines import Settings, litert_obstacle
from utils.benchmark.results import Section, Target
from utils.benchmark.subjects import ROOT, command_line, model_folder, run, textured
from utils.benchmark.turns import in_turns, median_ratio, timed

PICTURES = {"16x16": (16, 16), "200x150": (150, 200), "1920x1080": (1080, 1920)}  # name -> (height, width)
PACKAGES = ("tensorflow", "keras", "ai_edge_litert", "openvino", "numpy", "PIL")  # dropped from memory for a cold start
BEFORE = 1.55  # a picture's time by TensorFlow : that of importing it, before there was a choice of engines
OPENVINO = """
import sys
import numpy as np, openvino
from PIL import Image
model, source, target = sys.argv[1:]
pixels = np.asarray(Image.open(source).convert("RGB"), np.float32)[None] / 127.5 - 1
(result,) = openvino.compile_model(openvino.convert_model(model), "CPU")(pixels).values()
Image.fromarray(((result[0] + 1) * 127.5).clip(0, 255).round().astype(np.uint8)).save(target)
"""


def measure_startup(options) -> Section:
    """A command's whole time, from its start to the written file, in turns."""
    repeats = 2 if options.quick else 5
    with tempfile.TemporaryDirectory() as folder:
        model = model_folder(options, folder)
        sources = write_sources(Path(folder), options.quick)
        tasks = {
            ("command", "--help"): lambda: run([sys.executable, "testGenerator.py", "--help"]),
            ("command", "import tensorflow"): lambda: run([sys.executable, "-c", "import tensorflow"]),
        }
        for name, source in sources.items():
            for engine, command in commands(source, folder=Path(folder), model=model).items():
                tasks[name, engine] = lambda command=command: run(command)
        times = in_turns(tasks, repeats)
        cold = {key: timed_cold(task) for key, task in tqdm(tasks.items(), desc="cold", leave=False, disable=None)}
    figures = {
        f"{name}, {engine}": {"warm": median(seconds), "cold": cold[name, engine]}
        for (name, engine), seconds in times.items()
    }
    lines = [f"{name}: {figure['warm']:.2f} s warm, {figure['cold']:.2f} s cold" for name, figure in figures.items()]
    return Section(figures, lines, list(targets(times, sources)))


def write_sources(folder: Path, quick: bool) -> dict[str, Path]:
    """{name: file} of what is upscaled."""
    sources = {}
    for name, size in list(PICTURES.items())[: 2 if quick else None]:
        sources[name] = folder / f"{name}.png"
        Image.fromarray(textured(*size, 0)).save(sources[name])
    return sources if quick else {**sources, "the sample GIF": ROOT / "Images" / "sample.gif"}


def commands(source: Path, *, folder: Path, model: Path) -> dict[str, list[str]]:
    """{engine: command} of the engines that can do it here."""
    found = {}
    for engine in ("auto", "tensorflow", "litert"):
        if engine != "litert" or litert_obstacle(model, Settings()) is None:
            found[engine] = [*command_line(source, folder=folder, model=model, engine=engine), "--overwrite"]
    if importlib.util.find_spec("openvino") and source.suffix != ".gif" and (model / "saved_model.pb").is_file():
        found["openvino"] = [sys.executable, "-c", OPENVINO, str(model), str(source), str(folder / "openvino.png")]
    return found


def targets(times, sources):
    """What the choice of an engine has to reach, by ratios of what was timed in the same turn.

    A small picture is to take a tenth of what it took by TensorFlow before there was a choice. That was 1.55 times as
    long as importing TensorFlow, which is timed as it was then, while TensorFlow's own start here became shorter.
    """
    for name in sources:
        ratio = median_ratio(times[name, "auto"], times[name, "tensorflow"])
        yield Target(f"startup, {name}, auto : tensorflow", ratio, most=1.05)
    ratio = median_ratio(times["200x150", "auto"], times["command", "import tensorflow"])
    yield Target("startup, 200x150, auto : 1.55 times import tensorflow", ratio / BEFORE, most=0.1)


def timed_cold(task) -> float:
    drop_from_memory(PACKAGES)
    return timed(task)


def drop_from_memory(packages) -> None:
    """Ask the system to forget the files of packages, so that they are read from the disk again."""
    if not hasattr(os, "posix_fadvise"):
        return
    for package in packages:
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            for path in Path(place).rglob("*"):
                if path.is_file():
                    with open(path, "rb") as file:
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
