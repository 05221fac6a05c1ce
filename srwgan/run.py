"""A training run: epochs over a crop stream, validation, pictures, checkpoints, all in one folder."""

import json
import logging
import math
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
    """

    def __init__(self, trainer, stream, validation, folder, epochs, visualizer=None, warmup_epochs=0, critic_warmup=0):
        self.trainer, self.stream, self.validation = trainer, stream, validation
        self.folder, self.epochs, self.visualizer = folder, epochs, visualizer
        self.warmup_epochs, self.critic_warmup = warmup_epochs, critic_warmup
        self.replicas = trainer.strategy.num_replicas_in_sync
        self.steps = stream.steps(self.replicas)
        self.progress = tf.Variable(0, dtype=tf.int64, trainable=False)  # batches done
        self.history, self.sums = {}, {}
        self.checkpoint = trainer.checkpoint(progress=self.progress)
        self.manager = tf.train.CheckpointManager(self.checkpoint, os.path.join(folder, "checkpoints"), max_to_keep=3)
        self.stop_signal = None
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
        batches = iter(self.trainer.strategy.experimental_distribute_dataset(self.stream.epoch(epoch, first_step)))
        bar = tqdm(total=self.steps, initial=first_step, desc=f"Epoch {epoch + 1}/{self.epochs}", unit="batch",
                   disable=None, dynamic_ncols=True)
        started, waited, shown = time.perf_counter(), 0.0, 0.0
        with bar:
            for step in range(first_step, self.steps):
                before = time.perf_counter()
                batch = next(batches)
                waited += time.perf_counter() - before
                metrics = self.trainer.train_batch(batch, self.phase(epoch * self.steps + step))
                self.progress.assign_add(1)
                self.add(metrics)
                now = time.perf_counter()
                if now - shown > 0.5 or step == self.steps - 1:
                    shown = now
                    self.show(bar, metrics, (step + 1 - first_step) * self.images_per_step() / (now - started))
                bar.update(1)
                if self.stop_signal:
                    bar.close()
                    self.stop()
            self.count_time(self.steps - first_step, time.perf_counter() - started, waited)

    def images_per_step(self):
        return self.stream.batch_size * self.replicas

    def add(self, metrics):
        """Sum up the metrics of an epoch on the device, without waiting for them."""
        for name, value in metrics.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = (value, 1) if name.startswith("bad_") else (total + value, count + 1)

    def show(self, bar, metrics, rate):
        values = {name: float(value) for name, value in metrics.items()}
        if values["bad_in_a_row"] >= MOST_BAD_STEPS:
            raise Diverged(f"{MOST_BAD_STEPS} steps in a row had a gradient that is not finite. "
                           f"Last good checkpoint: {self.manager.latest_checkpoint or 'none yet'}.")
        text = {short: f"{values[name]:.3g}" for name, short in BAR_NAMES.items() if values.get(name)}
        bar.set_postfix({**text, "img/s": f"{rate:.1f}"}, refresh=False)

    def count_time(self, steps, seconds, waited):
        self.sums["images_per_second"] = (steps * self.images_per_step() / seconds, 1)
        self.sums["waiting_share"] = (waited / seconds, 1)

    def end_epoch(self, epoch):
        """Validate, write history, picture and checkpoint."""
        means = {name: float(total) / count for name, (total, count) in self.sums.items() if name != "bad_in_a_row"}
        self.sums = {}
        means["psnr"], means["psnr_bicubic"] = self.validate(), self.psnr_bicubic
        means["gp_weight"] = self.trainer.objective.gpweight
        means["content_weight"] = self.trainer.objective.cweight
        for name, value in means.items():
            for known in HISTORY_NAMES.get(name, (name,)):
                self.history.setdefault(known, [math.nan] * epoch).append(value)
        for values in self.history.values():
            values.extend([math.nan] * (epoch + 1 - len(values)))
        if self.visualizer:
            self.visualizer.on_epoch_end(epoch)
        log.info("Epoch %d/%d: PSNR-Y of held-out crops %.2f dB (bicubic %.2f), %.1f images/s, %.1f%% of it waiting "
                 "for data", epoch + 1, self.epochs, means["psnr"], self.psnr_bicubic, means["images_per_second"],
                 100 * means["waiting_share"])
        self.save()

    def validate(self):
        low_res, _ = self.validation
        return self.psnr_of(np.concatenate([self.trainer.average(low_res[i : i + 4], training=False)
                                            for i in range(0, len(low_res), 4)]))

    def psnr_of(self, super_res):
        pairs = zip(to_pixels(super_res), to_pixels(self.validation[1]), strict=True)
        return float(np.mean([psnr(made, real, self.stream.scale) for made, real in pairs]))

    def save(self):
        """A checkpoint, and the history up to it."""
        self.write_json("history.json", {"epochs": self.history,
                                         "partial": {k: (float(v), n) for k, (v, n) in self.sums.items()}})
        self.manager.save(checkpoint_number=int(self.progress.numpy()))

    def restore(self):
        """Go on from the newest checkpoint of this run's folder; returns how many batches were done."""
        if not self.manager.latest_checkpoint:
            raise ValueError(f"Received: --resume {self.folder}, without a checkpoint. Expected a run that wrote one.")
        self.checkpoint.restore(self.manager.latest_checkpoint).assert_consumed()
        with open(os.path.join(self.folder, "history.json")) as file:
            saved = json.load(file)
        self.history, self.sums = saved["epochs"], {k: tuple(v) for k, v in saved["partial"].items()}
        return int(self.progress.numpy())

    def stop(self):
        self.save()
        log.info("Checkpoint written: %s. Go on with --resume %s", self.manager.latest_checkpoint, self.folder)
        raise Stopped(self.stop_signal)

    def write_json(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path + ".part", "w") as file:
            json.dump(content, file, indent=1)
        os.replace(path + ".part", path)

    def write_pickle(self, path):
        """The history as the pickled dict that notebooks of this project read."""
        with open(path + ".part", "wb") as file:
            pickle.dump(self.history, file)
        os.replace(path + ".part", path)


def versions():
    import keras

    return {"python": sys.version.split()[0], "tensorflow": tf.__version__, "keras": keras.__version__,
            "numpy": np.__version__}
