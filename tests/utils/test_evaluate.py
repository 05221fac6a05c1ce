import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image

from srwgan.measuring import metrics
from srwgan.measuring.pairs import degraded, find_pairs, read_pair
from srwgan.networks.generator import Generator
from srwgan.networks.mixing import interpolate
from srwgan.networks.saving import export_generator, load_generator
from srwgan.pixels import bicubic
from utils import evaluate, mean_generator

BICUBIC = Image.Resampling.BICUBIC


def photo(seed, height, width):
    """Soft noise, uint8 (H, W, 3)."""
    rough = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(rough).resize((width, height), BICUBIC))


def save(pixels, path):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


def generator(seed, filters=4, blocks=1):
    keras.utils.set_random_seed(seed)
    made = Generator(filters=filters, blocks=blocks, scale=2)
    rng = np.random.default_rng(seed)
    made.set_weights([weights + rng.normal(0, 0.02, weights.shape) for weights in made.get_weights()])
    return made


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An exported generator of scale 2 and its faithful end."""
    folder = tmp_path_factory.mktemp("models") / "SRWGAN_Gen"
    export_generator(generator(1), folder)
    export_generator(generator(2), folder / "faithful")
    return folder


@pytest.fixture
def originals(tmp_path):
    save(photo(1, 64, 84), tmp_path / "originals" / "lake.png")
    save(photo(2, 69, 75), tmp_path / "originals" / "odd.png")
    (tmp_path / "originals" / "notes.txt").write_text("no picture")
    return tmp_path / "originals"


@pytest.fixture
def pairs(tmp_path, originals):
    """The same pictures as pairs."""
    for name, low_res_path, path in find_pairs(originals):
        low_res, high_res = read_pair(low_res_path, path, scale=2)
        save(low_res, tmp_path / "pairs" / f"{name}_LR.png")
        save(high_res, tmp_path / "pairs" / f"{name}_HR.png")
    return tmp_path / "pairs"


def run(*arguments):
    """The command's exit status."""
    try:
        return evaluate.main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


def test_models_beside_bicubic(model, pairs, tmp_path, capsys):
    report, rows, sheet = (tmp_path / name for name in ("report.json", "table.csv", "sheet.png"))
    outputs = "--json", report, "--csv", rows, "--picture", sheet, "--crop-size", 48
    assert run("--model", model, "--fidelity", 0, 1, "--data", pairs, *outputs) == 0

    results = json.loads(report.read_text())["results"]
    names = ["bicubic", "SRWGAN_Gen at 0", "SRWGAN_Gen at 1", "original"]
    assert [(result["data"], result["model"]) for result in results] == [("pairs", name) for name in names]
    assert [result.get("parameters") for result in results] == [0, *[generator(1).count_params()] * 2, None]

    pictures = {picture["name"]: picture for picture in results[0]["pictures"]}
    low_res, original = (np.asarray(Image.open(pairs / f"lake_{kind}.png")) for kind in ("LR", "HR"))
    expected = np.asarray(Image.fromarray(low_res).resize((84, 64), BICUBIC))
    assert pictures["lake"]["psnr_y"] == pytest.approx(metrics.psnr(expected, original, shave=2))
    assert results[0]["psnr_y"] == pytest.approx(np.mean([picture["psnr_y"] for picture in pictures.values()]))
    assert results[0]["colour_shift"] == 0 and results[1]["colour_shift"] > 0

    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[:5] == ["data", "model", "PSNR-Y", "SSIM", "LPIPS"]
    assert printed[1].split()[:3] == ["pairs", "bicubic", f"{results[0]['psnr_y']:.2f}"]
    with open(rows, newline="") as file:
        assert [row["model"] for row in csv.DictReader(file)] == names
    assert Image.open(sheet).width > 4 * 288
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"report.json", "table.csv", "sheet.png"}


@pytest.mark.parametrize("wear", ["gif", "palette", "jpeg"])
def test_a_degraded_low_resolution_is_what_is_upscaled(wear, model, pairs, tmp_path, capsys):
    report = tmp_path / "report.json"
    assert run("--model", model, "--data", pairs, "--wear", wear, "--json", report) == 0
    assert f"pairs ({wear})" in capsys.readouterr().out
    pictures = {picture["name"]: picture for picture in json.loads(report.read_text())["results"][0]["pictures"]}
    low_res, original = (np.asarray(Image.open(pairs / f"lake_{kind}.png")) for kind in ("LR", "HR"))
    expected = metrics.psnr(bicubic(degraded(low_res, wear), 2), original, shave=2)
    assert pictures["lake"]["psnr_y"] == pytest.approx(expected)
    assert expected < metrics.psnr(bicubic(low_res, 2), original, shave=2)


def test_fidelity_zero_is_the_model_and_one_its_faithful_end(model, originals, tmp_path):
    def figures(*arguments):
        assert run(*arguments, "--data", originals, "--json", tmp_path / "report.json") == 0
        results = json.loads((tmp_path / "report.json").read_text())["results"]
        return [result["lpips"] for result in results[1:-1]]

    ends = figures("--model", model, model / "faithful")
    assert figures("--model", model, "--fidelity", 0, 1) == pytest.approx(ends)
    assert ends[0] != pytest.approx(ends[1])


def test_interpolation_mixes_weights():
    a, b = generator(1), generator(2)
    mix = interpolate(a, b, 0.25)
    for mixed, from_a, from_b in zip(mix.get_weights(), a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(mixed, 0.75 * from_a + 0.25 * from_b, rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="from 0 to 1"):
        interpolate(a, b, 1.5)
    with pytest.raises(ValueError, match="same architecture"):
        interpolate(a, generator(3, filters=8), 0.5)


def test_the_mean_of_generators_is_exported(tmp_path, capsys):
    made = [generator(seed) for seed in (1, 2, 3)]
    folders = [str(tmp_path / name) for name in "abc"]
    for each, folder in zip(made, folders, strict=True):
        export_generator(each, folder, served=False)
    mean_generator.main([str(tmp_path / "mean"), *folders, "--shares", "3", "1", "0"])
    weights = load_generator(tmp_path / "mean").get_weights()
    for mean, first, second in zip(weights, *(each.get_weights() for each in made[:2]), strict=True):
        np.testing.assert_allclose(mean, 0.75 * first + 0.25 * second, rtol=1e-5, atol=1e-7)
    assert json.loads((tmp_path / "mean" / "config.json").read_text())["training"]["shares"] == [0.75, 0.25, 0]
    mean_generator.main([str(tmp_path / "mean"), *folders])
    weights = load_generator(tmp_path / "mean").get_weights()
    for mean, *values in zip(weights, *(each.get_weights() for each in made), strict=True):
        np.testing.assert_allclose(mean, sum(values) / 3, rtol=1e-5, atol=1e-7)
    assert "what was there: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "nothing"], "nothing"),
        (["a", "b", "--shares", "1"], "one for each"),
        (["a", "--shares", "0"], "0 or more, not all"),
        (["a", "b", "--shares", "2", "-1"], "0 or more, not all"),
        (["a", "small"], "same architecture"),
    ],
)
def test_means_that_cannot_be_made(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    for name, filters in (("a", 4), ("b", 4), ("small", 8)):
        export_generator(generator(1, filters), name, served=False)
    with pytest.raises(SystemExit) as stopped:
        mean_generator.main(["mean", *arguments])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and said in error and error.count("\n") == 1
    assert not (tmp_path / "mean").exists()


def test_table_tells_of_grids_and_colour_casts():
    fine = {"name": "lake", "grid_db": 1.0, "colour_shift": 0.4}
    bad = {"name": "odd", "grid_db": 9.0, "colour_shift": 0.7}
    lines = evaluate.table([{"data": "Set5", "model": "mine", "psnr_y": 30.5, "pictures": [fine, bad]}]).splitlines()
    assert lines[1].split() == ["Set5", "mine", "30.50", *["-"] * 7]
    assert len(lines) == 4
    assert "grid" in lines[2] and "colour cast" in lines[3]
    assert all("1 of 2 pictures of Set5, worst in odd" in line for line in lines[2:])


@pytest.mark.parametrize("case", ["missing", "file", "empty", "half", "sizes", "small", "model", "plain", "output"])
def test_errors_are_one_line(case, tmp_path, originals, capsys):
    empty, bad = tmp_path / "empty", tmp_path / "bad"
    empty.mkdir()
    if case == "half":
        save(photo(1, 64, 64), bad / "lake_LR.png")
    elif case == "sizes":
        save(photo(1, 32, 32), bad / "lake_LR.png")
        save(photo(1, 64, 64), bad / "lake_HR.png")
    elif case == "small":
        save(photo(1, 60, 64), bad / "lake.png")
    arguments, expected = {
        "missing": (["--data", tmp_path / "nowhere"], "nowhere"),
        "file": (["--data", originals / "lake.png"], "Expected a folder"),
        "empty": (["--data", empty], "without pictures"),
        "half": (["--data", bad], "lake_LR without lake_HR"),
        "sizes": (["--data", bad], "Expected 128x128"),
        "small": (["--data", bad], "Expected at least 64x64"),
        "model": (["--data", originals, "--model", tmp_path / "nowhere"], "nowhere"),
        "plain": (["--data", originals, "--model", originals / "notes.txt"], "notes.txt"),
        "output": (["--data", originals, "--json", tmp_path / "nowhere" / "r.json"], "r.json"),
    }[case]
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert expected in printed.err and printed.err.count("\n") == 1 and not printed.out
