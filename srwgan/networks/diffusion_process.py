"""The forward process of the diffusion generator and its preconditioning, see `diffusion.py`."""

import tensorflow as tf

# k. On photographs, crops of 256x256 made 4 times smaller, the residual's root mean square is 0.15, of the range
# [-1, 1], and what `SRWGAN_Gen/faithful` leaves of it is 0.12: that is what there is to draw.
NOISE = 0.12


def radius(level):
    """r of a noise level: the standard deviation of z_t, in units of NOISE, where that of y is 1."""
    return ((1 - level) ** 2 + level**2) ** 0.5


def c_skip(level):
    return (1 - level) / radius(level) ** 2


def c_out(level):
    return level / radius(level)


def noised(residual: tf.Tensor, noise: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """The forward process: z_t of residuals (B, H, W, 3), white noise alike and noise levels (B,)."""
    level = per_pixel(level)
    return (1 - level) * residual + level * NOISE * noise


def noise_in(noisy: tf.Tensor, residual: tf.Tensor, level: float) -> tf.Tensor:
    """The noise n that z_t has where its residual is this one; for a level above 0."""
    return (noisy - (1 - level) * residual) / (level * NOISE)


def per_pixel(values: tf.Tensor) -> tf.Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return values[:, None, None, None]
