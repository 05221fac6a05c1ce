import os
import shutil
import tempfile
from multiprocessing.util import Finalize

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["SRWGAN_CACHE"] = ""  # nothing that is measured here is kept

import numpy as np
import pytest
from PIL import Image


def pytest_configure(config):
    """Give the temporary files of this process and of those it starts a folder that goes with it.

    TensorFlow keeps generated code in such files, which a process that is killed, as some tests do, leaves behind. What
    is cached for the user goes there too.
    """
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # tests' own folders stay where they were
    folder = tempfile.mkdtemp(prefix="srwgan-tests-")
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    os.environ.setdefault("MPLCONFIGDIR", os.path.expanduser("~/.cache/matplotlib"))  # its list of fonts takes seconds
    os.environ["XDG_CACHE_HOME"] = folder  # decoded photographs
    # After multiprocessing's own folder, which is in it and goes at the priority -100.
    Finalize(None, shutil.rmtree, (folder,), {"ignore_errors": True}, exitpriority=-200)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """A process for each core, up to four, where all tests are run; one, this one, for a part or to see the output."""
    part = (
        config.args != config.getini("testpaths") or config.getoption("keyword") or config.getoption("capture") == "no"
    )
    return 0 if part else min(os.cpu_count(), 4)


def pytest_addoption(parser):
    parser.addoption("--slurm", action="store_true", help="run the tests on a SLURM cluster that they start here")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slurm"):
        for item in items:
            if item.get_closest_marker("slurm"):
                item.add_marker(pytest.mark.skip(reason="only with --slurm: it takes minutes, see CONTRIBUTING.md"))


@pytest.fixture(scope="session")
def make_photo():
    """(height, width, seed) -> (H, W, 3) uint8, smooth shading with sharp edges, different for every seed."""

    def make(height, width, seed=0):
        random = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width].astype(np.float64)
        pixels = np.zeros((height, width, 3))
        for _ in range(12):
            angle, period, phase = random.uniform(0, np.pi), random.uniform(6, 60), random.uniform(0, 2 * np.pi)
            wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * 2 * np.pi / period + phase)
            pixels += random.uniform(-25, 25, 3) * (np.sign(wave) if random.random() < 0.4 else wave)[..., None]
        return np.clip(pixels + 128, 0, 255).round().astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def stablehlo():
    """For tests that export: skips them where TensorFlow is older than exporting needs, but not than the rest does."""
    import tensorflow as tf

    from srwgan.training.portable.stablehlo import OLDEST_TENSORFLOW, lowers

    if not lowers():
        oldest = ".".join(map(str, OLDEST_TENSORFLOW))
        pytest.skip(f"TensorFlow {tf.__version__} does not lower to StableHLO, which {oldest} or newer does")


@pytest.fixture
def make_originals(tmp_path, make_photo):
    """(number, height, width) -> a folder of so many different PNG photographs, 0.png and so on."""

    def make(number, height, width):
        folder = tmp_path / "originals"
        folder.mkdir()
        for seed in range(number):
            Image.fromarray(make_photo(height, width, seed)).save(folder / f"{seed}.png")
        return folder

    return make


@pytest.fixture
def photo_folder(tmp_path, make_photo):
    """A folder of six PNG photographs, 80x96 and 96x72."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(6):
        Image.fromarray(make_photo(*((80, 96) if i % 2 else (96, 72)), seed=i)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def eagerly(monkeypatch):
    """The training step without tracing, which for tiny networks and few steps is faster."""
    from srwgan.training.step import Trainer

    for name in "train_batch", "train_batches":
        monkeypatch.setattr(Trainer, name, getattr(Trainer, name).python_function)
