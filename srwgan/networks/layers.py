"""Activations that cost no pass over memory of their own."""

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable("srwgan")
class LeakyReLU(layers.Layer):
    """x where it is positive, slope * x elsewhere, with a gradient that looks at the result instead of the input.

    Both have the same sign, and without a second use of its input TensorFlow fuses the activation with the convolution
    before it, also where the gradient penalty differentiates twice.
    """

    def __init__(self, slope, **kwargs):
        super().__init__(**kwargs)
        self.slope = slope

    def call(self, x):
        return leaky_relu(x, self.slope)

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "slope": self.slope}


def leaky_relu(x, slope):
    @tf.custom_gradient
    def forward(x):
        y = tf.nn.leaky_relu(x, slope)
        sign = tf.stop_gradient(y)  # the second derivative is 0
        return y, lambda dy: tf.raw_ops.LeakyReluGrad(gradients=dy, features=sign, alpha=slope)

    return forward(x)
