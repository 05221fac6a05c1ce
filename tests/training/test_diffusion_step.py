"""The training step of the diffusion generator, and the generator from the command line."""

import dataclasses
import json
import os
import re
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # these programs run for a few steps

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import testGenerator
from srwgan.networks.diffusion import DiffusionGenerator, diffusion_image_operator, sampled, upsampled
from srwgan.networks.diffusion_process import NOISE, c_out, noised
from srwgan.networks.generator import Generator, with_precision
from srwgan.networks.noise import sample_keys, white_noise
from srwgan.networks.sampling import Sampling
from srwgan.networks.saving import export_generator, load_generator
from srwgan.pixels import downscale_by_sums, to_range
from srwgan.training import setup
from srwgan.training.diffusion import LOWEST_LEVEL, DiffusionTrainer, noise_levels
from srwgan.training.flags import build_parser
from srwgan.training.launch import launch as main
from srwgan.training.optimizers import build_optimizer
from srwgan.training.portable.program import generator_program
from srwgan.training.portable.state import assign_values, named_variables, read_state
from srwgan.training.step import StepOptions, Trainer
from tests.networks.test_diffusion import shaken
from tests.two_replicas import check_says_same
from utils import portable_run as runner
from utils.evaluate import main as evaluate
from utils.testGenerate import generate_one_img, load_gen

ROOT = Path(__file__).resolve().parents[2]


def build(*, rate=0.05, optimizer=keras.optimizers.SGD, policy="float32", strategy=None, **options):
    network = shaken() if policy == "float32" else with_precision(shaken(), policy)
    return DiffusionTrainer(
        network,
        average=with_precision(network, policy),
        generator_optimizer=optimizer(rate),
        options=StepOptions(**options),
        strategy=strategy,
    )


def batch(number=4, seed=0):
    random = np.random.default_rng(seed)
    low_res = random.uniform(-1, 1, (number, 8, 8, 3)).astype(np.float32)
    high_res = np.clip(low_res.repeat(2, 1).repeat(2, 2) + random.normal(0, 0.2, (number, 16, 16, 3)), -1, 1)
    return tuple(tf.constant(x, tf.float32) for x in (low_res, high_res, random.normal(0, 1, (number, 1))))


def weights_of(trainer):
    return [w.copy() for network in (trainer.generator, trainer.average) for w in network.get_weights()]


def assert_close(made, wanted, **tolerance):
    for one, other in zip(made, wanted, strict=True):
        np.testing.assert_allclose(one, other, **tolerance)


def test_a_step_is_the_one_by_hand(eagerly):
    """Descent of the squared error of the network's output, at the sample's own noise and level."""
    trainer, (low_res, high_res, e) = build(), batch()
    network = shaken()
    residual = high_res - upsampled(low_res, 2)
    keys = sample_keys(e[:, 0])
    noise, level = white_noise(keys, height=16, width=16), noise_levels(keys)
    with tf.GradientTape() as tape:
        estimate = network([low_res, noised(residual, noise, level), level])
        error = tf.reduce_mean((estimate - residual) ** 2, [1, 2, 3])
        loss = tf.reduce_mean(error / (c_out(level) * NOISE) ** 2)
    for weight, gradient in zip(
        network.trainable_variables, tape.gradient(loss, network.trainable_variables), strict=True
    ):
        weight.assign(weight - 0.05 * gradient)
    metrics = trainer.train_batch((low_res, high_res, e))
    assert float(metrics["g_loss_total"]) == pytest.approx(float(loss), rel=1e-5)
    assert float(metrics["reconstruction"]) == pytest.approx(float(tf.reduce_mean(error)), rel=1e-5)
    assert_close(trainer.generator.get_weights(), network.get_weights(), rtol=1e-4, atol=1e-6)
    kept = 2 / 11  # of the average's first step, see `WeightAverage`
    wanted = [kept * a + (1 - kept) * b for a, b in zip(shaken().get_weights(), network.get_weights(), strict=True)]
    assert_close(trainer.average.get_weights(), wanted, rtol=1e-4, atol=1e-6)


def test_parts_of_a_batch_make_the_step_of_the_whole(eagerly):
    whole, parts = build(), build(accumulate=2)
    for trainer in (whole, parts):
        trainer.train_batch(batch())
    assert_close(weights_of(parts), weights_of(whole), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("edges", ["mirrored", "repeated"])
def test_a_margin_counts_for_nothing_but_is_seen(eagerly, edges):
    plain, framed = build(), build(margin=3, edges=edges)
    losses = [float(trainer.train_batch(batch())["g_loss_total"]) for trainer in (plain, framed)]
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.5)
    low_res = batch()[0]
    wanted = sampled(framed.average, low_res, Sampling(), margin=3, edges=edges)
    np.testing.assert_array_equal(framed.generate_average(low_res), wanted)


def test_a_step_that_is_not_finite_changes_nothing(eagerly):
    trainer = build(optimizer=build_optimizer, rate=1e-3)
    low_res, high_res, e = batch()
    before = weights_of(trainer)
    metrics = trainer.train_batch((low_res, high_res * np.float32(np.inf), e))
    assert float(metrics["bad_steps"]) == 1
    assert_close(weights_of(trainer), before, rtol=0)


def test_noise_levels_are_uniform():
    keys = sample_keys(tf.constant(np.random.default_rng(0).normal(size=50_000), tf.float32))
    levels = noise_levels(keys).numpy()
    assert levels.min() >= LOWEST_LEVEL and levels.max() <= 1
    np.testing.assert_allclose(np.sort(levels), np.linspace(0, 1, 50_000), atol=0.02)
    noise = white_noise(keys, height=1, width=1, channels=1).numpy()[:, 0, 0, 0]
    assert abs(np.corrcoef(levels, noise)[0, 1]) < 0.02  # one says nothing of the other


def test_the_warmup_trains_a_generator(eagerly):
    """At level 1 nothing of the residual is in the input, and the loss is the mean squared error in units of NOISE."""
    metrics = build().train_batch(batch(), "warmup")
    assert float(metrics["g_loss_total"]) == pytest.approx(float(metrics["reconstruction"]) / NOISE**2, rel=1e-5)


def test_half_precision_with_a_scaled_loss(eagerly):
    trainer = build(policy="mixed_float16", loss_scaling=True)
    exact = build()
    losses = [float(t.train_batch(batch())["g_loss_total"]) for t in (trainer, exact)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert_close(trainer.generator.get_weights(), exact.generator.get_weights(), atol=0.02)


def test_training_learns_what_noise_hides(make_photo):
    """On one crop the loss falls far below that of the best guess without a network, which is 1 by its units."""
    low_res, high_res, _ = batch(1)
    keras.utils.set_random_seed(0)
    network = DiffusionGenerator(filters=16, blocks=1, scale=2, steps=4)
    trainer = DiffusionTrainer(
        network, average=with_precision(network, "float32"), generator_optimizer=build_optimizer(5e-3)
    )
    random = np.random.default_rng(1)
    losses = []
    for _ in range(120):
        e = tf.constant(random.normal(size=(4, 1)), tf.float32)
        images = tf.repeat(low_res, 4, 0), tf.repeat(high_res, 4, 0)
        losses.append(float(trainer.train_batch((*images, e))["g_loss_total"]))
    assert np.mean(losses[-20:]) < 0.4 * np.mean(losses[:10])
    made = sampled(network, low_res, Sampling(steps=4))
    bilinear = upsampled(low_res, 2)
    assert np.mean((made - high_res) ** 2) < 0.6 * np.mean((bilinear - high_res) ** 2)


# Two devices

TWO_REPLICAS = """
import tensorflow as tf
from tests.two_replicas import divide_processor, shares
from tests.training.test_diffusion_step import assert_close, batch, build, weights_of

divide_processor()
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    two = build(strategy=strategy)
two.train_batch(shares(strategy, batch()))
one = build()
one.train_batch(batch())
assert_close(weights_of(two), weights_of(one), rtol=1e-4, atol=1e-6)
print("same")
"""


@pytest.mark.slow
def test_two_replicas_make_the_step_of_one_with_the_whole_batch(tmp_path):
    check_says_same(TWO_REPLICAS, tmp_path / "log")


# The command line


@pytest.fixture(scope="module")
def photos(tmp_path_factory, fill_with_data):
    return fill_with_data(tmp_path_factory.mktemp("data")) / "photographs"


@pytest.fixture(scope="module")
def flags(photos, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return (
        f"--family diffusion --datapath {photos} --cache {cache} --trainnum 3 --validnum 1 --cropsz 32 --batchsz 2 "
        "--filters 6 --blocks 1 --epochs 2 --crops-per-photo 2 --seed 3 --glr 1e-3 --precision float32 "
        "--lr-warmup 2 --sampler-steps 2"
    ).split()


@pytest.fixture(scope="module")
def trained(flags, tmp_path_factory):
    """The folder in which a run has been trained and exported."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(Trainer, "train_batch", Trainer.train_batch.python_function)
        assert main([*flags, "--run-dir", "run", "--savemodel", "True", "--chkpt_path", "model"]) == 0
    return folder


def test_a_run_leaves_what_a_gans_leaves_but_a_discriminator(trained):
    assert {"curves.png", "history.json", "training.gif", "samples"} <= set(os.listdir(trained / "run"))
    assert not (trained / "model_Dis").exists() and (trained / "model_Gen" / "saved_model.pb").is_file()
    epochs = json.loads((trained / "run" / "history.json").read_text())["epochs"]
    assert len(epochs["psnr"]) == 2 and all(map(np.isfinite, epochs["g_loss_total"]))
    config = json.loads((trained / "model_Gen" / "config.json").read_text())
    assert (config["family"], config["steps"], config["scale"]) == ("diffusion", 2, 4)
    assert isinstance(load_generator(trained / "model_Gen"), DiffusionGenerator)


def averaged_weights(run):
    """Those of a run's newest checkpoint."""
    network = DiffusionGenerator(filters=6, blocks=1, scale=4)
    checkpoint = tf.train.latest_checkpoint(str(run / "checkpoints"))
    tf.train.Checkpoint(average=network).restore(checkpoint).expect_partial()
    return network.get_weights()


def test_a_resumed_run_is_the_uninterrupted_one(trained, flags, tmp_path, monkeypatch, eagerly):
    monkeypatch.chdir(tmp_path)
    once = [*flags[: flags.index("--epochs") + 1], "1", *flags[flags.index("--epochs") + 2 :]]
    assert main([*once, "--run-dir", "run"]) == 0
    content = json.loads(Path("run/flags.json").read_text())
    content["flags"]["epochs"] = 2
    Path("run/flags.json").write_text(json.dumps(content))
    assert main(["--resume", "run"]) == 0
    again, wanted = (averaged_weights(folder) for folder in (Path("run"), trained / "run"))
    assert_close(again, wanted, rtol=1e-5, atol=1e-7)


def test_it_upscales_from_the_command_line(trained, tmp_path, make_photo, capsys):
    source = tmp_path / "photo.png"
    Image.fromarray(make_photo(20, 24)).save(source)
    made = {}
    for name, more in {"a": [], "b": [], "other": ["--seed", "1"], "one": ["--steps", "1"]}.items():
        target = tmp_path / f"{name}.png"
        arguments = [str(source), "--model", str(trained / "model_Gen"), "--output", str(target)]
        assert testGenerator.main([*arguments, "--steps", "4", "--seed", "0", *more]) == 0
        made[name] = np.asarray(Image.open(target))
    assert made["a"].shape == (80, 96, 3)
    np.testing.assert_array_equal(made["a"], made["b"])
    assert (made["a"] != made["other"]).any() and (made["a"] != made["one"]).any()
    capsys.readouterr()
    assert testGenerator.main([str(source), "--output", str(tmp_path / "no.png"), "--steps", "4"]) == 2
    assert re.search("Received: steps.*Expected a diffusion model", capsys.readouterr().err)


def test_load_gen_takes_steps_and_seed(trained, make_photo):
    image = make_photo(12, 12) / np.float32(255)
    made = [generate_one_img(load_gen(trained / "model_Gen", steps=2, seed=seed), image) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).any() and made[0].shape == (48, 48, 3)
    with pytest.raises(ValueError, match="Expected a diffusion model"):
        load_gen(ROOT / "SRWGAN_Gen", steps=2)


def test_evaluate_measures_it_at_several_steps(trained, tmp_path, make_photo, capsys):
    model = str(trained / "model_Gen")
    Image.fromarray(make_photo(64, 72)).save(tmp_path / "photo.png")
    assert evaluate(["--model", model, "--data", str(tmp_path), "--steps", "1", "2", "--seed", "1"]) == 0
    table = capsys.readouterr().out
    assert "model_Gen in 1 step " in table and "model_Gen in 2 steps" in table and "bicubic" in table


def test_it_begins_with_a_generators_weights(flags, tmp_path, monkeypatch, eagerly):
    monkeypatch.chdir(tmp_path)
    export_generator(Generator(filters=6, blocks=1, scale=4), "plain", served=False)
    Path("plain/config.json").unlink()
    assert main([*flags, "--init", "plain", "--run-dir", "run", "--epochs", "1", "--warmup-epochs", "1"]) == 0


@pytest.mark.parametrize(
    "wrong, message",
    [
        ("--family gan --student x", "--student with --family gan"),
        ("--family gan --sampler-steps 3", "--sampler-steps with --family gan"),
        ("--family diffusion --cweight 0", "--cweight 0.0 with --family diffusion"),
        ("--family diffusion --student a --init b", "--init b with --student and --advweight 0"),
        ("--family diffusion --student a --critic-warmup 3", "--critic-warmup 3 with --student and --advweight 0"),
        ("--family diffusion --student a --steadyweight 1", "--steadyweight 1.0 with a student"),
        ("--family diffusion --student MODEL --advweight 1 --init Images", "without a discriminator that the flags"),
        ("--family diffusion --sampler-steps 51", "Expected a whole number from 1 to 50"),
        ("--family diffusion --init Images", "Expected a folder with generator.keras"),
        ("--family diffusion --student SRWGAN_Gen", "no diffusion model"),
        ("--init MODEL", "a diffusion model. Expected --family diffusion"),
    ],
)
def test_what_does_not_go_together_is_refused(wrong, message, trained, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("srwgan.training.setup.load_photos", lambda args: ([], []))
    monkeypatch.setattr("srwgan.training.setup.held_out_crops", lambda *_: None)
    monkeypatch.setattr("srwgan.training.setup.record_of", lambda *_: None)
    arguments = wrong.replace("MODEL", str(trained / "model_Gen")).split()
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_for_use_is_a_program_too(stablehlo):
    """Three steps of the sampler, noise and edges included, on JAX."""
    jax = pytest.importorskip("jax")
    low_res = np.random.default_rng(0).uniform(-1, 1, (1, 9, 7, 3)).astype(np.float32)
    from jax import export

    program = generator_program(shaken(), batch=1, height=9, width=7)
    runner.import_jax(None)
    alike = jax.jit(lambda _: jax.numpy.zeros((1, 18, 14, 3), np.float32), keep_unused=True)
    exported = dataclasses.replace(export.export(alike)(low_res), mlir_module_serialized=program.artifact)
    made = jax.jit(exported.call)(low_res)
    np.testing.assert_allclose(made, diffusion_image_operator(shaken(), tf.constant(low_res)), atol=1e-5)


@pytest.mark.slow
def test_the_exported_step_is_tensorflows(stablehlo, flags, tmp_path, monkeypatch):
    """One step by the runner on JAX is TensorFlow's; imported again, it is a run of a diffusion model."""
    pytest.importorskip("jax")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "loops", lambda mesh: False)
    assert main([*flags, "--export-step", "step"]) == 0
    assert runner.main(["step", "--output", "out", "--steps", "1"]) == 0
    before, after = read_state("step").values, read_state("out").values
    assert not any("discriminator" in name for name in after)
    args = build_parser().parse_args(flags)
    trainer = setup.build_trainer(args, setup.build_networks(args), updates=6)
    assert list(named_variables(trainer)) == list(after)
    assign_values(trainer, before)
    export = runner.Export.read(Path("step"))
    options = runner.build_parser().parse_args(["step", "--output", "out"])
    data, _ = runner.Photographs(Path("step/photographs.bin"), export, options).load(runner.device_mesh(1, 2), None)
    crops = np.array(runner.draw_batch(data, 0, batch_size=2, crop=32, seed=3, texture=0, grain=0))
    e = tf.function(lambda key: tf.random.stateless_normal([2, 1], key), jit_compile=True)(
        tf.constant([3, 0], tf.int64)
    )
    trainer.train_batch((to_range(downscale_by_sums(crops, 4)), to_range(crops), e))
    for name, value in named_variables(trainer).items():
        wanted = value.numpy()
        error = np.abs(after[name].astype(np.float64) - wanted).max(initial=0)
        assert error <= 2e-4 * max(np.abs(wanted).max(initial=0), 1e-6), name
    assert main(["--import-state", "out", "--run-dir", "imported", "--savemodel", "True", "--chkpt_path", "jax"]) == 0
    assert isinstance(load_generator("jax_Gen"), DiffusionGenerator)
