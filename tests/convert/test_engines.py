"""Which engine runs, and that the command line makes the same of files by either."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import testGenerator
from srwgan.convert import engines
from srwgan.convert.engines import Settings, choose_engine, pixels_of
from srwgan.convert.jobs import Job
from srwgan.networks.saving import export_generator
from tests.tiny_generators import two_ends
from tests.waiting import LIMIT
from utils import export_litert

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("ai_edge_litert", reason="LiteRT: python3 -m pip install -r requirements-lite.txt")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines") / "Tiny_Gen"
    for place, generator in two_ends(folder):
        export_generator(generator, place, served=False)
    assert export_litert.main([str(folder)]) == 0
    return folder


@pytest.fixture(autouse=True)
def own_rates(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "RATES_FILE", tmp_path / "cache" / "rates.json")


@pytest.fixture
def job(tmp_path, make_photo):
    Image.fromarray(make_photo(20, 30)).save(tmp_path / "photo.png")
    return Job(tmp_path / "photo.png", tmp_path)


def choose(folder, jobs=(), asked="auto", **settings):
    return choose_engine(asked, [folder], settings=Settings(**settings), jobs=list(jobs))


def test_little_work_is_for_litert_and_much_for_tensorflow(exported, job, monkeypatch):
    monkeypatch.setattr(engines, "measured_seconds_per_pixel", lambda folder: 1e-3)
    assert choose(exported, [job]) == "litert"
    assert choose(exported, [job] * 10) == "tensorflow"
    assert choose(exported, [job] * 10, "litert") == "litert"
    assert choose(exported, [job], "tensorflow") == "tensorflow"


def test_the_rate_is_measured_once(exported, job, monkeypatch):
    assert 0 < engines.seconds_per_pixel(exported) < 1
    monkeypatch.setattr(engines, "measured_seconds_per_pixel", lambda folder: pytest.fail("measured again"))
    assert choose(exported, [job]) in ("litert", "tensorflow")
    engines.RATES_FILE.write_text("torn {")
    monkeypatch.setattr(engines, "measured_seconds_per_pixel", lambda folder: 1e-9)
    assert choose(exported, [job]) == "litert"


@pytest.mark.parametrize(
    "settings, obstacle",
    [
        ({"precision": "bfloat16"}, "it computes in float32, not in bfloat16"),
        ({"fidelity": 0.5}, "it mixes no weights, as fidelity 0.5 asks for"),
        ({"strength": 0.2}, "it runs no generator that is told a strength"),
    ],
)
def test_what_litert_cannot_do(exported, job, settings, obstacle):
    assert choose(exported, [job], **settings) == "tensorflow"
    with pytest.raises(ValueError, match=f"Received: --engine litert, but {obstacle}. Expected auto or tensorflow."):
        choose(exported, [job], "litert", **settings)


def test_without_a_file_or_without_an_engine(exported, job, tmp_path, monkeypatch):
    assert choose(tmp_path, [job]) == "tensorflow"
    monkeypatch.setattr(engines, "is_installed", lambda package: package != "tensorflow")
    assert choose(exported, [job] * 10**6) == "litert"
    with pytest.raises(ImportError, match="TensorFlow is not installed, and .* has no generator.tflite. Run: python3"):
        choose(tmp_path, [job])


def test_how_much_there_is_to_do(job, tmp_path, make_photo):
    assert pixels_of(job) == 600
    frames = [Image.fromarray(make_photo(10, 12, seed=i)) for i in range(3)]
    for name in ("clip.gif", "clip.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert pixels_of(Job(tmp_path / name, tmp_path)) == 360
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom\0\0\0\0isomiso2" + bytes(99))
    assert pixels_of(Job(tmp_path / "clip.mp4", tmp_path)) == float("inf")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG")
    assert pixels_of(Job(tmp_path / "torn.png", tmp_path)) == 0


@pytest.mark.parametrize("fidelity", ["0", "1"])
def test_files_are_the_same_by_either_engine(exported, job, tmp_path, make_photo, fidelity):
    frames = [Image.fromarray(make_photo(12, 14, seed=i // 2)) for i in range(4)]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:], duration=[50, 60, 70, 80], loop=3)
    made = {}
    for engine in ("litert", "tensorflow"):
        flags = [
            "--engine",
            engine,
            "--fidelity",
            fidelity,
            "--model",
            str(exported),
            "--output",
            str(tmp_path / engine),
        ]
        assert testGenerator.main([str(job.source), str(tmp_path / "clip.gif"), "--precision", "float32", *flags]) == 0
        with (
            Image.open(tmp_path / engine / "photo_SR.png") as photo,
            Image.open(tmp_path / engine / "clip_SR.gif") as gif,
        ):
            made[engine] = np.asarray(photo).astype(int), gif.size, gif.n_frames, gif.info["duration"]
    (a, *facts), (b, *others) = made.values()
    assert a.shape == (80, 120, 3) and np.abs(a - b).max() <= 1
    assert facts == others


LATE = "tensorflow keras tqdm srwgan.convert.clips srwgan.media.gif.reader srwgan.media.video.reader PIL.ImageCms"


def test_a_still_imports_no_tensorflow_and_nothing_for_what_moves(exported, job, tmp_path):
    script = "import sys, testGenerator\nstatus = testGenerator.main(sys.argv[1:])\n"
    script += f"sys.exit(status or ' '.join(m for m in {LATE.split()} if m in sys.modules) or 0)"
    shutil.copy(job.source, tmp_path / "other.png")
    flags = ["--engine", "litert", "--model", str(exported), "--output", str(tmp_path / "out")]
    command = [sys.executable, "-c", script, str(tmp_path / "photo.png"), str(tmp_path / "other.png"), *flags]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert result.returncode == 0, result.stderr
    assert len(result.stderr.splitlines()) == 2 and "XNNPACK" not in result.stderr, result.stderr
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_export_litert_says_what_is_wrong(tmp_path, capsys):
    assert export_litert.main([str(tmp_path / "nothing")]) == 2
    assert "Expected a folder with generator.keras." in capsys.readouterr().err
