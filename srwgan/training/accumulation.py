"""A batch in parts, one after another: the same gradients in less memory."""

from collections.abc import Callable

import tensorflow as tf


def mean_over_parts(function: Callable, batch: tuple, *, parts: int):
    """The mean of `function`'s results over the parts of a batch.

    Args:
        function: takes what `batch` holds and returns a structure of tensors, each a mean over samples.
        batch: a structure of tensors whose first axis, the samples, is a multiple of `parts`.
        parts: how many; with 1 the function is called once.
    """
    if parts == 1:
        return function(*batch)
    total = None
    for part in zip(*[tf.split(x, parts) for x in tf.nest.flatten(batch)], strict=True):
        # TensorFlow would compute all parts at once: each has to begin when the one before is done.
        with tf.control_dependencies(tf.nest.flatten(total) if total else []):
            part = [tf.identity(x) for x in part]
        result = function(*tf.nest.pack_sequence_as(batch, part))
        total = tf.nest.map_structure(tf.add, total, result) if total else result
    return tf.nest.map_structure(lambda x: x / parts, total)
