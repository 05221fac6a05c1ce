"""Adam that can take a step back, and its learning-rate schedule."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("srwgan")
class GuardedAdam(keras.optimizers.Adam):
    """Adam that leaves weights and moments as they were where a gradient is not finite.

    There is no branch, so all replicas of a distributed step do the same. The caller makes all gradients NaN when one
    is.
    """

    def update_step(self, gradient, variable, learning_rate):
        finite = tf.reduce_all(tf.math.is_finite(gradient))
        index = self._get_variable_index(variable)
        state = [variable, self._momentums[index], self._velocities[index]]
        before = [tf.identity(x) for x in state]
        super().update_step(tf.where(finite, gradient, 0.0), variable, learning_rate)
        for x, old in zip(state, before, strict=True):
            self.assign(x, tf.where(finite, x, old))


def build_optimizer(learning_rate, schedule="constant", total_steps=1, warmup_steps=0, beta_1=0.5, beta_2=0.9):
    """Adam whose rate rises linearly over `warmup_steps`, then stays ("constant") or falls to 1/100 ("cosine")."""
    if schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            learning_rate / 100 if warmup_steps else learning_rate, max(total_steps - warmup_steps, 1), alpha=0.01,
            warmup_target=learning_rate if warmup_steps else None, warmup_steps=warmup_steps)
    elif warmup_steps:
        rate = keras.optimizers.schedules.PolynomialDecay(learning_rate / 100, warmup_steps, learning_rate)
    else:
        rate = learning_rate
    return GuardedAdam(rate, beta_1=beta_1, beta_2=beta_2)
