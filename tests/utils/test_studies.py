"""The studies whose tables stand in docs/, on pictures of a few pixels."""

import numpy as np
import pytest
from PIL import Image

from srwgan.measuring.lpips import LPIPS
from srwgan.measuring.metrics import psnr
from srwgan.measuring.pairs import find_pairs, read_pair
from srwgan.networks.generator import Generator
from srwgan.networks.saving import export_generator
from srwgan.pixels import to_range
from srwgan.upscaling.upscaler import Upscaler
from tests.tiny_generators import noisy
from utils.studies import gif, grain, padding


@pytest.fixture(scope="module")
def generator():
    return noisy(1, 0)


@pytest.fixture(scope="module")
def model(generator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "generator"
    export_generator(generator, folder, served=False)
    return folder


@pytest.fixture
def data(make_originals):
    return make_originals(2, 64, 72)


def last_row(text):
    return [cell.strip() for cell in text.splitlines()[-1].strip("|").split("|")]


def test_padding_measures_what_the_upscaler_gives_and_three_others(generator, model, data, capsys):
    assert padding.main(["--model", str(model), "--data", str(data)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("| PSNR / LPIPS | zeros | repeated | mirrored | mirrored by 4 |\n|---|---|---|---|---|\n")
    name, *found, upscaled = last_row(printed)
    upscaler = Upscaler(generator, "float32")
    pairs = [read_pair(*paths, scale=2) for _, *paths in find_pairs(data)]
    assert name == str(data)
    distance = LPIPS()

    def figures(upscale):
        made = [(upscale(low), high) for low, high in pairs]
        distances = [float(distance(to_range(result[None]), to_range(high[None]))[0]) for result, high in made]
        return f"{np.mean([psnr(*each, shave=2) for each in made]):.2f} / {np.mean(distances):.4f}"

    assert upscaled == figures(upscaler.image)
    for cell, how in zip((*found, upscaled), padding.PADDINGS.values(), strict=True):
        assert cell == figures(lambda low, how=how: padding.upscale(generator, low, *how))

    low_res = pairs[0][0]
    results = [padding.upscale(generator, low_res, *how).astype(int) for how in padding.PADDINGS.values()]
    assert len({result.tobytes() for result in results}) == 4
    inside = slice(2 * generator.receptive_field, -2 * generator.receptive_field)
    for result in results[1:]:
        np.testing.assert_allclose(result[inside, inside], results[0][inside, inside], atol=1)


def test_grain_is_measured_by_lpips_beside_the_result_without_it(generator, model, data, capsys):
    assert grain.main(["--model", str(model), "--data", str(data), "--precision", "float32"]) == 0
    name, *figures = last_row(capsys.readouterr().out)
    upscaler, distance = Upscaler(generator, "float32"), LPIPS()
    pairs = [read_pair(*paths, scale=2) for _, *paths in find_pairs(data)]
    alone = [float(distance(to_range(upscaler.image(low)[None]), to_range(high[None]))[0]) for low, high in pairs]
    assert name == str(data) and figures[0] == f"{np.mean(alone):.4f}"
    assert float(figures[-1]) <= min(map(float, figures[:-1])) and len(set(figures[:-1])) == 4


def test_noise_has_its_deviation_and_is_gray():
    gray = np.full((64, 64, 3), 100, np.uint8)
    for deviation, picture in zip(grain.DEVIATIONS, grain.with_grain(gray), strict=True):
        assert (picture == picture[..., :1]).all()
        assert picture.std() == pytest.approx(np.hypot(deviation, 12**-0.5) if deviation else 0, rel=0.06)


@pytest.mark.parametrize("study", [padding, grain])
@pytest.mark.parametrize("missing", ["model", "data"])
def test_what_is_missing_is_named_in_one_line(study, missing, model, data, tmp_path, capsys):
    paths = {"model": model, "data": data, missing: tmp_path / "nowhere"}
    with pytest.raises(SystemExit) as end:
        study.main(["--model", str(paths["model"]), "--data", str(paths["data"])])
    error = capsys.readouterr().err
    assert end.value.code == 2 and "nowhere" in error and error.count("\n") == 1


def test_a_conditional_generator_has_no_edges_to_pad_here(data, tmp_path, capsys):
    export_generator(Generator(filters=4, blocks=1, scale=2, condition="noise"), tmp_path / "noise", served=False)
    with pytest.raises(SystemExit, match="2"):
        padding.main(["--model", str(tmp_path / "noise"), "--data", str(data)])
    assert "images alone" in capsys.readouterr().err


def test_the_table_of_palettes_and_dithers(make_photo, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gif, "FRAMES", 2)
    monkeypatch.setattr(gif, "DITHERS", ("none",))
    for seed in range(2):
        Image.fromarray(make_photo(60, 80, seed)).save(tmp_path / f"{seed}.png")
    assert gif.main([str(tmp_path / "0.png"), str(tmp_path / "1.png")]) == 0
    palettes, debanding = capsys.readouterr().out.split("\n\n")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in palettes.splitlines()]
    assert [row[:3] for row in rows[2:5]] == [
        ["head", "global", "none"],
        ["head", "adaptive", "none"],
        ["head", "frame", "ordered"],
    ]
    assert len(rows) == 2 + 3 * 3 and all(float(figure) > 0 for row in rows[2:] for figure in row[3:5])
    assert len(debanding.splitlines()) == 2 + 5 * 3


def test_a_single_photograph_gives_no_clips(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        gif.main([str(tmp_path / "0.png")])
    assert "Expected two or more." in capsys.readouterr().err
