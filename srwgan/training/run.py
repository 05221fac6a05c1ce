"""A training run: epochs over a crop stream, validation, pictures, checkpoints, all in one folder."""

import collections
import contextlib
import glob
import json
import logging
import math
import os
import pickle
import shutil
import signal
import sys
import time

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from srwgan.data.crops import images_of
from srwgan.measuring.metrics import psnr
from srwgan.pixels import to_pixels, upscale_bicubic
from srwgan.training.devices import is_chief, sum_over_workers, worker_position
from srwgan.training.step import COUNTS
from srwgan.whole_files import written_whole

log = logging.getLogger("srwgan")

# Names in the history that users' notebooks read (one misspelled since the first version, kept beside the right one).
HISTORY_NAMES = {
    "adversarial": ("g_loss",),
    "reconstruction": ("reconstruction_loss",),
    "content": ("content_loss",),
    "lattice": ("lattice_loss",),
    "gradient_penalty": ("gradient_penalty", "gradient_penaty"),
}
BAR_NAMES = {
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
MOST_BAD_STEPS = 10
HISTORY_FILE = "history.json"
PARTS = WAITING, STEPS, COMPILING, EPOCH_ENDS = (
    "waiting for data",
    "steps",
    "first steps, compiled",
    "validation, pictures and checkpoints",
)


class Stopped(Exception):
    """The run was asked to stop by a signal; a checkpoint is written."""

    def __init__(self, number):
        super().__init__(f"Stopped by {signal.Signals(number).name}")
        self.exit_status = 128 + number


class Diverged(Exception):
    """Too many steps in a row without a finite gradient."""


class Run:
    """Trains for `epochs` epochs and keeps everything in `folder`.

    Args:
        trainer: a `Trainer`.
        stream: a `CropStream`.
        validation: (low_res, high_res) in [-1, 1], held-out crops; low_res is what the generator takes, with a
            condition (images, strength).
        visualizer: has `on_epoch_end(epoch)`; None for no pictures.
        warmup_epochs: epochs at the start on the reconstruction loss alone.
        critic_warmup: steps after those on the discriminator alone.
        steps_per_call: batches that one call of the compiled step takes: less overhead, slower to react, and the time
            spent waiting for data is not known.
        tensorboard: whether scalars and pictures are written for TensorBoard too.
    """

    def __init__(
        self,
        trainer,
        stream,
        validation,
        folder,
        epochs,
        visualizer=None,
        warmup_epochs=0,
        critic_warmup=0,
        steps_per_call=1,
        tensorboard=False,
    ):
        self.trainer, self.stream, self.validation = trainer, stream, validation
        self.folder, self.epochs, self.visualizer = folder, epochs, visualizer
        self.warmup_epochs, self.critic_warmup, self.steps_per_call = warmup_epochs, critic_warmup, steps_per_call
        self.strategy = trainer.strategy
        self.replicas, self.chief = self.strategy.num_replicas_in_sync, is_chief(self.strategy)
        self.workers = worker_position(self.strategy)[1]
        self.steps = stream.steps(self.replicas)
        self.progress = tf.Variable(0, dtype=tf.int64, trainable=False)  # batches done
        self.history, self.sums = {}, {}
        self.checkpoint = trainer.checkpoint(progress=self.progress)
        self.manager = tf.train.CheckpointManager(self.checkpoint, os.path.join(folder, "checkpoints"), max_to_keep=3)
        self.best = tf.train.CheckpointManager(self.checkpoint, os.path.join(folder, "best"), max_to_keep=1)
        self.stop_signal, self.agreed_signal = None, None  # what this process got, what all workers know of
        self.compiled = set()  # phases whose step is
        self.seconds = collections.Counter()  # of the whole run, see `Clock`
        self.writer = tf.summary.create_file_writer(os.path.join(folder, "tensorboard")) if tensorboard else None
        bicubic = upscale_bicubic(images_of(validation[0]), stream.scale)
        self.psnr_bicubic = self.psnr_of(bicubic)

    def train(self):
        """Run to the end.

        Raises:
            Stopped: by SIGTERM or SIGINT, after a checkpoint.
            Diverged: ten steps in a row without a finite gradient.
            OSError: a checkpoint could not be written.
            ValueError: workers that begin at different steps.
        """
        self.check_common_start()
        handlers = {number: signal.signal(number, self.ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while self.progress.numpy() < self.epochs * self.steps:
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
        return self.history

    def check_common_start(self):
        mine = int(self.progress.numpy())
        if sum_over_workers(self.strategy, mine) != mine * self.workers:
            raise ValueError(
                f"Received: {mine} batches done at this worker, another number at others. "
                f"Expected all workers to share the run folder {self.folder}."
            )

    def ask_to_stop(self, number, frame):
        self.stop_signal = number

    def stopping(self):
        """The signal to stop for: signals reach workers at different steps, the flag among the metrics at one."""
        return self.stop_signal if self.workers == 1 else self.agreed_signal

    def phase(self, step):
        """What is trained at a step, counted over the whole run."""
        step -= self.warmup_epochs * self.steps
        return "warmup" if step < 0 else "critic" if step < self.critic_warmup else "full"

    def train_epoch(self, epoch, first_step):
        bar = tqdm(
            total=self.steps,
            initial=first_step,
            desc=f"Epoch {epoch + 1}/{self.epochs}",
            unit="batch",
            disable=None if self.chief else True,
            dynamic_ncols=True,
        )
        clock, step = Clock(), first_step
        with clock.measuring(WAITING):
            batches = iter(self.batches(epoch, first_step))
        with bar:
            while step < self.steps:
                metrics, done = self.train_some(batches, epoch, step, clock)
                step += done
                self.progress.assign_add(done)
                self.add(metrics, done)
                bar.update(done)
                if clock.due() or step == self.steps:
                    self.show(bar, metrics, clock.images_per_second())
                self.check_divergence(metrics)
                self.agreed_signal = int(metrics["stop"]) or None
                if self.stopping() and step < self.steps:
                    bar.close()
                    self.stop()
        self.seconds.update(clock.seconds)
        self.sums["images_per_second"] = (clock.images_per_second(), 1)
        if self.steps_per_call == 1:
            self.sums["waiting_share"] = (clock.waiting_share(), 1)

    def train_some(self, batches, epoch, step, clock):
        """One batch, or as many as `steps_per_call` asks for and epoch and phase have left: (metrics, how many)."""
        start = epoch * self.steps + step
        phase, stop = self.phase(start), tf.constant(float(self.stop_signal or 0))
        number = min(self.steps_per_call, self.steps - step)
        while self.phase(start + number - 1) != phase:
            number -= 1
        batch = None
        if number == 1:
            with clock.measuring(WAITING):
                batch = next(batches)
        part = STEPS if (phase, number > 1) in self.compiled else COMPILING
        self.compiled.add((phase, number > 1))
        with clock.measuring(part, number * self.images_per_step()):
            if number == 1:
                metrics = self.trainer.train_batch(batch, phase, stop)
            else:
                metrics = self.trainer.train_batches(batches, tf.constant(number), phase, stop)
            return {name: value.numpy() for name, value in metrics.items()}, number  # which waits for the device

    def batches(self, epoch, first_step):
        """This process's batches, one for each of its replicas in a step."""
        worker, workers, replicas = worker_position(self.strategy)
        if self.replicas == 1:
            return self.stream.epoch(epoch, first_step)
        return self.strategy.distribute_datasets_from_function(
            lambda context: self.stream.epoch(epoch, first_step, worker, workers, replicas)
        )

    def images_per_step(self):
        return self.stream.batch_size * self.replicas

    def add(self, metrics, steps):
        """Sum up the metrics of an epoch."""
        for name, value in metrics.items():
            if name in COUNTS:
                self.sums[name] = (float(value), 1)
            elif math.isfinite(value):  # what an undone step measured is left out
                total, count = self.sums.get(name, (0.0, 0))
                self.sums[name] = (total + float(value) * steps, count + steps)

    def show(self, bar, metrics, rate):
        text = {short: f"{metrics[name]:.3g}" for name, short in BAR_NAMES.items() if metrics.get(name)}
        bar.set_postfix({**text, "img/s": f"{rate:.1f}"}, refresh=False)

    def check_divergence(self, metrics):
        if metrics["bad_in_a_row"] >= MOST_BAD_STEPS:
            raise Diverged(
                f"{MOST_BAD_STEPS} steps in a row had a gradient that is not finite. "
                f"Last good checkpoint: {self.latest_checkpoint() or 'none yet'}."
            )

    def end_epoch(self, epoch):
        """Validate, write history, picture and checkpoint."""
        clock = Clock()
        with clock.measuring(EPOCH_ENDS):
            means = {name: total / max(count, 1) for name, (total, count) in self.sums.items()}
            means = {name: value for name, value in means.items() if name not in ("stop", "bad_in_a_row")}
            self.sums = {}
            means["psnr"], means["psnr_bicubic"] = self.validate(), self.psnr_bicubic
            means["gp_weight"] = self.trainer.objective.gpweight
            means["content_weight"] = self.trainer.objective.cweight
            best = means["psnr"] > max(self.history.get("psnr", ()), default=-math.inf)
            self.record(epoch, means)
            picture = self.visualizer.on_epoch_end(epoch) if self.visualizer and self.chief else None
            if self.writer:
                self.write_summaries(means, picture)
            self.save(best)
        self.seconds.update(clock.seconds)
        waiting = f", {means['waiting_share']:.1%} of the time waiting for data" if "waiting_share" in means else ""
        log.info(
            "Epoch %d/%d: PSNR-Y of held-out crops %.2f dB (bicubic %.2f), %.1f images/s%s",
            epoch + 1,
            self.epochs,
            means["psnr"],
            self.psnr_bicubic,
            means["images_per_second"],
            waiting,
        )

    def record(self, epoch, means):
        """Put an epoch's means into the history, None where a name has no value in some epoch."""
        for name, value in means.items():
            for known in HISTORY_NAMES.get(name, (name,)):
                self.history.setdefault(known, [None] * epoch).append(value)
        for values in self.history.values():
            values.extend([None] * (epoch + 1 - len(values)))

    def write_summaries(self, means, picture):
        step = int(self.progress.numpy())
        with self.writer.as_default(step=step):
            for name, value in means.items():
                tf.summary.scalar(name, value)
            if picture:
                tf.summary.image("samples", tf.image.decode_png(tf.io.read_file(picture), 3)[None])
        self.writer.flush()

    def validate(self):
        low_res, high_res = self.validation
        parts = [tf.nest.map_structure(lambda x, i=i: x[i : i + 4], low_res) for i in range(0, len(high_res), 4)]
        return self.psnr_of(np.concatenate([self.trainer.generate_average(part, training=False) for part in parts]))

    def psnr_of(self, super_res):
        pairs = zip(to_pixels(super_res), to_pixels(self.validation[1]), strict=True)
        return float(np.mean([psnr(made, real, self.stream.scale) for made, real in pairs]))

    def save(self, best=False):
        """A checkpoint, and the history up to it; the chief's work.

        Raises:
            OSError: it could not be written; the one before is whole.
        """
        if not self.chief:
            return
        number, before = int(self.progress.numpy()), self.latest_checkpoint()
        content = {"epochs": self.history, "partial": self.sums, "batches": number, "replicas": self.replicas}
        try:
            write_json(os.path.join(self.folder, HISTORY_FILE), content)
            for manager in [self.manager, self.best] if best else [self.manager]:
                manager.save(checkpoint_number=number)
        except (OSError, tf.errors.OpError) as error:
            self.remove_partial(number)
            raise OSError(
                f"No checkpoint could be written to {self.folder} ({one_line(error)}). "
                f"Last good checkpoint: {before or 'none yet'}."
            ) from error

    def remove_partial(self, number):
        for manager in (self.manager, self.best):
            if manager.latest_checkpoint != f"{manager.directory}/ckpt-{number}":
                for path in glob.glob(f"{glob.escape(manager.directory)}/ckpt-{number}[._]*"):
                    shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)

    def latest_checkpoint(self):
        """Its path, read anew, since the chief alone writes; None without one."""
        return tf.train.latest_checkpoint(self.manager.directory)

    def restore(self):
        """Go on from the newest whole checkpoint of this run's folder; returns how many batches were done.

        Raises:
            ValueError: no checkpoint, or one of a run on another number of replicas.
        """
        checkpoints = self.manager.checkpoints[::-1]
        if not any(map(self.restored, checkpoints)):
            what = "without a whole checkpoint" if checkpoints else "without a checkpoint"
            raise ValueError(f"Received: --resume {self.folder}, {what}. Expected a run that wrote one.")
        with open(os.path.join(self.folder, HISTORY_FILE)) as file:
            saved = json.load(file)
        if saved["replicas"] != self.replicas:
            raise ValueError(
                f"Received: --resume {self.folder} on {self.replicas} replica(s), which was started on "
                f"{saved['replicas']}. Expected as many, since --batchsz is for each."
            )
        done = int(self.progress.numpy())
        # The history is written first: after a kill between the two it is ahead of the checkpoint.
        self.history = {name: values[: done // self.steps] for name, values in saved["epochs"].items()}
        self.sums = {name: tuple(value) for name, value in saved["partial"].items()} if saved["batches"] == done else {}
        return done

    def restored(self, path):
        try:
            self.checkpoint.restore(path).assert_consumed()
            return True
        except (tf.errors.OpError, RuntimeError, IndexError) as error:  # by what is torn, and where
            log.warning("Warning: %s is torn, going on from the checkpoint before it (%s)", path, one_line(error))
            return False

    def stop(self):
        if int(self.progress.numpy()) % self.steps:  # at the end of an epoch one is there
            self.save()
        self.meet()
        log.info("Checkpoint written: %s. Go on with --resume %s", self.latest_checkpoint(), self.folder)
        raise Stopped(self.stopping())

    def meet(self):
        """Wait for all workers: the first to end takes the others' connection, and SLURM ends them."""
        sum_over_workers(self.strategy, 0)

    def write_pickle(self, path):
        """The history as the pickled dict that notebooks of this project read."""
        with written_whole(path) as temporary, open(temporary, "wb") as file:
            pickle.dump(self.history, file)


class Clock:
    """Seconds spent on each of `PARTS`."""

    def __init__(self):
        self.seconds, self.images, self.shown = collections.Counter(), collections.Counter(), time.perf_counter()

    @contextlib.contextmanager
    def measuring(self, part, images=0):
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start
        self.images[part] += images

    def counted(self):
        """The parts that tell of a run's speed: not the first steps, which are compiled, unless there are no others."""
        return (WAITING, STEPS) if self.images[STEPS] else (WAITING, COMPILING)

    def images_per_second(self):
        return sum(self.images[part] for part in self.counted()) / sum(self.seconds[part] for part in self.counted())

    def waiting_share(self):
        return self.seconds[WAITING] / sum(self.seconds[part] for part in self.counted())

    def due(self):
        """Whether half a second went by since it was last said so."""
        if time.perf_counter() - self.shown < 0.5:
            return False
        self.shown = time.perf_counter()
        return True


def one_line(error):
    return " ".join(str(getattr(error, "message", error)).split())[:200]


def write_json(path, content):
    with written_whole(path) as temporary, open(temporary, "w") as file:
        json.dump(content, file, indent=1)


def versions():
    import keras

    return {
        "python": sys.version.split()[0],
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }
