"""An iterable pulled in a thread of its own, so that decoding, upscaling and encoding overlap."""

import os
import queue
import sys
import threading
from contextlib import suppress

END = object()
NICENESS = 10


def in_background(iterable, ahead=2, gives_way=False):
    """Yields what `iterable` yields, in order; a thread pulls it, at most `ahead` items further on.

    With `gives_way` that thread leaves the processors to others that want them, on Linux. The threads of a network wait
    for each other after every layer: work beside them that takes one's turn holds up all.

    An exception of the iterable is raised here. When this generator is closed or deleted, the thread ends (after the
    item it is at) and the iterable's own `close` is called.
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


def pull(iterable, results, stopped, gives_way):
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


def give_way():
    """Lower the calling thread's priority where the system lets one: elsewhere priorities are whole processes'."""
    if sys.platform == "linux":
        with suppress(OSError):  # a container may forbid it
            os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)


def empty(results):
    while True:
        try:
            results.get_nowait()
        except queue.Empty:
            return
