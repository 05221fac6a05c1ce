"""The study of diffusion and GAN: its plan, its tables, and all of it on tiny networks."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from srwgan.networks.diffusion import DiffusionGenerator
from srwgan.networks.generator import Generator
from srwgan.networks.saving import export_generator
from srwgan.training.flags import build_parser, check
from utils.studies import diffusion as study


@pytest.fixture
def options(tmp_path, make_photo):
    for folder, size in (("photos", (48, 56)), ("data", (64, 64))):
        (tmp_path / folder).mkdir()
        for i in range(3 if folder == "photos" else 1):
            Image.fromarray(make_photo(*size, seed=i)).save(tmp_path / folder / f"{i}.png")
    words = (
        f"--datapath {tmp_path}/photos --data {tmp_path}/data --out {tmp_path}/out --seeds 2 --batches 40 --cropsz 32"
    )
    return study.build_parser().parse_args([*words.split(), "--cropsz", "32"])


def test_the_plan_grows_with_what_is_finished(options, tmp_path):
    runs = study.plan(options)
    assert [run.name for run in runs] == ["faithful-0", "gan-0", "faithful-1", "gan-1"]
    (tmp_path / "out" / "batches.json").write_text(json.dumps({"warmup": 20, "full": 60}))
    runs = {run.name: run for run in study.plan(options)}
    assert len(runs) == 8
    flags = {name: build_parser().parse_args(run.flags) for name, run in runs.items()}
    for args in flags.values():
        check(args)
    gan, diffusion, student = (flags[f"{kind}-1"] for kind in ("gan", "diffusion", "student"))
    assert gan.init.endswith("faithful-1/model_Gen") and student.student.endswith("diffusion-1/model_Gen")
    assert (gan.seed, diffusion.seed) == (1, 1) and gan.datapath == diffusion.datapath
    assert (gan.blocks, diffusion.blocks, diffusion.filters) == (4, 3, 32)
    assert runs["diffusion-1"].planned_batches == pytest.approx(80, rel=0.3)
    assert diffusion.warmup_epochs == pytest.approx(diffusion.epochs / 4, abs=0.5)


def test_parameters_are_about_the_same():
    for filters, blocks in ((32, 4), (64, 8)):
        gan, diffusion = Generator(filters, blocks), DiffusionGenerator(filters, blocks - 1)
        assert diffusion.count_params() == pytest.approx(gan.count_params(), rel=0.06)


def test_a_kinds_seeds_are_one_row_with_their_spread(options):
    def model(psnr):
        figures = {"psnr_y": psnr, "ssim": 0.5, "lpips": 0.25, "consistency": 40.0, "seconds": 1.0}
        return {"parameters": 1000, "points": [{"steps": 2, "sampler": "stochastic", **figures}]}

    models = {"diffusion-0": model(20.0), "diffusion-1": model(22.0), "SRWGAN_Gen": model(30.0)}
    text = study.report({"models": models, "curves": {"diffusion-0": [[5.0, 20.0], [9.6, 21.25]]}}, options)
    assert "| diffusion | 2 steps, stochastic | 1,000 | 21.00 ± 1.41 | 0.5000 ± 0.0000 |" in text
    assert "| SRWGAN_Gen | 2 steps, stochastic | 1,000 | 30.00 | 0.5000 |" in text
    assert "| diffusion-0 | 10 | 21.25 |" in text


def test_inputs_and_consistency():
    pixels = np.random.default_rng(0).integers(60, 190, (32, 32, 3)).astype(np.uint8)
    assert study.worn(pixels, "clean") is pixels
    assert np.std(study.worn(pixels, "noise").astype(float) - pixels) == pytest.approx(8, rel=0.05)
    assert len(np.unique(study.worn(pixels, "gif").reshape(-1, 3), axis=0)) <= 32
    assert study.consistency(pixels, pixels) == 60
    assert study.consistency(pixels + 1, pixels) == pytest.approx(48.13, abs=0.01)


def test_equal_time_is_told_by_steps_of_all_three(options, tmp_path, eagerly, monkeypatch):
    """Where a GAN's step takes three times as long as the diffusion model's, that one takes three times as many."""
    seconds = {"faithful warmup": [1.0, 1.0], "gan full": [6.0, 6.0], "diffusion full": [2.0, 2.0]}
    seen = []

    def in_turns(steps, repeats):
        seen.extend(steps)
        return seconds

    monkeypatch.setattr("utils.benchmark.turns.in_turns", in_turns)
    monkeypatch.setattr(study, "step_of", lambda flags, phase: None)
    assert study.equal_time(options, folders_of(tmp_path), 40) == {"warmup": 20, "full": 120}
    assert set(seen) == set(seconds)


def test_a_step_of_each_kind_is_timed(options, tmp_path, eagerly):
    options.quick = True
    for kind, phase in (("faithful", "warmup"), ("diffusion", "full")):
        flags = study.flags_of(kind, options, folders_of(tmp_path), seed=0, batches=study.Batches(**{phase: 4}))
        assert np.isfinite(study.step_of([*flags, "--cache", str(tmp_path / "cache")], phase)())


def folders_of(tmp_path):
    return {kind: tmp_path / "out" / f"{kind}-0" for kind in study.KINDS}


def trained(runs, jobs):
    """What `train_all` leaves, without training."""
    keras.utils.set_random_seed(0)
    for run in runs:
        size = {"filters": 4, "blocks": 1}
        diffuses = run.variant in ("diffusion", "student")
        model = DiffusionGenerator(**size, steps=2) if diffuses else Generator(**size)
        export_generator(model, run.model, served=False)
        (run.folder / "run").mkdir()
        history = {"batches": 4, "epochs": {"psnr": [20.0, 21.0], "images_per_second": [2.0, 4.0]}}
        (run.folder / "run" / "history.json").write_text(json.dumps(history))
    return []


def test_all_of_it_and_once_more(options, monkeypatch, capsys):
    """Once more, nothing is trained and measured again: the same report comes at once."""
    words = ["--datapath", options.datapath, "--data", *options.data, "--out", options.out, "--quick"]
    monkeypatch.setattr(study, "SEEDS", 2)
    monkeypatch.setattr(study, "FIDELITIES", (0.0, 0.5))
    monkeypatch.setattr(study, "STEPS", {"deterministic": (1,), "stochastic": (4, 16)})
    monkeypatch.setattr(study, "INPUTS", {"clean": "as they are", "noise": "noise"})
    monkeypatch.setattr(study, "equal_time", lambda *_: {"warmup": 4, "full": 4})
    monkeypatch.setattr(study, "train_all", trained)
    assert study.main(words) == 0
    report = capsys.readouterr().out
    for name in ("gan | fidelity 0.5", "diffusion | 4 steps, stochastic", "student | 1 step", "bicubic"):
        assert f"| {name}" in report
    assert "| faithful-0 | 3 | 21.00 |" in report  # two batches of 2 crops at 2 a second, and two at 4
    assert all((study.Path(options.out) / name).is_file() for name in ("plane.png", "curves.png", "diffusion.md"))
    monkeypatch.setattr(study, "measure_model", None)
    monkeypatch.setattr(study, "train_all", lambda runs, jobs: [("trained again", run.name) for run in runs])
    assert study.main(words) == 0 and capsys.readouterr().out == report


def test_a_training_that_fails_ends_in_one_line(options, monkeypatch, capsys):
    words = ["--datapath", options.datapath, "--data", *options.data, "--out", options.out, "--quick"]
    monkeypatch.setattr(study, "train_all", lambda runs, jobs: [(run.name, "no memory") for run in runs])
    assert study.main(words) == 2
    assert capsys.readouterr().err == "utils.studies.diffusion: faithful-0 failed: no memory\n"
