"""Timing in turns, so that other work on the machine slows all that is compared alike."""

import time
from collections.abc import Callable
from statistics import median


def in_turns(tasks: dict[str, Callable], repeats: int, *, warming: dict[str, Callable] | None = None) -> dict:
    """Time functions without arguments, each `repeats` times, in turn.

    Args:
        tasks: {name: function}.
        warming: functions that are run once before, shorter ones of the same kind; None for the tasks themselves.

    Returns:
        {name: [seconds]}.
    """
    for task in (warming or tasks).values():
        task()
    seconds = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            seconds[name].append(timed(task))
    return seconds


def timed(task: Callable) -> float:
    """The seconds that a function takes."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def best_of(count: int, task: Callable) -> float:
    """The seconds of the fastest of `count` calls, which other work on the machine disturbed least."""
    return min(timed(task) for _ in range(count))


def median_ratio(numerators: list[float], denominators: list[float]) -> float:
    """The median of the ratios of what was timed in the same turn."""
    return median(a / b for a, b in zip(numerators, denominators, strict=True))
