"""What a controller moves while a run trains: weights of losses, learning rates, critic steps."""

import numpy as np
import tensorflow as tf

# control -> the most that it multiplies (or, but for dstep, divides) what the flags say by, and the most of one move
LARGEST = {"adversarial": 8.0, "content": 8.0, "reconstruction": 8.0, "glr": 4.0, "dlr": 4.0, "dstep": 3.0}
MOVES = {"adversarial": 1.5, "content": 1.5, "reconstruction": 1.5, "glr": 1.4, "dlr": 1.4, "dstep": 1.5}
CONTROLS = tuple(LARGEST)
WEIGHTS = CONTROLS[:3]  # the terms of the generator's loss whose weights are controls
UPPER = np.log(list(LARGEST.values()))
LOWER = np.where([name == "dstep" for name in CONTROLS], 0.0, -UPPER)  # fewer critic steps than one there are not
LARGEST_MOVE = np.log(list(MOVES.values()))


def moved(levels: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Levels (6,) after an action (6,), of which each part is from -1 to 1, the largest moves down and up."""
    return bounded(levels + LARGEST_MOVE * np.clip(action, -1, 1))


def bounded(levels: np.ndarray) -> np.ndarray:
    return np.clip(levels, LOWER, UPPER)


class Controls(tf.Module):
    """The levels of the controls, as variables that a `Trainer` reads at every step.

    A level is the natural logarithm of the factor by which what the flags say is multiplied, 0 at the start. So the
    same levels mean the same for any flags.

    Args:
        dstep: discriminator steps for each batch at level 0.

    Attributes:
        levels: (6,) float32, in the order of `CONTROLS`.
        batches: trained on so far, which the discriminator's learning rate follows: its own steps come at a changing
            pace.
    """

    def __init__(self, dstep: int = 1):
        super().__init__()
        only_first = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self.base_dstep = dstep
        self.levels = tf.Variable(tf.zeros(len(CONTROLS)), trainable=False, aggregation=only_first)
        self.batches = tf.Variable(0, dtype=tf.int64, trainable=False, aggregation=only_first)

    def factor(self, name: str) -> tf.Tensor:
        """What a weight or a learning rate of the flags is multiplied by, () float32."""
        return tf.exp(self.levels[CONTROLS.index(name)])

    def factors(self) -> dict[str, float]:
        """All factors now; of dstep the steps themselves."""
        values = np.exp(np.asarray(self.levels, np.float64))
        return {**dict(zip(CONTROLS, map(float, values), strict=True)), "dstep": self.dstep}

    @property
    def dstep(self) -> int:
        """Discriminator steps for each batch now."""
        return int(round(self.base_dstep * float(np.exp(np.asarray(self.levels)[CONTROLS.index("dstep")]))))

    @property
    def most_steps(self) -> int:
        return most_critic_steps(self.base_dstep)


def most_critic_steps(dstep: int) -> int:
    """The most discriminator steps for each batch that a controller asks for where the flags say `dstep`."""
    return round(dstep * LARGEST["dstep"])
