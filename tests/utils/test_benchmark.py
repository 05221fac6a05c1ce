import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from srwgan.networks.generator import Generator
from srwgan.networks.saving import export_generator
from srwgan.upscaling.network import network_for
from utils.benchmark import command as benchmark
from utils.benchmark import realtime, startup, subjects
from utils.benchmark.memory import peak_memory
from utils.benchmark.results import Section, Target
from utils.benchmark.subjects import make_clip
from utils.benchmark.turns import in_turns


@pytest.mark.parametrize(
    ("scale", "upsampling"), [*((scale, "pixelshuffle") for scale in (2, 3, 4, 8)), (4, "pixelshuffledirect")]
)
def test_multiply_adds_agree_with_the_shapes_that_keras_computes(scale, upsampling):
    generator = Generator(filters=8, blocks=2, scale=scale, upsampling=upsampling)
    height, width = 5, 7
    count = 0
    for layer in generator.layers:
        if hasattr(layer, "kernel"):
            x = layer.input.shape
            resolution = 1 if upsampling == "pixelshuffledirect" else resolution_of(layer.name, scale)
            _, rows, columns, _ = layer.compute_output_shape((1, height * resolution, width * resolution, x[-1]))
            count += rows * columns * int(np.prod(layer.kernel.shape))
    assert network_for(generator, "float32").multiply_adds_per_pixel() * height * width == count


def resolution_of(name, scale):
    """A layer's resolution in a generator, read off its name."""
    if name == "last":
        return scale
    if name.startswith("upsampling"):
        return 2 ** (int(name[len("upsampling")]) - 1)
    return 1


def test_clips_move_as_they_say(tmp_path):
    for name, share in (("moving", 1), ("tenth", 0.1)):
        frames = list(make_clip(tmp_path, name, count=4, share=share).frames())
        moved = np.mean([(a != b).any(-1) for a, b in zip(frames, frames[1:], strict=False)])
        assert share * 0.3 < moved <= share * 1.01
        with Image.open(tmp_path / f"{name}.gif") as gif:
            assert gif.n_frames == 4
            for i, frame in enumerate(frames):
                gif.seek(i)
                np.testing.assert_array_equal(gif.convert("RGB"), frame)


def test_tasks_run_in_turn_and_the_first_time_does_not_count():
    calls = []
    seconds = in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert "".join(calls) == "ababab"
    assert [len(times) for times in seconds.values()] == [2, 2]


def test_peak_memory_counts_children():
    child = "import time; kept = bytearray(b'x') * 100_000_000; time.sleep(0.7)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    alone = peak_memory([sys.executable, "-c", "import time; time.sleep(0.3)"])
    assert alone < 90e6 < peak_memory([sys.executable, "-c", parent])
    with pytest.raises(OSError, match="no-such-module"):
        peak_memory([sys.executable, "-m", "no-such-module"])


def test_main_prints_sections_and_targets_and_writes_json(monkeypatch, tmp_path, capsys):
    targets = [Target("fast", 3.0, least=2), Target("small", 3.0, most=2)]
    section = Section({"speed": 3.0}, ["speed: 3"], targets)
    monkeypatch.setattr(benchmark, "SECTIONS", {"one": lambda options: section})
    path = tmp_path / "figures.json"
    assert benchmark.main(["one", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "reached  fast: 3.00 (target at least 2)" in printed
    assert "missed   small: 3.00 (target at most 2)" in printed
    assert json.loads(path.read_text())["one"] == {"speed": 3.0}
    assert list(tmp_path.iterdir()) == [path]


def test_wrong_sections_and_models_are_named(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(["speeed"])
    assert "Received: speeed. Expected of compute" in capsys.readouterr().err
    for model in tmp_path, tmp_path / "typo":
        with pytest.raises(SystemExit, match="2"):
            benchmark.main(["compute", "--model", str(model)])
        error = capsys.readouterr().err
        assert str(model) in error and error.count("\n") == 1


def test_without_a_model_the_repositorys_is_measured_or_an_untrained_one(monkeypatch, tmp_path, capsys):
    section = Section({}, [], [])
    monkeypatch.setattr(benchmark, "SECTIONS", {"one": lambda options: section})
    monkeypatch.chdir(tmp_path)
    assert benchmark.main(["one"]) == 0
    assert f"model {subjects.ROOT / 'SRWGAN_Gen'}\n" in capsys.readouterr().out
    monkeypatch.setattr(subjects, "MAIN", "no such folder")
    assert benchmark.main(["one"]) == 0
    assert "an untrained one" in capsys.readouterr().out


def test_realtime_compares_the_generator_with_its_fast_one(monkeypatch, tmp_path):
    monkeypatch.setattr(realtime, "SIZE", (18, 32))
    for folder, filters in (tmp_path / "Some_Gen", 8), (tmp_path / "Some_Gen" / "fast", 4):
        export_generator(Generator(filters, 1, 2), folder, served=False)
    section = realtime.measure_realtime(SimpleNamespace(quick=True, model=tmp_path / "Some_Gen"))
    kinds = "model", "video", "GIF", "GIF without gifsicle"
    assert list(section.figures) == [f"{name}, {kind}" for name in ("generator", "fast") for kind in kinds]
    assert all(rate > 0 for rate in section.figures.values())
    assert [target.name for target in section.targets] == ["fast, video, frames/s", "fast, GIF, frames/s"]
    assert all(target.reached == (target.value >= 24) for target in section.targets)
    alone = realtime.measure_realtime(SimpleNamespace(quick=True, model=tmp_path / "Some_Gen" / "fast"))
    assert not alone.targets and len(alone.figures) == len(kinds)


def test_startup_measures_every_engine_that_is_there(monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr(startup, "run", ran.append)
    monkeypatch.setattr(startup, "drop_from_memory", lambda packages: None)
    monkeypatch.setattr(startup, "model_folder", lambda options, folder: Path("SRWGAN_Gen"))
    section = startup.measure_startup(SimpleNamespace(quick=True, model=None))
    engines = {command[command.index("--engine") + 1] for command in ran if "--engine" in command}
    assert {"auto", "tensorflow"} <= engines
    assert {"200x150, auto", "16x16, tensorflow", "command, --help"} <= section.figures.keys()
    assert [target.name for target in section.targets][-1] == "startup, 200x150, auto : 1.55 times import tensorflow"


def test_beside_openvino_times_are_of_the_same_turns(tmp_path, monkeypatch):
    from utils.benchmark import beside_openvino

    assert not beside_openvino.can_be_compared(None) and not beside_openvino.can_be_compared(tmp_path)
    monkeypatch.setattr(beside_openvino, "SIZE", (6, 8))
    calls = []

    class Here:
        def image(self, pixels):
            calls.append(pixels.shape)

    def compiled(model, precision, shape):
        assert (model, precision, shape) == (tmp_path, "float32", (1, 6, 8, 3))
        return lambda low_res: calls.append((low_res.dtype, low_res.min() >= -1, low_res.max() <= 1))

    monkeypatch.setattr(beside_openvino, "compiled_by_openvino", compiled)
    section = beside_openvino.measure_beside_openvino(tmp_path, {"float32": Here()}, repeats=2)
    assert calls == 3 * [(6, 8, 3), (np.float32, True, True)]
    (target,) = section.targets
    assert target.value > 0 and target.bound == "at most 1" and "OpenVINO" in section.lines[0]
