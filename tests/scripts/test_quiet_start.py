"""A run prints its own lines alone, not those of TensorFlow's libraries."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srwgan.networks.generator import Generator
from srwgan.networks.saving import export_generator

ROOT = Path(__file__).resolve().parents[2]
OF_LIBRARIES = re.compile(r"^([IWEF]\d{4} |\d{4}-\d\d-\d\d |WARNING: All log messages)", re.MULTILINE)


def run(*command, log_level=None):
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": log_level} if log_level else {}
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_upscaling_pictures_and_frames_prints_nothing_of_the_libraries(tmp_path):
    """They print their messages at the first transposition of integers, at the latest in the first picture."""
    export_generator(Generator(4, 1, 4), tmp_path / "Gen", served=False)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 14, 4), np.uint8)
    for name, channels in ("gray", 0), ("colors", slice(3)), ("transparent", slice(4)):
        Image.fromarray(pixels[..., channels]).save(tmp_path / f"{name}.png")
    frames = [Image.fromarray(np.roll(pixels[..., :3], i, 0)) for i in range(3)]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:])
    files = sorted(map(str, tmp_path.glob("*.*")))
    done = run("testGenerator.py", *files, "--model", str(tmp_path / "Gen"), "--output", str(tmp_path / "out"))
    assert done.returncode == 0 and len(list((tmp_path / "out").iterdir())) == 4, done.stderr
    assert not OF_LIBRARIES.search(done.stderr), done.stderr


@pytest.mark.parametrize("log_level", ["3"])
def test_a_log_level_that_asks_for_quiet_gets_it(log_level):
    script = "from srwgan.commandline import quiet_start\nwith quiet_start(): import tensorflow"
    assert run("-c", script, log_level=log_level).stderr == ""


def test_what_was_held_back_is_shown_where_loading_fails():
    script = """
import os
from srwgan.commandline import quiet_start
with quiet_start():
    os.write(2, b"held back")
    raise ImportError("no library")
"""
    failed = run("-c", script)
    assert failed.returncode == 1 and "held back" in failed.stderr and "no library" in failed.stderr
    assert "held back" in run("-c", script.replace("raise", "import sys; sys.exit(0)  #"), log_level="1").stderr
