"""The functions that become portable programs: a training step, the pictures of a validation, a generator for use."""

import dataclasses

import tensorflow as tf

from srwgan.data.crops import CropOptions
from srwgan.networks.diffusion import image_operator_of
from srwgan.pixels import downscale_by_sums, to_range
from srwgan.training.portable.stablehlo import Lowered, constant, lower, wrap
from srwgan.training.portable.state import named_variables


@dataclasses.dataclass(frozen=True)
class Value:
    """One input or output of a program."""

    name: str
    shape: tuple
    dtype: str  # NumPy's name


@dataclasses.dataclass(frozen=True)
class Program:
    """A StableHLO portable artifact with what its function `main` takes and gives, in order."""

    artifact: bytes
    inputs: list
    outputs: list
    metrics: list = dataclasses.field(default_factory=list)  # names of the elements of the output `metrics`


def step_program(trainer, phase: str, options: CropOptions) -> Program:
    """`trainer.train_batch` of one phase: a state, crops, learning rates and a key to the next state and metrics.

    Inputs are all of `named_variables`, of `frozen_variables` what the phase uses, and
        crops (B, C, C, 3) uint8;
        for a degradation their partners low_res (B, C/s, C/s, 3) uint8, which are made here otherwise, and with a
            condition strength (B,) float32;
        rates (2,) float32, the generator's and the discriminator's;
        key (2,) int64, that the penalty's positions, or the noise and its levels, are drawn by.
    Outputs are the named variables and metrics (M,) float32.

    The trainer is not to be trained with afterwards: its rates are the program's input.
    """
    conditioned, degraded = options.condition != "none", options.degradation != "bicubic"
    side, small = options.crop, options.crop // options.scale
    state, rates = named_variables(trainer), Rates()
    trainer.generator_optimizer.learning_rate = rates.of_generator
    if trainer.discriminator_optimizer:
        trainer.discriminator_optimizer.learning_rate = rates.of_discriminator
    draw = tf.random.stateless_normal if options.interpolation == "gaussian" else tf.random.stateless_uniform
    names = []

    def step(*given):
        values, (crops, *partners, rates.now, key) = given[: len(state)], given[len(state) :]
        for variable, value in zip(state.values(), values, strict=True):
            variable.assign(value)
        low_res, *strength = partners or [downscale_by_sums(crops, options.scale)]
        low_res = (to_range(low_res), *strength) if conditioned else to_range(low_res)
        batch = low_res, to_range(crops), draw([options.batch_size, options.draws], key)
        metrics = trainer.train_batch.python_function(batch, phase, tf.constant(0.0))
        names[:] = sorted(set(metrics) - {"stop"})
        metrics = tf.stack([tf.cast(metrics[name], tf.float32) for name in names])
        return [tf.convert_to_tensor(variable) for variable in state.values()] + [metrics]

    given = [
        Value("crops", (options.batch_size, side, side, 3), "uint8"),
        *[Value("low_res", (options.batch_size, small, small, 3), "uint8")] * degraded,
        *[Value("strength", (options.batch_size,), "float32")] * conditioned,
        Value("rates", (2,), "float32"),
        Value("key", (2,), "int64"),
    ]
    lowered = lower(step, specs(described(state) + given))
    rates.now = NO_RATES  # Keras asks once more when they are set anew, where a tensor of the trace has no value
    frozen = frozen_variables(trainer)
    outputs = [*described(state), Value("metrics", (len(names),), "float32")]
    return dataclasses.replace(assemble(lowered, state, given, outputs, frozen=frozen), metrics=names)


NO_RATES = (0.0, 0.0)


class Rates:
    """Learning rates that are an input of the function which is traced."""

    def __init__(self):
        self.now = NO_RATES

    def of_generator(self):
        return self.now[0]

    def of_discriminator(self):
        return self.now[1]


def sample_program(trainer, low_res_shape, conditioned: bool) -> Program:
    """The averaged generator on the crops of a validation.

    Inputs are the `average/...` variables, low_res (N, h, w, 3) uint8 and with a condition strength (N,) float32; the
    output is high_res (N, s h, s w, 3) uint8.
    """
    state = {name: variable for name, variable in named_variables(trainer).items() if name.startswith("average/")}
    scale = trainer.generator.scale

    def sample(*given):
        values, (low_res, *strength) = given[: len(state)], given[len(state) :]
        for variable, value in zip(state.values(), values, strict=True):
            variable.assign(value)
        images = to_range(low_res)
        made = trainer.generate_average((images, *strength) if conditioned else images, training=False)
        return tf.cast(tf.round((tf.clip_by_value(made, -1.0, 1.0) + 1.0) * 127.5), tf.uint8)

    number, height, width, _ = low_res_shape
    given = [
        Value("low_res", tuple(low_res_shape), "uint8"),
        *[Value("strength", (number,), "float32")] * conditioned,
    ]
    output = Value("high_res", (number, scale * height, scale * width, 3), "uint8")
    return assemble(lower(sample, specs(described(state) + given)), state, given, [output])


def generator_program(generator, *, batch: int, height: int, width: int) -> Program:
    """A generator for use, its weights inside: the image operator of one size.

    The input is low_res (batch, height, width, 3) float32 in [-1, 1], with a condition strength (batch,) float32 too;
    the output is high_res (batch, s height, s width, 3) float32, in about [-1, 1].
    """
    scale, conditioned = generator.scale, generator.condition != "none"
    given = [
        Value("low_res", (batch, height, width, 3), "float32"),
        *[Value("strength", (batch,), "float32")] * conditioned,
    ]
    output = Value("high_res", (batch, scale * height, scale * width, 3), "float32")

    def enlarge(*inputs):
        return tf.ensure_shape(image_operator_of(generator)(generator, *inputs), output.shape)

    return assemble(lower(enlarge, specs(given)), {}, given, [output])


def assemble(lowered: Lowered, state: dict, given: list, outputs: list, *, frozen: dict | None = None) -> Program:
    """A program of a lowered function, whose inputs are the state, what it uses of `frozen`, and `given`, in order.

    Args:
        lowered: of a function of the state's values and `given`, which assigns the former.
        state, frozen: name -> tf.Variable. Other variables that the function uses go in as constants.
        outputs: its first results; what follows are updates of variables, which are left out.
    """
    used = {
        name: variable
        for name, variable in (frozen or {}).items()
        if any(variable.handle is handle for handle in lowered.captured)
    }
    inputs = [*described(state), *described(used), *given]
    place = {value.name: f"%arg{i}" for i, value in enumerate(inputs)}
    arguments, lines = [place[value.name] for value in (*described(state), *given)], []
    for i, captured in enumerate(lowered.captured):
        name = next((name for name, variable in {**state, **used}.items() if variable.handle is captured), None)
        arguments.append(place[name] if name else f"%constant{i}")
        if not name:
            lines.append(constant(f"%constant{i}", constant_value(captured)))
    types = [mlir_type(value) for value in inputs], [mlir_type(value) for value in outputs]
    return Program(wrap(lowered, arguments, *types, before=lines), inputs, outputs)


def frozen_variables(trainer) -> dict:
    """Name -> tf.Variable of what a step uses and does not train.

    These are the content loss's classifier (`classifier/...`) and the teacher of a student (`teacher/...`, with the
    names that its weights have in its own state behind), as far as there are such.
    """
    classifier, teacher = getattr(trainer.hyperpixels, "features", None), getattr(trainer, "teacher", None)
    networks = {"classifier": classifier, "teacher": teacher}
    return {
        f"{part}/{weight.path}": weight.value
        for part, network in networks.items()
        if network
        for weight in network.weights
    }


def half_precision_names(hyperpixels):
    """Of the classifier's variables, those that every use of rounds to bfloat16: kernels that layers compute with."""
    features = getattr(hyperpixels, "features", None)
    return {
        f"classifier/{weight.path}"
        for layer in (layers_of(features) if features else ())
        for weight in layer.weights
        if layer.compute_dtype == "bfloat16" and len(weight.shape) > 1
    }


def layers_of(model):
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from layers_of(layer)
        else:
            yield layer


def specs(values: list) -> list:
    return [tf.TensorSpec(value.shape, value.dtype) for value in values]


def described(variables: dict) -> list:
    return [Value(name, tuple(v.shape), v.dtype.name) for name, v in variables.items()]


def constant_value(captured):
    """The value of a constant or, by its handle, of a variable."""
    if captured.dtype != tf.resource:
        return captured.numpy()
    kind = captured._handle_data.shape_and_type[0].dtype
    return tf.raw_ops.ReadVariableOp(resource=captured, dtype=tf.dtypes.as_dtype(kind)).numpy()


def mlir_type(value):
    kinds = {"float32": "f32", "int64": "i64", "int32": "i32", "uint8": "ui8", "bool": "i1"}
    return f"tensor<{'x'.join([*map(str, value.shape), kinds[value.dtype]])}>"
