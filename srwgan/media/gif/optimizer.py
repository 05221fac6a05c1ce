"""Optimizes GIFs with gifsicle, through pygifsicle."""

import os
import shutil
import sysconfig
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

from srwgan.media.gif.reader import GifReader
from srwgan.whole_files import temporary_beside

# gifsicle holds about twice the file in memory.
LARGEST_BYTES = 64 * 2**20
# It is tried on TRIED frames in a row at first: on those from the second one on, EVERY frames further on, and then ever
# twice as far on: 1 to 3, 25 to 27, 73 to 75, 169 to 171 ... Where it does not make these smaller by half a hundredth,
# as hardly ever in what `GifWriter` wrote, the rest is not worth its time. Of fewer than SHORT frames, all are.
TRIED, EVERY, SHORT, WORTH = 3, 24, 12, 0.995


def optimize_gif(
    path, colors: int | None = None, largest_bytes: int = LARGEST_BYTES, trial: "Trial | None" = None
) -> bool:
    """Replaces a GIF by gifsicle's version of it where that is smaller.

    The file is left as it is, and a warning of one line says why, where gifsicle does not run, the file is larger than
    `largest_bytes`, or it has local palettes, which gifsicle would merge. A file of 12 frames or more is also left as
    it is where gifsicle gains less than half a hundredth on some of them.

    Args:
        colors: None, or 2 to 256: then the version has so many colors, and replaces the file whatever its size.
        largest_bytes: of a file that is given to gifsicle.
        trial: one that was given the file's frames as they were written; by default there is one now.

    Returns:
        Whether the file was replaced.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another number of colors, or a file that is not a whole GIF.
    """
    path = Path(path)
    if colors is not None and not 2 <= colors <= 256:
        raise ValueError(f"Received: colors={colors}. Expected None, or 2 to 256.")
    reason = reason_to_leave(path, colors, largest_bytes)
    if reason:
        return left_alone(path, reason)
    if colors is None:
        with nullcontext(trial) if trial else Trial(path) as trial:
            if not trial.frames:
                trial.add_all()
            if not trial.gains():
                return False
    folder = temporary_beside(path)
    folder.mkdir()
    try:
        source, result = folder / "source.gif", folder / "result.gif"
        shutil.copyfile(path, source)  # since pygifsicle takes no other ending than .gif
        try:
            run_gifsicle(source, result, colors)
        except (ImportError, OSError) as error:
            return left_alone(path, f"gifsicle does not run ({str(error).splitlines()[0]})")
        if not result.exists() or timing(result) != timing(source):
            return left_alone(path, "gifsicle failed on it")
        if colors is None and result.stat().st_size >= path.stat().st_size:
            return False
        os.replace(result, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return True


class Trial:
    """Tries gifsicle on some frames of a GIF, in the background: while the file is still being written.

    It is a context manager, which removes its temporary files at the end. Its `add` is what `GifWriter` takes as
    `stored`.

    Args:
        path: of the GIF, beside which there are temporary files.

    Attributes:
        frames: how many there were so far.
    """

    def __init__(self, path):
        self.path, self.frames = Path(path), 0
        self._header, self._part, self._next = None, [], 1  # `_next` is the first frame of the next part
        self._folder = None
        self._thread = ThreadPoolExecutor(1, "srwgan-gifsicle")
        self._sizes = []  # `Future`s of (bytes before, bytes after)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._thread.shutdown(cancel_futures=True)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, blocks: bytes):
        """Takes what is before the frames; after that a frame's blocks each time, as they are stored."""
        if self._header is None:
            self._header = blocks
            return
        if self.frames >= self._next:
            self._part.append(blocks)
        self.frames += 1
        if len(self._part) == TRIED:
            self._sizes.append(self._thread.submit(self._tried, b"".join([self._header, *self._part, b";"])))
            self._part, self._next = [], 2 * self._next - 1 + EVERY

    def add_all(self):
        """Takes the frames of the whole file, where these are not so few that all are worth gifsicle's time."""
        with GifReader(self.path) as reader:
            if reader.frame_count >= SHORT:
                for blocks in reader.stored():
                    self.add(blocks)

    def gains(self) -> bool:
        """Whether the whole file is worth gifsicle's time. Waits for what is being tried."""
        sizes = [size.result() for size in self._sizes]
        if self.frames < SHORT or None in sizes:
            return True
        before, after = map(sum, zip(*sizes, strict=True))
        return after <= WORTH * before

    def _tried(self, data):
        """The size of a GIF before and after gifsicle; None where that fails."""
        if self._folder is None:
            self._folder = temporary_beside(self.path)
            self._folder.mkdir()
        source, result = self._folder / "source.gif", self._folder / "result.gif"
        source.write_bytes(data)
        result.unlink(missing_ok=True)
        try:
            run_gifsicle(source, result, None)
            return len(data), result.stat().st_size
        except (ImportError, OSError):
            return None


def run_gifsicle(source, result, colors):
    from pygifsicle import gifsicle

    with environment_on_path():
        # Without keep-empty, frames equal to the one before are merged with it.
        options = ["-O3", "-Okeep-empty", "--no-warnings"]
        gifsicle(str(source), str(result), colors=colors or 256, options=options)


def reason_to_leave(path, colors, largest_bytes):
    size = path.stat().st_size
    if size > largest_bytes:
        return f"gifsicle would hold its {size / 2**20:.1f} MB in memory (limit {largest_bytes / 2**20:.1f} MB)"
    with GifReader(path) as reader:
        if reader.local_palettes and colors is None:
            return "gifsicle would merge its local palettes"
    return None


def left_alone(path, reason):
    warnings.warn(f"{path} is not optimized: {reason}.", stacklevel=3)
    return False


def timing(path):
    with GifReader(path) as reader:
        return reader.frame_count, reader.duration_ms, reader.loop


PATHS, PATHS_LOCK = [], threading.Lock()  # PATH as it was, once for each block of `environment_on_path` that is run


@contextmanager
def environment_on_path():
    """Puts this Python's own scripts last on PATH: an environment that is not activated has its gifsicle there only."""
    with PATHS_LOCK:
        PATHS.append(PATHS[0] if PATHS else os.environ.get("PATH", ""))
        os.environ["PATH"] = os.pathsep.join(filter(None, [PATHS[0], sysconfig.get_path("scripts")]))
    try:
        yield
    finally:
        with PATHS_LOCK:
            before = PATHS.pop()
            if not PATHS:
                os.environ["PATH"] = before
