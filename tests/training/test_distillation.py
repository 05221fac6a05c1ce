"""The training step of a student of a diffusion generator, and students from the command line and on JAX."""

import json
import os
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # these programs run for a few steps

import keras
import numpy as np
import pytest
import tensorflow as tf

from srwgan.networks.diffusion import DiffusionGenerator, sampled, upsampled
from srwgan.networks.diffusion_process import NOISE
from srwgan.networks.discriminator import Discriminator
from srwgan.networks.generator import with_precision
from srwgan.networks.noise import sample_keys, white_noise
from srwgan.networks.sampling import Sampling, levels
from srwgan.networks.saving import export_discriminator, export_generator, load_generator
from srwgan.pixels import downscale_by_sums, to_range
from srwgan.training import setup
from srwgan.training.distillation import FROM_NOISE, StudentTrainer, places_on_path
from srwgan.training.flags import build_parser
from srwgan.training.launch import launch as main
from srwgan.training.objective import Objective
from srwgan.training.portable.state import assign_values, named_variables, read_state
from srwgan.training.step import StepOptions
from tests.networks.test_diffusion import shaken
from tests.training.test_diffusion_step import assert_close, averaged_weights, batch, weights_of
from tests.two_replicas import check_says_same
from utils import portable_run as runner

PIXELS = Objective(gpweight=2.0, cweight=0.0, advweight=0.0, rweight=1.0)
ADVERSARIAL = Objective(gpweight=2.0, cweight=0.0, advweight=0.3, rweight=1.0)


def build(objective=PIXELS, *, teacher=None, rate=0.05, strategy=None, **options):
    network = shaken()
    critic = {}
    keras.utils.set_random_seed(2)
    discriminator = Discriminator(4) if objective.advweight else None
    if discriminator:
        critic = {"discriminator_optimizer": keras.optimizers.SGD(rate)}
    return StudentTrainer(
        network,
        discriminator,
        teacher=teacher or shaken(seed=1),
        average=with_precision(network, "float32"),
        generator_optimizer=keras.optimizers.SGD(rate),
        objective=objective,
        options=StepOptions(**options),
        strategy=strategy,
        **critic,
    )


def path_of(teacher, low_res, noise):
    """z_t at the teacher's levels and its sample, by Euler's method for the flow."""
    states, path = [NOISE * noise], levels(teacher.steps)
    for level, following in zip(path, path[1:], strict=False):
        estimate = teacher([low_res, states[-1], tf.fill([len(low_res)], level)])
        velocity = (states[-1] - estimate) / level
        states.append(states[-1] + (following - level) * velocity)
    return states


def test_targets_are_the_teachers_samples_and_starts_its_states():
    teacher, (low_res, _, e) = shaken(seed=1), batch(40)
    keys = sample_keys(e[:, 0])
    noise = white_noise(keys, height=16, width=16)
    states, path = path_of(teacher, low_res, noise), np.array(levels(teacher.steps))
    (seen, noisy, level), target = build(teacher=teacher).starts_and_targets(low_res, keys)
    place = places_on_path(keys, teacher.steps).numpy()
    np.testing.assert_array_equal(seen, low_res)
    np.testing.assert_array_equal(level, path[place].astype(np.float32))
    np.testing.assert_allclose(target, upsampled(low_res, 2) + states[-1], atol=1e-5)
    assert set(place) == set(range(teacher.steps))
    for i, number in enumerate(place):
        np.testing.assert_allclose(noisy[i], states[number][i], atol=1e-5)


@pytest.mark.parametrize("edges", ["mirrored", "repeated"])
def test_with_a_margin_the_target_is_the_samplers(edges):
    """A key is a plane of noise, and `sampled` takes that of a seed."""
    from srwgan.networks.noise import key_of

    teacher, (low_res, _, _) = shaken(seed=1), batch(2)
    keys = tf.fill([2], tf.constant(key_of(7), tf.int64))
    _, target = build(teacher=teacher, margin=3, edges=edges).starts_and_targets(low_res, keys)
    np.testing.assert_allclose(target, sampled(teacher, low_res, Sampling(seed=7), margin=3, edges=edges), atol=1e-6)


def test_most_students_begin_with_noise():
    keys = sample_keys(tf.constant(np.random.default_rng(0).normal(size=20_000), tf.float32))
    shares = np.bincount(places_on_path(keys, 4), minlength=4) / 20_000
    assert shares == pytest.approx([FROM_NOISE, *[(1 - FROM_NOISE) / 3] * 3], abs=0.02)
    assert not places_on_path(keys, 1).numpy().any()


def test_at_the_boundary_the_student_is_one_step_of_the_teacher():
    """As it begins, from the last state of the path, its picture is the teacher's sample."""
    teacher, (low_res, _, e) = shaken(seed=1), batch(40)
    trainer = build(teacher=teacher)
    trainer.generator.set_weights(teacher.get_weights())
    keys = sample_keys(e[:, 0])
    start, target = trainer.starts_and_targets(low_res, keys)
    last = places_on_path(keys, teacher.steps).numpy() == teacher.steps - 1
    assert last.any()
    np.testing.assert_allclose(trainer.generate(start)[last], target[last], atol=1e-6)
    noisy = tf.constant(np.random.default_rng(0).normal(size=(40, 16, 16, 3)), tf.float32)
    np.testing.assert_allclose(trainer.generator([low_res, noisy, tf.zeros(40)]), noisy, atol=1e-6)


def test_a_step_is_the_one_by_hand(eagerly):
    """Descent of the squared difference of picture and sample, from the place of each sample's key."""
    trainer, (low_res, high_res, e), network = build(), batch(), shaken()
    (_, noisy, level), target = trainer.starts_and_targets(low_res, sample_keys(e[:, 0]))
    with tf.GradientTape() as tape:
        picture = upsampled(low_res, 2) + network([low_res, noisy, level])
        loss = tf.reduce_mean((picture - target) ** 2)
    for weight, gradient in zip(
        network.trainable_variables, tape.gradient(loss, network.trainable_variables), strict=True
    ):
        weight.assign(weight - 0.05 * gradient)
    before = [w.copy() for w in trainer.teacher.get_weights()]
    metrics = trainer.train_batch((low_res, high_res, e))
    assert float(metrics["reconstruction"]) == pytest.approx(float(loss), rel=1e-5)
    assert "wasserstein" not in metrics
    assert_close(trainer.generator.get_weights(), network.get_weights(), rtol=1e-4, atol=1e-6)
    assert_close(trainer.teacher.get_weights(), before, rtol=0)


def test_the_critic_tells_photographs_from_the_students_pictures(eagerly):
    trainer, (low_res, high_res, e) = build(ADVERSARIAL), batch()
    start, _ = trainer.starts_and_targets(low_res, sample_keys(e[:, 0]))
    scores = [float(tf.reduce_mean(trainer.discriminator(x))) for x in (high_res, trainer.generate(start))]
    student, critic = weights_of(trainer), trainer.discriminator.get_weights()
    metrics = trainer.train_batch((low_res, high_res, e), "critic")
    assert float(metrics["wasserstein"]) == pytest.approx(scores[0] - scores[1], rel=1e-4)
    assert_close(weights_of(trainer), student, rtol=0)
    assert any(map(np.any, map(np.subtract, critic, trainer.discriminator.get_weights())))
    metrics = trainer.train_batch((low_res, high_res, e), "full")
    assert {"adversarial", "reconstruction", "wasserstein"} <= set(metrics)
    assert any(map(np.any, map(np.subtract, student, weights_of(trainer))))


def test_pixels_are_the_teachers_and_features_the_photographs(eagerly):
    trainer = build(Objective(gpweight=2.0, cweight=0.5, advweight=0.0, rweight=1.0, latweight=1.0))
    trainer.hyperpixels = lambda images: [tf.nn.avg_pool2d(images, 2, 2, "VALID")]
    low_res, high_res, e = batch()
    start, target = trainer.starts_and_targets(low_res, sample_keys(e[:, 0]))
    picture = trainer.generate(start)
    metrics = trainer.train_batch((low_res, high_res, e))
    real, made = trainer.hyperpixels(high_res)[0], trainer.hyperpixels(picture)[0]
    energies = tf.reduce_mean((made - real) ** 2, [1, 2, 3]) / tf.reduce_mean(real**2, [1, 2, 3])
    assert float(metrics["content"]) == pytest.approx(float(tf.reduce_mean(energies)), rel=1e-4)
    assert float(metrics["reconstruction"]) == pytest.approx(float(tf.reduce_mean((picture - target) ** 2)), rel=1e-4)
    assert float(metrics["lattice"]) > 0


def test_parts_of_a_batch_make_the_step_of_the_whole(eagerly):
    whole, parts = build(ADVERSARIAL, margin=2), build(ADVERSARIAL, margin=2, accumulate=2)
    for trainer in (whole, parts):
        trainer.train_batch(batch())
    assert_close(weights_of(parts), weights_of(whole), rtol=1e-4, atol=1e-6)


def test_a_student_learns_its_teachers_samples():
    """On one crop and any noise: one step comes as near to the sample as several of the teacher are."""
    low_res, high_res, _ = batch(1)
    teacher = shaken(seed=1)
    student = with_precision(teacher, "float32")
    trainer = StudentTrainer(
        student,
        None,
        teacher=teacher,
        average=with_precision(student, "float32"),
        generator_optimizer=keras.optimizers.Adam(3e-3),
        objective=PIXELS,
    )
    random, losses = np.random.default_rng(1), []
    for _ in range(100):
        e = tf.constant(random.normal(size=(4, 1)), tf.float32)
        images = tf.repeat(low_res, 4, 0), tf.repeat(high_res, 4, 0)
        losses.append(float(trainer.train_batch((*images, e))["reconstruction"]))
    assert np.mean(losses[-20:]) < 0.3 * np.mean(losses[:10])


# Two devices

TWO_REPLICAS = """
import tensorflow as tf
from tests.two_replicas import divide_processor, shares
from tests.training.test_distillation import ADVERSARIAL, build
from tests.training.test_diffusion_step import assert_close, batch, weights_of

divide_processor()
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    two = build(ADVERSARIAL, strategy=strategy)
two.train_batch(shares(strategy, batch()))
one = build(ADVERSARIAL)
one.train_batch(batch())
assert_close(weights_of(two), weights_of(one), rtol=1e-4, atol=1e-6)
assert_close(two.discriminator.get_weights(), one.discriminator.get_weights(), rtol=1e-4, atol=1e-6)
print("same")
"""


@pytest.mark.slow
def test_two_replicas_make_the_step_of_one_with_the_whole_batch(tmp_path):
    check_says_same(TWO_REPLICAS, tmp_path / "log")


# The command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory, fill_with_data):
    """Photographs, a classifier, two teachers of one shape and a discriminator."""
    folder = fill_with_data(tmp_path_factory.mktemp("student"))
    random = np.random.default_rng(5)
    for name in ("one", "other"):
        teacher = DiffusionGenerator(filters=6, blocks=1, scale=4, steps=2)
        weights = [w + random.normal(0, 0.03, w.shape).astype(np.float32) for w in teacher.get_weights()]
        teacher.set_weights(weights)
        export_generator(teacher, folder / f"{name}_Gen", served=False)
        paths = [f"average/{weight.path}" for weight in teacher.weights]
        (folder / f"{name}_out").mkdir()  # as of the teacher's portable run
        np.savez(folder / f"{name}_out" / "average.npz", **dict(zip(paths, weights, strict=True)))
    export_discriminator(Discriminator(8), folder / "critic_Dis")
    return folder


@pytest.fixture(scope="module")
def flags(folder, tmp_path_factory):
    """name of the teacher -> flags of a student with all of its losses."""
    cache = tmp_path_factory.mktemp("cache")

    def make(teacher="one"):
        return (
            f"--family diffusion --student {folder / teacher}_Gen --datapath {folder / 'photographs'} --cache {cache} "
            "--trainnum 3 --validnum 1 --cropsz 32 --batchsz 2 --epochs 2 --crops-per-photo 2 --seed 3 --glr 1e-3 "
            "--precision float32 --lr-warmup 2 --repeat-edges 1 --dfilters 8 --weighting gradient --advweight 0.1 "
            f"--cweight 1 --pretrained {folder / 'classifier.keras'} --hyperpixel-layers maps --critic-warmup 1"
        ).split()

    return make


@pytest.fixture(scope="module")
def trained(folder, flags, tmp_path_factory):
    """The folder in which a student has been trained and exported."""
    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(StudentTrainer, "train_batch", StudentTrainer.train_batch.python_function)
        init = ["--init", str(folder / "critic")]
        assert main([*flags(), *init, "--run-dir", "run", "--savemodel", "True", "--chkpt_path", "s"]) == 0
    return place


def test_a_student_is_trained_and_exported_with_its_critic(trained, folder):
    student, teacher = load_generator(trained / "s_Gen"), load_generator(folder / "one_Gen")
    assert (student.steps, teacher.steps) == (1, 2)
    assert any(map(np.any, map(np.subtract, student.get_weights(), teacher.get_weights())))
    assert (trained / "s_Dis" / "discriminator.keras").is_file()
    epochs = json.loads((trained / "run" / "history.json").read_text())["epochs"]
    assert {"g_loss", "content_loss", "reconstruction_loss", "wasserstein"} <= set(epochs)


def test_a_resumed_student_is_the_uninterrupted_one(trained, folder, flags, tmp_path, monkeypatch, eagerly):
    monkeypatch.chdir(tmp_path)
    assert main([*flags(), "--init", str(folder / "critic"), "--epochs", "1", "--run-dir", "run"]) == 0
    content = json.loads(Path("run/flags.json").read_text())
    content["flags"]["epochs"] = 2
    Path("run/flags.json").write_text(json.dumps(content))
    assert main(["--resume", "run"]) == 0
    again, wanted = (averaged_weights(run) for run in (Path("run"), trained / "run"))
    assert_close(again, wanted, rtol=1e-5, atol=1e-7)


def test_without_more_flags_it_needs_no_classifier_and_no_critic(folder, flags, tmp_path, monkeypatch, eagerly):
    monkeypatch.chdir(tmp_path)
    plain = flags()[: flags().index("--dfilters")]
    assert main([*plain, "--epochs", "1", "--run-dir", "run", "--savemodel", "True", "--chkpt_path", "s"]) == 0
    assert load_generator("s_Gen").steps == 1 and not Path("s_Dis").exists()
    assert json.loads(Path("run/flags.json").read_text())["flags"]["cweight"] == 0


def test_where_a_critic_begins(folder, flags, tmp_path):
    def critic(*more):
        return setup.build_networks(build_parser().parse_args([*flags(), *more])).discriminator.get_weights()

    named = critic("--init", str(folder / "critic"))
    assert any(map(np.any, map(np.subtract, named, critic())))  # a new one
    beside = tmp_path / "teacher_Gen"
    export_generator(load_generator(folder / "one_Gen"), beside, served=False)
    export_discriminator(
        keras.models.load_model(folder / "critic_Dis" / "discriminator.keras"), tmp_path / "teacher_Dis"
    )
    assert_close(critic("--student", str(beside)), named, rtol=0)


# On JAX


@pytest.fixture(scope="module")
def exports(stablehlo, folder, flags):
    """The folder of two exports, `one` and `other`, with the teachers of these names."""
    pytest.importorskip("jax")
    for name in ("one", "other"):
        assert main([*flags(name), "--init", str(folder / "critic"), "--export-step", str(folder / name)]) == 0
    return folder


@pytest.mark.slow
def test_the_exported_step_is_tensorflows(exports, flags, tmp_path, monkeypatch):
    """A step of the critic and one of everything by the runner on JAX are TensorFlow's; many to a call, as on a GPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "loops", lambda mesh: True)
    assert runner.main([str(exports / "one"), "--output", "out", "--steps", "2"]) == 0
    before, after = read_state(exports / "one").values, read_state("out").values
    args = build_parser().parse_args(flags())
    trainer = setup.build_trainer(args, setup.build_networks(args), updates=6)
    assert list(named_variables(trainer)) == list(after)
    assign_values(trainer, before)
    export = runner.Export.read(exports / "one")
    options = runner.build_parser().parse_args([str(exports / "one"), "--output", "out"])
    photographs = runner.Photographs(exports / "one" / "photographs.bin", export, options)
    data, _ = photographs.load(runner.device_mesh(1, 2), None)
    draw = tf.function(lambda key: tf.random.stateless_normal([2, 1], key), jit_compile=True)
    for step, phase in enumerate(("critic", "full")):
        crops = np.array(runner.draw_batch(data, step, batch_size=2, crop=32, seed=3, texture=0, grain=0))
        low_res = to_range(downscale_by_sums(crops, 4))
        trainer.train_batch((low_res, to_range(crops), draw(tf.constant([3, step], tf.int64))), phase)
    for name, value in named_variables(trainer).items():
        wanted = value.numpy()
        error = np.abs(after[name].astype(np.float64) - wanted).max(initial=0)
        assert error <= 1e-3 * max(np.abs(wanted).max(initial=0), 1e-6), name


@pytest.mark.slow
def test_a_teacher_may_come_later_than_the_export(exports, tmp_path, monkeypatch):
    """A run with --teacher is that of an export made from this teacher; resumed and imported it keeps the teacher."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "loops", lambda mesh: False)
    one, other, out = (str(exports / name) for name in ("one", "other", "other_out"))
    assert runner.main([one, "--output", "given", "--teacher", out, "--steps", "1", "--until", "0.5"]) == 0
    assert runner.main([one, "--output", "given", "--resume", "--steps", "1"]) == 0
    assert runner.main([other, "--output", "exported", "--steps", "2"]) == 0
    assert runner.main([one, "--output", "another", "--steps", "2"]) == 0
    given, exported, another = (read_state(name).values for name in ("given", "exported", "another"))
    assert list(given) == list(exported)
    assert_close(given.values(), exported.values(), rtol=1e-6, atol=1e-7)
    assert max(np.abs(given[name] - another[name]).max() for name in given if name.startswith("generator/")) > 1e-3
    assert main(["--import-state", "given", "--run-dir", "run", "--savemodel", "True", "--chkpt_path", "jax"]) == 0
    assert isinstance(load_generator("jax_Gen"), DiffusionGenerator)
    assert json.loads(Path("run/flags.json").read_text())["flags"]["student"] == str(tmp_path / "run" / "teacher")
    kept, wanted = (load_generator(folder).get_weights() for folder in ("run/teacher", exports / "other_Gen"))
    assert_close(kept, wanted, rtol=0)


@pytest.mark.slow
def test_a_teacher_that_does_not_fit_is_one_line(exports, tmp_path, monkeypatch, capsys):
    def line_of(*arguments):
        assert runner.main([str(x) for x in (*arguments, "--steps", 1, "--output", tmp_path / "out")]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("[")]
        return line

    assert "average.npz, not readable" in line_of(exports / "one", "--teacher", tmp_path)
    with np.load(exports / "other_out" / "average.npz") as stored:
        average = dict(stored)
    name = next(name for name in average if name.endswith("/kernel"))
    np.savez(tmp_path / "wide.npz", **{**average, name: np.zeros((3, 3, 99, 6), np.float32)})
    line = line_of(exports / "one", "--teacher", tmp_path / "wide.npz")
    assert "is (3, 3, 99, 6), where" in line and "Expected a diffusion model of the student's filters" in line
    del average[name]
    np.savez(tmp_path / "less.npz", **average)
    assert "is not there, where" in line_of(exports / "one", "--teacher", tmp_path / "less.npz")
    assert "--teacher with --resume" in line_of(exports / "one", "--teacher", exports / "other_out", "--resume")
    meta = runner.Export.read(exports / "one").meta
    for entry in meta["programs"].values():
        entry["inputs"] = [each for each in entry["inputs"] if not each["name"].startswith("teacher/")]
    monkeypatch.setattr(runner.Export, "read", classmethod(lambda cls, folder: cls(folder, meta)))
    assert "is no student" in line_of(exports / "one", "--teacher", exports / "other_out")
    assert not (tmp_path / "out").exists()
