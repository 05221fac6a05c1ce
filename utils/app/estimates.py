"""How long a file will take: the seconds for a megapixel, learned from the files before."""

import threading
from collections import defaultdict

FIRST_GUESS = 4.0  # seconds for a megapixel of low resolution, until one was measured
OVERHEAD = 0.3  # seconds for a file, whatever its size: reading, writing, the view
MEMORY = 0.7  # how much of what was learned remains after each file


class Pace:
    """Seconds for a megapixel of low resolution, by generator, precision and kind of file. Any thread may use it.

    Megapixels are counted times the generator's cost (`Models.cost`), so that what was learned with one generator is a
    guess for another.
    """

    def __init__(self):
        self._lock, self._learned = threading.Lock(), defaultdict(lambda: (0.0, 0.0))

    def seconds(self, key: tuple, megapixels: float) -> float:
        """What a file of so many megapixels, all frames together, is expected to take.

        Args:
            key: (generator's name, precision, kind); a kind that was never met is guessed by what was.
        """
        with self._lock:
            known = self._learned[key] if key in self._learned else self._most_alike(key)
        return OVERHEAD + megapixels * rate(known)

    def learn(self, key: tuple, megapixels: float, seconds: float):
        """To be told after each file what it took."""
        with self._lock:
            passed, done = self._learned[key]
            self._learned[key] = MEMORY * passed + max(seconds - OVERHEAD, 0.01), MEMORY * done + megapixels

    def _most_alike(self, key):
        """What was learned under the key that shares most with this one."""
        if not self._learned:
            return 0.0, 0.0
        alike = max(self._learned, key=lambda other: sum(a == b for a, b in zip(key, other, strict=True)))
        return self._learned[alike]


def rate(learned):
    seconds, megapixels = learned
    return seconds / megapixels if megapixels else FIRST_GUESS
