"""A folder of photographs, decoded once into a memory-mapped cache, so that a crop costs no decoding."""

import dataclasses
import functools
import hashlib
import json
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image
from tqdm import tqdm

from srwgan.media.still.images import fit_pixels, read_image

log = logging.getLogger("srwgan")

EXTENSIONS = (".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".gif")
TRAIN_FOLDERS = ("DIV2K_train_HR", "DIV2K/DIV2K_train_HR", "DIV2K/train_HR", "train_HR")
VALID_FOLDERS = ("DIV2K_valid_HR", "DIV2K/DIV2K_valid_HR", "DIV2K/valid_HR", "valid_HR")
DEFAULT_CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "srwgan")


@dataclasses.dataclass
class Photos:
    """Decoded photographs: `photos[i]` is an (H, W, 3) uint8 array, read-only and memory-mapped if the cache has it."""

    paths: list
    shapes: list  # (H, W) of each
    offsets: list  # where it starts in the cache file, None where it is decoded at every access
    pixels: np.ndarray  # all cached bytes, one after another
    halved: list  # whether it is there at half its size, see `read_photo`

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        height, width = self.shapes[i]
        if self.offsets[i] is None:
            return read_photo(self.paths[i], self.halved[i])
        return self.pixels[self.offsets[i] : self.offsets[i] + height * width * 3].reshape(height, width, 3)

    def subset(self, indices):
        def pick(values):
            return [values[i] for i in indices]

        return Photos(pick(self.paths), pick(self.shapes), pick(self.offsets), self.pixels, pick(self.halved))


def find_photos(folder, subfolders=TRAIN_FOLDERS):
    """Paths of all pictures below `folder`, sorted; below the first of `subfolders` only, where one is there.

    Low-resolution partners (`*_LR*` folders of DIV2K) are left out.

    Raises:
        FileNotFoundError: there is no `folder`.
        ValueError: it is a file.
    """
    if not os.path.exists(folder):
        raise FileNotFoundError(f"Received: datapath {folder}, which does not exist. Expected a folder of photographs.")
    if not os.path.isdir(folder):
        raise ValueError(f"Received: datapath {folder}, a file. Expected a folder of photographs.")
    for name in subfolders:
        if os.path.isdir(os.path.join(folder, name)):
            folder = os.path.join(folder, name)
            break
    paths = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if "_LR" not in f and not f.startswith("."))
        paths += [os.path.join(parent, name) for name in sorted(names) if name.lower().endswith(EXTENSIONS)]
    return paths


def open_photos(
    paths, smallest, number, cache=DEFAULT_CACHE, cache_limit=16 * 2**30, halve_below=0.0, both_sizes=False
):
    """The first `number` readable photographs of at least `smallest` pixels a side, through the cache.

    Unreadable and too small ones are named in a warning and passed over.

    Args:
        paths: candidates, in order.
        cache: folder of the cache files. They are named by the photographs' paths, sizes and times.
        cache_limit: bytes that all cache files together may take; photographs beyond it are decoded at every access.
        halve_below: photographs of fewer megapixels are taken at half their size, see `read_photo`.
        both_sizes: these are there at their own size too, as photographs that `number` does not count.
    """
    key = cache_key(paths, smallest, number, cache_limit, halve_below, both_sizes)
    pixels_file, index_file = os.path.join(cache, f"{key}.pixels"), os.path.join(cache, f"{key}.json")
    index = read_index(pixels_file, index_file)
    if index is None:
        photos = functools.partial(decoded, paths, smallest, number, halve_below, both_sizes)
        index = write_cache(photos, number, cache, cache_limit, pixels_file, index_file)
    for message in index["passed_over"]:
        log.warning("Warning: %s", message)
    log.info(
        "Cache of decoded photographs: %s (%.0f MB; at most %.1f GB by --cache-limit)",
        pixels_file,
        index["bytes"] / 1e6,
        cache_limit / 2**30,
    )
    os.utime(pixels_file)  # the cache used longest ago is the first to go
    pixels = np.memmap(pixels_file, np.uint8, "r") if index["bytes"] else np.zeros(0, np.uint8)
    shapes = [tuple(shape) for shape in index["shapes"]]
    return Photos(index["paths"], shapes, index["offsets"], pixels, index["halved"])


def read_photo(path, halved=False):
    """The RGB picture that a person sees, (H, W, 3) uint8: upright, alpha on white, 16 bits reduced to 8.

    `halved` reduces it to half its height and width (Lanczos), which hides the compression that small photographs from
    the web show at full size.

    Raises as `images.read_image` does.
    """
    pixels, _ = fit_pixels(read_image(path).pixels, "JPEG", path)  # which holds neither alpha nor 16 bits
    pixels = np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
    return half_size(pixels) if halved else pixels


def half_size(pixels):
    height, width = pixels.shape[:2]
    size = max(width // 2, 1), max(height // 2, 1)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def cache_key(paths, *options):
    facts = [[os.path.abspath(path), os.path.getsize(path), os.path.getmtime(path)] for path in paths]
    return hashlib.sha256(json.dumps([facts, *options]).encode()).hexdigest()[:24]


def read_index(pixels_file, index_file):
    """What a cache file holds, or None where there is no whole one."""
    try:
        with open(index_file) as file:
            index = json.load(file)
        return index if os.path.getsize(pixels_file) == index["bytes"] else None
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def write_cache(photos, number, cache, cache_limit, pixels_file, index_file):
    """Write what `photos(index)` yields, in order, rename when whole; returns the index."""
    os.makedirs(cache, exist_ok=True)
    make_room(cache, cache_limit)
    limit = max(min(cache_limit - cache_size(cache), shutil.disk_usage(cache).free - 2**30), 0)
    temporary = pixels_file + f".{os.getpid()}.part"
    try:
        with open(temporary, "wb") as file:
            index = write_pixels(photos, number, limit, file)
        os.replace(temporary, pixels_file)
        with open(temporary, "w") as file:
            json.dump(index, file)
        os.replace(temporary, index_file)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    return index


def write_pixels(photos, number, limit, file):
    """Decode into an open file up to `limit` bytes; returns the index of what went where."""
    index = {"paths": [], "shapes": [], "offsets": [], "halved": [], "passed_over": []}
    for path, photo, halved in tqdm(photos(index), "Decoding", number, unit="photo", disable=None):
        fits = file.tell() + photo.nbytes <= limit
        index["paths"].append(path)
        index["shapes"].append(photo.shape[:2])
        index["halved"].append(halved)
        index["offsets"].append(file.tell() if fits else None)
        if fits:
            file.write(photo.tobytes())
    left_out = index["offsets"].count(None)
    if left_out:
        index["passed_over"].append(
            f"{left_out} photographs do not fit the cache's {limit / 2**30:.1f} GB and are "
            "decoded for every crop: see --cache and --cache-limit."
        )
    index["bytes"] = file.tell()
    return index


def decoded(paths, smallest, number, halve_below, both_sizes, index):
    """Decode in parallel and yield (path, pixels, whether halved) of the first `number` usable photographs, in order.

    Why others are not goes to the index.
    """
    found, workers = 0, min(8, (os.cpu_count() or 2) * 2)
    attempt = functools.partial(try_photo, smallest=smallest, halve_below=halve_below, both_sizes=both_sizes)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(paths), workers):  # a few at a time bounds the memory
            batch = paths[start : start + workers]
            for path, (photos, problem) in zip(batch, pool.map(attempt, batch), strict=True):
                if found == number:
                    return
                if problem:
                    index["passed_over"].append(problem)
                found += bool(photos)
                for photo, halved in photos:
                    yield path, photo, halved


def try_photo(path, smallest, halve_below, both_sizes):
    """Pairs of pixels and whether they are halved, and why there are none."""
    try:
        photo = read_photo(path)
    except (ValueError, OSError) as error:
        return [], f"Passed over {error}"
    sizes = [(photo, False)]
    if photo.shape[0] * photo.shape[1] < halve_below * 1e6:
        sizes = [(half_size(photo), True)] + sizes * both_sizes
    usable = [(pixels, halved) for pixels, halved in sizes if min(pixels.shape[:2]) >= smallest]
    if not usable:
        height, width = sizes[-1][0].shape[:2]
        return [], f"Passed over {path}: {width}x{height}, smaller than the crop of {smallest}."
    return usable, None


def cache_size(cache):
    return sum(entry.stat().st_size for entry in cache_files(cache))


def cache_files(cache):
    """Files of pixels, also those that an interrupted run left unfinished."""
    return [entry for entry in os.scandir(cache) if entry.name.endswith((".pixels", ".part"))]


def make_room(cache, limit):
    """Delete the files used longest ago until half of the limit is free."""
    entries = sorted(cache_files(cache), key=lambda entry: entry.stat().st_mtime)
    while entries and cache_size(cache) > limit // 2:
        oldest = entries.pop(0).path
        os.unlink(oldest)
        log.info("Removed the old cache file %s", oldest)
