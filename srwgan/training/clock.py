"""Where the time of a run goes."""

import collections
import contextlib
import time

PARTS = WAITING, STEPS, COMPILING, EPOCH_ENDS, DECIDING = (
    "waiting for data",
    "steps",
    "first steps, compiled",
    "validation, pictures and checkpoints",
    "the controller's decisions",
)


class Clock:
    """Seconds spent on each of `PARTS`, and the images that went through them."""

    def __init__(self):
        self.seconds, self.images = collections.Counter(), collections.Counter()
        self.start, self.last_due = time.perf_counter(), {}

    @contextlib.contextmanager
    def measuring(self, part: str, images: int = 0):
        """Count the time of the block, and these images, for a part."""
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start
        self.images[part] += images

    def images_per_second(self) -> float:
        parts = self.representative_parts()
        return sum(self.images[part] for part in parts) / sum(self.seconds[part] for part in parts)

    def waiting_share(self) -> float:
        """The share of the time, 0 to 1, that was spent waiting for data."""
        return self.seconds[WAITING] / sum(self.seconds[part] for part in self.representative_parts())

    def representative_parts(self) -> tuple[str, str]:
        """The parts that tell a run's speed. First steps, which are compiled, do not, unless there are no others."""
        return (WAITING, STEPS) if self.images[STEPS] else (WAITING, COMPILING)

    def due(self, every: float) -> bool:
        """Whether `every` seconds have passed since the start, or since this was last true for as many."""
        now = time.perf_counter()
        if now - self.last_due.get(every, self.start) < every:
            return False
        self.last_due[every] = now
        return True
