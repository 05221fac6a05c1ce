"""Adam and Muon that take a step back where a gradient is not finite, and their learning rates."""

from collections.abc import Callable

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("srwgan")
class GuardedAdam(keras.optimizers.Adam):
    """Adam that leaves a weight and its moments as they were where the weight's gradient is not finite.

    The step is computed in any case and then taken back: without a branch, all replicas of a distributed step do the
    same. A caller that wants no weight to change makes all gradients NaN where one is.
    """

    def update_step(self, gradient, variable, learning_rate):
        finite = tf.reduce_all(tf.math.is_finite(gradient))
        index = self._get_variable_index(variable)
        state = [variable, self._momentums[index], self._velocities[index]]
        before = [tf.identity(x) for x in state]
        self.step(tf.where(finite, gradient, 0.0), variable, learning_rate)
        for x, old in zip(state, before, strict=True):
            self.assign(x, tf.where(finite, x, old))

    def step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate)


@keras.saving.register_keras_serializable("srwgan")
class GuardedMuon(GuardedAdam):
    """Muon for the kernels of hidden convolutions, and Adam for all other weights.

    Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) takes a kernel (h, w, in, out) as the matrix
    (h w in, out). Its step is the matrix of Nesterov's momentum with all singular values made alike, near 1. It is
    scaled to the size of Adam's steps (Liu et al. 2025, arXiv:2502.16982), so that one learning rate serves both.

    The first and the last convolution, which take and give colors, have too few channels for that. Keras's own Muon
    leaves all convolutions to Adam.
    """

    MOMENTUM = 0.95

    def step(self, gradient, variable, learning_rate):
        if not is_hidden_convolution(variable.shape):
            super().step(gradient, variable, learning_rate)
            return
        momentum = self._momentums[self._get_variable_index(variable)]
        self.assign(momentum, self.MOMENTUM * momentum + (1 - self.MOMENTUM) * gradient)
        ahead = self.MOMENTUM * momentum + (1 - self.MOMENTUM) * gradient
        matrix = tf.reshape(ahead, (-1, variable.shape[-1]))
        size = 0.2 * max(matrix.shape) ** 0.5  # an element's root mean square is then 0.2, as of Adam's steps
        step = tf.cast(learning_rate, tf.float32) * size * orthogonalized(matrix)
        self.assign_sub(variable, tf.reshape(step, variable.shape))


def is_hidden_convolution(shape) -> bool:
    """Whether a weight of this shape is a convolution's kernel between feature maps."""
    return len(shape) == 4 and min(shape[2:]) >= 16


def orthogonalized(matrix: tf.Tensor, iterations: int = 5) -> tf.Tensor:
    """U V' of a matrix (n, m) = U S V', roughly, by Jordan's quintic Newton-Schulz iteration.

    The singular values of the result are between 0.7 and 1.2.
    """
    wide = matrix.shape[0] < matrix.shape[1]
    x = matrix if wide else tf.transpose(matrix)
    x /= tf.norm(x) + 1e-12
    for _ in range(iterations):
        square = tf.matmul(x, x, transpose_b=True)
        x = 3.4445 * x + tf.matmul(-4.7750 * square + 2.0315 * tf.matmul(square, square), x)
    return x if wide else tf.transpose(x)


class ControlledRate(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate, or a schedule of them, times a factor that is read at every step.

    Args:
        rate: a number, or a schedule.
        factor: () -> a scalar.
        step: () -> the step that the schedule is asked for. None asks for the optimizer's own.
    """

    def __init__(self, rate, factor: Callable, step: Callable | None = None):
        self.rate, self.factor, self.step = rate, factor, step

    def __call__(self, step):
        rate = self.rate(self.step() if self.step else step) if callable(self.rate) else self.rate
        return rate * self.factor()

    def get_config(self):
        raise NotImplementedError("A controlled rate reads variables of its run and is not saved by itself.")


OPTIMIZERS = {"adam": GuardedAdam, "muon": GuardedMuon}


def build_optimizer(
    learning_rate: float,
    *,
    kind: str = "adam",
    schedule: str = "constant",
    total_steps: int = 1,
    warmup_steps: int = 0,
    beta_1: float = 0.5,
    beta_2: float = 0.9,
    factor: Callable | None = None,
    step: Callable | None = None,
) -> GuardedAdam:
    """An optimizer of `OPTIMIZERS`, whose rate rises linearly over `warmup_steps` and then follows the schedule.

    Args:
        learning_rate: the largest rate.
        kind: "adam" or "muon".
        schedule: "constant", or "cosine", by which the rate falls to a hundredth at `total_steps`.
        beta_1, beta_2: Adam's decays of the first and second moment.
        factor, step: of a controlled run, see `ControlledRate`.
    """
    if schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            learning_rate / 100 if warmup_steps else learning_rate,
            max(total_steps - warmup_steps, 1),
            alpha=0.01,
            warmup_target=learning_rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    elif warmup_steps:
        rate = keras.optimizers.schedules.PolynomialDecay(learning_rate / 100, warmup_steps, learning_rate)
    else:
        rate = learning_rate
    rate = ControlledRate(rate, factor, step) if factor else rate
    return OPTIMIZERS[kind](rate, beta_1=beta_1, beta_2=beta_2)
