"""Waiting in tests: as long as the slowest machine may take, and never for ever.

A test that waits without an end stops the whole suite when what it waits for is lost, and nothing says which test it
was. `LIMIT` is far above what any wait takes on a machine twenty times slower than usual.
"""

import time

LIMIT = 900  # seconds


def until(condition, what="", pause=lambda: time.sleep(0.02)):
    """Waits until `condition()` is true, and calls `pause` as long as it is not.

    Raises:
        TimeoutError: it is not within `LIMIT` seconds; the error names `what`, or else the condition.
    """
    ends = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"{what or condition} not within {LIMIT} s")
        pause()
