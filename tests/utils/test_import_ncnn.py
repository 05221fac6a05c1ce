"""The command that imports ncnn's networks, and what the others make of the result."""

import os

import numpy as np
import pytest
from PIL import Image

from srwgan.networks.saving import load_generator
from tests.ncnn_files import raw, tagged, write_ncnn
from utils import evaluate, import_ncnn

UP = (  # each pixel four times in each direction, and one level of 255 brighter
    "Convolution conv 1 1 data features 0=48 1=1 5=1 6=144",
    "PixelShuffle up 1 1 features output 0=4",
)
KERNEL = np.eye(3, dtype=np.float32).repeat(16, 0)
WEIGHTS = tagged(KERNEL, half=True) + raw(np.full(48, 1 / 255))


@pytest.fixture
def param(tmp_path):
    return write_ncnn(tmp_path / "net", *UP, weights=WEIGHTS)


def imported(param, out):
    assert import_ncnn.main([str(param), str(out)]) == 0
    return out


def test_a_network_becomes_a_generator(param, tmp_path, capsys):
    generator = load_generator(imported(param, tmp_path / "models" / "up"))
    assert "models/up, of scale 4, 192 parameters\n" in capsys.readouterr().out
    assert generator.scale == 4
    images = np.random.default_rng(0).uniform(-1, 1, (2, 5, 7, 3)).astype(np.float32)
    images[0, 0, 0] = 1  # is not clipped
    np.testing.assert_allclose(generator(images), images.repeat(4, 1).repeat(4, 2) + 2 / 255, atol=1e-6)


def test_the_result_is_evaluated(param, tmp_path, make_photo, capsys):
    out, data = imported(param, tmp_path / "up"), tmp_path / "data"
    data.mkdir()
    Image.fromarray(make_photo(48, 64)).save(data / "photo.png")
    options = evaluate.parse_arguments(evaluate.build_parser(), ["--model", str(out), "--data", str(data)])
    _, method = evaluate.load_methods(options)
    assert (method.name, method.scale) == ("up", 4)
    low_res = make_photo(6, 8).clip(0, 254)
    np.testing.assert_array_equal(method.upscale(low_res), low_res.repeat(4, 0).repeat(4, 1) + 1)


def test_what_stood_there_is_moved_aside(param, tmp_path, capsys):
    out = tmp_path / "up"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    imported(param, out)
    (moved,) = (each for each in tmp_path.iterdir() if each.name.startswith("up."))
    assert (moved / "mine.txt").read_text() == "keep" and str(moved) in capsys.readouterr().out
    assert sorted(os.listdir(tmp_path)) == sorted(["net.bin", "net.param", "up", moved.name])


def failed(capsys, *arguments):
    """The one line of a command that ends with status 2."""
    with pytest.raises(SystemExit, match="2"):
        import_ncnn.main([str(each) for each in arguments])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python3 -m utils.import_ncnn: Received: ")
    return line


def test_errors_are_one_line_and_leave_nothing(param, tmp_path, capsys):
    out = tmp_path / "out"
    assert "net.param in it" in failed(capsys, param, tmp_path)
    param.with_suffix(".bin").write_bytes(WEIGHTS[:-4])
    assert "net.bin of 480 bytes, which ends in the weights" in failed(capsys, param, out)
    write_ncnn(tmp_path / "net", "GRU gru 1 1 data output")
    assert "layer gru is a GRU. Expected one of" in failed(capsys, param, out)
    param.write_text("no network")
    assert "does not begin with 7767517" in failed(capsys, param, out)
    param.with_suffix(".bin").unlink()
    assert "without net.bin" in failed(capsys, param, out)
    assert os.listdir(tmp_path) == ["net.param"]
