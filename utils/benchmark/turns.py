"""Timing what is compared in turns, so that other work on the machine slows all alike."""

import time
from statistics import median


def in_turns(tasks, repeats, warming=None):
    """{name: [seconds]} of functions without arguments, each run `repeats` times in turn.

    Before that each is run once, or each of `warming`, shorter ones of the same kind.
    """
    for task in (warming or tasks).values():
        task()
    seconds = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            seconds[name].append(timed(task))
    return seconds


def timed(task):
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def best_of(count, task):
    return min(timed(task) for _ in range(count))


def median_ratio(numerators, denominators):
    return median(a / b for a, b in zip(numerators, denominators, strict=True))
