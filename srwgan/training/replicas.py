"""Values over all replicas of a distributed step. On a single replica, each is the value itself."""

import tensorflow as tf


def mirrored_variable(value: float) -> tf.Variable:
    """A scalar outside of the networks that every replica changes alike."""
    return tf.Variable(value, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)


def mean_over_replicas(values):
    """The mean of a tensor, or of each of a list of tensors, over all replicas."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, values)


def sample_means(per_sample: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Means over the samples of all replicas, in one reduction; each value is (B,) or ()."""
    means = mean_over_replicas(tf.stack([tf.reduce_mean(values) for values in per_sample.values()]))
    return dict(zip(per_sample, tf.unstack(means), strict=True))


def maximum_over_replicas(value) -> tf.Tensor:
    """The largest of all replicas' scalars, which are at least 0.

    TensorFlow reduces by sums and means only. So each replica puts its scalar at its own place of a vector of zeros,
    and the sum of these vectors holds them all.
    """
    value = tf.convert_to_tensor(value, tf.float32)
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas == 1:
        return value
    context = tf.distribute.get_replica_context()
    mine = tf.one_hot(context.replica_id_in_sync_group, replicas) * value
    return tf.reduce_max(context.all_reduce(tf.distribute.ReduceOp.SUM, mine))
