"""Which number format the convolutions compute in, by what the machine is fast at."""

import functools
import time

import tensorflow as tf

PRECISIONS = {  # name -> Keras dtype policy
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
    "mixed_bfloat16": "mixed_bfloat16",
    "mixed_float16": "mixed_float16",
}


def choose_policy(precision="auto"):
    """The Keras dtype policy for "auto" or a name of `PRECISIONS`; "auto" is bfloat16 where the hardware has it.

    Raises:
        ValueError: an unknown name.
    """
    if precision == "auto":
        return "mixed_bfloat16" if has_fast_bfloat16() else "float32"
    if precision not in PRECISIONS:
        raise ValueError(f"Received: precision={precision}. Expected auto, {', '.join(PRECISIONS)}.")
    return PRECISIONS[precision]


@functools.cache
def has_fast_bfloat16():
    """Whether the GPUs (capability 8 and newer), or with none the CPU (AVX-512 BF16, AMX), multiply bfloat16 faster."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability") for gpu in gpus]
        return all(capability and capability >= (8, 0) for capability in capabilities)
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return False
    if not {"avx512_bf16", "amx_bf16"} & set(flags.split()):
        return False
    turns = [(seconds_of_product("bfloat16"), seconds_of_product("float32")) for _ in range(3)]
    bfloat16, float32 = (min(seconds) for seconds in zip(*turns, strict=True))  # in turns: others may use the CPU too
    return bfloat16 < float32  # on some CPUs it is only half as fast


def seconds_of_product(precision, size=1024):
    """The time of a matrix product on the CPU, after one for warming up."""
    with tf.device("CPU"):
        matrix = tf.cast(tf.ones([size, size]), precision)
        tf.matmul(matrix, matrix).numpy()
        start = time.perf_counter()
        tf.matmul(matrix, matrix).numpy()
    return time.perf_counter() - start
