"""A training run: epochs over a crop stream, validation, pictures, checkpoints, all in one folder."""

import collections
import logging
import math
import signal
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from srwgan.data.crops import images_of
from srwgan.measuring.metrics import psnr
from srwgan.pixels import to_pixels, upscale_bicubic
from srwgan.training.checkpoints import Checkpoints
from srwgan.training.clock import COMPILING, DECIDING, EPOCH_ENDS, STEPS, WAITING, Clock
from srwgan.training.control.controller import Controller
from srwgan.training.devices import is_chief, sum_over_workers, worker_position
from srwgan.training.history import History
from srwgan.training.schedule import Schedule

log = logging.getLogger("srwgan")

BAR_NAMES = {  # metrics that the progress bar shows, and their names there
    "reconstruction": "rec",
    "content": "content",
    "adversarial": "adv",
    "d_loss": "D",
    "wasserstein": "W",
    "gradient_penalty": "GP",
    "critic_norm": "|dD|",
    "adversarial_norm": "|adv|",
    "reconstruction_norm": "|rec|",
    "content_norm": "|con|",
    "bad_steps": "bad",
}
MOST_BAD_STEPS = 10  # in a row
VALIDATED_AT_ONCE = 4  # crops
SHOWN_EVERY = 0.5  # seconds, of the figures beside the progress bar
SAVED_EVERY = 600.0  # seconds, within an epoch


class Stopped(Exception):
    """The run was asked to stop by a signal; a checkpoint is written."""

    def __init__(self, number: int):
        super().__init__(f"Stopped by {signal.Signals(number).name}")
        self.exit_status = 128 + number


class Diverged(Exception):
    """Too many steps in a row without a finite gradient."""


class Run:
    """Trains as a schedule says and keeps everything in `folder`.

    Args:
        trainer: a `Trainer`.
        stream: a `CropStream`.
        validation: (low_res, high_res) in [-1, 1], held-out crops; low_res is what the generator takes, with a
            condition (images, strength).
        folder: for checkpoints and the history; it exists.
        schedule: a `Schedule`.
        visualizer: has `on_epoch_end(epoch)`; None for no pictures.
        steps_per_call: batches that one call of the compiled step takes. More are less overhead; the run reacts later
            to signals, and the time spent waiting for data is not known.
        tensorboard: whether scalars and pictures are written for TensorBoard too.
        controller: moves weights and rates between batches; None for none.
    """

    def __init__(
        self,
        trainer,
        stream,
        *,
        validation,
        folder: str,
        schedule: Schedule,
        visualizer=None,
        steps_per_call: int = 1,
        tensorboard: bool = False,
        controller: Controller | None = None,
    ):
        self.trainer, self.stream, self.validation = trainer, stream, validation
        self.folder, self.schedule, self.visualizer = folder, schedule, visualizer
        self.steps_per_call, self.controller = steps_per_call, controller
        self.strategy = trainer.strategy
        self.replicas, self.chief = self.strategy.num_replicas_in_sync, is_chief(self.strategy)
        self.workers = worker_position(self.strategy)[1]
        self.steps = stream.steps(self.replicas)  # of an epoch
        self.progress = tf.Variable(0, dtype=tf.int64, trainable=False)  # batches done
        self.history = History()
        more = {"observed": controller.observer.state} if controller else {}
        self.checkpoints = Checkpoints(trainer.checkpoint(progress=self.progress, **more), folder)
        self.received_signal = None  # by this process
        self.agreed_signal = None  # the one that all workers know of
        self.compiled = set()  # kinds of call that were made before, see `train_some`
        self.seconds = collections.Counter()  # of the whole run, see `Clock`
        self.writer = tf.summary.create_file_writer(str(Path(folder, "tensorboard"))) if tensorboard else None
        self.psnr_bicubic = self.psnr_of(upscale_bicubic(images_of(validation[0]), stream.options.scale))

    def train(self) -> dict[str, list]:
        """Train to the end of the schedule; returns the history, see `History.epochs`.

        Raises:
            Stopped: by SIGTERM or SIGINT, after a checkpoint.
            Diverged: ten steps in a row without a finite gradient.
            OSError: a checkpoint could not be written.
            ValueError: workers that begin at different steps.
        """
        self.check_common_start()
        if self.chief:
            self.checkpoints.remove_unfinished()  # of a process that was killed
        handlers = {number: signal.signal(number, self.ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while self.progress.numpy() < self.schedule.epochs * self.steps:
                epoch, first_step = divmod(int(self.progress.numpy()), self.steps)
                self.train_epoch(epoch, first_step)
                self.end_epoch(epoch)
                if self.stopping():
                    self.stop()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        log.info(
            "Time: %s. `python3 -m utils.benchmark --train` tells what a step is made of.",
            ", ".join(f"{part} {seconds:.1f} s" for part, seconds in self.seconds.most_common()),
        )
        return self.history.epochs

    def train_epoch(self, epoch: int, first_step: int) -> None:
        """Train on the batches of an epoch from `first_step` on."""
        bar = tqdm(
            total=self.steps,
            initial=first_step,
            desc=f"Epoch {epoch + 1}/{self.schedule.epochs}",
            unit="batch",
            disable=None if self.chief else True,
            dynamic_ncols=True,
        )
        clock, step = Clock(), first_step
        with clock.measuring(WAITING):
            batches = iter(self.batches(epoch, first_step))
        with bar:
            while step < self.steps:
                metrics, number = self.train_some(batches, clock, start=epoch * self.steps + step)
                step += number
                self.progress.assign_add(number)
                self.history.add(metrics, number)
                if self.controller:
                    self.history.add(self.controller.figures(), number)
                bar.update(number)
                if clock.due(SHOWN_EVERY) or step == self.steps:
                    self.show(bar, metrics, clock.images_per_second())
                self.check_divergence(metrics)
                self.agreed_signal = int(metrics["stop"]) or None
                if step == self.steps:
                    break  # the epoch's end writes a checkpoint, and stops
                if self.stopping():
                    bar.close()
                    self.stop()
                if self.chief and clock.due(SAVED_EVERY):
                    with clock.measuring(EPOCH_ENDS):
                        self.save()
                    if bar.disable:
                        self.report(epoch, step, metrics, clock)
        self.seconds.update(clock.seconds)
        speed = {"images_per_second": clock.images_per_second()}
        if self.steps_per_call == 1:
            speed["waiting_share"] = clock.waiting_share()
        self.history.add(speed, 1)

    def train_some(self, batches, clock: Clock, *, start: int) -> tuple[dict, int]:
        """Train on one batch, or on as many as `steps_per_call` asks for and epoch and phase have left.

        Args:
            start: the first batch's number, counted over the whole run from 0.

        Returns:
            The metrics, and the number of batches.
        """
        phase, stop = self.schedule.phase(start, self.steps), tf.constant(float(self.received_signal or 0))
        number, controlled = min(self.steps_per_call, self.steps - start % self.steps), {}
        if self.controller:
            with clock.measuring(DECIDING):
                self.history.decide(self.controller.act(start, self.trainer.generate_average))
            number = min(number, self.controller.room(start))
            controlled["dstep"] = self.controller.controls.dstep
        while self.schedule.phase(start + number - 1, self.steps) != phase:
            number -= 1
        batch = None
        if number == 1:
            with clock.measuring(WAITING):
                batch = next(batches)
        kind = (phase, number > 1, controlled.get("dstep"))
        part = STEPS if kind in self.compiled else COMPILING
        self.compiled.add(kind)
        with clock.measuring(part, number * self.images_per_step()):
            if number == 1:
                metrics = self.trainer.train_batch(batch, phase, stop, **controlled)
            else:
                metrics = self.trainer.train_batches(batches, tf.constant(number), phase, stop, **controlled)
            metrics = {name: value.numpy() for name, value in metrics.items()}  # which waits for the device
        if self.controller:
            self.controller.add(metrics, number, phase=phase)
        return metrics, number

    def batches(self, epoch: int, first_step: int):
        """This process's batches, one for each of its replicas in a step."""
        worker, workers, replicas = worker_position(self.strategy)
        if self.replicas == 1:
            return self.stream.epoch(epoch, first_step)
        return self.strategy.distribute_datasets_from_function(
            lambda context: self.stream.epoch(
                epoch, first_step, worker=worker, workers=workers, replicas_per_worker=replicas
            )
        )

    def images_per_step(self) -> int:
        return self.stream.options.batch_size * self.replicas

    def show(self, bar: tqdm, metrics: dict, rate: float) -> None:
        bar.set_postfix({**shown(metrics), "img/s": f"{rate:.1f}"}, refresh=False)

    def report(self, epoch: int, step: int, metrics: dict, clock: Clock) -> None:
        """What the progress bar would show, as a line: a log file, such as SLURM's, has no bar."""
        left = (self.steps - step) * self.images_per_step() / clock.images_per_second()
        log.info(
            "Epoch %d/%d: %d of %d batches, %s left; %s",
            epoch + 1,
            self.schedule.epochs,
            step,
            self.steps,
            tqdm.format_interval(left),
            ", ".join(f"{name} {value}" for name, value in shown(metrics).items()),
        )

    def check_divergence(self, metrics: dict) -> None:
        if metrics["bad_in_a_row"] >= MOST_BAD_STEPS:
            raise Diverged(
                f"{MOST_BAD_STEPS} steps in a row had a gradient that is not finite. "
                f"Last good checkpoint: {self.checkpoints.latest() or 'none yet'}."
            )

    def end_epoch(self, epoch: int) -> None:
        """Validate, write history, picture and checkpoint."""
        clock = Clock()
        with clock.measuring(EPOCH_ENDS):
            means = self.history.take_means()
            means["psnr"], means["psnr_bicubic"] = self.validate(), self.psnr_bicubic
            means["gp_weight"] = self.trainer.objective.gpweight
            means["content_weight"] = self.trainer.objective.cweight
            best = means["psnr"] > max(self.history.epochs.get("psnr", ()), default=-math.inf)
            self.history.record(epoch, means)
            picture = self.visualizer.on_epoch_end(epoch) if self.visualizer and self.chief else None
            if self.writer:
                self.write_summaries(means, picture)
            self.save(best)
        self.seconds.update(clock.seconds)
        factors = {name.removeprefix("control_"): means[name] for name in means if name.startswith("control_")}
        controls = "".join(f", {name} x{factor:.2g}" for name, factor in factors.items())
        waiting = f", {means['waiting_share']:.1%} of the time waiting for data" if "waiting_share" in means else ""
        log.info(
            "Epoch %d/%d: PSNR-Y of held-out crops %.2f dB (bicubic %.2f), %.1f images/s%s%s",
            epoch + 1,
            self.schedule.epochs,
            means["psnr"],
            self.psnr_bicubic,
            means["images_per_second"],
            waiting,
            controls,
        )

    def validate(self) -> float:
        """Mean PSNR-Y in dB of what the averaged generator makes of the held-out crops."""
        low_res, high_res = self.validation
        parts = [
            tf.nest.map_structure(lambda x, i=i: x[i : i + VALIDATED_AT_ONCE], low_res)
            for i in range(0, len(high_res), VALIDATED_AT_ONCE)
        ]
        return self.psnr_of(np.concatenate([self.trainer.generate_average(part, training=False) for part in parts]))

    def psnr_of(self, super_res) -> float:
        """Mean PSNR-Y in dB of (N, sH, sW, 3) in [-1, 1] against the held-out crops."""
        pairs = zip(to_pixels(super_res), to_pixels(self.validation[1]), strict=True)
        return float(np.mean([psnr(made, real, self.stream.options.scale) for made, real in pairs]))

    def write_summaries(self, means: dict, picture: Path | None) -> None:
        """Write an epoch's scalars and picture for TensorBoard."""
        step = int(self.progress.numpy())
        with self.writer.as_default(step=step):
            for name, value in means.items():
                tf.summary.scalar(name, value)
            if picture:
                tf.summary.image("samples", tf.image.decode_png(tf.io.read_file(str(picture)), 3)[None])
        self.writer.flush()

    def save(self, best: bool = False) -> None:
        """Write a checkpoint, and the history up to it; the chief's work.

        Raises:
            OSError: it could not be written; the one before is whole.
        """
        if not self.chief:
            return
        number, before = int(self.progress.numpy()), self.checkpoints.latest()
        try:
            self.history.write(self.folder, batches=number, replicas=self.replicas)
            self.checkpoints.save(number, best=best)
        except OSError as error:
            raise OSError(
                f"No checkpoint could be written to {self.folder} ({error}). "
                f"Last good checkpoint: {before or 'none yet'}."
            ) from error

    def restore(self) -> int:
        """Go on from the newest whole checkpoint of this run's folder; returns how many batches were done.

        Raises:
            ValueError: no checkpoint, or one of a run on another number of replicas or with other photographs.
        """
        if not self.checkpoints.restore():
            what = "without a whole checkpoint" if self.checkpoints.latest() else "without a checkpoint"
            raise ValueError(f"Received: --resume {self.folder}, {what}. Expected a run that wrote one.")
        done = int(self.progress.numpy())
        self.history.read(self.folder, batches=done, steps=self.steps, replicas=self.replicas)
        return done

    def check_common_start(self) -> None:
        mine = int(self.progress.numpy())
        if sum_over_workers(self.strategy, mine) != mine * self.workers:
            raise ValueError(
                f"Received: {mine} batches done at this worker, another number at others. "
                f"Expected all workers to share the run folder {self.folder}."
            )

    def ask_to_stop(self, number: int, frame) -> None:
        """The handler of signals: the run stops after the batch at hand."""
        self.received_signal = number

    def stopping(self) -> int | None:
        """The number of the signal to stop for, None for none.

        Signals reach workers at different steps. So several workers stop for what the step's metrics tell all of them.
        """
        return self.received_signal if self.workers == 1 else self.agreed_signal

    def stop(self) -> None:
        """Write a checkpoint, say how to go on, and raise `Stopped`."""
        if int(self.progress.numpy()) % self.steps:  # at the end of an epoch one is there
            self.save()
        self.wait_for_workers()
        log.info("Checkpoint written: %s. Go on with --resume %s", self.checkpoints.latest(), self.folder)
        raise Stopped(self.stopping())

    def wait_for_workers(self) -> None:
        """Wait until all workers are here: the first to end takes the others' connection, and SLURM ends them."""
        sum_over_workers(self.strategy, 0)


def shown(metrics: dict) -> dict[str, str]:
    """The figures of a step that are not 0, by the names in `BAR_NAMES`."""
    return {short: f"{metrics[name]:.3g}" for name, short in BAR_NAMES.items() if metrics.get(name)}
