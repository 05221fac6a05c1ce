"""testGenerator.py from its arguments to its exit status, with a tiny generator."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import testGenerator
from srwgan.media.gif import GifWriter, gif_info
from srwgan.media.still.images import Picture, read_image, write_image
from srwgan.networks.generator import Generator
from srwgan.networks.saving import export_generator

ROOT = Path(testGenerator.__file__).parent


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "Gen"
    export_generator(Generator(filters=8, blocks=1, scale=2), path)
    return str(path)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with photo.png, folder/clip.gif and folder/deep.png, which is the current one."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (14, 18, 3))
    Image.fromarray(noise.astype(np.uint8)).save("photo.png")
    Path("folder").mkdir()
    write_image(Picture((noise * 257).astype(np.uint16)), "folder/deep.png")
    with GifWriter("folder/clip.gif", (16, 12), loop=0) as writer:
        for i in range(3):
            writer.write(np.full((12, 16, 3), 60 * i, np.uint8), 40 + 10 * i)
    return tmp_path


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def error_line(capsys):
    """What a run printed: one line on stderr, nothing on stdout."""
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    return printed.err


def test_files_and_folders(files, model, capsys):
    arguments = ["photo.png", "folder", "--output", "out", "--model", model]
    assert testGenerator.main(arguments) == 0
    assert tree("out") == ["clip_SR.gif", "deep_SR.png", "photo_SR.png"]
    assert read_image("out/photo_SR.png").pixels.shape == (28, 36, 3)
    assert read_image("out/deep_SR.png").pixels.dtype == np.uint16
    info = gif_info("out/clip_SR.gif")
    assert (info["size"], info["durations"], info["loop"]) == ((32, 24), [40, 50, 60], 0)
    capsys.readouterr()
    assert testGenerator.main(arguments) == 0
    assert "3 passed over" in error_line(capsys)
    assert testGenerator.main([*arguments, "--overwrite"]) == 0
    assert "[3/3]" in capsys.readouterr().err


def test_options_reach_the_files(files, model):
    flags = "--size 20x10 --format jpg --quality 80 --precision float32 --tile 8 --batch-size 2 --no-reuse"
    assert testGenerator.main(["photo.png", "--output", "out", "--model", model, *flags.split()]) == 0
    with Image.open("out/photo_SR.jpg") as image:
        assert image.size == (20, 10)
    flags = "--scale-out 1.5 --deband --palette global --dither none --no-gifsicle --tile 8"
    assert testGenerator.main(["folder/clip.gif", "--output", "out/named.gif", "--model", model, *flags.split()]) == 0
    assert gif_info("out/named.gif")["size"] == (24, 18)


def test_a_name_that_starts_with_a_dash_is_no_option(files, model):
    shutil.copy("photo.png", "-dash.png")
    assert testGenerator.main(["-dash.png", "--output", "out", "--model", model]) == 0
    assert tree("out") == ["-dash_SR.png"]


def test_some_failed(files, model, capsys):
    data = Path("photo.png").read_bytes()
    Path("folder/a_cut.png").write_bytes(data[: len(data) // 2])
    Path("folder/z_text.gif").write_text("text")
    assert testGenerator.main(["folder", "--output", "out", "--model", model]) == 1
    assert tree("out") == ["clip_SR.gif", "deep_SR.png"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[-3] == "2 failed:" and "a_cut.png" in lines[-2] and "z_text.gif" in lines[-1]


@pytest.mark.parametrize("name", ["cut.jpg", "text.gif", "text.png", "empty.png"])
def test_nothing_could_be_done(files, model, capsys, name):
    Image.open("photo.png").save("whole.jpg")
    data = Path("whole.jpg").read_bytes()
    Path(name).write_bytes({"cut": data[: len(data) // 2], "text": b"text\n" * 9, "empty": b""}[name.split(".")[0]])
    assert testGenerator.main([name, "--output", "out", "--model", model]) == 2
    assert name in error_line(capsys)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["none.png"], "none.png"),
        (["photo.png", "none.png"], "none.png"),
        (["photo.png", "--size", "20"], "WxH"),
        (["photo.png", "--size", "20x0"], "20x0"),
        (["photo.png", "--scale-out", "0"], "scale_out=0"),
        (["photo.png", "--scale-out", "2", "--size", "2x2"], "not allowed with"),
        (["photo.png", "--quality", "200"], "quality=200"),
        (["photo.png", "--fidelity", "high"], "--fidelity: Received: high. Expected a number from 0 to 1."),
        (["photo.png", "--format", "doc"], "format=doc"),
        (["photo.png", "--tile", "0"], "Expected a whole number of 1 or more"),
        (["photo.png", "--tile", "x"], "--tile: Received: x. Expected a whole number of 1 or more"),
        (["photo.png", "--precision", "int4"], "--precision"),
        (["photo.png", "--model", "nowhere"], "nowhere"),
        (["photo.png", "--model", "robusst"], "e.g. SRWGAN_Gen, or faithful, robust, fast, diffusion."),
        (["photo.png", "--model", "folder"], "folder"),
        (["photo.png", "--output", "photo.png/out"], "photo.png/out"),
        (["photo.png", "folder", "--output", "out.png"], "out.png"),
        (["photo.png", "--output", "out.png", "--format", "jpg"], "out.png"),
        (["hollow"], "hollow"),
    ],
)
def test_wrong_arguments(files, capsys, arguments, said):
    Path("hollow").mkdir()
    before = tree(files)
    try:
        status = testGenerator.main(["--output", "out", *arguments])
    except SystemExit as exited:
        status = exited.code
    assert status == 2
    assert said in error_line(capsys)
    assert tree(files) == before


def test_interrupted(files, model, capsys, monkeypatch):
    from srwgan.upscaling.upscaler import Upscaler

    def pressed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Upscaler, "image", pressed)
    assert testGenerator.main(["photo.png", "--output", "out", "--model", model]) == 130
    assert "Interrupted" in error_line(capsys)
    assert not Path("out").exists()


def test_the_sample(files, model, monkeypatch, capsys):
    shutil.copy("photo.png", "sample.png")
    for name, value in {"MODEL": model, "IMAGE": "sample.png", "GIF": "folder/clip.gif", "OUTPUT": "made"}.items():
        monkeypatch.setattr(testGenerator, name, value)
    for _ in range(2):  # whoever edits the sample runs it again and again
        assert testGenerator.main([]) == 0
        assert tree("made") == ["clip_SR.gif", "sample_SR.png", "sample_comparison.png"]
    with Image.open("made/sample_comparison.png") as image:
        assert image.width > 1000
    assert "18x14 -> 36x28" in capsys.readouterr().out


def test_the_bundled_samples_are_there():
    assert (ROOT / testGenerator.IMAGE).is_file() and (ROOT / testGenerator.GIF).is_file()


def test_help_and_errors_come_before_tensorflow():
    script = (
        "import sys, testGenerator\n"
        "status = testGenerator.main(['none.png'])\n"
        "try: testGenerator.main(['--help'])\n"
        "except SystemExit as exited: status += exited.code\n"
        "print('tensorflow' in sys.modules, status)"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.endswith("False 2\n") and "exit status" in run.stdout
    assert run.stderr.count(os.linesep) == 1
