"""White noise that is a function of the pixel's position: the same pixel has the same noise in every tile.

A generator of random numbers that is asked for a tile gives what its counter says, so that tiles would differ from the
whole. Here every number is a hash of (key, row, column, channel), as in counter-based generators (Salmon et al. 2011,
doi:10.1145/2063384.2063405). The plane has noise in all directions, beyond a picture's edges too.
"""

import tensorflow as tf

MASK = 0xFFFFFFFF
ODD = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)  # by which row, column and channel are multiplied, from xxHash


def white_noise(keys: tf.Tensor, *, height: tf.Tensor, width: tf.Tensor, top=0, left=0, channels: int = 3) -> tf.Tensor:
    """Independent numbers of the standard normal distribution, (B, height, width, channels) float32.

    Args:
        keys: (B,) int64, a plane of noise for each sample; only the lowest 32 bits count. See `key_of`.
        height, width: of the window of the plane, in pixels.
        top, left: row and column of the plane that the window begins at, also negative.
    """
    rows = as_int64(top) + tf.range(as_int64(height))
    columns = as_int64(left) + tf.range(as_int64(width))
    hashed = mixed(keys[:, None] ^ wrapped(rows * ODD[0]))
    hashed = mixed(hashed[:, :, None] ^ wrapped(columns * ODD[1]))
    hashed = mixed(hashed[..., None] ^ wrapped(tf.range(1, channels + 1, dtype=tf.int64) * ODD[2]))
    return tf.math.ndtri(uniform(hashed))


def uniform(bits: tf.Tensor) -> tf.Tensor:
    """32 bits held in int64 -> float32 numbers between 0 and 1.

    They are the middles of 2^23 intervals, which float32 holds all: neither 0 nor 1, where `ndtri` is infinite.
    """
    return (tf.cast(tf.bitwise.right_shift(bits, tf.constant(9, tf.int64)), tf.float32) + 0.5) / 2**23


def key_of(seed: int, use: int = 0) -> int:
    """The key of a plane of noise for one use of a seed, such as a step of a sampler."""
    return (int(seed) * 0x2545F491 + int(use) * 0x9E3779B9 + 0x1234567) & MASK


def sample_keys(numbers: tf.Tensor) -> tf.Tensor:
    """A key for each of (B,) float32 random numbers, of their bits."""
    return mixed(wrapped(tf.cast(tf.bitcast(numbers, tf.int32), tf.int64)))


def mixed(x: tf.Tensor) -> tf.Tensor:
    """32 bits held in int64 -> 32 bits that each depend on all (lowbias32, https://nullprogram.com/blog/2018/07/31).

    int64 has kernels on every device, and a product that overflows it keeps its lowest bits.
    """
    x = shifted_xor(x, 16)
    x = wrapped(x * 0x7FEB352D)
    x = shifted_xor(x, 15)
    x = wrapped(x * 0x846CA68B)
    return shifted_xor(x, 16)


def shifted_xor(x, bits):
    return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, tf.constant(bits, tf.int64)))


def wrapped(x):
    return tf.bitwise.bitwise_and(x, tf.constant(MASK, tf.int64))


def as_int64(x):
    return tf.cast(x, tf.int64)
