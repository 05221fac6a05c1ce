"""A training run: epochs over a crop stream, validation, pictures, checkpoints, all in one folder."""

import contextlib
import json
import logging
import os
import pickle
import signal
import sys
import time

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from srwgan.dataset import to_pixels, upscale_bicubic
from srwgan.metrics import psnr
from srwgan.strategy import is_chief, worker_position
from srwgan.trainer import COUNTS

log = logging.getLogger("srwgan")

# Names in the history that users' notebooks read (one misspelled since the first version, kept beside the right one).
HISTORY_NAMES = {"adversarial": ("g_loss",), "reconstruction": ("reconstruction_loss",), "content": ("content_loss",),
                 "gradient_penalty": ("gradient_penalty", "gradient_penaty")}
BAR_NAMES = {"reconstruction": "rec", "content": "content", "adversarial": "adv", "d_loss": "D", "wasserstein": "W",
             "gradient_penalty": "GP", "critic_norm": "|dD|", "adversarial_norm": "|adv|",
             "reconstruction_norm": "|rec|", "content_norm": "|con|", "bad_steps": "bad"}
MOST_BAD_STEPS = 10


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
        validation: (low_res, high_res) in [-1, 1], held-out crops.
        visualizer: has `on_epoch_end(epoch)`; None for no pictures.
        warmup_epochs: epochs at the start on the reconstruction loss alone.
        critic_warmup: steps after those on the discriminator alone.
        steps_per_call: batches that one call of the compiled step takes: less overhead, slower to react.
        tensorboard: whether scalars and pictures are written for TensorBoard too.
    """

    def __init__(self, trainer, stream, validation, folder, epochs, visualizer=None, warmup_epochs=0, critic_warmup=0,
                 steps_per_call=1, tensorboard=False):
        self.trainer, self.stream, self.validation = trainer, stream, validation
        self.folder, self.epochs, self.visualizer = folder, epochs, visualizer
        self.warmup_epochs, self.critic_warmup, self.steps_per_call = warmup_epochs, critic_warmup, steps_per_call
        self.strategy = trainer.strategy
        self.replicas, self.chief = self.strategy.num_replicas_in_sync, is_chief(self.strategy)
        self.steps = stream.steps(self.replicas)
        self.progress = tf.Variable(0, dtype=tf.int64, trainable=False)  # batches done
        self.history, self.sums = {}, {}
        self.checkpoint = trainer.checkpoint(progress=self.progress)
        self.manager = tf.train.CheckpointManager(self.checkpoint, os.path.join(folder, "checkpoints"), max_to_keep=3)
        self.stop_signal = None
        self.writer = summary_writer(os.path.join(folder, "tensorboard")) if tensorboard else None
        bicubic = upscale_bicubic(validation[0], stream.scale)
        self.psnr_bicubic = self.psnr_of(bicubic)

    def train(self):
        """Run to the end.

        Raises:
            Stopped: by SIGTERM or SIGINT, after a checkpoint.
            Diverged: ten steps in a row without a finite gradient.
        """
        handlers = {number: signal.signal(number, self.ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while self.progress.numpy() < self.epochs * self.steps:
                epoch, first_step = divmod(int(self.progress.numpy()), self.steps)
                self.train_epoch(epoch, first_step)
                self.end_epoch(epoch)
                if self.stop_signal:
                    self.stop()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return self.history

    def ask_to_stop(self, number, frame):
        self.stop_signal = number

    def phase(self, step):
        """What is trained at a step, counted over the whole run."""
        step -= self.warmup_epochs * self.steps
        return "warmup" if step < 0 else "critic" if step < self.critic_warmup else "full"

    def train_epoch(self, epoch, first_step):
        batches = iter(self.batches(epoch, first_step))
        bar = tqdm(total=self.steps, initial=first_step, desc=f"Epoch {epoch + 1}/{self.epochs}", unit="batch",
                   disable=None if self.chief else True, dynamic_ncols=True)
        clock, step = Clock(), first_step
        with bar:
            while step < self.steps:
                metrics, done = self.train_some(batches, epoch, step, clock)
                step += done
                self.progress.assign_add(done)
                self.add(metrics, done)
                bar.update(done)
                if clock.due() or step == self.steps:
                    self.show(bar, metrics, (step - first_step) * self.images_per_step() / clock.seconds())
                if self.agreed_to_stop(metrics) and step < self.steps:
                    bar.close()
                    self.stop()
        seconds = clock.seconds()
        self.sums["images_per_second"] = ((step - first_step) * self.images_per_step() / seconds, 1)
        self.sums["waiting_share"] = (clock.waited / seconds, 1)

    def train_some(self, batches, epoch, step, clock):
        """One batch, or as many as `steps_per_call` asks for and epoch and phase have left: (metrics, how many)."""
        start = epoch * self.steps + step
        phase, stop = self.phase(start), tf.constant(float(self.stop_signal or 0))
        number = min(self.steps_per_call, self.steps - step)
        while self.phase(start + number - 1) != phase:
            number -= 1
        if number > 1:
            return self.trainer.train_batches(batches, tf.constant(number), phase, stop), number
        with clock.waiting():
            batch = next(batches)
        return self.trainer.train_batch(batch, phase, stop), 1

    def batches(self, epoch, first_step):
        """This process's batches, one for each of its replicas in a step."""
        worker, workers, replicas = worker_position(self.strategy)
        if self.replicas == 1:
            return self.stream.epoch(epoch, first_step)
        return self.strategy.distribute_datasets_from_function(
            lambda context: self.stream.epoch(epoch, first_step, worker, workers, replicas))

    def agreed_to_stop(self, metrics):
        """Whether any worker was asked to stop: signals reach them at different steps, the sum of flags at one."""
        if worker_position(self.strategy)[1] > 1:
            self.stop_signal = int(metrics["stop"].numpy()) or self.stop_signal
            return bool(metrics["stop"])
        return bool(self.stop_signal)

    def images_per_step(self):
        return self.stream.batch_size * self.replicas

    def add(self, metrics, steps):
        """Sum up the metrics of an epoch on the device, without waiting for them."""
        for name, value in metrics.items():
            if name in COUNTS:
                self.sums[name] = (value, 1)
                continue
            total, count = self.sums.get(name, (0.0, 0.0))
            good = tf.math.is_finite(value)  # what an undone step measured is left out
            self.sums[name] = (total + tf.where(good, value * steps, 0.0), count + tf.where(good, float(steps), 0.0))

    def show(self, bar, metrics, rate):
        values = {name: float(value) for name, value in metrics.items()}
        if values["bad_in_a_row"] >= MOST_BAD_STEPS:
            raise Diverged(f"{MOST_BAD_STEPS} steps in a row had a gradient that is not finite. "
                           f"Last good checkpoint: {self.manager.latest_checkpoint or 'none yet'}.")
        text = {short: f"{values[name]:.3g}" for name, short in BAR_NAMES.items() if values.get(name)}
        bar.set_postfix({**text, "img/s": f"{rate:.1f}"}, refresh=False)

    def end_epoch(self, epoch):
        """Validate, write history, picture and checkpoint."""
        means = {name: float(total) / max(float(count), 1.0) for name, (total, count) in self.sums.items()}
        means = {name: value for name, value in means.items() if name not in ("stop", "bad_in_a_row")}
        self.sums = {}
        means["psnr"], means["psnr_bicubic"] = self.validate(), self.psnr_bicubic
        means["gp_weight"] = self.trainer.objective.gpweight
        means["content_weight"] = self.trainer.objective.cweight
        for name, value in means.items():
            for known in HISTORY_NAMES.get(name, (name,)):
                self.history.setdefault(known, [None] * epoch).append(value)
        for values in self.history.values():
            values.extend([None] * (epoch + 1 - len(values)))
        picture = self.visualizer.on_epoch_end(epoch) if self.visualizer and self.chief else None
        if self.writer:
            self.write_summaries(means, picture)
        log.info("Epoch %d/%d: PSNR-Y of held-out crops %.2f dB (bicubic %.2f), %.1f images/s, %.1f%% of it waiting "
                 "for data", epoch + 1, self.epochs, means["psnr"], self.psnr_bicubic, means["images_per_second"],
                 100 * means["waiting_share"])
        self.save()

    def write_summaries(self, means, picture):
        step = int(self.progress.numpy())
        with self.writer.as_default(step=step):
            for name, value in means.items():
                tf.summary.scalar(name, value)
            if picture:
                tf.summary.image("samples", tf.image.decode_png(tf.io.read_file(picture), 3)[None])
        self.writer.flush()

    def validate(self):
        low_res, _ = self.validation
        return self.psnr_of(np.concatenate([self.trainer.average(low_res[i : i + 4], training=False)
                                            for i in range(0, len(low_res), 4)]))

    def psnr_of(self, super_res):
        pairs = zip(to_pixels(super_res), to_pixels(self.validation[1]), strict=True)
        return float(np.mean([psnr(made, real, self.stream.scale) for made, real in pairs]))

    def save(self):
        """A checkpoint, and the history up to it; the chief's work."""
        if not self.chief:
            return
        write_json(os.path.join(self.folder, "history.json"), {"epochs": self.history,
                                         "partial": {k: (float(v), float(n)) for k, (v, n) in self.sums.items()}})
        self.manager.save(checkpoint_number=int(self.progress.numpy()))

    def restore(self):
        """Go on from the newest checkpoint of this run's folder; returns how many batches were done."""
        if not self.manager.latest_checkpoint:
            raise ValueError(f"Received: --resume {self.folder}, without a checkpoint. Expected a run that wrote one.")
        self.checkpoint.restore(self.manager.latest_checkpoint).assert_consumed()
        with open(os.path.join(self.folder, "history.json")) as file:
            saved = json.load(file)
        epochs, steps = divmod(int(self.progress.numpy()), self.steps)
        # The history is written first: after a kill between the two it is one epoch ahead of the checkpoint.
        self.history = {name: values[:epochs] for name, values in saved["epochs"].items()}
        self.sums = {name: tuple(value) for name, value in saved["partial"].items()} if steps else {}
        return int(self.progress.numpy())

    def stop(self):
        if int(self.progress.numpy()) % self.steps:  # at the end of an epoch one is there
            self.save()
        log.info("Checkpoint written: %s. Go on with --resume %s", self.manager.latest_checkpoint, self.folder)
        raise Stopped(self.stop_signal)

    def write_pickle(self, path):
        """The history as the pickled dict that notebooks of this project read."""
        with open(path + ".part", "wb") as file:
            pickle.dump(self.history, file)
        os.replace(path + ".part", path)


def summary_writer(folder):
    try:
        import tensorboard  # noqa: F401 (tf.summary needs it, and newer TensorFlow comes without)
    except ImportError as error:
        raise ValueError("Received: --tensorboard without the package. Expected: pip install tensorboard") from error
    return tf.summary.create_file_writer(folder)


class Clock:
    """Time of an epoch, and how much of it was spent waiting for data."""

    def __init__(self):
        self.started, self.shown, self.waited = time.perf_counter(), 0.0, 0.0

    def seconds(self):
        return time.perf_counter() - self.started

    def due(self):
        """Whether half a second went by since it was last said so."""
        if self.seconds() - self.shown < 0.5:
            return False
        self.shown = self.seconds()
        return True

    @contextlib.contextmanager
    def waiting(self):
        before = time.perf_counter()
        yield
        self.waited += time.perf_counter() - before


def write_json(path, content):
    with open(path + ".part", "w") as file:
        json.dump(content, file, indent=1)
    os.replace(path + ".part", path)


def versions():
    import keras

    return {"python": sys.version.split()[0], "tensorflow": tf.__version__, "keras": keras.__version__,
            "numpy": np.__version__}
