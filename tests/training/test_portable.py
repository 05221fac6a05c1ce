"""The training step on JAX: exported, trained with utils/portable_run.py, imported again, against TensorFlow's."""

import argparse
import dataclasses
import io
import itertools
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # these programs run for a few steps

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from srwgan.data.crops import CropStream
from srwgan.measuring.metrics import psnr
from srwgan.pixels import downscale, downscale_by_sums, to_range
from srwgan.training import setup
from srwgan.training.flags import build_parser
from srwgan.training.launch import launch as main
from srwgan.training.optimizers import build_optimizer
from srwgan.training.portable import FORMAT, packing
from srwgan.training.portable.program import half_precision_names, step_program
from srwgan.training.portable.state import ABOUT, assign_values, named_variables, read_state, read_values
from srwgan.training.step import Trainer
from utils import portable_run as runner

pytestmark = pytest.mark.slow
CROP, BATCH, STEPS = 32, 4, 10
# Of the largest value of a variable: float32 sums in another order, which ten steps of Adam and a critic amplify.
ONE_STEP, TEN_STEPS = 1e-4, 1e-2


@pytest.fixture(scope="module")
def photos(tmp_path_factory, make_photo):
    """A folder of five photographs and a tiny classifier."""
    folder = tmp_path_factory.mktemp("photographs")
    for i in range(5):
        Image.fromarray(make_photo(*((48, 64) if i % 2 else (56, 40)), seed=i)).save(folder / f"{i}.png")
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Conv2D(4, 3, 2, name="maps")(image)).save(folder / "classifier.keras")
    return folder


@pytest.fixture
def flags(photos, tmp_path_factory):
    return flags_of(photos, tmp_path_factory)


def flags_of(photos, tmp_path_factory):
    """(optimizer, more) -> flags of a warm-up of an epoch and an epoch of everything, five steps each."""
    cache = tmp_path_factory.mktemp("cache")

    def make(optimizer, *more):
        text = (
            f"--datapath {photos} --cache {cache} --trainnum 4 --validnum 1 --cropsz {CROP} --batchsz {BATCH} "
            f"--filters 16 --blocks 1 --dfilters 8 --epochs 2 --warmup-epochs 1 --crops-per-photo 5 --seed 3 "
            f"--goptimizer {optimizer} --doptimizer {optimizer} --lr-schedule cosine --glr 1e-3 --dlr 1e-3 "
            f"--cweight 0.1 --pretrained {photos / 'classifier.keras'} --hyperpixel-layers maps --weighting gradient "
            f"--interpolation uniform --sampling area --precision float32"
        )
        return [*text.split(), *more]

    return make


class Machine:
    """An export, and its programs compiled: what utils/portable_run.py has before it trains."""

    def __init__(self, folder, flags):
        assert main([*flags, "--export-step", str(folder)]) == 0
        self.folder, self.flags = folder, flags
        self.export = runner.Export.read(folder)
        runner.import_jax(None)
        self.mesh = runner.device_mesh(1, BATCH)
        self.arguments = self.parsed("unused")
        self.photographs = runner.Photographs(folder / "photographs.bin", self.export, self.arguments)
        self.data, _ = self.photographs.load(self.mesh, None)
        self.programs = runner.Programs.compile(self.export, self.photographs, self.mesh, self.arguments)

    def parsed(self, output, *more):
        return runner.build_parser().parse_args([str(self.folder), "--output", str(output), *more])

    def training(self, output, *more, deadline=None, values=None):
        """A `Training` into the folder `output`, from the start or with --resume."""
        args = self.parsed(output, *more)
        start, progress, log = runner.starting_point(args, self.export)
        saved = runner.Saved(output, self.export, log, values or start, progress)
        return runner.Training(args, self.export, self.programs, self.data, saved, deadline)

    def run(self, output, *more, **options):
        """Train; returns the exit status and the state that was written."""
        status = self.training(output, *more, **options).run(argparse.Namespace(number=None))
        return status, read_state(output)

    def batch(self, step):
        """What this step trains on: (low_res, high_res, e)."""
        crops = runner.draw_batch(self.data, step, batch_size=BATCH, crop=CROP, seed=3, texture=0, grain=0)
        crops = np.array(crops)
        return to_range(downscale(tf.constant(crops), 4)), to_range(crops), positions(tf.constant([3, step], tf.int64))


@tf.function(jit_compile=True)  # eager TensorFlow draws other numbers by the same key
def positions(key):
    return tf.random.stateless_uniform([BATCH, 1], key)


@pytest.fixture(scope="module", params=["adam", "muon"])
def machine(request, stablehlo, photos, tmp_path_factory):
    """For Adam the calls run many steps, as on an accelerator, for Muon one, as on a processor."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "loops", lambda mesh: request.param == "adam")
        yield Machine(
            tmp_path_factory.mktemp("exports") / request.param, flags_of(photos, tmp_path_factory)(request.param)
        )


adam_alone, muon_alone = (  # for what is not about optimizers
    pytest.mark.parametrize("machine", [name], indirect=True) for name in ("adam", "muon")
)


@pytest.fixture(scope="module")
def trained(machine, tmp_path_factory):
    """The folder of ten steps of the runner."""
    folder = tmp_path_factory.mktemp("trained") / "out"
    assert machine.run(folder, "--steps", str(STEPS))[0] == 0
    return folder


def tensorflow_trainer(flags):
    args = build_parser().parse_args(flags)
    return setup.build_trainer(args, setup.build_networks(args), updates=STEPS)


def stream_of(flags):
    args = build_parser().parse_args(flags)
    return CropStream(setup.load_photos(args)[0], setup.crop_options(args))


def assert_close(values, wanted, tolerance):
    assert list(values) == list(wanted)
    for name, value in wanted.items():
        error = np.abs(values[name].astype(np.float64) - value).max(initial=0)
        assert error <= tolerance * max(np.abs(value).max(initial=0), 1e-6), name


def only(chosen, values):
    return dict(itertools.compress(values.items(), chosen))


def test_one_and_ten_steps_are_tensorflows(machine, trained, tmp_path):
    """Five steps of warm-up and five of everything, each from the same crops, and one of each alone."""
    trainer = tensorflow_trainer(machine.flags)
    assert_close(read_values(trainer), read_state(machine.folder).values, 0)
    one = machine.run(tmp_path / "one", "--steps", "1")[1]
    for step in range(STEPS):
        before = read_values(trainer)
        metrics = trainer.train_batch(machine.batch(step), "warmup" if step < STEPS // 2 else "full")
        if step == 0:
            assert_close(one.values, read_values(trainer), ONE_STEP)
        if step == STEPS // 2:  # from TensorFlow's own state
            training = machine.training(tmp_path / "full", "--steps", "1", values=before)
            at_half = {"steps": step, "warmup_steps": step, "fraction": 0.5}
            training.progress = training.first = runner.Progress(**at_half)
            measured = training.call("full", 1)
            assert_close(training.values(), read_values(trainer), ONE_STEP)
            assert {name: float(metrics[name]) for name in measured} == pytest.approx(measured, rel=1e-3, abs=1e-5)
    state = read_state(trained)
    assert_close(state.values, read_values(trainer), TEN_STEPS)
    assert (state.progress.steps, state.progress.warmup_steps, state.progress.fraction) == (STEPS, STEPS // 2, 1.0)


def test_a_resumed_run_is_the_uninterrupted_one(machine, trained, tmp_path):
    out = tmp_path / "out"
    assert machine.run(out, "--steps", "4", "--until", "0.4")[0] == 0
    assert runner.main([str(machine.folder), "--output", str(out), "--steps", "6"]) == 2  # without --resume
    _, state = machine.run(out, "--steps", "6", "--resume")
    whole = read_state(trained)
    assert state.progress == whole.progress
    assert_close(state.values, whole.values, 1e-6)


@adam_alone
def test_there_and_back_is_the_same(machine, trained, tmp_path, monkeypatch, eagerly):
    """Imported: the same values, PSNR and epochs; the run goes on, and what goes on is exported as it is."""
    monkeypatch.chdir(tmp_path)
    assert main(["--import-state", str(trained), "--run-dir", "run", "--savemodel", "True", "--epochs", "3"]) == 0
    state = read_state(trained)
    trainer = tensorflow_trainer([*machine.flags, "--epochs", "3"])
    trainer.checkpoint().restore(tf.train.latest_checkpoint("run/checkpoints")).expect_partial()
    assert_close(read_values(trainer), state.values, 0)
    history = json.loads(Path("run/history.json").read_text())
    log = json.loads((trained / "log.json").read_text())
    assert history["batches"] == STEPS and len(history["epochs"]["psnr"]) == 2
    assert history["epochs"]["psnr"][-1] == pytest.approx(log["quality"][-1]["psnr"], abs=0.02)
    exported = keras.models.load_model("SRWGAN_Gen/generator.keras", compile=False)
    assert all(map(np.array_equal, exported.get_weights(), trainer.average.get_weights()))
    assert main(["--resume", "run"]) == 0
    assert json.loads(Path("run/history.json").read_text())["batches"] == 15


@adam_alone
def test_an_import_has_as_many_epochs_as_the_state(machine, trained, tmp_path, monkeypatch):
    from srwgan.training.portable.importing import with_epochs_of

    args = build_parser().parse_args([*machine.flags, "--warmup-epochs", "1"])
    state = read_state(trained)
    assert with_epochs_of(args, state, steps=5) is args
    more = with_epochs_of(args, state, steps=2)
    assert (more.epochs, more.warmup_epochs) == (5, 2)


@adam_alone
def test_a_run_in_progress_is_exported(machine, trained, tmp_path, monkeypatch):
    """Values and progress of the checkpoint; the programs are those of any export and not written again."""
    from srwgan.training.portable import export

    monkeypatch.chdir(tmp_path)
    entries = machine.export.meta["programs"]
    monkeypatch.setattr(export, "write_programs", lambda *_: entries)
    assert main(["--import-state", str(trained), "--run-dir", "run", "--epochs", "4"]) == 0
    assert main(["--resume", "run", "--export-step", "again"]) == 0
    again, before = read_state("again"), read_state(trained)
    assert_close(again.values, before.values, 0)
    assert (again.progress.steps, again.progress.warmup_steps, again.progress.fraction) == (STEPS, 5, 0.5)


@adam_alone
def test_names_and_their_order_are_those_of_every_export(machine):
    names = [each["name"] for each in machine.export.meta["state"]]
    assert names == list(named_variables(tensorflow_trainer(machine.flags)))
    assert len(set(names)) == len(names)
    for phase in ("warmup", "full"):
        assert machine.export.input_names(phase)[: len(names)] == names
        assert machine.export.output_names(phase) == [*names, "metrics"]


@adam_alone
def test_programs_are_stablehlo_alone(machine):
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import stablehlo

    from srwgan.training.portable.stablehlo import mlir_context

    for file in machine.folder.glob("*.stablehlo"):
        with mlir_context():
            module = stablehlo.deserialize_portable_artifact(ir.Context.current, file.read_bytes())
            text = module.operation.get_asm(large_elements_limit=16)
        operations = set(re.findall(r"^ *(?:%\S+ = )?\"?([a-z_]+)\.[a-z_]+", text, re.MULTILINE))
        assert operations == {"func", "stablehlo"}
        assert "mhlo" not in text.replace("stablehlo", "")


@muon_alone
def test_two_devices_take_the_step_of_one(machine, tmp_path):
    """In a process of its own, with nothing but JAX and NumPy: half of the batch on each of two simulated devices."""
    script = (
        "import sys, portable_run; status = portable_run.main(sys.argv[1:]); "
        "loaded = {'tensorflow', 'keras', 'srwgan', 'PIL'} & set(sys.modules); "
        "sys.exit(f'{loaded}' if loaded else status)"
    )
    number, level = "--xla_force_host_platform_device_count=2", "--xla_backend_optimization_level=0"
    environment = {**os.environ, "XLA_FLAGS": f"{number} {level}", "JAX_PLATFORMS": "cpu"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-c", script, str(machine.folder), "--output", str(tmp_path / "two"), "--steps", "2"]
    done = subprocess.run(command, cwd=machine.folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 x cpu" in done.stderr
    one, two = machine.run(tmp_path / "one", "--steps", "2")[1], read_state(tmp_path / "two")
    assert_close(two.values, one.values, 10 * ONE_STEP)


class Clock:
    """A time.monotonic that goes on by a tenth of a second at every look, and by half of one at a step."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        self.now += 0.1
        return self.now

    def timed(self, many):
        def function(state, classifier, data, first, number, *schedule):
            self.now += 0.5 * int(number)
            return many(state, classifier, data, first, number, *schedule)

        return function


@adam_alone
def test_the_time_sets_the_rate_and_the_end(machine, tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(runner.time, "monotonic", clock)
    phases = {name: clock.timed(many) for name, many in machine.programs.phases.items()}
    monkeypatch.setattr(machine, "programs", dataclasses.replace(machine.programs, phases=phases))
    deadline = clock.now + 60
    training = machine.training(tmp_path / "out", "--seconds", "60", "--save-every", "10", deadline=deadline)
    assert training.run(argparse.Namespace(number=None)) == 0
    assert clock.now < deadline
    state, log = read_state(tmp_path / "out"), json.loads((tmp_path / "out" / "log.json").read_text())
    assert state.progress.fraction == pytest.approx(1, abs=0.1)
    assert 0.3 < state.progress.warmup_steps / state.progress.steps < 0.7  # half of the time
    rates = [entry["rates"][0] for entry in log["entries"]]
    assert rates == sorted(rates, reverse=True) and rates[0] > 0.9e-3 and rates[-1] < 1e-4
    assert len(list((tmp_path / "out" / "samples").glob("*.png"))) >= 4


@adam_alone
def test_a_call_that_ends_late_is_the_last(machine, tmp_path, monkeypatch):
    """An accelerator that others use too can be slower in the last call than in the one before."""
    clock = Clock()
    monkeypatch.setattr(runner.time, "monotonic", clock)
    training = machine.training(tmp_path / "out", "--seconds", "60", deadline=clock.now + 60)
    calls = []

    def call(phase, number):
        calls.append(number)
        clock.now += 20 * len(calls)  # too slow by more than the margin, at the third call
        training.steps_a_second = 100.0
        assert len(calls) < 9

    monkeypatch.setattr(training, "call", call)
    monkeypatch.setattr(training, "entry", lambda phase, metrics: {"step": 0, "images_per_second": 0.0})
    assert training.run(argparse.Namespace(number=None)) == 0
    assert clock.now > training.started + training.seconds + 1 and all(number > 0 for number in calls)


@adam_alone
def test_no_time_left_after_compiling(machine, tmp_path):
    training = machine.training(tmp_path / "out", "--seconds", "1", deadline=runner.time.monotonic() - 1)
    with pytest.raises(runner.Failed, match="no time is left"):
        training.run(argparse.Namespace(number=None))


@adam_alone
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_saves(machine, tmp_path, number):
    training = machine.training(tmp_path / "out", "--steps", "10")
    call = training.call

    def stopped_call(phase, steps):
        os.kill(os.getpid(), number)
        return call(phase, 1)

    training.call = stopped_call
    with runner.StopSignals() as stop:
        assert training.run(stop) == 128 + number
    assert read_state(tmp_path / "out").progress.steps == 1


@adam_alone
def test_a_diverged_run_ends_and_keeps_what_was_saved(machine, tmp_path):
    values = dict(read_state(machine.folder).values)
    values["generator/last/bias"] = np.full(3, np.nan, np.float32)
    training = machine.training(tmp_path / "out", "--steps", "40", values=values)
    before = (tmp_path / "out" / "state.npz").read_bytes()
    with pytest.raises(runner.Failed, match="10 steps in a row had a gradient that is not finite"):
        training.run(argparse.Namespace(number=None))
    assert (tmp_path / "out" / "state.npz").read_bytes() == before


def test_rates_are_those_of_the_optimizers():
    """Over eight steps, of which the first two are a warm-up without the discriminator."""
    schedule = {"rates": {"generator": 1e-3, "discriminator": 2e-3}, "epochs": 4, "warmup_epochs": 1}
    for step in range(8):
        iterations = [step, max(step - 2, 0)]
        parts = ("generator", "discriminator")
        state = {f"{part}_optimizer/iteration": np.int64(i) for part, i in zip(parts, iterations, strict=True)}
        for options in (
            {"schedule": "cosine", "total_steps": 8, "warmup_steps": 0},
            {"schedule": "constant", "warmup_steps": 5},
            {"schedule": "constant", "warmup_steps": 0},
        ):
            wanted = [optimizer_rate(rate, i, **options) for rate, i in zip((1e-3, 2e-3), iterations, strict=True)]
            named = {"lr_schedule": options["schedule"], "lr_warmup": options["warmup_steps"]}
            assert runner.learning_rates({**schedule, **named}, step / 8, state, np) == pytest.approx(wanted, rel=1e-5)


def optimizer_rate(rate, step, **options):
    optimizer = build_optimizer(rate, **options)
    optimizer.iterations.assign(step)
    return float(optimizer.learning_rate)


@adam_alone
def test_crops_are_the_pipelines(machine, photos):
    """The same photograph, place and turn: the same pixels as `CropStream` cuts."""
    pipeline = stream_of(machine.flags)
    assert len(pipeline.photos) == 4
    random = np.random.default_rng(0)
    for turn in range(8):
        number, place = random.integers(4), random.random(2)
        wanted = pipeline.cut(number, place, turn, 0, 0)
        top, left = (int(p * (s - CROP + 1)) for p, s in zip(place, pipeline.photos.shapes[number], strict=True))
        numbers = [np.array([x]) for x in (number, top, left)]
        made = runner.turned(runner.cut(machine.data, *numbers, CROP), np.array([turn]))
        assert np.array_equal(made[0], wanted), turn


@adam_alone
def test_crops_come_from_all_photographs_by_their_area(machine):
    draws = {"batch_size": 4000, "crop": CROP, "seed": 0, "texture": 0, "grain": 0}
    solid = {**machine.data, "pixels": np.repeat(np.arange(4, dtype=np.uint8), machine.photographs.shapes.prod(1) * 3)}
    areas = machine.photographs.shapes.prod(1)
    for sampling, shares in (("area", areas), ("side", np.sqrt(areas)), ("each", np.ones(4))):
        weights = np.power(areas, runner.SAMPLING[sampling]).cumsum()
        crops = np.array(runner.draw_batch({**solid, "weights": weights}, 0, **draws))
        shares = shares / shares.sum()
        assert np.bincount(crops[:, 0, 0, 0], minlength=4) / 4000 == pytest.approx(shares, abs=0.03)
        assert all(np.ptp(crop) == 0 for crop in crops[:50])  # of one photograph


@pytest.mark.parametrize(("side", "scale"), [(32, 4), (48, 3), (64, 2), (64, 8)])
def test_low_resolution_is_the_pipelines(make_photo, side, scale):
    """Equal but for exact halves, where float32 sums in another order may round to the other side."""
    noise = np.random.default_rng(1).integers(0, 256, (20, side, side, 3), dtype=np.uint8)
    crops = np.concatenate([noise, [make_photo(side, side, seed) for seed in range(20)]])
    made = tf.function(lambda crops: downscale_by_sums(crops, scale), jit_compile=True)(crops).numpy()
    wanted = downscale(tf.constant(crops), scale).numpy()
    assert np.abs(made - wanted).max() <= 1
    assert np.mean(made != wanted) < 1e-3


@adam_alone
def test_texture_is_preferred(machine, tmp_path, make_photo):
    """Of a photograph half flat and half textured, crops by gradient come from where the texture is."""
    photo = np.full((64, 256, 3), 128, np.uint8)
    photo[:, 128:] = np.random.default_rng(0).integers(0, 256, (64, 128, 3))
    with packing.PixelFile(tmp_path) as file:
        file.write(photo)
        file.finish({"kind": "photographs", "shapes": [photo.shape[:2]], "names": ["it"]})
    args = machine.parsed("unused", "--texture", "1")
    photographs = runner.Photographs(tmp_path / "photographs.bin", machine.export, args)
    data, _ = photographs.load(machine.mesh, None)
    shapes = photographs.shapes_on_device()
    assert {name: (x.shape, x.dtype) for name, x in data.items()} == {n: (x.shape, x.dtype) for n, x in shapes.items()}
    draws = {"batch_size": 500, "crop": CROP, "seed": 0, "grain": 0}
    flat = {
        texture: np.array(runner.draw_batch(data, 0, texture=texture, **draws)).std((1, 2, 3)) == 0
        for texture in (0.0, 1.0)
    }
    assert flat[0.0].mean() == pytest.approx(97 / 225, abs=0.08)
    assert flat[1.0].mean() < 0.02
    gradients = np.diff(np.concatenate([[0], data["chances"]]))
    corner = photographs.places(photo.shape[:2])
    crop = photo[corner[-1][0] : corner[-1][0] + CROP, corner[-1][1] : corner[-1][1] + CROP].astype(float).mean(-1)
    inner = np.abs(np.diff(crop, axis=1)).mean() + np.abs(np.diff(crop, axis=0)).mean()
    assert photographs.mean_gradients(photo)[-1] == pytest.approx(inner, rel=0.1)
    assert gradients.argmax() % len(range(0, 256 - CROP + 1, 16)) >= 8


@adam_alone
def test_grain_is_the_pipelines(machine):
    """On half of the crops, gray in two fifths of them, of a deviation up to the largest."""
    import jax

    flat = np.full((2000, 8, 8, 3), 100, np.uint8)
    noise = np.array(runner.grainy(flat, jax.random.key(0), 6.0)).astype(float) - 100
    grained = noise.any((1, 2, 3))
    deviations = noise.std((1, 2, 3))
    assert grained.mean() == pytest.approx(0.5 * 0.94, abs=0.05)  # the weakest is rounded away
    assert deviations.max() == pytest.approx(6, abs=1.5) and deviations[grained].mean() == pytest.approx(3, abs=0.4)
    gray = (noise[grained] == noise[grained][..., :1]).all((1, 2, 3))
    assert gray.mean() == pytest.approx(0.4, abs=0.06)


@adam_alone
def test_log_and_samples_can_be_read(machine, trained):
    log = json.loads((trained / "log.json").read_text())
    assert {"reconstruction", "rates", "images_per_second", "fraction", "wasserstein"} <= set(log["entries"][-1])
    assert [each["step"] for each in log["quality"]] == [0, STEPS]
    picture = np.asarray(Image.open(trained / "samples" / f"step_{STEPS:08d}.png"))
    assert picture.shape == (3 * CROP, CROP, 3)
    with np.load(machine.folder / "validation.npz") as stored:
        assert np.array_equal(picture[2 * CROP :], stored["high_res"][0])
        made = picture[CROP : 2 * CROP]
        quality = psnr(made, stored["high_res"][0], 4)
    assert log["quality"][-1]["psnr"] == pytest.approx(quality)
    assert not list(trained.rglob("*.part"))


def test_png_is_one(make_photo):
    photo = make_photo(13, 17)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(runner.png(photo)))), photo)


@pytest.fixture
def broken(machine, tmp_path):
    """A copy of an export to spoil."""
    return Path(shutil.copytree(machine.folder, tmp_path / "export"))


def line_of(capsys, *flags):
    status = runner.main([str(flag) for flag in flags])
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("[")]
    assert len(lines) == 1, lines
    return status, lines[0]


@adam_alone
@pytest.mark.parametrize("name", ["full.stablehlo", "state.npz", "classifier.npz", "validation.npz"])
def test_a_folder_cut_short(broken, tmp_path, capsys, name):
    os.truncate(broken / name, 100)
    status, line = line_of(capsys, broken, "--output", tmp_path / "out", "--steps", 1)
    assert status == 2 and f"{name}, of 100 bytes. Expected" in line and "cut short" in line
    (broken / name).unlink()
    status, line = line_of(capsys, broken, "--output", tmp_path / "out", "--steps", 1)
    assert status == 2 and f"{name}, missing. Expected" in line
    assert not (tmp_path / "out").exists()


@adam_alone
def test_a_changed_file(broken, tmp_path, capsys):
    content = bytearray((broken / "full.stablehlo").read_bytes())
    content[1000] ^= 1
    (broken / "full.stablehlo").write_bytes(content)
    status, line = line_of(capsys, broken, "--output", tmp_path / "out", "--steps", 1)
    assert status == 2 and "not what was exported" in line


@adam_alone
def test_photographs_cut_short(machine, broken):
    os.truncate(broken / "photographs.bin", 1000)
    photographs = runner.Photographs(broken / "photographs.bin", machine.export, machine.arguments)
    loading = runner.Background(lambda: photographs.load(machine.mesh, None))
    with pytest.raises(runner.BadInput, match="photographs.bin, of 1000 bytes. Expected"):
        loading.result(argparse.Namespace(number=None))


@adam_alone
def test_a_folder_of_another_version(broken, tmp_path, capsys):
    meta = json.loads((broken / "meta.json").read_text())
    (broken / "meta.json").write_text(json.dumps({**meta, "format": FORMAT + 1}))
    status, line = line_of(capsys, broken, "--output", tmp_path / "out", "--steps", 1)
    assert status == 2 and f"of format {FORMAT + 1}. Expected {FORMAT}" in line
    assert FORMAT == runner.FORMAT


@adam_alone
def test_no_folder_and_flags_that_do_not_fit(machine, tmp_path, capsys):
    status, line = line_of(capsys, tmp_path, "--output", tmp_path / "out", "--steps", 1)
    assert status == 2 and "meta.json, not readable" in line
    status, line = line_of(capsys, machine.folder, "--output", tmp_path / "out")
    assert status == 2 and "neither --seconds nor --steps" in line
    status, line = line_of(capsys, machine.folder, "--output", tmp_path / "out", "--steps", 1, "--resume")
    assert status == 2 and "--resume without" in line
    with pytest.raises(runner.BadInput, match="--devices 3. Expected"):
        runner.device_mesh(3, BATCH)


@adam_alone
def test_a_torn_state(machine, trained, tmp_path, capsys):
    out = Path(shutil.copytree(trained, tmp_path / "out"))
    os.truncate(out / "state.npz", 5000)
    status, line = line_of(capsys, machine.folder, "--output", out, "--steps", 1, "--resume")
    assert status == 2 and "not a readable state" in line
    with pytest.raises(SystemExit) as exit:
        main(["--import-state", str(out)])
    assert exit.value.code == 2
    assert "not a readable state" in capsys.readouterr().err


@adam_alone
def test_a_device_without_memory(machine, trained, tmp_path, capsys, monkeypatch):
    out = Path(shutil.copytree(trained, tmp_path / "out"))
    before = (out / "state.npz").read_bytes()

    def full(*_):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 80000000000 bytes.")

    monkeypatch.setattr(runner.Programs, "compile", full)
    status, line = line_of(capsys, machine.folder, "--output", out, "--steps", 1, "--resume")
    assert (
        status == 1 and "the device is out of memory" in line and "Expected an export with a smaller --batchsz" in line
    )
    assert (out / "state.npz").read_bytes() == before


@adam_alone
def test_a_full_disk_loses_nothing(machine, trained, tmp_path, monkeypatch):
    out = Path(shutil.copytree(trained, tmp_path / "out"))
    before = (out / "state.npz").read_bytes()
    monkeypatch.setattr(runner.np, "savez", lambda file, **_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError):
        machine.training(out, "--steps", "1", "--resume")
    assert (out / "state.npz").read_bytes() == before
    assert not list(out.rglob("*.part"))


def test_the_awaited_file_sets_the_deadline(tmp_path, monkeypatch):
    (tmp_path / "go").write_text("90\n")
    monkeypatch.setattr(runner.time, "monotonic", lambda: 7.0)
    assert runner.Photographs.wait_for(tmp_path / "go") == 97
    (tmp_path / "go").write_text("")
    assert runner.Photographs.wait_for(tmp_path / "go") is None
    (tmp_path / "go").write_text("soon")
    with pytest.raises(runner.BadInput, match="with soon. Expected the seconds left"):
        runner.Photographs.wait_for(tmp_path / "go")


def test_a_larger_discriminator_there_and_back(stablehlo, flags, tmp_path, monkeypatch):
    """One with blocks that is told what the original shows. Its step and one of everything are TensorFlow's."""
    monkeypatch.chdir(tmp_path)
    more = ("--dblocks", "1", "--dsemantics", "16", "--warmup-epochs", "0", "--critic-warmup", "1")
    machine, trainer = Machine(tmp_path / "export", flags("adam", *more)), tensorflow_trainer(flags("adam", *more))
    for name in "semantics_projection", "block1_conv2":  # which begin at 0
        kernel = trainer.discriminator.get_layer(name).kernel
        kernel.assign(0.1 * keras.random.normal(kernel.shape, seed=1))
    training = machine.training(tmp_path / "out", "--steps", str(STEPS), values=read_values(trainer))
    for step, phase in enumerate(("critic", "full")):
        metrics, measured = trainer.train_batch(machine.batch(step), phase), training.call(phase, 1)
        assert {name: float(metrics[name]) for name in measured} == pytest.approx(measured, rel=1e-3, abs=1e-5)
    gradients = ["_momentum" in name for name in read_values(trainer)]  # Adam's first steps are of their signs alone
    assert any(gradients)
    assert_close(*(only(gradients, values) for values in (training.values(), read_values(trainer))), TEN_STEPS)
    training.save()

    monkeypatch.setattr(Trainer, "train_batch", Trainer.train_batch.python_function)
    assert main(["--import-state", "out", "--run-dir", "run"]) == 0
    assert main(["--resume", "run", "--savemodel", "True"]) == 0
    assert json.loads(Path("run/history.json").read_text())["batches"] == STEPS
    critic = keras.models.load_model("SRWGAN_Dis/discriminator.keras", compile=False)
    assert (critic.blocks, critic.semantics, critic.semantic_channels) == (1, 16, 4)


# Packing


def test_packed_photographs_are_whole_or_smaller_or_fewer():
    shapes = [(100, 200), (50, 40), (400, 300)]
    whole = sum(height * width for height, width in shapes)
    assert packing.fitting_sizes(shapes, crop=32, limit=whole) == shapes
    sizes = packing.fitting_sizes(shapes, crop=32, limit=whole // 2)
    assert sizes[1] == (50, 40)  # the small one stays
    assert whole // 2 - 2000 < sum(height * width for height, width in sizes) <= whole // 2
    assert sizes[2][0] / sizes[2][1] == pytest.approx(4 / 3, abs=0.02) and min(sizes[2]) >= 150
    fewer = packing.fitting_sizes(shapes, crop=32, limit=10_000)
    assert len(fewer) == 2 and min(map(min, fewer)) >= 32
    assert packing.fitting_sizes(shapes, crop=32, limit=100) == []


@adam_alone
def test_packed_pixels_are_the_photographs(machine):
    args = build_parser().parse_args(machine.flags)
    photos, _ = setup.load_photos(args)
    pixels = np.fromfile(machine.folder / "photographs.bin", np.uint8)
    assert np.array_equal(pixels, np.concatenate([np.ravel(photos[i]) for i in range(len(photos))]))


@adam_alone
def test_photographs_are_decoded_there(machine, photos, tmp_path):
    """From a folder, by the index's names, at its sizes."""
    photographs = runner.Photographs(photos, machine.export, machine.arguments)
    wanted = np.fromfile(machine.folder / "photographs.bin", np.uint8)
    assert np.array_equal(photographs.decoded(), wanted)
    height, width = photographs.index["shapes"][0]
    smaller = [[height // 2, width // 2], *photographs.index["shapes"][1:]]
    photographs.shapes = np.array(smaller)
    photographs.index = {**photographs.index, "shapes": smaller, "bytes": 3 * int(photographs.shapes.prod(1).sum())}
    assert np.array_equal(photographs.decoded()[smaller[0][0] * smaller[0][1] * 3 :], wanted[height * width * 3 :])
    with pytest.raises(runner.BadInput, match="without 4 photographs, such as"):
        runner.Photographs(tmp_path, machine.export, machine.arguments).decoded()


def test_a_limit_is_said(flags, tmp_path, caplog, capsys, monkeypatch):
    args = build_parser().parse_args(flags("adam"))
    photos, _ = setup.load_photos(args)
    with caplog.at_level(logging.WARNING, "srwgan"):
        packing.pack_photographs(photos, tmp_path, crop=CROP, limit=14_000)
    assert "for --packed-limit 0.014 MB, 3 of 4 photographs are packed" in caplog.messages[-1]
    index = json.loads((tmp_path / "photographs.json").read_text())
    assert index["bytes"] == (tmp_path / "photographs.bin").stat().st_size <= 14_000
    with pytest.raises(ValueError, match="Expected .* MB or more, for a photograph"):
        packing.pack_photographs(photos, tmp_path, crop=CROP, limit=1000)


def test_degraded_pairs_are_the_pipelines(stablehlo, flags, tmp_path):
    """A program that takes them, and a step with it against TensorFlow's; a condition is told their strength."""
    more = ("--degradation", "gif", "--condition", "noise", "--cweight", "0", "--warmup-epochs", "0")
    arguments = flags("adam", *more, "--advweight", "0", "--weighting", "fixed")
    stream = stream_of(arguments)
    packing.pack_pairs(stream, tmp_path, wanted=2 * BATCH, limit=1e9)
    trainer, twin = tensorflow_trainer(arguments), tensorflow_trainer(arguments)
    program = step_program(trainer, "full", stream.options)
    assert [each.name for each in program.inputs][-5:] == ["crops", "low_res", "strength", "rates", "key"]

    index = json.loads((tmp_path / "photographs.json").read_text())
    data = {"pixels": np.fromfile(tmp_path / "photographs.bin", np.uint8), "strengths": np.float32(index["strengths"])}
    (low_res, strength), high_res, e = next(iter(stream.epoch(0)))
    parts = runner.ready_pairs(data, 0, batch_size=BATCH, crop=CROP, scale=4)
    again = runner.ready_pairs(data, 2, batch_size=BATCH, crop=CROP, scale=4)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    for part, wanted in zip(parts[:2], (high_res, low_res), strict=True):
        assert np.array_equal(to_range(np.array(part)), wanted)
    assert np.array_equal(parts[2], strength)

    given = dict(
        zip(("crops", "low_res", "strength"), parts, strict=True), rates=np.float32([1e-3, 0]), key=np.int64([0, 0])
    )
    import jax

    entry = {"inputs": [vars(each) for each in program.inputs], "outputs": [vars(each) for each in program.outputs]}
    (tmp_path / "program").write_bytes(program.artifact)
    export = runner.Export(tmp_path, {"programs": {"full": {**entry, "file": "program"}}})
    given |= read_values(twin)
    *values, _ = jax.jit(export.program("full"))(*[given[name] for name in export.input_names("full")])
    twin.train_batch(((low_res, strength), high_res, e), "full")
    assert_close(
        dict(zip(export.output_names("full"), map(np.array, values), strict=False)), read_values(twin), ONE_STEP
    )


def test_a_classifier_is_stored_in_the_precision_of_its_use(photos, tmp_path):
    from srwgan.networks.hyperpixels import Hyperpixels
    from srwgan.training.portable.export import write_classifier

    image = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(4, 3, name="maps", dtype="mixed_bfloat16", bias_initializer="ones")
    hyperpixels = Hyperpixels(keras.Model(image, layer(image)), None)
    names = [f"classifier/{weight.path}" for weight in hyperpixels.features.weights]
    assert half_precision_names(hyperpixels) == {names[0]}
    frozen = dict(zip(names, hyperpixels.features.weights, strict=True))
    half = write_classifier(tmp_path / "classifier.npz", hyperpixels, frozen)
    stored = runner.Export(tmp_path, {"half_precision": half, "phases": []}).frozen()
    kernel, bias = hyperpixels.features.get_weights()
    assert np.array_equal(stored[names[0]], tf.cast(tf.cast(kernel, tf.bfloat16), tf.float32))
    assert np.array_equal(stored[names[1]], bias)


def test_flags_and_files_that_do_not_fit(stablehlo, flags, tmp_path, capsys, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    for more, expected in (
        (["--export-step", str(tmp_path / "full")], "not empty. Expected a new folder"),
        (["--import-state", str(tmp_path / "nothing")], "which is not there"),
        (["--export-step", str(tmp_path / "new"), "--packed-limit", "0.001"], "MB or more, for a photograph"),
    ):
        with pytest.raises(SystemExit) as exit:
            main([*flags("adam"), *more])
        assert exit.value.code == 2
        assert expected in capsys.readouterr().err.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main([*flags("adam"), "--export-step", str(tmp_path / "new")])
    assert "Expected: pip install -r requirements-jax.txt" in capsys.readouterr().err


def test_a_tensorflow_too_old_to_export_is_one_line(flags, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tf, "__version__", "2.18.1")
    with pytest.raises(SystemExit) as exit:
        main([*flags("adam"), "--export-step", str(tmp_path / "new")])
    assert exit.value.code == 2
    wanted = "Received: TensorFlow 2.18.1, which does not lower to StableHLO. Expected 2.19 or newer."
    assert wanted in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@adam_alone
def test_a_state_of_other_networks(machine, trained, flags):
    values = read_state(trained).values
    trainer = tensorflow_trainer([*machine.flags, "--blocks", "2"])
    with pytest.raises(ValueError, match="a state of other networks or options"):
        assign_values(trainer, values)
    trainer = tensorflow_trainer([*machine.flags, "--filters", "20"])
    with pytest.raises(ValueError, match="has shape"):
        assign_values(trainer, values)
    assert ABOUT not in values
