"""TensorFlow functions as StableHLO portable artifacts: lowered by XLA, cleaned, and given a signature of ours.

A portable artifact is read by later versions of StableHLO too (https://openxla.org/stablehlo/compatibility). It is
written with JAX's bindings of MLIR, which is why exporting needs JAX.
"""

import dataclasses
import importlib.metadata
import importlib.util
import re

import numpy as np
import tensorflow as tf

OLDEST_TENSORFLOW = (2, 19)  # whose XLA gives StableHLO
# What XLA leaves of its own dialect and layouts in TensorFlow's text; jaxlib 0.11 refuses the first.
COPY = re.compile(r"mhlo\.copy (%[\w#:]+)(?: \{[^}]*\})? : (tensor<[^>]*>)")
FOREIGN_ATTRIBUTES = ("result_layout", "xla_shape")


@dataclasses.dataclass(frozen=True)
class Lowered:
    """A function's StableHLO: its arguments, then what it captured, to its results, then its updates of variables."""

    text: str  # a module with the function `main`
    arguments: list  # MLIR types, e.g. "tensor<4x32x32x3xui8>"
    results: list
    captured: list  # resource handles of variables, and constant tensors


def lowers() -> bool:
    """Whether this TensorFlow is one that lowers to StableHLO."""
    major, minor = tf.__version__.split(".")[:2]
    return (int(major), int(minor)) >= OLDEST_TENSORFLOW


def check_tools() -> None:
    """Raises ValueError where JAX is not installed, or a TensorFlow that does not lower to StableHLO."""
    if not importlib.util.find_spec("jax"):
        raise ValueError("Received: a Python without JAX. Expected: pip install -r requirements-jax.txt")
    oldest = ".".join(map(str, OLDEST_TENSORFLOW))
    if not lowers():
        raise ValueError(
            f"Received: TensorFlow {tf.__version__}, which does not lower to StableHLO. Expected {oldest} or newer."
        )
    try:
        lower(lambda x: x + 1, [tf.TensorSpec([], tf.float32)])
    except Exception as error:  # TensorFlow and JAX raise their own kinds where their versions do not fit
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"Received: TensorFlow {tf.__version__} and JAX {importlib.metadata.version('jax')}, "
            f"which do not lower to StableHLO together ({reason}). Expected their newest versions."
        ) from error


def lower(function, arguments: list) -> Lowered:
    """Lower a Python function of tensors, which returns one or a list of them.

    Args:
        arguments: a tf.TensorSpec for each argument.

    Raises:
        ValueError: XLA cannot compile an operation, or something beside StableHLO is left.
    """
    compiled = tf.function(function, jit_compile=True)
    try:
        concrete = compiled.get_concrete_function(*arguments)
        text = compiled.experimental_get_compiler_ir(*arguments)(stage="stablehlo")
    except (tf.errors.OpError, NotImplementedError) as error:
        reason = " ".join(str(getattr(error, "message", error)).split())[:300]
        raise ValueError(f"XLA cannot compile this function ({reason}).") from error
    return clean(text, list(concrete.captured_inputs))


def clean(text, captured):
    """`Lowered` of TensorFlow's text, without what is not StableHLO and without locations."""
    from jaxlib.mlir import ir

    with mlir_context():
        try:
            module = ir.Module.parse(COPY.sub(r"stablehlo.reshape \1 : (\2) -> \2", text))
        except ir.MLIRError as error:
            raise ValueError(f"Not StableHLO alone ({' '.join(str(error).split())[:300]}).") from error
        remove_foreign_attributes(module.operation)
        signature = next(op.type for op in module.body.operations if op.name.value == "main")
        types = [[str(each) for each in kinds] for kinds in (signature.inputs, signature.results)]
        return Lowered(module.operation.get_asm(enable_debug_info=False), *types, captured)


def remove_foreign_attributes(operation):
    for name in [getattr(each, "name", each) for each in operation.attributes]:  # names, or attributes with one
        if name.startswith("mhlo.") or name in FOREIGN_ATTRIBUTES:
            del operation.attributes[name]
    for region in operation.regions:
        for block in region:
            for each in block:
                remove_foreign_attributes(each.operation)


def wrap(lowered: Lowered, arguments: list, inputs: list, outputs: list, *, before: list) -> bytes:
    """A portable artifact whose `main` has another signature than the lowered function, which it calls.

    Args:
        arguments: what the function is called with: %arg0, %arg1 ... of `main`, or results of the lines `before`.
        inputs: MLIR types of `main`'s arguments.
        outputs: MLIR types of its results, the function's first ones.
        before: lines of MLIR.
    """
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import stablehlo

    signature = ", ".join(f"%arg{i}: {kind}" for i, kind in enumerate(inputs))
    number = len(lowered.results)
    names = ["%result"] if number == 1 else [f"%result#{i}" for i in range(len(outputs))]
    main = [
        f"func.func public @main({signature}) -> ({', '.join(outputs)}) {{",
        *before,
        f"%result{'' if number == 1 else f':{number}'} = func.call @function({', '.join(arguments)}) : "
        f"({', '.join(lowered.arguments)}) -> ({', '.join(lowered.results)})",
        f"func.return {', '.join(names)} : {', '.join(outputs)}",
        "}",
    ]
    with mlir_context():
        module = ir.Module.parse("\n".join(["module @program {", *main, private_functions(lowered.text), "}"]))
        module.operation.verify()
        return stablehlo.serialize_portable_artifact(module, stablehlo.get_minimum_version())


def private_functions(text: str) -> str:
    """The functions of a module as private ones: `main` becomes `function`, others get names that are no other's."""
    from jaxlib.mlir import ir

    for old in [each.name.value for each in ir.Module.parse(text).body.operations]:
        text = re.sub(rf"@{re.escape(old)}\b", "@function" if old == "main" else f"@function_{old}", text)
    text = re.sub(r"func\.func (?:public |private )?@", "func.func private @", text)
    return text[text.index("{") + 1 : text.rindex("}")]


def constant(result, array):
    """The MLIR line of a constant."""
    from jaxlib.mlir import ir

    with mlir_context():
        return f"{result} = stablehlo.constant {ir.DenseElementsAttr.get(np.ascontiguousarray(array))}"


def mlir_context():
    """A new context that knows StableHLO, as a context manager."""
    from jax.interpreters.mlir import make_ir_context
    from jaxlib.mlir import ir

    context = make_ir_context()
    context.allow_unregistered_dialects = True  # attributes of XLA's dialect are read, to be removed
    return Both(context, ir.Location.unknown(context))


class Both:
    """Two context managers as one."""

    def __init__(self, context, location):
        self.context, self.location = context, location

    def __enter__(self):
        self.context.__enter__()
        self.location.__enter__()

    def __exit__(self, *error):
        self.location.__exit__(*error)
        self.context.__exit__(*error)
