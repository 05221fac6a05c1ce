"""Who waits for the device, who has it, and which files belong to which page."""

import secrets
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


class CancelledError(Exception):
    """The page does not want the result any more."""


class BusyError(ValueError):
    """Too many are waiting."""


class Job:
    """One page's wish for results; cancelled from any thread, which a running one notices at its next tile or frame."""

    def __init__(self):
        self.step, self.done, self.total = "", 0, None
        self._cancelled = threading.Event()
        self._future = None

    @property
    def cancelled(self):
        return self._cancelled.is_set()

    def cancel(self):
        self._cancelled.set()
        if self._future:
            self._future.cancel()

    def check(self):
        if self.cancelled:
            raise CancelledError

    def start(self, step):
        self.check()
        self.step, self.done, self.total = step, 0, None

    def progress(self, done, total):
        """To be called after each tile or frame."""
        self.check()
        self.done, self.total = done, total


class Device:
    """One thread, which does one thing at a time in the order of asking.

    Jobs of many files ask for each file anew, so that others get their turn in between.
    """

    def __init__(self, most_waiting):
        self.most_waiting = most_waiting
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="srwgan-device")
        self._lock, self._waiting, self._running = threading.Lock(), [], None

    def submit(self, job, function, *args):
        """A concurrent Future of function(*args); raises BusyError where too many wait."""
        with self._lock:
            if len(self._waiting) >= self.most_waiting:
                raise BusyError(f"{len(self._waiting)} others are waiting already. Please try again in a few minutes.")
            self._waiting.append(job)
            job._future = future = self._thread.submit(self._run, job, function, *args)
        future.add_done_callback(lambda _: self._forget(job))
        if job.cancelled:
            future.cancel()
        return future

    def ahead_of(self, job):
        """How many have to be done before `job` starts; None when it has started."""
        with self._lock:
            return self._waiting.index(job) + (self._running is not None) if job in self._waiting else None

    def close(self):
        with self._lock:
            jobs = [*self._waiting, *([self._running] if self._running else [])]
        for job in jobs:
            job.cancel()
        self._thread.shutdown(cancel_futures=True)

    def _run(self, job, function, *args):
        with self._lock:
            self._waiting.remove(job)
            self._running = job
        try:
            job.check()
            return function(*args)
        finally:
            with self._lock:
                self._running = None

    def _forget(self, job):
        """Of a job cancelled while it waited."""
        with self._lock:
            if job in self._waiting and job._future.done():
                self._waiting.remove(job)


class Session:
    """An open page: its folder, the uploads it uses, its job."""

    def __init__(self, folder):
        self.folder, self.uploads, self.job = folder, set(), None
        self.closed = False

    def start_job(self):
        """A new job; raises BusyError while there is another."""
        if self.closed:
            raise BusyError("This page was closed. Please load it again.")
        if self.job:
            raise BusyError("This page is at work already. Please wait for it, or cancel it.")
        self.job = Job()
        return self.job

    def end_job(self):
        self.job = None
        if self.closed:
            shutil.rmtree(self.folder, ignore_errors=True)

    def new_folder(self):
        """An empty folder for one job's files; those of the job before are removed."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return self.folder


class Sessions:
    """The open pages, by their session hash. Results are served by their path, so the folder's name is a secret."""

    def __init__(self, root):
        self.root, self._sessions, self._lock = Path(root), {}, threading.Lock()

    def get(self, key):
        with self._lock:
            if key not in self._sessions:
                self._sessions[key] = Session(self.root / f"session-{secrets.token_urlsafe(24)}")
            return self._sessions[key]

    def close(self, key):
        """Stops the page's job and removes its files, and its uploads unless another page uses the same."""
        with self._lock:
            session = self._sessions.pop(key, None)
            if session is None:
                return
            session.closed = True
            others = set().union(*(other.uploads for other in self._sessions.values()))
        if session.job:
            session.job.cancel()  # and removes the folder when it has ended
        else:
            shutil.rmtree(session.folder, ignore_errors=True)
        for upload in session.uploads - others:
            shutil.rmtree(upload.parent, ignore_errors=True)  # a folder for each content

    def close_all(self):
        for key in list(self._sessions):
            self.close(key)
