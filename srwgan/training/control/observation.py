"""What a controller sees: the figures that a run logs anyway, as numbers that mean the same in any run."""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from srwgan.measuring.lpips import LPIPS
from srwgan.measuring.metrics import psnr
from srwgan.pixels import to_pixels
from srwgan.training.control.controls import CONTROLS, UPPER

METRICS = (  # of a step, whose means over an interval are seen
    "adversarial",
    "content",
    "reconstruction",
    "wasserstein",
    "gradient_penalty",
    "critic_norm",
    "adversarial_norm",
    "content_norm",
    "reconstruction_norm",
)
HELD_OUT = ("psnr", "lpips")  # measured at the end of an interval
MEASURED = METRICS + HELD_OUT
SLOPES = ("adversarial", "content", "reconstruction", "wasserstein", "gradient_penalty", *HELD_OUT)
FEATURES = (
    "progress",
    *MEASURED,
    *(f"{name}_slope" for name in SLOPES),
    *(f"level_{name}" for name in CONTROLS),
)
LIMIT = 10.0  # of each feature's size
SUMS, COUNTS, FIRST, BEFORE = range(4)  # the rows of an observer's state
MEASURED_AT_ONCE = 2**18  # pixels: four crops of 256x256


class Observer:
    """Gathers the metrics of the steps between two decisions, and makes an observation of them.

    ```
    feature                                    value
    progress                                   0 at the first decision, towards 1
    adversarial                                signed log of the change since the first interval
    content, reconstruction, ..._norm          log of the ratio to the first interval's
    wasserstein                                signed log; critic_norm: log; gradient_penalty: log(x + 0.001)
    psnr                                       dB gained since the start
    lpips                                      ten times the log of the start's over now's
    ..._slope                                  change since the decision before
    level_...                                  of each control, 1 at its bound
    ```

    An adversarial loss is defined up to a constant, and other losses by their form. So they are seen relative to the
    run's own first ones. What is not measured yet, or not part of a run, is 0.

    Attributes:
        state: (4, 11) float64, all that an observer remembers; part of a checkpoint.
    """

    def __init__(self):
        self.state = tf.Variable(self.nothing(), trainable=False, dtype=tf.float64)

    @staticmethod
    def nothing() -> np.ndarray:
        state = np.full((4, len(MEASURED)), np.nan)
        state[[SUMS, COUNTS]] = 0.0
        return state

    def reset(self) -> None:
        self.state.assign(self.nothing())

    def add(self, metrics: dict, number: int) -> None:
        """Take in the metrics of `number` steps, means over them; what is not finite is left out."""
        state = self.state.numpy()
        for i, name in enumerate(METRICS):
            value = float(metrics.get(name, math.nan))
            if math.isfinite(value):
                state[SUMS, i] += value * number
                state[COUNTS, i] += number
        self.state.assign(state)

    def observe(self, *, progress: float, held_out: tuple[float, float], levels: np.ndarray) -> np.ndarray:
        """The observation (25,) float32 of the interval that ends here, in the order of `FEATURES`.

        Args:
            progress: share of the batches that are done.
            held_out: PSNR-Y in dB and LPIPS of the held-out crops now.
            levels: (6,) of the controls.
        """
        state = self.state.numpy()
        counts = state[COUNTS]
        means = np.divide(state[SUMS], counts, out=np.full(len(MEASURED), np.nan), where=counts > 0)
        means[len(METRICS) :] = held_out
        state[FIRST] = np.where(np.isnan(state[FIRST]), means, state[FIRST])
        values = np.array([seen(*each) for each in zip(MEASURED, means, state[FIRST], strict=True)])
        slopes = (values - state[BEFORE])[[MEASURED.index(name) for name in SLOPES]]
        state[BEFORE] = values
        state[[SUMS, COUNTS]] = 0.0
        self.state.assign(state)
        features = np.concatenate([[progress], values, slopes, np.asarray(levels) / UPPER])
        return np.clip(np.nan_to_num(features, nan=0.0), -LIMIT, LIMIT).astype(np.float32)


def seen(name: str, value: float, first: float) -> float:
    """A measured value as a feature; NaN where there is none."""
    if math.isnan(value):
        return math.nan
    if name == "psnr":
        return value - first
    if name == "lpips":
        return 10 * math.log(max(first, 1e-6) / max(value, 1e-6))
    if name == "adversarial":
        return signed_log(value - first)
    if name == "wasserstein":
        return signed_log(value)
    if name == "gradient_penalty":
        return math.log(max(value, 0.0) + 1e-3)
    return math.log(max(value, 1e-8)) - (0.0 if name == "critic_norm" else math.log(max(first, 1e-8)))


def signed_log(value: float) -> float:
    return math.copysign(math.log1p(abs(value)), value)


class HeldOut:
    """PSNR-Y in dB and LPIPS (AlexNet) of what a generator makes of held-out crops, means over them.

    Args:
        low_res: what the generator takes, (N, h, w, 3) in [-1, 1], with a condition (images, strength (N,)).
        high_res: (N, s h, s w, 3) in [-1, 1], 31 pixels or more a side.
        scale: s.
    """

    def __init__(self, low_res, high_res, scale: int):
        self.scale, self.lpips, self.parts = scale, LPIPS(), []
        number = max(1, MEASURED_AT_ONCE // (high_res.shape[1] * high_res.shape[2]))
        for i in range(0, len(high_res), number):
            part = tf.nest.map_structure(lambda x, i=i: x[i : i + number], (low_res, high_res))
            self.parts.append((*part, list(self.lpips.features(part[1]))))  # of the originals, once

    def __call__(self, generate: Callable) -> tuple[float, float]:
        ratios, distances = [], []
        for low_res, high_res, features in self.parts:
            made = tf.clip_by_value(generate(low_res, training=False), -1, 1)
            pairs = zip(to_pixels(made), to_pixels(high_res), strict=True)
            ratios += [psnr(picture, real, self.scale) for picture, real in pairs]
            distances += list(np.asarray(self.lpips.between(self.lpips.features(made), features)))
        return float(np.mean(ratios)), float(np.mean(distances))
