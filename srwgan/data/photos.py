"""A folder of photographs, decoded once into a memory-mapped cache, so that a crop costs no decoding."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from srwgan.measured import user_cache
from srwgan.media.still.images import fit_pixels, read_image
from srwgan.pixels import resize
from srwgan.whole_files import read_json, walk, write_json, written_whole

log = logging.getLogger("srwgan")

EXTENSIONS = (".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".gif")
TRAIN_FOLDERS = ("DIV2K_train_HR", "DIV2K/DIV2K_train_HR", "DIV2K/train_HR", "train_HR")
VALID_FOLDERS = ("DIV2K_valid_HR", "DIV2K/DIV2K_valid_HR", "DIV2K/valid_HR", "valid_HR")
DEFAULT_CACHE = str(user_cache())


@dataclass(frozen=True)
class Photos:
    """Decoded photographs. `photos[i]` is an (H, W, 3) uint8 array, read-only and memory-mapped if the cache has it.

    Attributes:
        paths: of the files.
        shapes: (H, W) of each photograph.
        offsets: where each starts in the cache file, None where it is decoded at every access.
        pixels: all cached bytes, one photograph after another.
        halved: whether each is there at half its size, see `read_photo`.
    """

    paths: list[str]
    shapes: list[tuple[int, int]]
    offsets: list[int | None]
    pixels: np.ndarray
    halved: list[bool]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> np.ndarray:
        height, width = self.shapes[i]
        if self.offsets[i] is None:
            return read_photo(self.paths[i], self.halved[i])
        return self.pixels[self.offsets[i] : self.offsets[i] + height * width * 3].reshape(height, width, 3)

    def subset(self, indices: Sequence[int]) -> "Photos":
        def pick(values):
            return [values[i] for i in indices]

        return Photos(
            paths=pick(self.paths),
            shapes=pick(self.shapes),
            offsets=pick(self.offsets),
            pixels=self.pixels,
            halved=pick(self.halved),
        )


@dataclass(frozen=True)
class Selection:
    """Which photographs are taken, and at which size.

    Attributes:
        smallest: pixels that the shorter side has at least.
        number: how many photographs at most.
        halve_below: megapixels below which a photograph is taken at half its size.
        both_sizes: whether such a photograph is there at its own size too.
    """

    smallest: int
    number: int
    halve_below: float
    both_sizes: bool


@dataclass(frozen=True)
class Cache:
    """A file of pixels, KEY.pixels, and KEY.json, which says what is where in it.

    Attributes:
        folder: of all cache files.
        limit: bytes that they may take together.
        key: the file's name.
    """

    folder: Path
    limit: int
    key: str

    @property
    def pixels(self) -> Path:
        return self.folder / f"{self.key}.pixels"

    @property
    def index(self) -> Path:
        return self.folder / f"{self.key}.json"


def find_photos(folder, subfolders: Sequence[str] = TRAIN_FOLDERS) -> list[str]:
    """Paths of all pictures below a folder, sorted; where it has one of `subfolders`, below the first of them only.

    The low-resolution partners in DIV2K's `*_LR*` folders are left out.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is a file.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"Received: datapath {folder}, which does not exist. Expected a folder of photographs.")
    if not folder.is_dir():
        raise ValueError(f"Received: datapath {folder}, a file. Expected a folder of photographs.")
    folder = next((folder / name for name in subfolders if (folder / name).is_dir()), folder)
    paths = []
    for parent, folders, names in walk(folder):
        folders[:] = [name for name in folders if "_LR" not in name and not name.startswith(".")]
        paths += [os.path.join(parent, name) for name in names if name.lower().endswith(EXTENSIONS)]
    return paths


def open_photos(
    paths: Sequence[str],
    *,
    smallest: int,
    number: int,
    cache=DEFAULT_CACHE,
    cache_limit: int = 16 * 2**30,
    halve_below: float = 0.0,
    both_sizes: bool = False,
) -> Photos:
    """The first `number` readable photographs of at least `smallest` pixels a side, through the cache.

    Those that are unreadable or too small are named in a warning and passed over.

    Args:
        paths: candidates, in order.
        smallest: pixels that the shorter side has at least.
        number: how many photographs at most.
        cache: folder of the cache files. They are named by the photographs' paths, sizes and times.
        cache_limit: bytes that all cache files together may take; photographs beyond it are decoded at every access.
        halve_below: photographs of fewer megapixels are taken at half their size, see `read_photo`.
        both_sizes: these are there at their own size too, as photographs that `number` does not count.

    Raises:
        OSError: the cache cannot be written.
    """
    selection = Selection(smallest=smallest, number=number, halve_below=halve_below, both_sizes=both_sizes)
    paths = [os.path.abspath(path) for path in paths]  # the cache outlives the folder that this process is in
    key = cache_key(paths, smallest, number, cache_limit, halve_below, both_sizes)
    cache = Cache(Path(cache), limit=cache_limit, key=key)
    index = read_index(cache) or write_cache(cache, paths, selection)
    for message in index["passed_over"]:
        log.warning("Warning: %s", message)
    log.info(
        "Cache of decoded photographs: %s (%.0f MB; at most %.1f GB by --cache-limit)",
        cache.pixels,
        index["bytes"] / 1e6,
        cache_limit / 2**30,
    )
    os.utime(cache.pixels)  # the cache used longest ago is the first to go
    return Photos(
        paths=index["paths"],
        shapes=[tuple(shape) for shape in index["shapes"]],
        offsets=index["offsets"],
        pixels=np.memmap(cache.pixels, np.uint8, "r") if index["bytes"] else np.zeros(0, np.uint8),
        halved=index["halved"],
    )


def read_photo(path, halved: bool = False) -> np.ndarray:
    """The RGB picture that a person sees, (H, W, 3) uint8: upright, alpha on white, 16 bits reduced to 8.

    `halved` reduces it to half its height and width (Lanczos). That hides the compression which small photographs from
    the web show at full size.

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: there is no such file to read.
        ValueError: it is not an image, or damaged.
    """
    pixels, _ = fit_pixels(read_image(path).pixels, "JPEG", path)  # a JPEG holds neither alpha nor 16 bits
    pixels = np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
    return half_size(pixels) if halved else pixels


def half_size(pixels):
    height, width = pixels.shape[:2]
    return resize(pixels, (max(width // 2, 1), max(height // 2, 1)), Image.Resampling.LANCZOS)


def cache_key(paths, *options):
    """A name that changes with the options and with every file's path, size and time."""
    facts = [[os.path.abspath(path), os.path.getsize(path), os.path.getmtime(path)] for path in paths]
    return hashlib.sha256(json.dumps([facts, *options]).encode()).hexdigest()[:24]


def read_index(cache: Cache):
    """What the cache file holds, or None where there is no whole one."""
    index = read_json(cache.index)
    whole = index and cache.pixels.exists() and cache.pixels.stat().st_size == index["bytes"]
    return index if whole and all(map(os.path.isabs, index["paths"])) else None


def write_cache(cache: Cache, paths: Sequence[str], selection: Selection) -> dict:
    """Decode the photographs into the cache; returns the index of what went where.

    Raises:
        OSError: the cache cannot be written.
    """
    try:
        cache.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        expected = "Expected --cache with a folder that can be written."
        raise type(error)(
            f"Received: cache {cache.folder}, which cannot be made ({error.strerror}). {expected}"
        ) from error
    make_room(cache)
    room = min(cache.limit - cache_size(cache), shutil.disk_usage(cache.folder).free - 2**30)
    with written_whole(cache.pixels) as temporary, open(temporary, "wb") as file:
        index = write_pixels(file, paths, selection, room=max(room, 0))
    write_json(cache.index, index)
    return index


def write_pixels(file, paths, selection, *, room):
    """Decode into an open file, up to `room` bytes; returns the index of what went where."""
    index = {"paths": [], "shapes": [], "offsets": [], "halved": [], "passed_over": []}
    photos = decoded(paths, selection, passed_over=index["passed_over"])
    for path, photo, halved in tqdm(photos, "Decoding", selection.number, unit="photo", disable=None):
        fits = file.tell() + photo.nbytes <= room
        index["paths"].append(path)
        index["shapes"].append(photo.shape[:2])
        index["halved"].append(halved)
        index["offsets"].append(file.tell() if fits else None)
        if fits:
            file.write(photo.tobytes())
    left_out = index["offsets"].count(None)
    if left_out:
        index["passed_over"].append(
            f"{left_out} photographs do not fit the cache's {room / 2**30:.1f} GB and are "
            "decoded for every crop: see --cache and --cache-limit."
        )
    index["bytes"] = file.tell()
    return index


def decoded(paths, selection, *, passed_over) -> Iterator:
    """Decode in parallel and yield (path, pixels, whether halved) of the photographs of a selection, in order.

    Why others are not taken is appended to `passed_over`.
    """
    found, workers = 0, min(8, (os.cpu_count() or 2) * 2)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(paths), workers):  # a few at a time bounds the memory
            batch = paths[start : start + workers]
            sizes_of_each = pool.map(partial(try_photo, selection=selection), batch)
            for path, (sizes, problem) in zip(batch, sizes_of_each, strict=True):
                if found == selection.number:
                    return
                if problem:
                    passed_over.append(problem)
                found += bool(sizes)
                for photo, halved in sizes:
                    yield path, photo, halved


def try_photo(path, selection):
    """([(pixels, whether halved)] of the sizes to take, None), or ([], why there are none)."""
    try:
        photo = read_photo(path)
    except (ValueError, OSError) as error:
        return [], f"Passed over {error}"
    sizes = [(photo, False)]
    if photo.shape[0] * photo.shape[1] < selection.halve_below * 1e6:
        sizes = [(half_size(photo), True)] + sizes * selection.both_sizes
    usable = [(pixels, halved) for pixels, halved in sizes if min(pixels.shape[:2]) >= selection.smallest]
    if not usable:
        height, width = sizes[-1][0].shape[:2]
        return [], f"Passed over {path}: {width}x{height}, smaller than the crop of {selection.smallest}."
    return usable, None


def cache_size(cache):
    return sum(stat.st_size for stat in cache_files(cache).values())


def cache_files(cache):
    """{path: os.stat_result} of the files of pixels, also of those that an interrupted run left unfinished.

    Another worker, which writes the same cache, may rename or remove one between the listing and the look at it.
    """
    found = {}
    for path in cache.folder.iterdir():
        if path.suffix in (".pixels", ".part"):
            with suppress(FileNotFoundError):
                found[path] = path.stat()
    return found


def make_room(cache):
    """Delete the files used longest ago until half of the limit is free."""
    files = cache_files(cache)
    paths = sorted(files, key=lambda path: files[path].st_mtime)
    while paths and cache_size(cache) > cache.limit // 2:
        oldest = paths.pop(0)
        oldest.unlink(missing_ok=True)
        log.info("Removed the old cache file %s", oldest)
