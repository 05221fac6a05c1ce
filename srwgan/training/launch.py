"""Launching train_SRWGAN.py: the start of TensorFlow, the run, its exit status, its results.

Exit statuses: 0 finished, 1 the training failed, 2 wrong flags or files, 128 + the signal's number when stopped.
"""

import logging
import os
import warnings
from argparse import ArgumentParser, Namespace

from srwgan.commandline import quiet_start, raise_at_interrupt
from srwgan.training.flags import build_parser, check, flags_of_run

log = logging.getLogger("srwgan")


def launch(argv: list[str] | None = None) -> int:
    """Train as the command line says; returns the exit status.

    Raises:
        SystemExit: a flag, or what it names, is wrong; one line says so.
        KeyboardInterrupt: Ctrl-C before the training, which stops with a checkpoint, or after it.
    """
    raise_at_interrupt()
    parser = build_parser()
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    logging.getLogger("absl").setLevel(logging.ERROR)
    warnings.showwarning = lambda message, *rest: log.warning("Warning: %s", message)
    try:
        if args.resume:
            args = flags_of_run(args.resume, parser, argv)
        if args.import_state:
            args = flags_of_state(args.import_state, parser, argv)
        check(args)
        if args.export_step or args.import_state:
            return carry(args)
        return train(args)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def train(args: Namespace) -> int:
    """Build what the flags ask for, train, and write the results; returns the exit status."""
    if args.jit:  # read when TensorFlow starts; clusters of operations are compiled by XLA, on the CPU too
        os.environ["TF_XLA_FLAGS"] = "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"
    with quiet_start():
        import tensorflow as tf

        from srwgan.training.devices import build_strategy, is_chief, worker_position
        from srwgan.training.setup import build

    strategy = build_strategy(args.strategy)  # before anything else uses TensorFlow, as several workers need it
    workers, chief = worker_position(strategy)[1], is_chief(strategy)
    if workers > 1 and not (args.run_dir or args.resume):
        raise ValueError("Received: several workers without --run-dir. Expected a folder that all of them share.")
    log.setLevel(logging.INFO if chief else logging.WARNING)
    try:
        return train_and_report(args, build(args, strategy, chief))
    except tf.errors.ResourceExhaustedError as error:
        return out_of_memory(error)
    except tf.errors.OpError as error:
        if workers == 1:
            raise
        return lost_worker(args, error)


def flags_of_state(path: str, parser: ArgumentParser, argv: list | None) -> Namespace:
    with quiet_start():
        from srwgan.training.portable import importing

    return importing.flags_of_state(path, parser, argv)


def carry(args: Namespace) -> int:
    """Export the training step to another machine, or import what it has trained there; returns the exit status."""
    with quiet_start():
        from srwgan.training.portable.export import export_step
        from srwgan.training.portable.importing import import_state

    export_step(args) if args.export_step else import_state(args)
    return 0


def train_and_report(args: Namespace, run) -> int:
    """Train, write the results where the run has come to its end, and return the exit status."""
    from srwgan.training.results import write_results
    from srwgan.training.run import Diverged, Stopped

    try:
        run.train()
    except Stopped as stopped:
        return stopped.exit_status
    except Diverged as diverged:
        return failed(diverged)
    if run.chief:
        write_results(args, run)
    run.wait_for_workers()
    return 0


def out_of_memory(error: Exception) -> int:
    """Say that memory, or the disk, is exhausted."""
    from srwgan.training.checkpoints import NO_SPACE, operation_reason

    reason = operation_reason(error)
    if reason.startswith(tuple(NO_SPACE)):
        return failed(reason)
    return failed(f"out of memory ({reason}). Expected a smaller --batchsz or --cropsz, or --accumulate.")


def lost_worker(args: Namespace, error: Exception) -> None:
    """End this process, since another worker of the run is gone, and say how to go on."""
    import tensorflow as tf

    folder = args.resume or args.run_dir
    checkpoint = tf.train.latest_checkpoint(os.path.join(folder, "checkpoints"))
    failed(
        f"another worker is gone ({type(error).__name__}). Start all workers again"
        + (f" with --resume {folder}, last checkpoint: {checkpoint}" if checkpoint else ", no checkpoint yet")
    )
    os._exit(1)  # the normal exit waits for the lost worker


def failed(reason) -> int:
    """Say why the training failed, in one line; returns the exit status."""
    log.error("train_SRWGAN.py: %s", reason)
    return 1
