"""Files read whole or not at all, and written whole or not at all."""

import errno
import hashlib
import itertools
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NUMBERS = itertools.count()
OTHERS_REMAINS = 24 * 3600  # seconds after which what another machine left unfinished is taken for abandoned


def read_unchanged(path):
    """All bytes of a file that did not change meanwhile."""
    before = check_file(path)
    data = Path(path).read_bytes()
    check_unchanged(path, before)
    return data


def check_unchanged(path, before):
    """Raises where a file is not what its stat `before` says: of a download in progress there is half a picture."""
    after = os.stat(path)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ValueError(f"{path}: the file changed while it was read.")


def check_file(path):
    """The stat of a non-empty file, or an error that names what is there instead."""
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder. Expected a file.")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file.")
    stat = os.stat(path)
    if stat.st_size == 0:
        raise ValueError(f"{path}: the file is empty (0 bytes).")
    return stat


def walk(folder) -> Iterator[tuple[str, list[str], list[str]]]:
    """`os.walk`, sorted, which follows links, but into no folder that is being gone through."""
    for parent, folders, names in os.walk(folder, followlinks=True):
        parts = Path(parent).resolve(), *Path(parent).parents
        above = {os.path.realpath(part) for part in parts}
        folders[:] = sorted(name for name in folders if os.path.realpath(os.path.join(parent, name)) not in above)
        yield parent, folders, sorted(names)


def can_be_made(folder) -> bool:
    """Whether a folder is there or can be made, and files can be written in it."""
    folder = Path(folder).absolute()
    while not folder.exists():
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def check_output(path):
    """Raises FileNotFoundError for a file to be written in a folder that is not there, before the work for it."""
    if not Path(path).absolute().parent.is_dir():
        raise FileNotFoundError(f"Received: output {path}. Expected a file in a folder that exists.")


def temporary_beside(path, suffix: str = ".part") -> Path:
    """A name in the folder of `path` to write it under at first: hidden, short whatever its own, and of this process.

    What processes that are gone left of `path` is removed, as after `kill -9`.

        .4f5c1e0a9b7d.9c31-4711-0.part
         of the name   host pid  number
    """
    path = Path(path)
    remove_remains(path)
    return path.with_name(f"{remains_prefix(path)}{this_host()}-{os.getpid()}-{next(NUMBERS)}{suffix}")


def remove_remains(path):
    """Removes temporary files and folders of `path` whose process is gone."""
    path = Path(path)
    prefix = remains_prefix(path)
    with suppress(OSError):
        for found in os.scandir(path.parent):
            if found.name.startswith(prefix) and is_abandoned(Path(found), found.name[len(prefix) :]):
                remove(Path(found))


def remains_prefix(path):
    return f".{hashlib.sha256(os.fsencode(Path(path).name)).hexdigest()[:12]}."


def this_host():
    return hashlib.sha256(platform.node().encode()).hexdigest()[:4]


def is_abandoned(found, rest):
    """Whether no process writes to `found`; `rest` is its name after the prefix."""
    host, _, numbers = rest.partition("-")
    if host != this_host():
        with suppress(OSError):
            return time.time() - found.stat().st_mtime > OTHERS_REMAINS
        return False
    try:
        os.kill(int(numbers.split("-")[0]), 0)
    except (ProcessLookupError, ValueError):
        return True
    except OSError:
        return False
    return False


def remove(found):
    with suppress(OSError):
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink()


@contextmanager
def written_whole(path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, which takes that name once the block has ended well.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(f"{path}: cannot be written ({error.strerror}).") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(path, *, aside=None) -> Iterator[Path]:
    """Gives a new folder beside `path`, which takes that name once the block has ended well.

    Args:
        path: of the folder.
        aside: the name that what stands at `path` takes then. Without it nothing may stand there.
    """
    path = Path(path)
    temporary = temporary_beside(path)
    temporary.mkdir()
    try:
        yield temporary
        if aside is not None:
            os.rename(path, aside)
        os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path, text: str):
    """Writes a text file (UTF-8) whole or not at all.

    Raises:
        OSError: it cannot be written; the message names it.
    """
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, content):
    """Writes a JSON file whole or not at all, and raises as `write_text`."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path):
    """The content of a JSON file, None where there is none or where it is torn."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
