"""Two workers on the loopback, each a process of its own."""

import json
import os
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.forked import Forked
from tests.waiting import LIMIT, until

ROOT = str(Path(__file__).resolve().parents[2])

# One critic step, one generator step and three steps of both, by plain descent, on this worker's half of each batch.
WORKER = """
import sys

import keras
import numpy as np
import tensorflow as tf

from srwgan.training.devices import build_strategy, sum_over_workers, worker_position
from tests.training import test_step as t

strategy = build_strategy("auto")
worker, workers, replicas = worker_position(strategy)
assert sum_over_workers(strategy, 2 + worker) == sum(2 + i for i in range(workers))
number = 4 // workers


def trained(steps, **options):
    with strategy.scope():
        trainer = t.build(strategy=strategy, **options)
    for seed, phase in steps:
        share = [x[worker * number : (worker + 1) * number] for x in t.batch(4, seed=seed)]
        batch = strategy.experimental_distribute_values_from_function(lambda _: tuple(share)) if workers > 1 else share
        metrics = trainer.train_batch(tuple(batch), phase, tf.constant(15.0 * worker))
    return trainer, metrics


critic, _ = trained([(1, "critic")])
generator, _ = trained([(1, "full")], objective=t.Objective(gpweight=5.0, cweight=0.3, advweight=0.0, rweight=2.0))
both, metrics = trained([(1, "full"), (2, "full"), (3, "full")], clip=0.5)
assert float(metrics["stop"]) == 15.0 * (workers - 1)
results = {"critic": critic.discriminator, "generator": generator.generator, "both_generator": both.generator,
           "both_discriminator": both.discriminator, "both_average": both.average}
weights = {f"{name}_{i}": w for name, network in results.items() for i, w in enumerate(network.get_weights())}
np.savez(sys.argv[1], **weights, **{f"metric_{name}": value.numpy() for name, value in metrics.items()})
"""


def free_ports(number):
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture
def start(tmp_path):
    """(commands, a list of arguments for Python for each worker) -> the running workers."""
    running = []

    def start(commands, folder=tmp_path, **environment):
        cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(len(commands))]}
        workers = []
        for i, command in enumerate(commands):
            variables = {**os.environ, **environment}
            if len(commands) > 1:
                variables["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})
            workers.append(Forked(command, log=tmp_path / f"log{i}", cwd=folder, environment=variables))
        running.extend(workers)
        return workers

    yield start
    for process in running:
        process.kill()
        process.wait(LIMIT)


def log_of(tmp_path, worker):
    return (tmp_path / f"log{worker}").read_text()


@pytest.mark.slow
def test_two_workers_with_half_the_batch_step_as_one_with_the_whole(start, tmp_path, monkeypatch):
    paths = [str(tmp_path / f"{name}.npz") for name in ("alone", "first", "second")]
    workers = start([["-c", WORKER, path] for path in paths[1:]])
    monkeypatch.setattr(sys, "argv", ["-c", paths[0]])
    exec(WORKER, {})  # alone, in this process, meanwhile
    for i, process in enumerate(workers):
        assert process.wait(LIMIT) == 0, log_of(tmp_path, i)[-3000:]
    alone, first, second = map(np.load, paths)
    assert set(alone) == set(first) == set(second)
    for name in alone:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)  # on both workers alike

    from tests.training import test_step

    for network, name in zip(test_step.networks(), ("generator", "critic"), strict=True):
        before = [np.array(weight) for weight in network.get_weights()]
        whole, halves = (
            flat(results[f"{name}_{i}"] - weight for i, weight in enumerate(before)) for results in (alone, first)
        )
        assert np.linalg.norm(halves - whole) <= 1e-4 * np.linalg.norm(whole)
    for name in alone:
        if name.startswith("both"):
            np.testing.assert_allclose(first[name], alone[name], rtol=2e-3, atol=1e-5, err_msg=name)


def flat(arrays):
    return np.concatenate([array.ravel() for array in arrays])


@pytest.fixture
def training(start, photo_folder, tmp_path):
    """(flags) -> two workers of train_SRWGAN.py in a run folder that they share: three epochs of 60 batches."""
    flags = [
        "--datapath",
        str(photo_folder),
        "--cache",
        str(tmp_path / "cache"),
        "--trainnum",
        "5",
        "--validnum",
        "1",
        "--cropsz",
        "32",
        "--batchsz",
        "1",
        "--filters",
        "4",
        "--blocks",
        "1",
        "--dfilters",
        "4",
        "--cweight",
        "0",
        "--precision",
        "float32",
        "--crops-per-photo",
        "24",
        "--epochs",
        "3",
        "--run-dir",
        "run",
    ]

    def training(*more):
        command = [os.path.join(ROOT, "train_SRWGAN.py"), *(more or flags)]
        return start([command, command])

    return training


def last_checkpoint(tmp_path):
    path = tf.train.latest_checkpoint(tmp_path / "run" / "checkpoints")
    return int(path.split("-")[-1]) if path else 0


def wait_for_checkpoint(tmp_path, number, workers):
    def reached():
        for i, worker in enumerate(workers):
            assert worker.poll() is None, log_of(tmp_path, i)[-3000:]
        return last_checkpoint(tmp_path) >= number

    until(reached, what=f"checkpoint {number}")


def assert_says_that_the_other_is_gone(log):
    """In two minutes, its last line; where the checkpoint is, too."""
    line = log.splitlines()[-1]
    assert line.startswith("train_SRWGAN.py: another worker is gone (")
    assert "Start all workers again with --resume run, last checkpoint: run/checkpoints/ckpt-" in line


@pytest.mark.slow
def test_two_workers_stop_together_lose_one_and_resume(training, tmp_path):
    workers = training()
    wait_for_checkpoint(tmp_path, 60, workers)
    workers[1].send_signal(signal.SIGTERM)  # to one of them
    assert [worker.wait(LIMIT) for worker in workers] == [143, 143]
    stopped_at = last_checkpoint(tmp_path)
    assert f"Checkpoint written: run/checkpoints/ckpt-{stopped_at}. Go on with --resume run" in log_of(tmp_path, 0)
    assert "60 batches of 2 an epoch on 2 replica(s)" in log_of(tmp_path, 0)

    workers = training("--resume", "run")
    wait_for_checkpoint(tmp_path, 120, workers)
    assert f"Going on after {stopped_at} of 180 batches" in log_of(tmp_path, 0)
    workers[1].kill()  # kill -9
    assert workers[0].wait(LIMIT) == 1
    assert_says_that_the_other_is_gone(log_of(tmp_path, 0))

    workers = training("--resume", "run")
    assert [worker.wait(LIMIT) for worker in workers] == [0, 0], log_of(tmp_path, 0)[-3000:]
    assert "Going on after 120 of 180 batches" in log_of(tmp_path, 0) and "Results: run" in log_of(tmp_path, 0)
    assert len(json.loads((tmp_path / "run" / "history.json").read_text())["epochs"]["psnr"]) == 3


@pytest.mark.slow
def test_a_chief_that_does_not_move_ends_the_others(training, tmp_path):
    workers = training()
    wait_for_checkpoint(tmp_path, 60, workers)
    workers[0].send_signal(signal.SIGSTOP)
    assert workers[1].wait(LIMIT) == 1
    assert_says_that_the_other_is_gone(log_of(tmp_path, 1))


# Each worker would have another policy. All take the chief's actions, at two different numbers of critic steps.
CONTROLLED = """
import numpy as np
import tensorflow as tf

from srwgan.training.devices import build_strategy, of_the_chief, worker_position
from srwgan.training.control.controls import CONTROLS, Controls
from srwgan.training.optimizers import build_optimizer
from tests.training import test_step as t

strategy = build_strategy("auto")
worker, workers, _ = worker_position(strategy)
mine = np.log([2.0, 1.5, 0.5, 0.25, 4.0, 3.0]) * (1 - worker)
levels = of_the_chief(strategy, mine)
assert workers == 2 and np.array_equal(levels, np.log([2.0, 1.5, 0.5, 0.25, 4.0, 3.0])), levels
with strategy.scope():
    controls = Controls()
    generator, discriminator = t.networks()
    trainer = t.Trainer(
        generator,
        discriminator,
        average=t.with_precision(generator, "float32"),
        generator_optimizer=build_optimizer(1e-2, factor=lambda: controls.factor("glr")),
        discriminator_optimizer=build_optimizer(1e-2, factor=lambda: controls.factor("dlr")),
        hyperpixels=t.hyperpixels,
        objective=t.WEIGHTS,
        strategy=strategy,
        controls=controls,
    )
share = tuple(x[worker * 2 : worker * 2 + 2] for x in t.batch(4, draws=3))
batch = strategy.experimental_distribute_values_from_function(lambda _: share)
before = np.concatenate([np.ravel(w) for w in generator.get_weights()])
steps = []
for each in np.zeros(len(CONTROLS)), levels:
    controls.levels.assign(each.astype(np.float32))
    trainer.train_batch(batch, "full", 0.0, controls.dstep)
    steps.append(int(trainer.discriminator_optimizer.iterations.value.numpy()))
    after = np.concatenate([np.ravel(w) for w in generator.get_weights()])
    print("moved", float(np.abs(after - before).max()))
    before = after
assert steps == [1, 4], steps
print("ended", float(np.sum(after)))
"""


@pytest.mark.slow
def test_workers_take_the_chiefs_actions(start, tmp_path):
    workers = start([["-c", CONTROLLED]] * 2)
    assert [worker.wait(LIMIT) for worker in workers] == [0, 0], log_of(tmp_path, 0)[-3000:]
    said = [[line for line in log_of(tmp_path, i).splitlines() if line.startswith(("moved", "ended"))] for i in (0, 1)]
    assert said[0] == said[1] and len(said[0]) == 3
    first, second = (float(line.split()[1]) for line in said[0][:2])
    assert (
        first == pytest.approx(1e-2, rel=0.01) and second < 0.5 * first
    )  # Adam's first steps are as large as its rate


def test_workers_need_a_folder_that_they_share(start, tmp_path):
    workers = start([[os.path.join(ROOT, "train_SRWGAN.py"), "--cweight", "0"]] * 2)
    assert [worker.wait(LIMIT) for worker in workers] == [2, 2]
    assert "several workers without --run-dir. Expected a folder that all of them share." in log_of(tmp_path, 1)
