"""A run goes on with the photographs that it was trained on, from wherever it is resumed, or not at all."""

import json
import logging
import os
import shutil
import signal

import pytest
from PIL import Image

import train_SRWGAN
from srwgan.training.schedule import Schedule

FLAGS = (
    "--trainnum 4 --validnum 2 --cropsz 32 --batchsz 2 --epochs 3 --warmup-epochs 3 --filters 4 --blocks 1 "
    "--dfilters 4 --cweight 0 --precision float32 --strategy one --cache cache --run-dir run"
).split()


@pytest.fixture
def started(photo_folder, tmp_path, monkeypatch, eagerly):
    """A run in first/run on the six photographs of first/Datasets, stopped in its second epoch; we are in second/."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    photo_folder.rename(first / "Datasets")
    monkeypatch.chdir(first)

    def stopped_at_batch_3(schedule, batch, _):
        if batch == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return "warmup"

    with monkeypatch.context() as patch:
        patch.setattr(Schedule, "phase", stopped_at_batch_3)
        assert train_SRWGAN.main(FLAGS) == 128 + signal.SIGTERM
    monkeypatch.chdir(second)
    return first


def history(folder):
    return json.loads((folder / "run" / "history.json").read_text())


def refused(argv, capsys):
    with pytest.raises(SystemExit) as end:
        train_SRWGAN.main(argv)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    return line


def test_what_a_run_is_trained_on_is_recorded(started):
    record = json.loads((started / "run" / "photographs.json").read_text())
    sizes = {path.name: path.stat().st_size for path in (started / "Datasets").iterdir()}
    assert record["folder"] == str(started / "Datasets")
    assert record["training"] == {name: sizes[name] for name in ("0.png", "1.png", "2.png", "3.png")}
    assert record["held_out"] == {name: sizes[name] for name in ("4.png", "5.png")}


def test_relative_paths_mean_what_they_meant_at_first(started, caplog):
    caplog.set_level(logging.INFO, "srwgan")
    assert train_SRWGAN.main(["--resume", "../first/run"]) == 0
    assert "Going on after 3 of 6 batches" in caplog.text and "bundled" not in caplog.text
    assert str(started / "cache") in caplog.text
    assert history(started)["batches"] == 6 and len(history(started)["epochs"]["psnr"]) == 3


def test_photographs_that_are_gone_are_named(started, capsys):
    before = history(started)
    (started / "Datasets").rename(started / "elsewhere")
    line = refused(["--resume", "../first/run"], capsys)
    assert (
        f"was trained on 6 photographs in {started / 'Datasets'}" in line and "Expected the photographs there" in line
    )
    assert history(started) == before


def test_photographs_may_move(started):
    shutil.move(started / "Datasets", started / "moved")
    assert train_SRWGAN.main(["--resume", "../first/run", "--datapath", "../first/moved"]) == 0
    assert len(history(started)["epochs"]["psnr"]) == 3


def add(folder):
    """The fourth is held out in place of the last, which is beyond those that are asked for."""
    Image.open(folder / "0.png").save(folder / "00.png")


def shrink(folder):
    Image.open(folder / "1.png").convert("P").save(folder / "1.png")


def remove(folder):
    (folder / "5.png").unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (add, "(different: 00.png, 3.png, 5.png). Expected the same 4 to train on and 2 held out"),
        (shrink, "(different: 1.png). Expected the same"),
        (
            remove,
            "(different: 5.png). Expected the same 4 to train on and 2 held out, not 4 to train on and 1 held out.",
        ),
    ],
)
def test_other_photographs_are_refused_and_the_run_stays_as_it_was(started, capsys, change, said):
    before = history(started), sorted(os.listdir(started / "run" / "checkpoints"))
    change(started / "Datasets")
    assert said in refused(["--resume", "../first/run"], capsys)
    assert before == (history(started), sorted(os.listdir(started / "run" / "checkpoints")))


def test_a_run_without_a_record_goes_on_unless_its_epochs_have_another_length(started, capsys, monkeypatch):
    (started / "run" / "photographs.json").unlink()
    monkeypatch.chdir(started)
    before = history(started)
    (started / "Datasets" / "3.png").unlink()
    (started / "Datasets" / "2.png").unlink()
    (started / "Datasets" / "1.png").unlink()  # one is left to train on besides two held out: a batch an epoch
    line = refused(["--resume", "run"], capsys)
    assert "whose 3 batches were 1 whole epochs, with photographs of which an epoch has 1 batches" in line
    assert history(started) == before
    for number in (1, 2, 3):
        shutil.copy("Datasets/0.png", f"Datasets/{number}.png")
    assert train_SRWGAN.main(["--resume", "run"]) == 0
    assert len(json.loads((started / "run" / "photographs.json").read_text())["training"]) == 4
