"""Tests on two replicas, each a script in a process of its own: devices cannot be divided once TensorFlow runs."""

import tensorflow as tf

from tests.forked import Forked
from tests.waiting import LIMIT


def divide_processor():
    """Two logical devices, CPU:0 and CPU:1, for what follows."""
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)


def shares(strategy, batch):
    """Of a tuple of arrays (4, ...) each replica's equal part."""
    number = 4 // strategy.num_replicas_in_sync

    def share(context):
        start = context.replica_id_in_sync_group * number
        return tuple(x[start : start + number] for x in batch)

    return strategy.experimental_distribute_values_from_function(share)


def check_says_same(script, log):
    """The script ends well and prints "same", into the file `log`."""
    status, text = Forked(["-c", script], log=log).wait(LIMIT), log.read_text()
    assert status == 0 and "same" in text.splitlines(), text[-3000:]
