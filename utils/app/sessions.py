"""The open pages: the files that belong to each, and when they go.

A session is one open page of one browser. It holds its uploads and results in a folder of its own, from their first
byte on. Nobody else reaches them: a session's name cannot be guessed, and it answers only the browser that opened it.
"""

import os
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from utils.app.jobs import BusyError, Job
from utils.app.limits import FileFacts

try:
    import fcntl
except ImportError:  # Windows, where what a killed server left has to be removed by hand
    fcntl = None

PREFIX = "srwgan-app-"
GRACE = 20.0  # seconds that a page may be without a connection, as it is while a phone changes its network
MOST_SESSIONS = 1000
TOKEN_BYTES = 24


class GoneError(LookupError):
    """There is no such session or file, or it is another browser's: the answer does not tell which."""


@dataclass(frozen=True)
class Upload:
    """A file that a page has uploaded, and what its header says."""

    id: str
    path: Path
    facts: FileFacts


@dataclass(eq=False)
class Session:
    """An open page.

    Attributes:
        id: its secret name.
        owner: the secret of the browser that opened it, from its cookie.
        address: the client's.
        folder: where its files are.
        uploads: {id: Upload}.
        results: {id: its folder}.
        events: what the page is told, in order. The page that lost its connection asks for those that it missed.
        job: the one that is being done, or None.
        place: (name of the file at hand, its number, number of files) of the job.
        later: seconds that the job's later files are expected to take.
        listeners: open connections through which it hears of events.
        arriving: bytes of uploads that have not arrived yet.
    """

    id: str
    owner: str
    address: str
    folder: Path
    uploads: dict[str, Upload] = field(default_factory=dict)
    results: dict[str, Path] = field(default_factory=dict)
    events: list[dict] = field(default_factory=list)
    job: Job | None = None
    place: tuple = ("", 1, 1)
    later: float = 0.0
    listeners: int = 0
    arriving: int = 0
    closed: bool = False
    unheard_since: float = field(default_factory=time.monotonic)
    acted_at: float = field(default_factory=time.monotonic)
    _files: dict[str, Path] = field(default_factory=dict)

    def start_job(self) -> Job:
        """A new job.

        Raises:
            BusyError: there is another, or the page was closed.
        """
        if self.closed:
            raise BusyError("This page was closed. Please load it again.")
        if self.job:
            raise BusyError("This page is at work already. Please wait for it, or cancel it.")
        self.job = Job(self.id, self.address)
        return self.job

    def end_job(self):
        self.job = None
        if self.closed:
            shutil.rmtree(self.folder, ignore_errors=True)

    def tell(self, type: str, /, **content):
        """Adds an event for the page."""
        self.events.append({"type": type, **content})

    def acted(self):
        self.acted_at = time.monotonic()

    def new_folder(self, group: str) -> Path:
        """An empty folder for the files of one upload or result; its name is new."""
        folder = self.folder / group / secrets.token_urlsafe(9)
        folder.mkdir(parents=True)
        return folder

    def publish(self, path: Path) -> str:
        """The address, relative to the page's, under which the session's browser may fetch a file."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._files[token] = Path(path)
        return f"sessions/{self.id}/files/{token}/{quote(Path(path).name)}"

    def published(self, token: str) -> Path:
        """The file at an address that `publish` gave. Raises GoneError."""
        path = self._files.get(token)
        if path is None or not path.is_file():
            raise GoneError
        return path

    def upload(self, id: str) -> Upload:
        """Raises GoneError."""
        if id not in self.uploads:
            raise GoneError
        return self.uploads[id]

    def remove_upload(self, id: str):
        shutil.rmtree(self.upload(id).path.parent, ignore_errors=True)
        del self.uploads[id]

    def remove_result(self, id: str):
        """Raises GoneError."""
        if id not in self.results:
            raise GoneError
        folder = self.results.pop(id)
        self._files = {token: path for token, path in self._files.items() if not path.is_relative_to(folder)}
        shutil.rmtree(folder, ignore_errors=True)


class Sessions:
    """All open pages, by their names. Not for several threads: the server's event loop has it.

    Args:
        root: the folder of their folders.
        grace: seconds that a page may be without a connection.
        minutes: how long a page may rest before its files are removed.
    """

    def __init__(self, root: Path, *, grace: float = GRACE, minutes: float = 120):
        self.root, self.grace, self.minutes = Path(root), grace, minutes
        self.ended = False
        self._sessions, self._ending = {}, set()

    def open(self, owner: str, address: str) -> Session:
        """A new session.

        Raises:
            BusyError: too many pages are open.
        """
        if self.ended or len(self._sessions) >= MOST_SESSIONS:
            raise BusyError("Too many pages are open. Please try again in a few minutes.")
        id = secrets.token_urlsafe(TOKEN_BYTES)
        session = self._sessions[id] = Session(id, owner, address, self.root / secrets.token_urlsafe(TOKEN_BYTES))
        return session

    def get(self, id: str, owner: str) -> Session:
        """The session of this name, if this browser opened it. Raises GoneError."""
        session = self._sessions.get(id)
        if session is None or not secrets.compare_digest(session.owner.encode(), owner.encode()):
            raise GoneError
        return session

    def close(self, session: Session):
        """Stops the page's job and removes its files."""
        self._sessions.pop(session.id, None)
        session.closed = True
        if session.job:
            self._ending.add(session)
            session.job.cancel()  # and removes the folder when it has ended
        else:
            shutil.rmtree(session.folder, ignore_errors=True)

    def close_unheard(self):
        """Closes the pages that nobody listens to any more, and those that rested for too long."""
        now = time.monotonic()
        for session in list(self._sessions.values()):
            if not session.listeners and now - session.unheard_since > self.grace:
                self.close(session)
            elif not session.job and now - session.acted_at > 60 * self.minutes:
                self.close(session)
        self._ending = {session for session in self._ending if session.job}
        self.remove_strays()

    def remove_strays(self):
        """Removes folders of no session, such as one that an upload made again while its page was closed."""
        known = {session.folder for session in (*self._sessions.values(), *self._ending)}
        for folder in self.root.iterdir():
            if folder.is_dir() and folder not in known:
                shutil.rmtree(folder, ignore_errors=True)

    def end(self):
        """No page may be opened or told anything any more. Any thread may say so."""
        self.ended = True

    def close_all(self):
        self.end()
        for session in list(self._sessions.values()):
            self.close(session)


def folder_bytes(folder: Path) -> int:
    """The bytes of all files below a folder, which may come and go meanwhile."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                pass
    return size


# The folder of a server


class ServerFolder:
    """A temporary folder for all sessions, and the end of those that killed servers left behind.

    Each server holds a lock on a file in its folder for as long as it lives, so a folder whose lock is free is a dead
    one's. Use it as a context manager; it gives the folder's path.
    """

    def __init__(self):
        self._temporary = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
        path = Path(self._temporary.name) / "lock"
        self._lock = open(path.with_suffix(".new"), "w")
        lock(self._lock)
        path.with_suffix(".new").rename(path)  # it has its name once it is locked

    def __enter__(self):
        remove_left_over(Path(self._temporary.name).parent)
        return Path(self._temporary.name)

    def __exit__(self, *_):
        self._lock.close()
        self._temporary.cleanup()


def remove_left_over(parent: Path):
    """Removes the folders below `parent` of servers that were killed."""
    if fcntl is None:
        return
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with open(folder / "lock") as file:
                is_dead = lock(file)
        except OSError:  # of a server that is just starting or ending
            continue
        if is_dead:
            shutil.rmtree(folder, ignore_errors=True)


def lock(file):
    """Takes a file's lock; False where a living process has it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
