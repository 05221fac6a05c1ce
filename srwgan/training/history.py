"""The history of a run: the means of every epoch, under the names that users' notebooks read."""

import math
import pickle
from pathlib import Path

from srwgan.training.step import COUNTS
from srwgan.whole_files import read_json, write_json, written_whole

HISTORY_FILE = "history.json"  # in the folder of a run
# Metrics that the history names otherwise. One name was misspelled in the first version and is kept beside the right
# one.
HISTORY_NAMES = {
    "adversarial": ("g_loss",),
    "reconstruction": ("reconstruction_loss",),
    "content": ("content_loss",),
    "lattice": ("lattice_loss",),
    "gradient_penalty": ("gradient_penalty", "gradient_penaty"),
}


class History:
    """Collects the metrics of an epoch's steps, and keeps the means of all epochs.

    Attributes:
        epochs: {name: a value for each epoch}; None where a name has no value in an epoch.
        sums: {metric: (sum, number of steps)} of the epoch that is under way.
        decisions: a controller's, in order, see `Controller.act`.
    """

    def __init__(self):
        self.epochs, self.sums, self.decisions = {}, {}, []

    def add(self, metrics: dict, steps: int) -> None:
        """Take in the metrics of some steps, means over them, but for `COUNTS`, of which the last value counts."""
        for name, value in metrics.items():
            if name in COUNTS:
                self.sums[name] = (float(value), 1)
            elif math.isfinite(value):  # what an undone step measured is left out
                total, count = self.sums.get(name, (0.0, 0))
                self.sums[name] = (total + float(value) * steps, count + steps)

    def decide(self, decision: dict | None) -> None:
        """Keep what a controller has decided, where it has."""
        if decision:
            self.decisions.append(decision)

    def take_means(self) -> dict[str, float]:
        """The means of the epoch that has ended; the next one begins."""
        means = {name: total / max(count, 1) for name, (total, count) in self.sums.items()}
        self.sums = {}
        return {name: value for name, value in means.items() if name not in ("stop", "bad_in_a_row")}

    def record(self, epoch: int, means: dict[str, float]) -> None:
        """Put the means of an epoch, counted from 0, into the history."""
        for name, value in means.items():
            for known in HISTORY_NAMES.get(name, (name,)):
                self.epochs.setdefault(known, [None] * epoch).append(value)
        for values in self.epochs.values():
            values.extend([None] * (epoch + 1 - len(values)))

    def write(self, folder, *, batches: int, replicas: int) -> None:
        """Write `history.json`: the epochs, and what a resumed run needs to know.

        Raises:
            OSError: it cannot be written.
        """
        content = {"epochs": self.epochs, "partial": self.sums, "batches": batches, "replicas": replicas}
        if self.decisions:
            content["decisions"] = self.decisions
        write_json(Path(folder, HISTORY_FILE), content)

    def read(self, folder, *, batches: int, steps: int, replicas: int) -> None:
        """Take on the history of an interrupted run, up to the checkpoint that it goes on from.

        The history is written before the checkpoint. So it is ahead of it where a run was killed between the two, or
        where the last checkpoint is torn; what is ahead is cut off.

        Args:
            batches: batches that the checkpoint has done.
            steps: batches of an epoch.
            replicas: on which the run goes on.

        Raises:
            ValueError: there is no readable history, or one of another number of replicas or batches an epoch.
        """
        saved = read_json(Path(folder, HISTORY_FILE))
        if saved is None:
            raise ValueError(f"Received: --resume {folder}, without a readable {HISTORY_FILE}. Expected a run's.")
        if saved["replicas"] != replicas:
            raise ValueError(
                f"Received: --resume {folder} on {replicas} replica(s), which was started on "
                f"{saved['replicas']}. Expected as many, since --batchsz is for each."
            )
        epochs = max(map(len, saved["epochs"].values()), default=0)
        if epochs != saved["batches"] // steps:
            raise ValueError(
                f"Received: --resume {folder}, whose {saved['batches']} batches were {epochs} whole epochs, with "
                f"photographs of which an epoch has {steps} batches. Expected the photographs that it was trained on."
            )
        self.epochs = {name: values[: batches // steps] for name, values in saved["epochs"].items()}
        partial = saved["partial"] if saved["batches"] == batches else {}
        self.sums = {name: tuple(value) for name, value in partial.items()}
        self.decisions = [each for each in saved.get("decisions", []) if each["batch"] < batches]

    def write_pickle(self, path) -> None:
        """Write the epochs as the pickled dict that notebooks of this project read."""
        with written_whole(path) as temporary, open(temporary, "wb") as file:
            pickle.dump(self.epochs, file)
