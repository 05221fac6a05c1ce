"""Seconds until a command line is there, and until a first small picture is done."""

import sys
import tempfile
from pathlib import Path
from statistics import median

from PIL import Image

from utils.benchmark.results import Section
from utils.benchmark.subjects import command_line, model_folder, run, textured
from utils.benchmark.turns import in_turns


def measure_startup(options) -> Section:
    """A command's whole time, from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        Image.fromarray(textured(16, 16, 0)).save(picture)
        command = command_line(picture, folder=folder, model=model_folder(options, folder))
        tasks = {
            "--help": lambda: run([sys.executable, "testGenerator.py", "--help"]),
            "import tensorflow": lambda: run([sys.executable, "-c", "import tensorflow"]),
            "a 16x16 picture": lambda: run([*command, "--overwrite"]),
        }
        figures = {name: median(times) for name, times in in_turns(tasks, 2 if options.quick else 5).items()}
    return Section(figures, [f"{name}: {seconds:.2f} s" for name, seconds in figures.items()], [])
