"""The training half of `utils.benchmark`: what a step is made of, the data stream, two workers.

The floating-point operations of a step are counted from the shapes of the convolutions alone, a multiply-add as two.
Activations, losses, Adam and averages are work too, but count for nothing. Where F is the forward pass of a network, F1
that of its first convolution and Fn that of its last:

  generator       F forward; back, F for the gradients of the kernels and F - F1 for those of the feature maps, since
                  the gradient at the image is not needed
  content loss    F forward for the real image and F for the fake one, F back to the fake one; the kernels are frozen
  penalty         F - Fn forward, since the scores themselves are not needed, and F back to the image; then through both
                  again, F - Fn for the gradients' gradients, F for the kernels; a leaky ReLU has no second derivative
  discriminator   2 F forward, 2 F + 2 (F - F1) back, the penalty, and the generator's F for the fake images
  whole step      discriminator, generator, content loss, and 2 F of the discriminator for the adversarial gradient

The content loss has a target on VGG16, where convolutions are all of the work. The first layers of ResNet50, the
default classifier, are so small that memory limits them. They are measured beside VGG16's; the whole step has them.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from statistics import median

import numpy as np

from utils.benchmark.compute import MATRIX_OPERATIONS, matrix_product
from utils.benchmark.results import Section, Target
from utils.benchmark.subjects import ROOT, fast_bfloat16
from utils.benchmark.turns import in_turns, median_ratio

CROP, BATCH, SCALE = 256, 4, 4
TARGETS = {"generator": 0.7, "content loss, vgg16": 0.7, "discriminator": 0.5}


def measure_steps(options) -> Section:
    """Each part of a step, in turn with the others and with matrix products of the same precision.

    The fastest of each counts, which other work on the machine disturbed least.
    """
    repeats = 3 if options.quick else 12
    figures, lines, targets = {}, [], []
    for precision in ("float32", "bfloat16") if fast_bfloat16() else ("float32",):
        tasks, operations = parts_of_a_step(precision)
        seconds = {name: min(taken) for name, taken in in_turns(tasks, repeats).items()}
        rates = {name: count / seconds[name] / 1e9 for name, count in operations.items()}
        figures[precision] = {}
        for name, rate in rates.items():
            share = rate / rates["matrix product"]
            figures[precision][name] = facts = {
                "seconds": seconds[name],
                "images/s": BATCH / seconds[name],
                "GFLOP/s": rate,
                "share of the matrix product": share,
            }
            speed = "" if name == "matrix product" else f"{facts['seconds']:.3f} s, {facts['images/s']:.1f} images/s, "
            lines.append(f"{precision}, {name}: {speed}{facts['GFLOP/s']:.0f} GFLOP/s ({share:.0%})")
            if name in TARGETS:
                targets.append(Target(f"{name}, {precision}, share of the matrix product", share, least=TARGETS[name]))
    if "bfloat16" in figures:
        gain = figures["float32"]["whole step"]["seconds"] / figures["bfloat16"]["whole step"]["seconds"]
        lines.append(f"whole step, bfloat16 : float32: {gain:.2f} times as fast")
    return Section(figures, lines, targets)


def parts_of_a_step(precision):
    """({name: function}, {name: floating-point operations}) of steps on `BATCH` crops."""
    import tensorflow as tf

    from srwgan.training.losses import gradient_penalty
    from srwgan.training.objective import Objective

    trainer = build_trainer(precision, "resnet50")
    networks = {name: random_hyperpixels(name, precision) for name in ("resnet50", "vgg16")}
    low_res, high_res, e = batch = synthetic_batch()
    content = Objective(cweight=1.0, advweight=0.0, rweight=0.0)

    @tf.function
    def penalty(real, fake, e):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(gradient_penalty(trainer.discriminator, real, fake, e=e)[0])
        return tape.gradient(loss, trainer.discriminator.trainable_variables)

    def content_step(network):
        @tf.function
        def step(real, fake):
            trainer.hyperpixels, trainer.objective = network, content  # when it is traced
            _, gradients = trainer.loss_gradients(real, fake, "full")
            return gradients["content"]

        return step

    tasks = {
        "matrix product": matrix_product(precision),
        "generator": lambda: wait(trainer.train_batch(batch, "warmup")),
        "discriminator": lambda: wait(trainer.train_batch(batch, "critic")),
        "whole step": lambda: wait(trainer.train_batch(batch, "full")),
        "penalty": lambda: penalty(trainer.shifted(high_res), trainer.shifted(-high_res), e[:, 0])[0].numpy(),
    }
    for task in tasks.values():
        task()  # traced with the trainer's own objective
    for name, network in networks.items():
        step = content_step(network)
        tasks[f"content loss, {name}"] = lambda step=step: step(high_res, -high_res).numpy()
    return tasks, operations_of(trainer, networks)


def operations_of(trainer, networks):
    """{name: floating-point operations} of each part of a step, by the counts at the top of this file."""
    low, seen = CROP // SCALE, CROP - trainer.options.shift
    generator, discriminator = convolutions(trainer.generator, low), convolutions(trainer.discriminator, seen)
    g, d = sum(generator), sum(discriminator)
    content = {name: 3 * sum(convolutions(network.features, seen)) for name, network in networks.items()}
    parts = {"generator": 3 * g - generator[0], "penalty": 4 * d - 2 * discriminator[-1]}
    parts["discriminator"] = 6 * d - 2 * discriminator[0] + parts["penalty"] + g
    parts["whole step"] = parts["discriminator"] + parts["generator"] + content["resnet50"] + 2 * d
    parts |= {f"content loss, {name}": count for name, count in content.items()}
    return {"matrix product": MATRIX_OPERATIONS, **{name: BATCH * count for name, count in parts.items()}}


def convolutions(network, side):
    """Floating-point operations of each convolution of a Keras model, in order, for one image of side x side."""
    shapes, counts = {id(network.inputs[0]): (1, side, side, 3)}, []
    for layer in network.layers[1:]:
        given = layer.input if isinstance(layer.input, (list, tuple)) else [layer.input]
        given = [shapes[id(tensor)] for tensor in given]
        shape = layer.compute_output_shape(given if len(given) > 1 else given[0])
        shapes[id(layer.output)] = shape
        if len(getattr(layer, "kernel", np.zeros(0)).shape) == 4:
            counts.append(2 * shape[1] * shape[2] * int(np.prod(layer.kernel.shape)))
    return counts


def measure_data(options) -> Section:
    """Training on photographs against the same step on one batch again and again, in turn."""
    import tensorflow as tf

    from srwgan.data.crops import CropOptions, CropStream
    from srwgan.data.photos import find_photos, open_photos

    steps, rounds = (4, 2) if options.quick else (12, 5)
    trainer = build_trainer("bfloat16" if fast_bfloat16() else "float32", "resnet50")
    seconds, waited = {"real": [], "synthetic": []}, 0.0
    with tempfile.TemporaryDirectory() as cache:
        photos = open_photos(find_photos(ROOT / "Images" / "train"), smallest=CROP, number=1000, cache=cache)
        stream = CropStream(photos, CropOptions(crop=CROP, scale=SCALE, batch_size=BATCH, crops_per_photo=50))
        kept = synthetic_batch()
        wait(trainer.train_batch(kept))
        for epoch in range(rounds):
            batches = iter(stream.epoch(epoch))
            wait(trainer.train_batch(next(batches)))  # starts the stream's threads, which is not timed
            for kind in seconds:
                start = time.perf_counter()
                for _ in range(steps):
                    asked = time.perf_counter()
                    batch = next(batches) if kind == "real" else kept
                    waited += time.perf_counter() - asked
                    wait(trainer.train_batch(batch))
                seconds[kind].append(time.perf_counter() - start)
            del batches
        tf.keras.backend.clear_session()
    ratio = median_ratio(seconds["synthetic"], seconds["real"])
    figures = {kind: {"images/s": BATCH * steps / median(taken)} for kind, taken in seconds.items()}
    figures["waiting for data"] = waited / sum(seconds["real"])
    lines = [f"{kind} data: {figures[kind]['images/s']:.2f} images/s" for kind in seconds]
    lines.append(f"waiting for data: {figures['waiting for data']:.2%} of the time")
    return Section(figures, lines, [Target("throughput on real data : synthetic", ratio, least=0.95)])


def measure_workers(options) -> Section:
    """One process with a batch of `BATCH` against two on this machine with half of it and of the processors each."""
    steps = 3 if options.quick else 10
    rates = {number: workers_rate(number, steps) for number in (1, 2)}
    figures = {f"{number} process(es), images/s": rate for number, rate in rates.items()}
    lines = [
        f"{number} process(es), {BATCH // number} images in each: {rate:.2f} images/s" for number, rate in rates.items()
    ]
    return Section(figures, [*lines, f"2 : 1 = {rates[2] / rates[1]:.2f}"], [])


def workers_rate(number, steps):
    """Images a second of this many processes together, each on its share of the processors.

    Raises:
        OSError: one of them failed.
    """
    addresses = [f"127.0.0.1:{port}" for port in free_ports(number)]
    threads = max(1, (os.cpu_count() or 1) // number)
    command = [sys.executable, "-c", f"from utils.benchmark.training import work; work({BATCH // number}, {steps})"]
    processes = []
    for i in range(number):
        environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": str(threads)}
        environment.pop("TF_CONFIG", None)
        if number > 1:
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}}
            environment["TF_CONFIG"] = json.dumps(task)
        processes.append(
            subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
            )
        )
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise OSError(f"{number} worker(s) of the benchmark failed with {[each.returncode for each in processes]}.")
    return BATCH * steps / max(float(output.split()[-1]) for output in outputs)


def work(batch_size, steps):
    """What a worker's process runs: `steps` steps, whose seconds it prints."""
    from srwgan.training.devices import build_strategy

    strategy = build_strategy()
    with strategy.scope():
        trainer = build_trainer("bfloat16" if fast_bfloat16() else "float32", None, strategy=strategy)
    batch = synthetic_batch(batch_size)
    if strategy.num_replicas_in_sync > 1:
        batch = strategy.experimental_distribute_values_from_function(lambda _: synthetic_batch(batch_size))
    for step in range(steps + 2):
        if step == 2:
            start = time.perf_counter()
        wait(trainer.train_batch(batch))
    print(time.perf_counter() - start)


def free_ports(number):
    """Ports that nothing listens on, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait(metrics):
    """A step's metrics as numbers, which are there once the step is done."""
    return {name: value.numpy() for name, value in metrics.items()}


def build_trainer(precision, pretrained, *, strategy=None):
    """A trainer of train_SRWGAN.py's default networks and losses, untrained.

    Args:
        precision: "float32" or "bfloat16".
        pretrained: the classifier of the content loss, whose weights are random here, or None for no content loss.
        strategy: a `tf.distribute.Strategy`, or None.
    """
    from srwgan.networks.discriminator import Discriminator
    from srwgan.networks.generator import Generator, with_precision
    from srwgan.networks.precision import choose_policy
    from srwgan.training.objective import Objective
    from srwgan.training.optimizers import build_optimizer
    from srwgan.training.step import StepOptions, Trainer

    policy = choose_policy(precision)
    generator = Generator(dtype=policy)
    hyperpixels = random_hyperpixels(pretrained, precision) if pretrained else None
    return Trainer(
        generator,
        Discriminator(dtype=policy),
        average=with_precision(generator, policy),
        generator_optimizer=build_optimizer(1e-5),
        discriminator_optimizer=build_optimizer(1e-5),
        hyperpixels=hyperpixels,
        objective=Objective(cweight=1e-3 if pretrained else 0),
        options=StepOptions(shift=SCALE),
        strategy=strategy,
    )


def random_hyperpixels(pretrained, precision):
    """What `build_hyperpixels` makes by default, but with random weights, which take the same time."""
    import keras

    from srwgan.networks.hyperpixels import APPLICATIONS, Hyperpixels, global_dtype_policy
    from srwgan.networks.precision import choose_policy

    constructor, module, layers = APPLICATIONS[pretrained]
    with global_dtype_policy(choose_policy(precision)):
        backbone = constructor(include_top=False, weights=None, input_shape=(None, None, 3))
    outputs = [backbone.layers[layer].output for layer in layers]
    return Hyperpixels(keras.Model(backbone.input, outputs), module.preprocess_input)


def synthetic_batch(size=BATCH):
    """Random crops of a batch as the stream gives it: (low_res, high_res, e)."""
    import tensorflow as tf

    random = np.random.default_rng(0)
    shapes = (size, CROP // SCALE, CROP // SCALE, 3), (size, CROP, CROP, 3), (size, 1)
    return tuple(tf.constant(random.uniform(-1, 1, shape), tf.float32) for shape in shapes)
