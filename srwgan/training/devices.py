"""One device, all devices of a machine, or several machines: the tf.distribute strategy of a run."""

import json
import logging
import os
import sys
import threading

import numpy as np
import tensorflow as tf

from srwgan.training.cluster import cluster_config

STRATEGIES = ("auto", "one", "mirrored", "multiworker")
LONGEST_WAIT = 600  # seconds that workers wait for each other at the start


def build_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """The strategy of a name in `STRATEGIES`.

    ```
    one          a single device
    mirrored     all GPUs of this machine
    multiworker  all workers of a cluster, as TF_CONFIG or a SLURM job step describes it
    auto         multiworker where there is a cluster, mirrored where there are several GPUs, and else one
    ```

    TensorFlow demands that multi-worker training be set up first: call this before anything else uses TensorFlow.

    Raises:
        ValueError: an unknown name, or "multiworker" without a cluster.
    """
    if name not in STRATEGIES:
        raise ValueError(f"Received: strategy={name}. Expected one of {', '.join(STRATEGIES)}.")
    cluster = cluster_config(os.environ)
    gpus = tf.config.list_physical_devices("GPU") if not cluster else []  # which would use TensorFlow too early
    if name == "auto":
        name = "multiworker" if cluster else "mirrored" if len(gpus) > 1 else "one"
    if name != "one":
        logging.getLogger("tensorflow").setLevel(logging.WARNING)  # it logs every collective operation
    if name == "multiworker":
        return multi_worker(cluster)
    if name == "mirrored":
        kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
        return tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices(kind)])
    return tf.distribute.get_strategy()


def multi_worker(cluster: dict | None) -> tf.distribute.Strategy:
    """The strategy of all workers of a cluster; returns when all of them have started."""
    if not cluster:
        raise ValueError(
            "Received: strategy=multiworker without a cluster. "
            "Expected TF_CONFIG, or a job step of SLURM (srun) with 2 tasks or more."
        )
    os.environ["TF_CONFIG"] = json.dumps(cluster)
    alarm = threading.Timer(LONGEST_WAIT, give_up, [cluster])
    alarm.daemon = True
    alarm.start()
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    alarm.cancel()
    return strategy


def give_up(cluster: dict) -> None:
    """End this process, since other workers did not start. TensorFlow itself waits an hour and ignores signals."""
    workers = cluster["cluster"]["worker"]
    print(
        f"Some of the {len(workers)} workers did not start within {LONGEST_WAIT // 60} minutes: {', '.join(workers)}",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the files: the first worker, or the only one."""
    resolver = strategy.cluster_resolver
    return not resolver or not resolver.cluster_spec().as_dict() or resolver.task_id == 0


def worker_position(strategy: tf.distribute.Strategy) -> tuple[int, int, int]:
    """(number of this worker, counted from 0, number of workers, replicas of each worker)."""
    resolver = strategy.cluster_resolver
    workers = len(resolver.cluster_spec().as_dict().get("worker", ())) if resolver else 0
    if workers < 2:
        return 0, 1, strategy.num_replicas_in_sync
    return resolver.task_id, workers, strategy.num_replicas_in_sync // workers


def sum_over_workers(strategy: tf.distribute.Strategy, number: int) -> int:
    """The sum of all workers' numbers. It returns when all of them have called it."""
    _, workers, replicas = worker_position(strategy)
    if workers == 1:
        return number
    mine = strategy.experimental_distribute_values_from_function(lambda context: tf.constant(number, tf.int64) + 0)
    return int(strategy.reduce(tf.distribute.ReduceOp.SUM, mine, axis=None)) // replicas


def of_the_chief(strategy: tf.distribute.Strategy, values: np.ndarray) -> np.ndarray:
    """The chief's values (n,), at all workers. It returns when all of them have called it."""
    if worker_position(strategy)[1] == 1:
        return values

    def share(context):
        return tf.constant(values if context.replica_id_in_sync_group == 0 else np.zeros_like(values)) + 0

    mine = strategy.experimental_distribute_values_from_function(share)
    return strategy.reduce(tf.distribute.ReduceOp.SUM, mine, axis=None).numpy()
