"""A policy at the controls of a run: what it sees, how it decides, what it moves, what a resumed run knows of it."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from srwgan.data.crops import CropOptions, CropStream, held_out_crops
from srwgan.measuring.lpips import LPIPS
from srwgan.measuring.metrics import psnr
from srwgan.networks.discriminator import Discriminator
from srwgan.networks.generator import Generator, with_precision
from srwgan.pixels import to_pixels
from srwgan.training.control.controller import Controller, decision_batches
from srwgan.training.control.controls import CONTROLS, LARGEST, LARGEST_MOVE, Controls, moved
from srwgan.training.control.observation import FEATURES, HeldOut, Observer
from srwgan.training.control.policy import Policy
from srwgan.training.launch import launch
from srwgan.training.objective import Objective
from srwgan.training.optimizers import ControlledRate, build_optimizer
from srwgan.training.run import Run
from srwgan.training.schedule import Schedule
from srwgan.training.step import StepOptions, Trainer
from tests.training import test_step

STILL = np.zeros(len(CONTROLS))


def levels_of(**factors):
    levels = STILL.copy()
    for name, factor in factors.items():
        levels[CONTROLS.index(name)] = np.log(factor)
    return levels


def busy_policy(decisions=4, seed=0):
    """A policy whose actions are not near 0 and follow from what it sees."""
    policy = Policy(decisions=decisions, seed=seed)
    random = np.random.default_rng(seed)
    policy.network.kernels[-1].assign(random.normal(0, 0.5, policy.network.kernels[-1].shape))
    return policy


def test_moves_are_clipped_and_end_at_the_bounds():
    levels = moved(STILL, np.full(6, 7.0))
    np.testing.assert_allclose(levels, LARGEST_MOVE)
    for _ in range(20):
        levels = moved(levels, np.ones(6))
    np.testing.assert_allclose(np.exp(levels), list(LARGEST.values()))
    for _ in range(40):
        levels = moved(levels, -np.ones(6))
    np.testing.assert_allclose(np.exp(levels), [1 / 8, 1 / 8, 1 / 8, 1 / 4, 1 / 4, 1])


def test_critic_steps_are_whole_multiples_of_those_of_the_flags():
    controls = Controls(dstep=2)
    assert (controls.dstep, controls.most_steps) == (2, 6)
    controls.levels.assign(levels_of(dstep=3))
    assert controls.dstep == 6 and controls.factors()["dstep"] == 6


def observed(observer, levels=STILL, progress=0.0, held_out=(30.0, 0.2), number=1, **metrics):
    observer.add(metrics, number)
    return dict(zip(FEATURES, observer.observe(progress=progress, held_out=held_out, levels=levels), strict=True))


def test_what_is_seen_by_hand():
    observer = Observer()
    first = observed(observer)
    assert set(first.values()) == {0.0}  # nothing was trained on yet
    steady = {"reconstruction": 0.04, "wasserstein": -2.0, "gradient_penalty": 0.1, "critic_norm": np.e}
    second = observed(observer, levels_of(adversarial=8, glr=0.5), 0.25, (31.0, 0.1), adversarial=-7.0, **steady)
    assert second["progress"] == 0.25 and second["psnr"] == 1.0
    assert second["lpips"] == pytest.approx(10 * np.log(2)) and second["lpips_slope"] == second["lpips"]
    assert second["level_adversarial"] == pytest.approx(1) and second["level_glr"] == pytest.approx(-0.5)
    assert second["adversarial"] == second["reconstruction"] == second["content"] == 0.0  # first, first, not there
    assert second["wasserstein"] == pytest.approx(-np.log(3)) and second["critic_norm"] == pytest.approx(1)
    assert second["gradient_penalty"] == pytest.approx(np.log(0.101))
    observer.add({"reconstruction": 0.01, "adversarial": -5.0}, 3)  # 3 batches, then 1
    third = observed(observer, progress=0.5, held_out=(30.5, 0.2), reconstruction=0.05, adversarial=-9.0)
    assert third["reconstruction"] == pytest.approx(np.log(0.02 / 0.04), rel=1e-5)
    assert third["reconstruction_slope"] == pytest.approx(third["reconstruction"])
    assert third["adversarial"] == pytest.approx(np.log1p(1.0))  # the mean is -6, one above the first
    assert third["psnr_slope"] == -0.5 and third["lpips"] == 0 and third["wasserstein"] == 0


def test_a_constant_added_to_the_adversarial_loss_is_not_seen():
    seen = []
    for shift in (0.0, 500.0):
        observer = Observer()
        observed(observer, adversarial=-3.0 + shift)
        seen.append(observed(observer, adversarial=-1.0 + shift))
    assert seen[0] == pytest.approx(seen[1])


def test_an_observers_state_is_all_it_remembers():
    one, other = Observer(), Observer()
    observed(one, reconstruction=0.5)
    one.add({"reconstruction": 0.4, "content": float("nan")}, 2)
    other.state.assign(one.state)
    assert observed(one, reconstruction=0.1) == observed(other, reconstruction=0.1)


def test_held_out_figures_are_those_of_the_metrics(make_photo):
    options = CropOptions(crop=32, scale=2)
    low_res, high_res = held_out_crops([make_photo(40, 40, seed) for seed in range(3)], 3, options)
    network = Generator(4, 1, 2)
    ratio, distance = HeldOut(low_res, high_res, 2)(network)
    made = tf.clip_by_value(network(low_res), -1, 1)
    pairs = zip(to_pixels(made), to_pixels(high_res), strict=True)
    assert ratio == pytest.approx(np.mean([psnr(*pair, 2) for pair in pairs]))
    assert distance == pytest.approx(np.mean(LPIPS()(made, high_res)), rel=1e-5)


def test_a_policy_is_what_its_file_says(tmp_path):
    policy = busy_policy()
    policy.mean.assign_add(tf.ones(len(FEATURES)))
    policy.save(tmp_path / "policy.npz")
    loaded = Policy.load(tmp_path / "policy.npz")
    seen = np.random.default_rng(0).normal(size=len(FEATURES)).astype(np.float32)
    np.testing.assert_array_equal(loaded.decide(seen).action, policy.decide(seen).action)
    assert loaded.decisions == 4 and loaded.decide(seen).reasons == policy.decide(seen).reasons


def test_reasons_name_what_moved_a_control():
    policy = Policy(decisions=1)
    for kernel in policy.network.kernels:
        kernel.assign(tf.zeros_like(kernel))
    psnr_seen, glr = FEATURES.index("psnr"), CONTROLS.index("glr")
    for kernel, place in zip(policy.network.kernels, [(psnr_seen, 0), (0, 0), (0, glr)], strict=True):
        kernel.assign(tf.tensor_scatter_nd_update(kernel, [place], [0.1]))
    seen = np.ones(len(FEATURES), np.float32)
    decision = policy.decide(seen)
    assert max(decision.reasons["glr"], key=decision.reasons["glr"].get) == "psnr"
    assert decision.reasons["glr"]["psnr"] == pytest.approx(decision.action[glr], abs=1e-4) != 0
    assert set(decision.reasons["dlr"].values()) == {0.0}


@pytest.mark.parametrize("content", ["nothing", "text", "arrays", "features", "shapes"])
def test_other_files_are_no_policies(tmp_path, content, monkeypatch, capsys):
    path, named = tmp_path / "policy.npz", "not a readable one"
    if content == "nothing":
        named = "not a file"
    if content == "text":
        path.write_text("a policy")
    if content == "arrays":
        np.savez(path, kernel0=np.zeros(3))
    if content == "features":
        Policy(decisions=3, features=("progress",)).save(path)
        named = "of another version"
    if content == "shapes":
        arrays = dict(np.load(saved(Policy(decisions=3), path)))
        np.savez(path, **{**arrays, "bias0": np.zeros(3)})
        named = "other names or shapes"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as status:
        launch(["--controller", str(path), "--run-dir", "run", "--cweight", "0", "--strategy", "one"])
    (line,) = capsys.readouterr().err.splitlines()
    assert status.value.code == 2 and named in line and "Expected a policy of python3 -m utils.meta train." in line
    assert not (tmp_path / "run").exists()


def saved(policy, path):
    policy.save(path)
    return path


@pytest.mark.parametrize(
    "flags, named",
    [
        (["--cropsz", "16"], "--cropsz 16"),
        (["--warmup-epochs", "2"], "warm-up epochs alone"),
        (["--export-step", "step"], "--export-step"),
    ],
)
def test_what_does_not_go_with_a_controller_is_refused(flags, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as status:
        launch(["--controller", "policy.npz", *flags])
    assert status.value.code == 2 and named in capsys.readouterr().err


# The step: a factor is as if the flag had been another.


def controlled(levels, objective=test_step.WEIGHTS, *, rates=(0.05, 0.05), **options):
    """A trainer with controls at some levels, by plain descent."""
    generator, discriminator = test_step.networks()
    controls = Controls(options.get("dstep", 1))
    controls.levels.assign(levels)

    def factor(name):
        return lambda: controls.factor(name)

    return Trainer(
        generator,
        discriminator,
        average=with_precision(generator, "float32"),
        generator_optimizer=keras.optimizers.SGD(ControlledRate(rates[0], factor("glr"))),
        discriminator_optimizer=keras.optimizers.SGD(ControlledRate(rates[1], factor("dlr"))),
        hyperpixels=test_step.hyperpixels,
        objective=objective,
        options=StepOptions(**options),
        controls=controls,
    )


def plain(objective=test_step.WEIGHTS, rates=(0.05, 0.05), **options):
    trainer = test_step.build(objective, **options)
    trainer.generator_optimizer.learning_rate = rates[0]
    trainer.discriminator_optimizer.learning_rate = rates[1]
    return trainer


def weights_of(trainer):
    return [*trainer.generator.get_weights(), *trainer.discriminator.get_weights(), *trainer.average.get_weights()]


W = test_step.WEIGHTS


@pytest.mark.parametrize(
    "levels, objective, rates, dstep",
    [
        (STILL, W, (0.05, 0.05), 1),
        (levels_of(adversarial=2), replace(W, advweight=2 * W.advweight), (0.05, 0.05), 1),
        (levels_of(content=3, reconstruction=0.5), replace(W, cweight=0.9, rweight=1.0), (0.05, 0.05), 1),
        (levels_of(glr=2, dlr=0.5), W, (0.1, 0.025), 1),
        (levels_of(dstep=3), W, (0.05, 0.05), 3),
    ],
)
def test_a_step_under_control_is_that_of_other_flags(levels, objective, rates, dstep, eagerly):
    batch = test_step.batch(draws=3)
    made, wanted = controlled(levels), plain(objective, rates, dstep=dstep)
    made.train_batch(batch, "full", 0.0, made.controls.dstep)
    wanted.train_batch(batch, "full")
    for one, other in zip(weights_of(made), weights_of(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_warm_up_is_not_controlled(eagerly):
    made, wanted = controlled(levels_of(reconstruction=8)), plain()
    for trainer in made, wanted:
        trainer.train_batch(test_step.batch(), "warmup")
    for one, other in zip(weights_of(made), weights_of(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_a_discriminators_falling_rate_follows_the_batches_whatever_its_steps():
    controls = Controls()
    rates = {"schedule": "cosine", "total_steps": 100}
    optimizer = build_optimizer(1e-3, **rates, factor=lambda: controls.factor("dlr"), step=lambda: controls.batches)
    weight = tf.Variable([1.0])
    optimizer.build([weight])
    optimizer.iterations.assign(90)  # three steps a batch
    controls.batches.assign(30)
    expected = build_optimizer(1e-3, **rates)
    expected.build([weight])
    expected.iterations.assign(30)
    assert float(optimizer.learning_rate) == pytest.approx(float(expected.learning_rate))
    controls.levels.assign(levels_of(dlr=2))
    assert float(optimizer.learning_rate) == pytest.approx(2 * float(expected.learning_rate))


# A run.

STEPS = 4  # in an epoch


@pytest.fixture
def make_run(make_photo, tmp_path, eagerly):
    photos = [make_photo(32, 32, seed) for seed in range(8)]

    def make(epochs, name, policy=None, steps_per_call=1):
        (tmp_path / name).mkdir(exist_ok=True)
        keras.utils.set_random_seed(0)
        generator, discriminator, controls = Generator(4, 1, 2), Discriminator(4), Controls()
        trainer = Trainer(
            generator,
            discriminator,
            average=with_precision(generator, "float32"),
            generator_optimizer=build_optimizer(1e-3, factor=lambda: controls.factor("glr")),
            discriminator_optimizer=build_optimizer(1e-3, factor=lambda: controls.factor("dlr")),
            objective=Objective(cweight=0),
            controls=controls,
        )
        options = CropOptions(crop=32, scale=2, batch_size=2, draws=3)
        validation = held_out_crops(photos, 1, options)
        schedule = Schedule(epochs=3, critic_warmup=2)
        controller = Controller(
            policy or busy_policy(),
            controls,
            schedule=schedule,
            steps=STEPS,
            held_out=HeldOut(*validation, 2),
            strategy=trainer.strategy,
        )
        return Run(
            trainer,
            CropStream(photos, options),
            validation=validation,
            folder=str(tmp_path / name),
            schedule=replace(schedule, epochs=epochs),
            steps_per_call=steps_per_call,
            controller=controller,
        )

    return make


def test_decisions_are_spread_over_the_full_phase():
    assert decision_batches(2, 12, 4) == [2, 4, 7, 9]
    assert decision_batches(0, 3, 8) == [0, 1, 2]  # one for each batch at most


def test_actions_and_reasons_are_in_the_history_and_a_resumed_run_decides_alike(make_run, tmp_path):
    whole = make_run(3, "whole")
    whole.train()
    make_run(1, "run").train()
    resumed = make_run(3, "run")
    assert resumed.restore() == STEPS
    resumed.train()
    histories = [json.loads((tmp_path / name / "history.json").read_text()) for name in ("whole", "run")]
    assert histories[0]["decisions"] == histories[1]["decisions"]
    for one, other in zip(weights_of(whole.trainer), weights_of(resumed.trainer), strict=True):
        np.testing.assert_array_equal(one, other)

    decisions, epochs = histories[0]["decisions"], histories[0]["epochs"]
    assert [each["batch"] for each in decisions] == [2, 4, 7, 9]
    levels = STILL
    for each in decisions:
        levels = moved(levels, np.array(list(each["action"].values())))
        np.testing.assert_allclose(
            [each["factors"][name] for name in CONTROLS[:5]], np.exp(levels)[:5], rtol=1e-4, err_msg=str(each["batch"])
        )
        assert set(each["reasons"]) == set(CONTROLS) and set(each["observation"]) == set(FEATURES)
    assert len({each["factors"]["adversarial"] for each in decisions}) == 4
    # Batches 0 and 1 of the first epoch are before the first decision, 2 and 3 after it.
    assert epochs["control_glr"][0] == pytest.approx((1 + decisions[0]["factors"]["glr"]) / 2)


def test_calls_of_several_batches_stop_at_decisions(make_run, monkeypatch):
    run = make_run(3, "calls", steps_per_call=100)
    trained = []
    train_some = run.train_some

    def counted(batches, clock, *, start):
        metrics, number = train_some(batches, clock, start=start)
        trained.append((start, number))
        return metrics, number

    monkeypatch.setattr(run, "train_some", counted)
    run.train()
    assert trained == [(0, 2), (2, 2), (4, 3), (7, 1), (8, 1), (9, 3)]  # epochs end at 4 and 8
    assert [each["batch"] for each in run.history.decisions] == [2, 4, 7, 9]


def test_a_controlled_run_from_the_command_line(photo_folder, tmp_path, monkeypatch, eagerly, capsys):
    monkeypatch.chdir(tmp_path)
    busy_policy(decisions=2).save("policy.npz")
    flags = "--trainnum 2 --validnum 1 --cropsz 32 --batchsz 2 --filters 4 --blocks 1 --dfilters 4 --cweight 0"
    more = "--lr-schedule cosine --precision float32 --strategy one --cache cache --epochs 2 --crops-per-photo 2"
    run = ["--controller", "policy.npz", "--run-dir", "run", "--datapath", str(photo_folder)]
    assert launch([*flags.split(), *more.split(), *run]) == 0
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert [each["batch"] for each in history["decisions"]] == [0, 2]
    assert len(history["epochs"]["control_dstep"]) == 2 and (tmp_path / "run" / "curves.png").exists()
    (tmp_path / "policy.npz").unlink()  # the run has a copy
    assert launch(["--resume", "run"]) == 0
