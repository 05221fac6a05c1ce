"""TensorFlow started beside a page that is there already: until it runs, LiteRT does what it can."""

import os
import sys
import threading
from collections.abc import Callable

CHECKED = 0.2  # seconds between two looks at whether who waits still wants to


class Start:
    """Work of some seconds in a thread of its own, which others may wait for.

    Args:
        work: a function without arguments.
        failed: called with what it raises, in that thread.
    """

    def __init__(self, work: Callable[[], object], failed: Callable[[BaseException], None] = lambda error: None):
        self._work, self._failed, self.error = work, failed, None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="srwgan-start", daemon=True)

    def begin(self) -> "Start":
        self._thread.start()
        return self

    @property
    def is_done(self) -> bool:
        """Whether the work is over, also by an error, which is then in `error`."""
        return self._done.is_set()

    def wait(self, check: Callable[[], None]) -> None:
        """Returns when the work is done, and raises its error.

        Args:
            check: called meanwhile; what it raises ends the waiting.
        """
        while not self._done.wait(CHECKED):
            check()
            if not self._thread.is_alive() and not self.is_done:
                raise RuntimeError("The thread that starts TensorFlow has ended.")
        if self.error:
            raise self.error

    def end_with_process(self, status: int) -> None:
        """Ends the process at once where the work goes on; else returns.

        It is for when all else is done. The work cannot be interrupted, and Python's own exit would stop the thread in
        the midst of the libraries' code, which may end in a crash.
        """
        if not self.is_done:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def join(self, seconds: float) -> None:
        """Waits for the thread's end, but no longer than so many seconds."""
        self._thread.join(seconds)

    def _run(self):
        try:
            self._work()
        except BaseException as error:
            self.error = error
        finally:
            self._done.set()
        if self.error:
            self._failed(self.error)
