"""Which number format the convolutions compute in, by what the machine is fast at."""

import functools
import platform
import time
from pathlib import Path

import tensorflow as tf

from srwgan.measured import cache_file, recalled
from srwgan.memory import usable_cores

CHOICES_FILE = cache_file("precision.json")
CLEAR = 1.25  # how many times as fast one has to be for the choice to be kept: others may have used the CPU meanwhile
PRECISIONS = {  # name -> Keras dtype policy
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
    "mixed_bfloat16": "mixed_bfloat16",
    "mixed_float16": "mixed_float16",
}


def choose_policy(precision: str = "auto") -> str:
    """The Keras dtype policy for a name of `PRECISIONS`, or for "auto": bfloat16 where that is the faster one.

    Raises:
        ValueError: an unknown name.
    """
    if precision == "auto":
        return "mixed_bfloat16" if has_fast_bfloat16() else "float32"
    if precision not in PRECISIONS:
        raise ValueError(f"Received: precision={precision}. Expected auto, {', '.join(PRECISIONS)}.")
    return PRECISIONS[precision]


@functools.cache
def has_fast_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 faster than float32.

    All GPUs have to have compute capability 8 or newer. Without a GPU, the CPU has to have AVX-512 BF16 or AMX, and has
    to be faster where both are timed. That is done once for a CPU and a version of TensorFlow, see `srwgan.measured`.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability") for gpu in gpus]
        return all(capability and capability >= (8, 0) for capability in capabilities)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    if not {"avx512_bf16", "amx_bf16"} & set(flags):
        return False
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    key = f"{model or platform.machine()}, {usable_cores()} cores, TensorFlow {tf.__version__}"
    return recalled(CHOICES_FILE, key, speedup_of_bfloat16, kind=float, is_kept=is_clear) > 1


def is_clear(speedup: float) -> bool:
    return not 1 / CLEAR < speedup < CLEAR


def speedup_of_bfloat16() -> float:
    """How many times as fast as float32 the CPU is in bfloat16. Some that have it take twice as long for it."""
    # In turns, since others may use the CPU too.
    turns = [(seconds_of_product("bfloat16"), seconds_of_product("float32")) for _ in range(3)]
    bfloat16, float32 = (min(seconds) for seconds in zip(*turns, strict=True))
    return float32 / bfloat16


def seconds_of_product(precision: str, size: int = 1024) -> float:
    """The time of a product of two matrices (size, size) on the CPU, after one product for warming up."""
    with tf.device("CPU"):
        matrix = tf.cast(tf.ones([size, size]), precision)
        tf.matmul(matrix, matrix).numpy()
        start = time.perf_counter()
        tf.matmul(matrix, matrix).numpy()
    return time.perf_counter() - start
