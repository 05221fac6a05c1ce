"""A trained policy in a run: it decides between batches, and leaves in the history what it did and why."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from srwgan.training.control.controls import Controls, bounded, moved
from srwgan.training.control.observation import FEATURES, HeldOut, Observer
from srwgan.training.control.policy import Policy
from srwgan.training.devices import of_the_chief
from srwgan.training.schedule import Schedule

POLICY_FILE = "controller.npz"  # a run's own copy of its policy, in its folder


class Controller:
    """Moves the controls of a `Trainer` as a policy says, at equally spaced batches of the full phase.

    ```
    full phase  |---------|---------|---- ... ----|---------|
                d0        d1        d2            dD-1         a decision comes before the batch, the first after none
    ```

    What it decides next follows from the policy, from `observer.state` and from `controls.levels`, all of which a
    checkpoint holds.

    Args:
        policy: a `Policy`.
        controls: the trainer's.
        schedule: of the run.
        steps: batches of an epoch.
        held_out: measures the averaged generator.
        strategy: of the run; all its workers take the chief's actions.

    Raises:
        ValueError: the run has no batch in the full phase.
    """

    def __init__(
        self,
        policy: Policy,
        controls: Controls,
        *,
        schedule: Schedule,
        steps: int,
        held_out: HeldOut,
        strategy: tf.distribute.Strategy,
    ):
        self.policy, self.controls, self.held_out, self.strategy = policy, controls, held_out, strategy
        self.observer = Observer()
        self.start = schedule.warmup_epochs * steps + schedule.critic_warmup
        self.end = schedule.epochs * steps
        if self.start >= self.end:
            raise ValueError(
                f"Received: --controller with {self.end} batches, of which {self.start} are warm-up. "
                "Expected more --epochs."
            )
        self.batches = decision_batches(self.start, self.end, policy.decisions)

    def room(self, batch: int) -> int:
        """How many batches from this one on may be trained on before the next decision."""
        return min((each for each in self.batches if each > batch), default=self.end) - batch

    def act(self, batch: int, generate) -> dict | None:
        """Decide, where a decision is due before this batch.

        Args:
            batch: counted over the whole run from 0.
            generate: the averaged generator.

        Returns:
            What the history keeps of it, or None where none was due.
        """
        if batch not in self.batches:
            return None
        held_out = self.held_out(generate)
        progress = (batch - self.start) / (self.end - self.start)
        levels = np.asarray(self.controls.levels, np.float64)
        observation = self.observer.observe(progress=progress, held_out=held_out, levels=levels)
        decision = self.policy.decide(observation)
        levels = of_the_chief(self.strategy, moved(levels, decision.action))
        self.controls.levels.assign(bounded(levels).astype(np.float32))
        return {
            "batch": batch,
            "psnr": held_out[0],
            "lpips": held_out[1],
            "observation": {name: round(float(value), 5) for name, value in zip(FEATURES, observation, strict=True)},
            "action": {
                name: round(float(value), 5) for name, value in zip(self.policy.controls, decision.action, strict=True)
            },
            "reasons": decision.reasons,
            "factors": self.controls.factors(),
        }

    def add(self, metrics: dict, number: int, *, phase: str) -> None:
        """Take in the metrics of `number` batches of a phase."""
        if phase == "full":
            self.observer.add(metrics, number)

    def figures(self) -> dict[str, float]:
        """What the history keeps of every epoch: the factors, under their own names."""
        return {f"control_{name}": value for name, value in self.controls.factors().items()}


def decision_batches(start: int, end: int, decisions: int) -> list[int]:
    """The batches before which a decision is due."""
    return sorted({start + i * (end - start) // decisions for i in range(decisions)})


def policy_of_run(given: str, folder: str, *, resumed: bool) -> Policy:
    """The policy that was given to a new run, or the copy that a resumed one has of it.

    Raises:
        ValueError: there is no readable one.
    """
    return Policy.load(Path(folder, POLICY_FILE) if resumed else given)
