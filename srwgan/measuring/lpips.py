"""LPIPS v0.1, AlexNet: how different two pictures look, as the distance between a classifier's features.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (arXiv:1801.03924). No
training has it as a loss: a generator that was trained on AlexNet's features would be judged by its own objective.
`utils.fit_shares` fits some tens of numbers on it, and says what they gain on other pictures.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

WEIGHTS = Path(__file__).parent / "weights" / "lpips_alexnet.npz"
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's mean and deviation, for RGB in [-1, 1]
STRIDES, PADDINGS = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1)
POOLED = (1, 2)  # the convolutions whose input goes through a 3x3 max-pool of stride 2 first
SMALLEST = 31  # pixels a side, below which the last max-pool has no whole window


class LPIPS:
    """The distance of two batches of pictures: `LPIPS()(images, references)`.

    Both are (B, H, W, 3), RGB in [-1, 1], at least 31 pixels high and wide. The result is float32 (B,): 0 for equal
    pictures, and the larger, the more different they look.

    Raises:
        ValueError: pictures of other or of different shapes.
    """

    def __init__(self):
        with np.load(WEIGHTS) as stored:
            scaled = [stored[f"conv{i}_kernel"] * stored[f"conv{i}_scale"] for i in range(5)]
            self.kernels = [tf.constant(kernel, tf.float32) for kernel in scaled]
            self.biases = [tf.constant(stored[f"conv{i}_bias"]) for i in range(5)]
            self.channel_weights = [tf.constant(stored[f"lin{i}"]) for i in range(5)]

    def __call__(self, images, references):
        images, references = tf.cast(images, tf.float32), tf.cast(references, tf.float32)
        if images.shape != references.shape or images.shape.rank != 4 or min(images.shape[1:3]) < SMALLEST:
            raise ValueError(
                f"Received: pictures of shapes {images.shape} and {references.shape}. "
                f"Expected the same (B, H, W, 3), H and W at least {SMALLEST}."
            )
        return self.between(self.features(images), self.features(references))

    def between(self, features, others):
        """The distance (B,) of two batches whose five feature maps are known, as `features` gives them."""
        distance = 0.0
        for x, y, weights in zip(features, others, self.channel_weights, strict=True):
            difference = tf.square(unit_length(x) - unit_length(y))
            distance += tf.reduce_mean(tf.tensordot(difference, weights, 1), axis=(1, 2))
        return distance

    def features(self, images):
        """Yield AlexNet's five feature maps, after their ReLU."""
        x = (images - SHIFT) / SCALE
        for i, (kernel, bias, stride, pad) in enumerate(zip(self.kernels, self.biases, STRIDES, PADDINGS, strict=True)):
            if i in POOLED:
                x = tf.nn.max_pool2d(x, 3, 2, "VALID")
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, stride, [[0, 0], [pad, pad], [pad, pad], [0, 0]]) + bias)
            yield x


def unit_length(maps):
    """Feature maps (..., C) -> the same, each pixel's vector of C features scaled to length 1.

    A pixel without any feature stays 0. The 1e-10 is added inside the root, to the squared length: the slope of a root
    at 0 is infinite, and the content loss is trained through this function. A vector longer than 1e-3 comes out shorter
    than 1 by less than a part in 10,000. LPIPS's reference code adds 1e-10 to the length itself; on photographs the
    two distances differ by less than a part in a million.
    """
    return maps * tf.math.rsqrt(tf.reduce_sum(tf.square(maps), axis=-1, keepdims=True) + 1e-10)
