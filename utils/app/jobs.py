"""Who has the device, and who waits for it in which order."""

import itertools
import threading
import time
from collections import Counter, OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

MOST_SHARE = 0.98  # of a job that takes longer than expected
REMEMBERED = 1000  # addresses and pages whose last turn is known


class CancelledError(Exception):
    """The page does not want the result any more."""


class BusyError(ValueError):
    """Too many are waiting, or this page is at work already."""


class Job:
    """One page's wish for results. Any thread may cancel it; a running one notices at its next tile or frame.

    Args:
        page: tells pages apart.
        address: tells clients apart: each gets its turns, however many pages it has open.

    Attributes:
        step: what is being done, for people.
        done, total: tiles or frames of this step; the total is None where it is not known.
        expected: seconds that the file at hand was expected to take, or None.
        started: when the file at hand began, by `time.monotonic()`, or None while it waits.
    """

    def __init__(self, page: str = "", address: str = ""):
        self.page, self.address = page, address
        self.step, self.done, self.total = "", 0, None
        self.expected, self.started = None, None
        self._began, self._step_started = None, 0.0
        self._cancelled = threading.Event()
        self._future = None

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self):
        self._cancelled.set()
        if self._future:
            self._future.cancel()

    def check(self):
        """Raises CancelledError for a cancelled job."""
        if self.cancelled:
            raise CancelledError

    def start(self, step: str):
        self.check()
        self.step, self.done, self.total = step, 0, None
        self._step_started = time.monotonic()

    def progress(self, done: int, total: int | None):
        """To be called after each tile or frame."""
        self.check()
        self.done, self.total = done, total

    def seconds_left(self) -> float | None:
        """Of the file at hand: by how fast its step goes on, or else by what it was expected to take."""
        if self.expected is None:
            return None
        if self.started is None:
            return self.expected
        now = time.monotonic()
        if self.total and self.done > 1:
            return (now - self._step_started) * (self.total - self.done) / self.done
        return max(self.expected - (now - self.started), 0.0)

    def share(self, left: float) -> float | None:
        """How much of the job is done, 0 to 1, where so many seconds are left; None before its first turn."""
        if self._began is None:
            return None
        passed = time.monotonic() - self._began
        return min(passed / (passed + left), MOST_SHARE) if passed > 0 else 0.0

    def take_turn(self):
        """To be called when a file's turn begins."""
        self.started = time.monotonic()
        self._began = self._began or self.started
        self.check()

    def expect(self, seconds: float):
        """To be called when a file asks for its turn, with what it is expected to take."""
        self.expected, self.started, self.total = seconds, None, None


@dataclass(frozen=True, eq=False)
class Ticket:
    """A place in the queue."""

    number: int
    job: Job
    function: object
    args: tuple
    future: Future


class Device:
    """One thread, which does one thing at a time.

    The next turn goes to the address that was served the longest time ago, and there to the page of which that holds.
    Jobs of many files ask for each file anew, so that others get their turn in between.

    Args:
        most_waiting: places in the queue. One address may hold three quarters of them, so that nobody fills it alone.
    """

    def __init__(self, most_waiting: int):
        self.most_waiting, self.most_of_one = most_waiting, max(1, most_waiting * 3 // 4)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="srwgan-device")
        self._lock, self._waiting, self._running = threading.Lock(), [], None
        self._numbers, self._turns = itertools.count(), OrderedDict()  # tickets and turns are counted alike

    def submit(self, job: Job, function, *args) -> Future:
        """The Future of function(*args).

        Raises:
            BusyError: too many wait.
        """
        with self._lock:
            self.check_places(job)
            ticket = Ticket(next(self._numbers), job, function, args, Future())
            job._future = ticket.future
            self._waiting.append(ticket)
        ticket.future.add_done_callback(lambda _: self._forget(ticket))
        if job.cancelled:
            ticket.future.cancel()
        else:
            self._thread.submit(self._next)
        return ticket.future

    def check_places(self, job):
        of_one = Counter(ticket.job.address for ticket in self._waiting)[job.address]
        if len(self._waiting) >= self.most_waiting:
            raise BusyError(f"{len(self._waiting)} others are waiting already. Please try again in a few minutes.")
        if of_one >= self.most_of_one:
            raise BusyError(f"{of_one} are waiting from your address already. Please try again in a few minutes.")

    def ahead_of(self, job: Job) -> list[Job] | None:
        """The jobs that are done before `job` starts, the running one first; None when it has started."""
        with self._lock:
            order = [ticket.job for ticket in self._in_order()]
            if job not in order:
                return None
            return ([self._running] if self._running else []) + order[: order.index(job)]

    def all_jobs(self) -> list[Job]:
        """The running job and all that wait."""
        with self._lock:
            return ([self._running] if self._running else []) + [ticket.job for ticket in self._waiting]

    def close(self):
        for job in self.all_jobs():
            job.cancel()
        self._thread.shutdown(cancel_futures=True)

    def _turn(self, ticket):
        job = ticket.job
        address, page = self._turns.get(job.address, -1), self._turns.get((job.address, job.page), -1)
        return address, page, ticket.number

    def _in_order(self):
        return sorted(self._waiting, key=self._turn)

    def _next(self):
        """Runs the one whose turn it is."""
        with self._lock:
            order = self._in_order()
            ticket = next((ticket for ticket in order if starts(ticket.future)), None)
            if ticket is None:
                return
            self._waiting.remove(ticket)
            self._running, turn = ticket.job, next(self._numbers)
            job = ticket.job
            for key in job.address, (job.address, job.page):
                self._turns[key] = turn
                self._turns.move_to_end(key)
            while len(self._turns) > REMEMBERED:
                self._turns.popitem(last=False)
        try:
            job.take_turn()
            result = ticket.function(*ticket.args)
        except BaseException as error:
            self._idle()
            ticket.future.set_exception(error)
        else:
            self._idle()
            ticket.future.set_result(result)

    def _idle(self):
        with self._lock:
            self._running = None

    def _forget(self, ticket):
        """Takes a ticket that was cancelled while it waited out of the queue."""
        with self._lock:
            if ticket in self._waiting:
                self._waiting.remove(ticket)


def starts(future):
    """Marks a Future as running; False for one that was cancelled."""
    return not future.cancelled() and future.set_running_or_notify_cancel()
