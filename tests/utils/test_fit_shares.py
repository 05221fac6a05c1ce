"""Shares of trainings' changes, fitted on pictures of a few pixels."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from srwgan.measuring.pairs import degraded, find_pairs, read_pair
from srwgan.networks.diffusion import DiffusionGenerator
from srwgan.networks.generator import Generator
from srwgan.networks.saving import export_generator, load_generator
from srwgan.pixels import to_range
from srwgan.upscaling.upscaler import Upscaler
from tests.tiny_generators import noisy
from utils import evaluate, fit_shares


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """{name: folder}: a good generator, a spoiled one, and one that differs from it by chance."""
    folder, models = tmp_path_factory.mktemp("models"), {}
    for name, generator in {"good": noisy(2, 0, spread=0), "spoiled": noisy(2, 1), "other": noisy(2, 2)}.items():
        models[name] = str(folder / name)
        export_generator(generator, models[name], served=False)
    return models


@pytest.fixture
def data(make_originals):
    return str(make_originals(4, 72, 64))


def run(models, data, out, *more, base="spoiled"):
    changes = ["--change", models["spoiled"], models["good"], "--change", models["spoiled"], models["other"]]
    quick = ["--size", "64", "--steps", "12", "--batch", "2"]
    return fit_shares.main([str(out), models[base], *changes, "--data", data, *quick, *more])


def figures(model, data, path):
    evaluate.main(["--model", model, "--data", data, "--precision", "float32", "--json", str(path)])
    return json.loads(path.read_text())["results"][1]


def test_a_change_for_the_better_gets_a_share(models, data, tmp_path, capsys):
    assert run(models, data, tmp_path / "sum", "--psnr", "0.1") == 0
    printed = capsys.readouterr().out
    before, after = (figures(model, data, tmp_path / "f.json") for model in (models["spoiled"], str(tmp_path / "sum")))
    assert after["lpips"] < before["lpips"] and after["psnr_y"] > before["psnr_y"]
    assert [line.split(":")[0] for line in printed.splitlines() if "originals none" in line] == [
        "start",
        "step 10",
        "step 12",
    ]
    assert f"{models['spoiled']} -> {models['good']}: " in printed


def test_the_result_is_the_sum_that_its_card_tells_and_lists(models, data, tmp_path):
    assert run(models, data, tmp_path / "sum", "--parts", "2") == 0
    training = json.loads((tmp_path / "sum" / "config.json").read_text())["training"]
    shares = training["shares of changes"]
    assert [len(share) for share in shares.values()] == [2, 2] and training["fitted on"] == [data]
    base, good, other = (load_generator(models[name]).get_weights() for name in ("spoiled", "good", "other"))
    layers = [layer.name for layer in load_generator(models["good"]).layers if layer.trainable_variables]
    result = load_generator(tmp_path / "sum")
    names = [variable.path.split("/")[0] for variable in result.trainable_variables]
    for weights, name, *ends in zip(result.get_weights(), names, base, good, other, strict=True):
        part = layers.index(name) * 2 // len(layers)
        expected = ends[0] + sum(
            share[part] * (end - ends[0]) for share, end in zip(shares.values(), ends[1:], strict=True)
        )
        np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_it_runs_the_network_as_the_upscaler_does(models, make_photo):
    generator, photo = load_generator(models["spoiled"]), make_photo(20, 24)
    nothing = [np.zeros(variable.shape, np.float32) for variable in generator.trainable_variables]
    network = fit_shares.Sum(generator, [nothing], parts=3)
    result = network.upscale(network.weights(np.ones((1, 3), np.float32)), to_range(photo[None]))[0]
    wanted = to_range(Upscaler(generator, "float32").image(photo))
    assert np.abs(np.asarray(result) - wanted).max() <= 1.01 / 255  # one is rounded to levels, 2/255 apart


def test_a_change_of_nothing_gets_no_share(models, data, tmp_path):
    same = ["--change", models["good"], models["good"]]
    assert run(models, data, tmp_path / "sum", *same) == 0
    training = json.loads((tmp_path / "sum" / "config.json").read_text())["training"]
    assert list(training["shares of changes"].values())[-1] == [0.0] * 4


def test_every_wear_is_fitted_on_crops_of_the_worn_picture(models, data):
    parser = fit_shares.build_parser()

    def read(*more):
        args = parser.parse_args(["o", "g", "--change", "a", "b", "--data", data, "--size", "64", *more])
        return fit_shares.read_examples(args, 2)

    wear = ("--wear", "none", "gif", "jpeg", "--crops", "2")
    fitted, checked = read(*wear)
    assert [each.group[1] for each in fitted] == ["none", "none", "gif", "gif", "jpeg", "jpeg"] * 2
    assert len(checked) == 12
    assert all(each.low_res.shape == (1, 32, 32, 3) and each.original.shape == (1, 64, 64, 3) for each in fitted)
    whole = [read_pair(*paths, scale=2) for _, *paths in find_pairs(data)][0]
    worn = to_range(degraded(whole[0], "gif")[None])
    for each, top in [(each, top) for each in fitted[2:4] for top in range(5)]:
        if np.array_equal(each.original, to_range(whole[1][None, 2 * top : 2 * top + 64])):
            np.testing.assert_array_equal(each.low_res, worn[:, top : top + 32])
            break
    else:
        pytest.fail("the crop is nowhere in the picture")
    again, other = (read(*wear, "--seed", seed)[0] for seed in ("0", "1"))
    low_res = [np.concatenate([each.low_res for each in half]) for half in (fitted, again, other)]
    np.testing.assert_array_equal(low_res[0], low_res[1])
    assert not np.array_equal(low_res[0], low_res[2])


def test_folders_count_by_their_weights_whatever_their_pictures():
    args = fit_shares.build_parser().parse_args(
        ["o", "g", "--change", "a", "b", "--data", "x", "y", "--weights", "3", "1", "--psnr", "0.5"]
    )
    examples = [fit_shares.Example(None, None, (folder, "none")) for folder in "xxxy"]
    terms = fit_shares.loss_terms(examples, {("x", "none"): [0.2, 0], ("y", "none"): [0.5, 0]}, args)
    np.testing.assert_allclose(terms[:, 0], [0.25 / 0.2] * 3 + [0.25 / 0.5])
    np.testing.assert_allclose(terms[:, 1], [0.125] * 4)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--change", "nowhere", "nowhere"], "nowhere"),
        (["--weights", "1", "2"], "Expected one for each"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(more, named, models, data, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        run(models, data, tmp_path / "sum", *more)
    error = capsys.readouterr().err
    assert end.value.code == 2 and named in error and error.count("\n") == 1
    assert not (tmp_path / "sum").exists()


def test_a_folder_of_one_picture_and_another_architecture_are_refused(models, make_photo, tmp_path, capsys):
    folder = tmp_path / "one"
    folder.mkdir()
    Image.fromarray(make_photo(64, 64)).save(folder / "a.png")
    with pytest.raises(SystemExit, match="2"):
        run(models, str(folder), tmp_path / "sum")
    assert "with one picture. Expected two or more" in capsys.readouterr().err
    export_generator(Generator(filters=8, blocks=1, scale=2), tmp_path / "wide", served=False)
    with pytest.raises(SystemExit, match="2"):
        run(models, str(folder), tmp_path / "sum", "--change", str(tmp_path / "wide"), models["good"])
    assert "Expected the same architecture" in capsys.readouterr().err


@pytest.mark.parametrize("network", [DiffusionGenerator, partial(Generator, condition="noise")])
def test_a_model_that_takes_more_than_images_is_refused(network, models, data, tmp_path, capsys):
    export_generator(network(filters=4, blocks=1, scale=2), tmp_path / "more", served=False)
    with pytest.raises(SystemExit, match="2"):
        run({**models, "more": str(tmp_path / "more")}, data, tmp_path / "sum", base="more")
    error = capsys.readouterr().err
    assert "that takes images alone" in error and error.count("\n") == 1
