"""What was measured of this machine, kept between runs, so that it is measured once.

It lies in the user's cache folder, `~/.cache/srwgan`. The environment variable SRWGAN_CACHE names another folder. Where
it is empty, nothing is kept, and all is measured anew.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from srwgan.whole_files import read_json, write_json

VARIABLE = "SRWGAN_CACHE"


def user_cache() -> Path:
    """Where what can be made again lies by default."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "srwgan"


def cache_file(name: str) -> Path | None:
    """The file of that name in the cache folder; None where nothing is kept."""
    folder = os.environ.get(VARIABLE, user_cache())
    return Path(folder) / name if folder else None


def recalled(
    file: Path | None, key: str, measure: Callable[[], Any], *, kind: type, is_kept: Callable[[Any], bool] = bool
) -> Any:
    """What was measured under a key, from a file, else measured now and kept there.

    A file that is torn or holds something else is measured anew, and one that cannot be written is done without.

    Args:
        file: None where nothing is kept.
        key: all that the figure depends on.
        measure: gives what JSON can hold.
        kind: of what it gives.
        is_kept: whether that is worth keeping.
    """
    known = read_json(file) if file else None
    known = known if isinstance(known, dict) else {}
    if isinstance(known.get(key), kind):
        return known[key]
    found = measure()
    if file and is_kept(found):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, {**known, key: found})
        except OSError:
            pass
    return found
