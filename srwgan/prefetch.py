"""Prefetching: an iterable is pulled in a thread of its own, so that decoding, upscaling and encoding overlap."""

import os
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress

END = object()
NICENESS = 10


def prefetched(iterable: Iterable, ahead: int = 2, *, gives_way: bool = False) -> Iterator:
    """Yields the items of `iterable` in order, which a thread pulls ahead of the consumer.

    When the generator is closed or deleted, the thread ends after the item that it is at, and calls the `close` of the
    iterable. An exception of the iterable is raised by the generator.

    Args:
        iterable: its `close`, where it has one, is called at the end.
        ahead: how many items the thread may be ahead.
        gives_way: whether the thread leaves the processors to other threads that want them (on Linux). The threads of a
            network wait for each other after every layer, so that work which takes one's turn holds up all of them.
    """
    results, stopped = queue.Queue(ahead), threading.Event()
    arguments = (iterable, results, stopped, gives_way)
    thread = threading.Thread(target=pull, args=arguments, daemon=True, name="srwgan-pull")
    thread.start()
    try:
        while True:
            item, error = results.get()
            if error is not None:
                raise error
            if item is END:
                return
            yield item
    finally:
        stopped.set()
        while thread.is_alive():
            empty(results)  # the thread may be waiting for room
            thread.join(0.01)


def pull(iterable: Iterable, results: queue.Queue, stopped: threading.Event, gives_way: bool) -> None:
    """Puts (item, None) for each item and at last (END, error or None)."""
    error = None
    if gives_way:
        give_way()
    try:
        for item in iterable:
            results.put((item, None))
            if stopped.is_set():
                break
    except BaseException as raised:
        error = raised
    try:
        if hasattr(iterable, "close"):
            iterable.close()
    except BaseException as raised:
        error = error or raised
    results.put((END, error))


def give_way() -> None:
    """Lowers the calling thread's priority on Linux. On other systems a priority is the whole process's."""
    if sys.platform == "linux":
        with suppress(OSError):  # a container may forbid it
            os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)


def empty(results: queue.Queue) -> None:
    while True:
        try:
            results.get_nowait()
        except queue.Empty:
            return
