"""The exported training step by JAX against TensorFlow's, on the processor and the same crops, in turns."""

import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from utils import portable_run
from utils.benchmark.results import Section
from utils.benchmark.training import BATCH, CROP, SCALE, build_trainer, wait
from utils.benchmark.turns import in_turns, median_ratio


def measure_portable(options) -> Section:
    """A whole step of the defaults, in float32, which processors without AMX are fastest at."""
    import tensorflow as tf

    from srwgan.pixels import downscale, to_range

    crops = np.random.default_rng(0).integers(0, 256, (BATCH, CROP, CROP, 3), dtype=np.uint8)
    trainer = build_trainer("float32", "resnet50")
    batch = to_range(downscale(tf.constant(crops), SCALE)), to_range(crops), tf.zeros([BATCH, 1])
    portable = portable_step(crops)
    tasks = {"TensorFlow": lambda: wait(trainer.train_batch(batch)), "JAX": portable}
    seconds = in_turns(tasks, 3 if options.quick else 12)
    ratio = median_ratio(seconds["JAX"], seconds["TensorFlow"])
    figures = {**{name: median(taken) for name, taken in seconds.items()}, "JAX : TensorFlow": ratio}
    lines = [f"{name}: {median(taken):.3f} s for {BATCH} crops of {CROP}" for name, taken in seconds.items()]
    return Section(figures, [*lines, f"JAX : TensorFlow = {ratio:.2f}"], [])


def portable_step(crops):
    """A function that runs the exported step once more, from the state that it left."""
    from srwgan.data.crops import CropOptions
    from srwgan.training.portable.export import write_program
    from srwgan.training.portable.program import frozen_variables, step_program
    from srwgan.training.portable.state import read_values

    trainer = build_trainer("float32", "resnet50")
    values = read_values(trainer) | {name: v.numpy() for name, v in frozen_variables(trainer).items()}
    values |= {"crops": crops, "rates": np.full(2, 1e-5, np.float32), "key": np.zeros(2, np.int64)}
    program = step_program(trainer, "full", CropOptions(batch_size=BATCH, crop=CROP, scale=SCALE))
    portable_run.import_jax(None)
    import jax

    with tempfile.TemporaryDirectory() as folder:
        entry = write_program(Path(folder, "full.stablehlo"), program)
        export = portable_run.Export(Path(folder), {"programs": {"full": entry}})
        step = jax.jit(export.program("full"))
        names, results = export.input_names("full"), export.output_names("full")
        inputs = {name: jax.device_put(values[name]) for name in names}

        def run():
            outputs = dict(zip(results, step(*[inputs[name] for name in names]), strict=True))
            np.asarray(outputs.pop("metrics"))
            inputs.update(outputs)

        run()  # compiled while the program's file is there
        return run
