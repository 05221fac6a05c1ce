"""An exponential moving average of the generator's weights, which is what a run validates and exports."""

import tensorflow as tf

from srwgan.training.replicas import mirrored_variable


class WeightAverage:
    """Keeps the weights of `average` at the exponential moving average of `network`'s.

    Args:
        network: the network that is trained.
        average: a network of the same shape.
        decay: share of the average that a step keeps. It is reached after some steps, since the first weights would
            otherwise stay in the average for long.
    """

    def __init__(self, network, average, decay: float):
        self.network, self.average, self.decay = network, average, decay
        self.steps = mirrored_variable(0.0)

    def update(self, strategy: tf.distribute.Strategy, finite: tf.Tensor) -> None:
        """Take in the weights after a step; one that was not `finite` changed no weight and leaves the average."""
        self.steps.assign_add(tf.cast(finite, tf.float32))
        decay = tf.minimum(self.decay, (1.0 + self.steps) / (10.0 + self.steps))
        decay = tf.where(finite, decay, 1.0)
        for mean, weight in zip(self.average.weights, self.network.weights, strict=True):
            strategy.extended.update(
                mean.value, lambda m, w, d: m.assign(m * d + w * (1.0 - d)), args=(weight.value, decay)
            )
