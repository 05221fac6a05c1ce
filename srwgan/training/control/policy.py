"""The policy: a small network from what a controller sees to how it moves its controls, and its file."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from srwgan.training.control.controls import CONTROLS
from srwgan.training.control.observation import FEATURES
from srwgan.whole_files import written_whole

FORMAT = 1
ABOUT = "about"  # the array of the file that holds, as JSON, its format, features, controls and facts
REASONS = 2  # features that a decision names for each control
NORMALIZED = 5.0  # the most standard deviations that a feature is seen at


class Perceptron(tf.Module):
    """(B, n) -> (B, m): dense layers with tanh between them, orthogonal weights at the start.

    Args:
        sizes: of all layers, from n to m.
        seed: of the first weights.
        last: factor of the last layer's first weights; a small one begins with outputs near 0.
    """

    def __init__(self, sizes: tuple[int, ...], *, seed: int = 0, last: float = 1.0):
        super().__init__()
        pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
        random = np.random.default_rng(seed)
        self.kernels, self.biases = [], []
        for i, (inputs, outputs) in enumerate(pairs):
            left, _, right = np.linalg.svd(random.normal(size=(inputs, outputs)), full_matrices=False)
            factor = last if i == len(pairs) - 1 else 2**0.5
            self.kernels.append(tf.Variable(factor * (left @ right), dtype=tf.float32))
            self.biases.append(tf.Variable(tf.zeros(outputs)))

    def __call__(self, x):
        for kernel, bias in zip(self.kernels[:-1], self.biases[:-1], strict=True):
            x = tf.tanh(tf.matmul(x, kernel) + bias)
        return tf.matmul(x, self.kernels[-1]) + self.biases[-1]


@dataclass(frozen=True)
class Decision:
    """What a policy does at one point of a run.

    Attributes:
        action: (6,) from -1 to 1, see `controls.moved`.
        reasons: for each control the features that moved it most, {feature: the part of the action that is due to it}.
    """

    action: np.ndarray
    reasons: dict[str, dict[str, float]]


class Policy:
    """A Gaussian over actions, whose mean is a `Perceptron` of the observation.

    Args:
        decisions: how many a run has, equally spaced.
        features, controls: names of the observation's and of the action's parts.
        hidden: units of the two hidden layers.
        seed: of the first weights.
        facts: what the file says of how it was trained.

    Attributes:
        mean, deviation: (n,) of the observations that it was trained on, by which they are normalized.
        log_deviation: (m,) of the actions while it is trained.
    """

    def __init__(
        self,
        *,
        decisions: int,
        features: tuple[str, ...] = FEATURES,
        controls: tuple[str, ...] = CONTROLS,
        hidden: int = 32,
        seed: int = 0,
        facts: dict | None = None,
    ):
        self.decisions, self.features, self.controls = decisions, tuple(features), tuple(controls)
        self.hidden, self.facts = hidden, dict(facts or {})
        self.network = Perceptron((len(features), hidden, hidden, len(controls)), seed=seed, last=0.01)
        self.log_deviation = tf.Variable(tf.fill([len(controls)], -0.5))
        self.mean = tf.Variable(tf.zeros(len(features)), trainable=False)
        self.deviation = tf.Variable(tf.ones(len(features)), trainable=False)

    @tf.function(reduce_retracing=True)
    def means(self, observations) -> tf.Tensor:
        """The mean actions (B, m) for observations (B, n)."""
        return self.network(self.normalized(observations))

    def normalized(self, observations) -> tf.Tensor:
        """(B, n) as the networks take them."""
        return tf.clip_by_value((observations - self.mean) / self.deviation, -NORMALIZED, NORMALIZED)

    def decide(self, observation: np.ndarray) -> Decision:
        """The mean action for one observation (n,), without chance.

        The reasons are each feature's share of the action: the action's slope by the normalized feature times that
        feature, the first-order part of what it adds (gradient times input, Shrikumar et al. 2016, arXiv:1605.01713).
        """
        seen = self.normalized(tf.constant(observation, tf.float32)[None])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(seen)
            action = self.network(seen)
            parts = tf.unstack(action[0])
        shares = np.array([(tape.gradient(part, seen) * seen)[0] for part in parts])
        largest = np.argsort(-np.abs(shares), axis=1)[:, :REASONS]
        reasons = {
            control: {self.features[i]: round(float(share[i]), 4) for i in chosen}
            for control, share, chosen in zip(self.controls, shares, largest, strict=True)
        }
        return Decision(np.clip(action[0].numpy(), -1, 1), reasons)

    def arrays(self) -> dict[str, tf.Variable]:
        """Name in the file -> variable."""
        kernels = {f"kernel{i}": kernel for i, kernel in enumerate(self.network.kernels)}
        biases = {f"bias{i}": bias for i, bias in enumerate(self.network.biases)}
        return {
            **kernels,
            **biases,
            "log_deviation": self.log_deviation,
            "mean": self.mean,
            "deviation": self.deviation,
        }

    def save(self, path) -> None:
        """Write the policy as an .npz file.

        Raises:
            OSError: it cannot be written.
        """
        about = {
            "format": FORMAT,
            "decisions": self.decisions,
            "features": list(self.features),
            "controls": list(self.controls),
            "hidden": self.hidden,
            "facts": self.facts,
        }
        arrays = {name: variable.numpy() for name, variable in self.arrays().items()}
        with written_whole(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays, **{ABOUT: np.array(json.dumps(about))})

    @classmethod
    def load(cls, path) -> "Policy":
        """Read a policy.

        Raises:
            ValueError: not such a file, or one of other features or controls than this version's.
        """
        expected = "Expected a policy of python3 -m utils.meta train."
        if not Path(path).is_file():
            raise ValueError(f"Received: policy {path}, not a file. {expected}")
        try:
            with np.load(path) as stored:
                arrays = dict(stored)
            about = json.loads(str(arrays.pop(ABOUT)))
            named = {name: about[name] for name in ("decisions", "features", "controls", "hidden", "facts")}
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise ValueError(f"Received: policy {path}, not a readable one. {expected}") from error
        if about["format"] != FORMAT or tuple(named["features"]) != FEATURES or tuple(named["controls"]) != CONTROLS:
            raise ValueError(f"Received: policy {path}, of another version. {expected}")
        policy = cls(**named)
        variables = policy.arrays()
        if {name: each.shape for name, each in arrays.items()} != {
            name: tuple(each.shape) for name, each in variables.items()
        }:
            raise ValueError(f"Received: policy {path}, with arrays of other names or shapes. {expected}")
        for name, variable in variables.items():
            variable.assign(arrays[name])
        return policy
