"""Optimizes GIFs with gifsicle, through pygifsicle."""

import os
import shutil
import sysconfig
import warnings
from contextlib import contextmanager
from pathlib import Path

from srwgan.media.gif.reader import GifReader
from srwgan.whole_files import temporary_beside

# gifsicle holds about twice the file in memory.
LARGEST_BYTES = 64 * 2**20
# Of a longer file it is tried on so many frames at first, a third each from the start, the middle and the end. Where it
# does not make these smaller by a hundredth, as hardly ever in what `GifWriter` wrote, the rest is not worth its time.
TRIED, WORTH = 24, 0.99


def optimize_gif(path, colors: int | None = None, largest_bytes: int = LARGEST_BYTES) -> bool:
    """Replaces a GIF by gifsicle's version of it where that is smaller.

    The file is left as it is, and a warning of one line says why, where gifsicle does not run, the file is larger than
    `largest_bytes`, or it has local palettes, which gifsicle would merge. A long file is also left as it is where
    gifsicle gains less than a hundredth on some of its frames.

    Args:
        colors: None, or 2 to 256: then the version has so many colors, and replaces the file whatever its size.
        largest_bytes: of a file that is given to gifsicle.

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
    folder = temporary_beside(path)
    folder.mkdir()
    try:
        source, result = folder / "source.gif", folder / "result.gif"
        try:
            if colors is None and write_excerpt(path, source):
                run_gifsicle(source, result, colors)
                if result.exists() and result.stat().st_size > WORTH * source.stat().st_size:
                    return False
                result.unlink(missing_ok=True)
            # A copy, since pygifsicle takes no other ending than .gif.
            shutil.copyfile(path, source)
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


def write_excerpt(path, target) -> bool:
    """Writes `TRIED` frames of a GIF that has at least twice as many, as they are stored; else returns False."""
    with GifReader(path) as reader:
        count, part = reader.frame_count, TRIED // 3
        if count < 2 * TRIED:
            return False
        chosen = {start + i for start in (0, (count - part) // 2, count - part) for i in range(part)}
        with open(target, "wb") as file:
            for number, blocks in enumerate(reader.stored(), -1):  # -1 is the header
                if number in chosen or number < 0:
                    file.write(blocks)
            file.write(b";")
    return True


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


@contextmanager
def environment_on_path():
    """Puts this Python's own scripts last on PATH: an environment that is not activated has its gifsicle there only."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join(filter(None, [before, sysconfig.get_path("scripts")]))
    try:
        yield
    finally:
        os.environ["PATH"] = before
