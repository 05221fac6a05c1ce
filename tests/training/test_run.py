import io
import json
import logging
import math
import os
import pickle
import re
import signal
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from srwgan.data.crops import CropOptions, CropStream, held_out_crops
from srwgan.measuring.metrics import psnr
from srwgan.networks.discriminator import Discriminator
from srwgan.networks.edges import MARGIN
from srwgan.networks.generator import Generator, with_precision
from srwgan.pixels import to_pixels
from srwgan.training.objective import Objective
from srwgan.training.optimizers import build_optimizer
from srwgan.training.run import Diverged, Run, Stopped
from srwgan.training.schedule import Schedule
from srwgan.training.step import StepOptions, Trainer
from srwgan.upscaling.upscaler import Upscaler

pytestmark = pytest.mark.usefixtures("eagerly")
STEPS = 3  # in an epoch: six photographs, two in a batch


@pytest.fixture
def make_run(make_photo, tmp_path):
    """(name of a folder, options of `Run`) -> a Run of tiny networks, always starting the same."""
    photos = [make_photo(24, 30, seed) for seed in range(6)]

    def make(name="run", *, epochs=2, warmup_epochs=0, critic_warmup=0, margin=0, **options):
        keras.utils.set_random_seed(0)
        generator, discriminator = Generator(4, 1, 2), Discriminator(4)
        trainer = Trainer(
            generator,
            discriminator,
            average=with_precision(generator, "float32"),
            generator_optimizer=build_optimizer(1e-3, schedule="cosine", total_steps=epochs * STEPS),
            discriminator_optimizer=build_optimizer(1e-3),
            hyperpixels=lambda images: [images + 0.5],
            objective=Objective(cweight=0.1),
            options=StepOptions(margin=margin),
        )
        (tmp_path / name).mkdir(exist_ok=True)
        return Run(
            trainer,
            CropStream(photos, CropOptions(crop=16, scale=2, batch_size=2, seed=1)),
            validation=held_out_crops(photos[:2], 2, CropOptions(crop=24, scale=2)),
            folder=str(tmp_path / name),
            schedule=Schedule(epochs=epochs, warmup_epochs=warmup_epochs, critic_warmup=critic_warmup),
            **options,
        )

    return make


def after_each_batch(run, action):
    """Call `action(number of the batch, phase)` after every batch of this run."""
    train_batch, number = run.trainer.train_batch, [0]

    def wrapper(batch, phase="full", stop=0.0):
        metrics = train_batch(batch, phase, stop)
        number[0] += 1
        action(number[0], phase)
        return metrics

    run.trainer.train_batch = wrapper


def weights(run):
    return [
        np.array(v)
        for network in (run.trainer.generator, run.trainer.discriminator, run.trainer.average)
        for v in network.get_weights()
    ]


def lasting(history):
    return {name: values for name, values in history.items() if name not in ("images_per_second", "waiting_share")}


@pytest.mark.parametrize("stop_after", [STEPS, STEPS + 1, 2 * STEPS])
def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(make_run, stop_after):
    """SIGTERM in an epoch, and at its last batch; resumed with new objects, down to the bits."""
    whole = make_run("whole")
    whole.train()

    handler = signal.getsignal(signal.SIGTERM)
    stopped = make_run("stopped")
    after_each_batch(stopped, lambda n, phase: n == stop_after and os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped) as caught:
        stopped.train()
    assert caught.value.exit_status == 128 + signal.SIGTERM == 143
    assert signal.getsignal(signal.SIGTERM) is handler

    resumed = make_run("stopped")
    assert resumed.restore() == stop_after
    resumed.train()
    for made, wanted in zip(weights(resumed), weights(whole), strict=True):
        np.testing.assert_array_equal(made, wanted)
    assert lasting(resumed.history.epochs) == lasting(whole.history.epochs)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("terminal", [False, True])
def test_a_long_epoch_writes_checkpoints_and_tells_a_log_file_how_far_it_is(make_run, monkeypatch, caplog, terminal):
    """Killed within its second epoch, it goes on from the batch before; a terminal has the progress bar for that."""
    caplog.set_level(logging.INFO, "srwgan")
    if terminal:
        monkeypatch.setattr(sys, "stderr", Terminal())
    whole = make_run("whole")
    whole.train()
    assert not [line for line in caplog.messages if "batches" in line]  # an epoch of seconds needs neither

    monkeypatch.setattr("srwgan.training.run.SAVED_EVERY", 0.0)
    killed = make_run("killed")

    def kill(number, phase):
        if number == STEPS + 2:
            raise KeyboardInterrupt

    after_each_batch(killed, kill)
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    lines = [line for line in caplog.messages if "batches" in line]
    assert len(lines) == (0 if terminal else STEPS)
    for line in lines[-1:]:
        assert re.fullmatch(r"Epoch 2/2: 1 of 3 batches, \d\d:\d\d left; rec [\d.e+-]+, content .*", line)

    resumed = make_run("killed")
    assert resumed.restore() == STEPS + 1
    resumed.train()
    for made, wanted in zip(weights(resumed), weights(whole), strict=True):
        np.testing.assert_array_equal(made, wanted)
    assert lasting(resumed.history.epochs) == lasting(whole.history.epochs)


def test_a_history_ahead_of_its_checkpoint_is_cut_back(make_run, tmp_path):
    """Killed after the history of epoch 2 was written and before its checkpoint was."""
    whole = make_run("whole")
    whole.train()
    one = make_run("one")
    after_each_batch(one, lambda n, phase: n == STEPS and os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped):
        one.train()
    (tmp_path / "one" / "history.json").write_bytes((tmp_path / "whole" / "history.json").read_bytes())
    resumed = make_run("one")
    assert resumed.restore() == STEPS
    assert {len(values) for values in resumed.history.epochs.values()} == {1}
    assert not resumed.history.sums


def test_nothing_to_resume(make_run):
    with pytest.raises(ValueError, match="without a checkpoint. Expected a run that wrote one."):
        make_run().restore()


def test_phases_in_their_order_and_a_history_that_notebooks_read(make_run, tmp_path):
    run = make_run(warmup_epochs=1, critic_warmup=2)
    phases = []
    after_each_batch(run, lambda n, phase: phases.append(phase))
    history = run.train()
    assert phases == ["warmup"] * 3 + ["critic"] * 2 + ["full"]
    known = {
        "d_loss",
        "g_loss",
        "g_loss_total",
        "content_loss",
        "reconstruction_loss",
        "gradient_penaty",
        "gradient_penalty",
        "gp_weight",
        "content_weight",
        "psnr",
    }
    assert known <= set(history)
    assert all(len(values) == 2 for values in history.values())
    assert history["d_loss"][0] is None and math.isfinite(history["d_loss"][1])
    assert history["gradient_penaty"] == history["gradient_penalty"]
    assert history["gp_weight"] == [10.0, 10.0] and history["content_weight"] == [0.1, 0.1]
    run.history.write_pickle(str(tmp_path / "trainHistoryDict"))
    with open(tmp_path / "trainHistoryDict", "rb") as file:
        assert pickle.load(file) == history

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    with open(tmp_path / "run" / "history.json") as file:
        assert json.load(file, parse_constant=refuse)["epochs"] == history


def test_several_batches_in_a_call_keep_to_phases_and_epochs(make_run):
    one_by_one = make_run("one", warmup_epochs=1, critic_warmup=1)
    at_once = make_run("many", warmup_epochs=1, critic_warmup=1, steps_per_call=4)
    one_by_one.train(), at_once.train()
    for made, wanted in zip(weights(at_once), weights(one_by_one), strict=True):
        np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-6)
    for name, values in lasting(one_by_one.history.epochs).items():
        for made, wanted in zip(at_once.history.epochs[name], values, strict=True):
            assert made == (wanted if wanted is None else pytest.approx(wanted, rel=1e-3, abs=1e-6))


def test_the_average_is_what_is_validated(make_run):
    run = make_run(epochs=1)
    history = run.train()
    low_res, high_res = run.validation
    made = to_pixels(run.trainer.average(low_res))
    expected = np.mean([psnr(one, other, 2) for one, other in zip(made, to_pixels(high_res), strict=True)])
    assert history["psnr"] == [pytest.approx(expected)]
    assert history["psnr_bicubic"] == [pytest.approx(run.psnr_bicubic)]


def test_with_mirrored_edges_it_is_validated_as_pictures_are_upscaled(make_run):
    run = make_run(epochs=1, margin=MARGIN)
    history = run.train()
    low_res, high_res = run.validation
    made = to_pixels(Upscaler(run.trainer.average, "float32").tensor(low_res))
    expected = np.mean([psnr(one, other, 2) for one, other in zip(made, to_pixels(high_res), strict=True)])
    assert history["psnr"] == [pytest.approx(expected, abs=1e-3)]


class Pictures:
    def __init__(self):
        self.epochs = []

    def on_epoch_end(self, epoch):
        self.epochs.append(epoch)


def test_a_picture_for_each_epoch(make_run):
    pictures = Pictures()
    make_run(visualizer=pictures).train()
    assert pictures.epochs == [0, 1]


def spoil(run, chosen):
    """Make the batches of those numbers not finite."""
    train_batch, number = run.trainer.train_batch, [0]

    def wrapper(batch, phase="full", stop=0.0):
        number[0] += 1
        low_res, high_res, e = batch
        return train_batch((low_res, high_res * (float("nan") if number[0] in chosen else 1.0), e), phase, stop)

    run.trainer.train_batch = wrapper


def test_one_bad_batch_does_not_spoil_an_epochs_means(make_run):
    run = make_run(epochs=1)
    spoil(run, [2])
    history = run.train()
    assert history["bad_steps"] == [1.0]
    for name in "d_loss", "reconstruction_loss", "content_loss", "critic_norm", "g_loss_total":
        assert math.isfinite(history[name][0])


def test_ten_bad_batches_in_a_row_end_the_run(make_run):
    run = make_run(epochs=5)
    spoil(run, range(3, 100))
    with pytest.raises(Diverged, match="10 steps in a row .* Last good checkpoint: .*checkpoints/ckpt-"):
        run.train()
    assert int(run.progress.numpy()) <= 15
    assert all(np.isfinite(weight).all() for weight in weights(run))


def test_a_checkpoint_holds_all_that_training_changes(make_run):
    run = make_run(epochs=1)
    run.train()
    other = make_run(epochs=1)
    other.restore()
    for name in "generator_optimizer", "discriminator_optimizer":
        pairs = zip(getattr(other.trainer, name).variables, getattr(run.trainer, name).variables, strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
    for name in "loss_scale", "bad_steps", "bad_in_a_row":
        tf.debugging.assert_equal(getattr(other.trainer, name), getattr(run.trainer, name))
    tf.debugging.assert_equal(other.trainer.weight_average.steps, run.trainer.weight_average.steps)
