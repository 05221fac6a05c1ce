"""Runs that are stopped, killed, or lose a checkpoint, and go on."""

import glob
import json
import os
import resource
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from srwgan.data.crops import CropOptions, CropStream, held_out_crops
from srwgan.networks.discriminator import Discriminator
from srwgan.networks.generator import Generator, with_precision
from srwgan.training.objective import Objective
from srwgan.training.optimizers import build_optimizer
from srwgan.training.run import Run
from srwgan.training.schedule import Schedule
from srwgan.training.setup import never_saved
from srwgan.training.step import Trainer
from tests.forked import Forked
from tests.waiting import LIMIT, until

ROOT = str(Path(__file__).resolve().parents[2])
STEPS = 2  # in an epoch: four photographs, two in a batch


@pytest.fixture
def make_run(make_photo, tmp_path, eagerly):
    photos = [make_photo(16, 16, seed) for seed in range(4)]

    def make(epochs, name="run"):
        keras.utils.set_random_seed(0)
        generator, discriminator = Generator(4, 1, 2), Discriminator(4)
        trainer = Trainer(
            generator,
            discriminator,
            average=with_precision(generator, "float32"),
            generator_optimizer=build_optimizer(1e-3),
            discriminator_optimizer=build_optimizer(1e-3),
            objective=Objective(cweight=0),
        )
        options = CropOptions(crop=16, scale=2, batch_size=2)
        return Run(
            trainer,
            CropStream(photos, options),
            validation=held_out_crops(photos, 1, options),
            folder=str(tmp_path / name),
            schedule=Schedule(epochs=epochs, warmup_epochs=epochs),
        )

    (tmp_path / "run").mkdir()
    return make


def numbers(folder):
    return sorted(int(path.split("-")[-1].split(".")[0]) for path in glob.glob(f"{folder}/ckpt-*.index"))


def weights(run):
    return [np.array(weight) for weight in run.trainer.generator.get_weights()]


def test_the_last_three_checkpoints_and_the_best_are_kept(make_run, tmp_path, monkeypatch):
    run = make_run(6)
    quality = iter([20.0, 23.0, 22.0, 21.0, 22.5, 22.9])
    monkeypatch.setattr(run, "validate", lambda: next(quality))
    run.train()
    assert numbers(tmp_path / "run" / "checkpoints") == [4 * STEPS, 5 * STEPS, 6 * STEPS]
    assert numbers(tmp_path / "run" / "best") == [2 * STEPS]
    resumed = make_run(7)  # what was best is known after a resume
    resumed.restore()
    monkeypatch.setattr(resumed, "validate", lambda: 22.99)
    resumed.train()
    assert numbers(tmp_path / "run" / "best") == [2 * STEPS]


@pytest.mark.parametrize("part", ["data-00000-of-00001", "index"])
@pytest.mark.parametrize("left", [0, 0.5])
def test_a_torn_checkpoint_is_passed_over(make_run, tmp_path, caplog, part, left):
    one = make_run(1)
    one.train()
    run = make_run(2)
    run.restore()
    run.train()
    path = str(tmp_path / "run" / "checkpoints" / f"ckpt-{2 * STEPS}.{part}")
    os.truncate(path, int(os.path.getsize(path) * left))
    resumed = make_run(2)
    assert resumed.restore() == STEPS
    (line,) = caplog.messages[-1].splitlines()
    assert f"ckpt-{2 * STEPS} is torn, going on from the checkpoint before it" in line
    assert all(np.array_equal(a, b) for a, b in zip(weights(resumed), weights(one), strict=True))
    resumed.train()
    assert all(np.array_equal(a, b) for a, b in zip(weights(resumed), weights(run), strict=True))
    assert make_run(2).restore() == 2 * STEPS  # the torn one was written anew


def test_nothing_but_torn_checkpoints(make_run, tmp_path):
    make_run(1).train()
    for path in glob.glob(str(tmp_path / "run" / "checkpoints" / "ckpt-*.index")):
        os.truncate(path, 10)
    with pytest.raises(ValueError, match="without a whole checkpoint. Expected a run that wrote one"):
        make_run(1).restore()


@pytest.fixture
def full_disk():
    """Files can grow to 20 kB only, to which history.json fits and a checkpoint does not."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_leaves_the_checkpoint_before(make_run, tmp_path, full_disk):
    run = make_run(2)
    validate = run.validate
    run.validate = lambda: (int(run.progress.numpy()) == 2 * STEPS and full_disk()) or validate()
    message = rf"No checkpoint could be written to .* \(File too large: .*\)\. Last good checkpoint: .*ckpt-{STEPS}"
    with pytest.raises(OSError, match=message):
        run.train()
    assert sorted(os.listdir(tmp_path / "run" / "checkpoints")) == [
        "checkpoint",
        f"ckpt-{STEPS}.data-00000-of-00001",
        f"ckpt-{STEPS}.index",
    ]
    resumed = make_run(2)
    assert resumed.restore() == STEPS
    assert len(resumed.history.epochs["psnr"]) == 1


NO_SPACE = (
    "{{function_node __wrapped__SaveV2_dtypes_3_device_/job:localhost/replica:0/task:0/device:CPU:0}} run/checkpoints/"
    "ckpt-4_temp/part-00000-of-00001.data-00000-of-00001.tempstate1; No space left on device [Op:SaveV2]"
)


def test_a_full_disk_is_the_first_thing_said(make_run, monkeypatch):
    """Then what a checkpoint takes; TensorFlow's names of nodes are left out."""
    run = make_run(1)
    run.train()

    def full(**options):
        raise tf.errors.ResourceExhaustedError(None, None, NO_SPACE)

    monkeypatch.setattr(run.checkpoints.newest, "save", full)
    with pytest.raises(OSError, match=r"\(No space left on device: run/checkpoints/ckpt-4_temp.*; a checkpoint takes "):
        run.save()


def test_what_a_killed_run_left_of_a_checkpoint_is_removed(make_run, tmp_path):
    make_run(1).train()
    folder = tmp_path / "run" / "checkpoints"
    kept = sorted(os.listdir(folder))
    (folder / "ckpt-4_temp").mkdir()
    for name in ("ckpt-4_temp/part-00000-of-00001.data-00000-of-00001.tempstate1", "checkpoint.tmp0f", "ckpt-3.index"):
        (folder / name).touch()
    (folder / "notes.txt").touch()
    (tmp_path / "run" / "best" / "ckpt-2_temp").mkdir()
    (tmp_path / "run" / "best" / "ckpt-4_temp").mkdir()
    resumed = make_run(1)
    resumed.restore()
    resumed.train()
    assert sorted(os.listdir(folder)) == [*kept, "notes.txt"]
    assert not list((tmp_path / "run" / "best").glob("*_temp"))


def test_a_run_goes_on_with_as_many_replicas_only(make_run, tmp_path):
    make_run(1).train()
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    (tmp_path / "run" / "history.json").write_text(json.dumps({**history, "replicas": 4}))
    with pytest.raises(ValueError, match=r"on 1 replica\(s\), which was started on 4. Expected as many"):
        make_run(1).restore()


def test_a_run_killed_before_its_first_checkpoint_may_start_again(tmp_path):
    assert never_saved(tmp_path)
    (tmp_path / "flags.json").touch()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / ".4f5c1e0a9b7d.9c31-4711-0.part").touch()
    assert never_saved(tmp_path)
    (tmp_path / "checkpoints" / "checkpoint").touch()
    assert not never_saved(tmp_path)
    (tmp_path / "checkpoints" / "checkpoint").unlink()
    (tmp_path / "thesis.tex").touch()
    assert not never_saved(tmp_path)


@pytest.fixture
def start(photo_folder, tmp_path):
    """(flags of train_SRWGAN.py) -> a process of it on one thread, with a tiny classifier for its content loss."""
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Conv2D(4, 3, 2, name="maps")(image)).save(tmp_path / "classifier.keras")
    environment = {
        **os.environ,
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_DETERMINISTIC_OPS": "1",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    processes = []

    def start(*flags, log="log"):
        command = [os.path.join(ROOT, "train_SRWGAN.py"), *flags]
        processes.append(Forked(command, log=tmp_path / log, cwd=tmp_path, environment=environment))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait(LIMIT)


def wait_for_checkpoint(folder, number, process):
    def reached():
        assert process.poll() is None
        return (tf.train.latest_checkpoint(folder) or "").endswith(f"ckpt-{number}")

    until(reached, what=f"checkpoint {number}")


def tensors(folder):
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(folder))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@pytest.mark.slow
def test_killed_stopped_and_resumed_is_the_same_to_the_last_bit(start, photo_folder, tmp_path):
    """kill -9 in the second epoch, SIGTERM in the third; float32 and one thread."""
    flags = [
        "--datapath",
        str(photo_folder),
        "--trainnum",
        "5",
        "--validnum",
        "1",
        "--cropsz",
        "32",
        "--batchsz",
        "2",
        "--filters",
        "4",
        "--blocks",
        "1",
        "--dfilters",
        "4",
        "--pretrained",
        "classifier.keras",
        "--hyperpixel-layers",
        "maps",
        "--weighting",
        "gradient",
        "--lr-schedule",
        "cosine",
        "--dstep",
        "2",
        "--precision",
        "float32",
        "--strategy",
        "one",
        "--crops-per-photo",
        "12",
        "--epochs",
        "3",
    ]
    whole = start(*flags, "--run-dir", "whole", log="whole_log")  # beside the others
    checkpoints = tmp_path / "run" / "checkpoints"
    run = start(*flags, "--run-dir", "run")
    wait_for_checkpoint(checkpoints, 30, run)
    run.kill()
    run.wait(LIMIT)
    run = start("--resume", "run")
    wait_for_checkpoint(checkpoints, 60, run)
    run.send_signal(signal.SIGTERM)
    assert run.wait(LIMIT) == 128 + signal.SIGTERM
    stopped_at = max(numbers(checkpoints))
    assert (
        f"Checkpoint written: run/checkpoints/ckpt-{stopped_at}. Go on with --resume run"
        in (tmp_path / "log").read_text()
    )
    assert start("--resume", "run").wait(LIMIT) == 0
    assert f"Going on after {stopped_at} of 90 batches" in (tmp_path / "log").read_text()

    assert whole.wait(LIMIT) == 0, (tmp_path / "whole_log").read_text()
    made, wanted = tensors(checkpoints), tensors(tmp_path / "whole" / "checkpoints")
    assert set(made) == set(wanted) and any("generator_optimizer" in name for name in made)
    different = [name for name in wanted if not np.array_equal(made[name], wanted[name])]
    assert not [name for name in different if "save_counter" not in name]
