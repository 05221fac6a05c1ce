"""Learning from another generator's results: the targets, the step, what is refused, and the flags."""

import json
import os
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # these programs run for a few steps

import keras
import numpy as np
import pytest
import tensorflow as tf

from srwgan.networks.diffusion import DiffusionGenerator
from srwgan.networks.foreign_generator import ForeignGenerator
from srwgan.networks.generator import Generator
from srwgan.networks.saving import export_generator, load_generator
from srwgan.pixels import downscale_by_sums, to_range
from srwgan.training.flags import build_parser
from srwgan.training.launch import launch as main
from srwgan.training.portable.state import assign_values, named_variables, read_state
from srwgan.training.setup import build_networks, build_trainer
from srwgan.training.teaching import Teacher, load_teacher
from tests.training import test_step
from tests.training.test_step import batch, build, state
from utils import portable_run as runner


def steps_up(images, training=False):
    """A teacher without a network: the two pixels that were enlarged to become 2x2, a little brighter."""
    return tf.repeat(tf.repeat(images, 2, 1), 2, 2) * 1.1 + 0.05


steps_up.scale = 2


def test_targets_are_the_means_of_photographs_and_results():
    low_res, high_res, _ = batch()
    teacher = Teacher([steps_up], 0.7)
    wanted = 0.3 * high_res + 0.7 * np.clip(steps_up(low_res), -1, 1)
    for given in low_res, (low_res, tf.ones(4)):  # with a condition too
        targets = teacher.targets(given, high_res, margin=0, edges="mirrored")
        np.testing.assert_allclose(targets, wanted, atol=1e-6)


def test_several_teachers_are_their_mean():
    low_res, high_res, _ = batch()
    generator, _ = test_step.networks(seed=4)
    results = [np.clip(each(low_res), -1, 1) for each in (steps_up, generator)]
    targets = Teacher([steps_up, generator], 0.5).targets(low_res, high_res, margin=0, edges="mirrored")
    np.testing.assert_allclose(targets, 0.5 * high_res + 0.25 * results[0] + 0.25 * results[1], atol=1e-6)


@pytest.mark.parametrize("edges", ["mirrored", "repeated"])
def test_results_are_those_of_pictures_with_edges(edges):
    """A teacher sees beyond the crop's edges what the generator sees there."""
    from srwgan.networks.edges import with_edges

    low_res, high_res, _ = batch()
    generator, _ = test_step.networks(seed=4)
    wanted = tf.clip_by_value(with_edges(generator, 3, edges)(low_res), -1, 1)
    targets = Teacher([generator], 1.0).targets(low_res, high_res, margin=3, edges=edges)
    np.testing.assert_allclose(targets, wanted, atol=1e-6)
    others = Teacher([generator], 1.0).targets(low_res, high_res, margin=0, edges=edges)
    assert not np.allclose(targets, others, atol=1e-4)


@pytest.mark.parametrize("phase", ["warmup", "critic", "full"])
def test_the_step_is_that_of_its_targets(eagerly, phase):
    """All losses and the discriminator compare with the targets, as a trainer does that has them for photographs."""
    low_res, high_res, e = batch()
    taught, plain, untaught = build(), build(), build()
    taught.taught_by = Teacher([steps_up], 0.6)
    targets = taught.taught_by.targets(low_res, high_res, margin=0, edges="mirrored")
    metrics = taught.train_batch((low_res, high_res, e), phase)
    wanted = plain.train_batch((low_res, targets, e), phase)
    untaught.train_batch((low_res, high_res, e), phase)
    assert {name: float(value) for name, value in metrics.items()} == pytest.approx(
        {name: float(value) for name, value in wanted.items()}, rel=1e-5
    )
    for value, same in zip(state(taught), state(plain), strict=True):
        np.testing.assert_allclose(value, same, rtol=1e-5, atol=1e-6)
    assert any(map(np.any, map(np.subtract, state(taught), state(untaught))))


# From folders


@pytest.fixture(scope="module")
def folder(tmp_path_factory, fill_with_data):
    """Photographs, a classifier, and generators: one, its SavedModel, one for a single size, and unfit ones."""
    folder = fill_with_data(tmp_path_factory.mktemp("teacher"))
    keras.utils.set_random_seed(3)
    generator, random = Generator(filters=4, blocks=1, scale=4), np.random.default_rng(5)
    generator.set_weights([w + random.normal(0, 0.1, w.shape) for w in generator.get_weights()])
    export_generator(generator, folder / "one_Gen")
    (folder / "one_Gen" / "generator.keras").rename(folder / "one.keras")  # its SavedModel is left
    module, images = tf.Module(), tf.TensorSpec((None, 8, 8, 3), tf.float32, name="images")
    module.network = generator
    module.serve = tf.function(lambda x: {"output": generator(x)}, input_signature=[images])
    tf.saved_model.save(module, str(folder / "sized"), signatures={"serving_default": module.serve})
    export_generator(Generator(filters=4, blocks=1, scale=2), folder / "scale2", served=False)
    export_generator(Generator(filters=4, blocks=1, condition="noise"), folder / "told", served=False)
    export_generator(DiffusionGenerator(filters=4, blocks=1, scale=4, steps=2), folder / "diffusion", served=False)
    return folder


@pytest.fixture(scope="module")
def flags(folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return (
        f"--datapath {folder / 'photographs'} --cache {cache} --trainnum 3 --validnum 1 --cropsz 32 --batchsz 2 "
        "--epochs 2 --crops-per-photo 2 --filters 4 --blocks 1 --dfilters 4 --seed 3 --glr 1e-3 --precision float32 "
        f"--mirror-edges 2 --cweight 0.1 --pretrained {folder / 'classifier.keras'} --hyperpixel-layers maps "
        f"--teacher {folder / 'one_Gen'} --teacher-share 0.5"
    ).split()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "nowhere"),
        ("diffusion", "a diffusion model"),
        ("told", "with a condition"),
        ("scale2", "of scale 2. Expected --scale 4"),
        ("sized", "for 8x8 pixels alone. Expected one for pictures of any size"),
    ],
)
def test_unfit_teachers(folder, name, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        load_teacher([str(folder / "one.keras"), str(folder / name)], 0.5, scale=4)


def test_a_saved_model_teaches_as_the_generator_that_it_was_made_of(folder):
    """It computes in float32, whatever the precision of the training."""
    keras_one, served = (load_teacher([str(folder / name)], 1.0, scale=4) for name in ("one.keras", "one_Gen"))
    assert isinstance(served.generators[0], ForeignGenerator)
    random = np.random.default_rng(1)
    low_res, high_res = (tf.constant(random.uniform(-1, 1, (2, side, side, 3)), tf.float32) for side in (8, 32))
    targets = [each.targets(low_res, high_res, margin=0, edges="mirrored") for each in (keras_one, served)]
    inside = np.s_[:, 16:-16, 16:-16]  # a SavedModel mirrors its pictures at their edges by itself
    np.testing.assert_allclose(targets[0][inside], targets[1][inside], atol=1e-5)
    assert targets[0].dtype == tf.float32


def test_a_run_has_a_teacher_to_its_end(folder, flags, tmp_path, monkeypatch, eagerly, capsys):
    """Interrupted after an epoch and resumed, it is the uninterrupted one; without a teacher it is another."""
    monkeypatch.chdir(tmp_path)
    assert main([*flags, "--run-dir", "whole", "--savemodel", "True", "--chkpt_path", "whole"]) == 0
    assert main([*flags, "--epochs", "1", "--run-dir", "run"]) == 0
    content = json.loads(Path("run/flags.json").read_text())
    assert content["flags"]["teacher"] == [str(folder / "one_Gen")]
    content["flags"]["epochs"] = 2
    Path("run/flags.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit):
        main(["--resume", "run", "--teacher", str(folder / "one.keras")])
    assert f"which was started with --teacher {folder / 'one_Gen'}. Expected the same" in capsys.readouterr().err
    assert main(["--resume", "run", "--savemodel", "True", "--chkpt_path", "again"]) == 0
    alone = flags[: flags.index("--teacher")]
    assert main([*alone, "--run-dir", "alone", "--savemodel", "True", "--chkpt_path", "alone"]) == 0
    whole, again, other = (load_generator(f"{name}_Gen").get_weights() for name in ("whole", "again", "alone"))
    for value, same in zip(again, whole, strict=True):
        np.testing.assert_allclose(value, same, rtol=1e-5, atol=1e-7)
    assert not all(np.allclose(value, another, atol=1e-5) for value, another in zip(whole, other, strict=True))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--teacher-share 0.5", "--teacher-share 0.5 without --teacher"),
        ("--teacher x --steadyweight 1", "--teacher with --steadyweight 1"),
        ("--teacher x --teacher-share 1.5", "1.5"),
        ("--teacher nowhere", "nowhere"),
        ("--family diffusion --teacher x", "--teacher x with --family diffusion"),
        ("--family diffusion --student y --teacher x", "--teacher x with a student"),
    ],
)
def test_one_line_of_what_does_not_go_together(more, said, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photographs = ["--datapath", str(folder / "photographs"), "--cropsz", "32", "--cweight", "0"]
    if "family" in more:
        photographs = photographs[:-2]
    with pytest.raises(SystemExit) as ended:
        main([*photographs, *more.split(), "--run-dir", "run"])
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "Received" in line or "error" in line]
    assert said in line


@pytest.mark.slow
def test_the_exported_step_has_the_teacher_in_it(stablehlo, flags, tmp_path, monkeypatch):
    """A step by the runner on JAX is TensorFlow's of the same crops."""
    pytest.importorskip("jax")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "loops", lambda mesh: False)
    assert main([*flags, "--export-step", "export"]) == 0
    assert runner.main(["export", "--output", "out", "--steps", "1"]) == 0
    args = build_parser().parse_args(flags)
    trainer = build_trainer(args, build_networks(args), updates=6)
    assign_values(trainer, read_state("export").values)
    options = runner.build_parser().parse_args(["export", "--output", "out"])
    photographs = runner.Photographs(Path("export/photographs.bin"), runner.Export.read(Path("export")), options)
    data, _ = photographs.load(runner.device_mesh(1, 2), None)
    crops = np.array(runner.draw_batch(data, 0, batch_size=2, crop=32, seed=3, texture=0, grain=0))
    positions = tf.function(lambda key: tf.random.stateless_normal([2, 1], key), jit_compile=True)
    low_res, e = to_range(downscale_by_sums(crops, 4)), positions(tf.constant([3, 0], tf.int64))
    trainer.train_batch((low_res, to_range(crops), e), "full")
    after = read_state("out").values
    for name, value in named_variables(trainer).items():
        if name.startswith("generator/"):  # of the discriminator some biases hardly matter: Adam steps by their sign
            wanted = value.numpy()
            error = np.abs(after[name].astype(np.float64) - wanted).max(initial=0)
            assert error <= 1e-3 * max(np.abs(wanted).max(initial=0), 1e-6), name
