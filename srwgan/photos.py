"""A folder of photographs, decoded once into a memory-mapped cache, so that a crop costs no decoding."""

import dataclasses
import functools
import hashlib
import json
import logging
import os
import shutil
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageCms, ImageOps
from tqdm import tqdm

log = logging.getLogger("srwgan")

EXTENSIONS = (".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".gif")
TRAIN_FOLDERS = ("DIV2K_train_HR", "DIV2K/DIV2K_train_HR", "DIV2K_train_HR/DIV2K_train_HR", "DIV2K/train_HR", "train_HR")
VALID_FOLDERS = ("DIV2K_valid_HR", "DIV2K/DIV2K_valid_HR", "DIV2K_valid_HR/DIV2K_valid_HR", "DIV2K/valid_HR", "valid_HR")
DEFAULT_CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "srwgan")


@dataclasses.dataclass
class Photos:
    """Decoded photographs: `photos[i]` is a read-only (H, W, 3) uint8 array, memory-mapped where it fitted the cache."""

    paths: list
    shapes: list  # (H, W) of each
    offsets: list  # where it starts in the cache file, None where it is decoded at every access
    pixels: np.ndarray  # all cached bytes, one after another

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        height, width = self.shapes[i]
        if self.offsets[i] is None:
            return read_photo(self.paths[i])
        return self.pixels[self.offsets[i] : self.offsets[i] + height * width * 3].reshape(height, width, 3)

    def subset(self, indices):
        pick = [[values[i] for i in indices] for values in (self.paths, self.shapes, self.offsets)]
        return Photos(*pick, self.pixels)


def find_photos(folder, subfolders=TRAIN_FOLDERS):
    """Paths of all pictures below `folder`, sorted; below the first of `subfolders` only, where one is there.

    Low-resolution partners (`*_LR*` folders of DIV2K) are left out.

    Raises:
        ValueError: `folder` is not a folder.
    """
    if os.path.exists(folder) and not os.path.isdir(folder):
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


def open_photos(paths, smallest, number, cache=DEFAULT_CACHE, cache_limit=16 * 2**30):
    """The first `number` readable photographs of at least `smallest` pixels a side, through the cache.

    Unreadable and too small ones are named in a warning and passed over.

    Args:
        paths: candidates, in order.
        cache: folder of the cache files. They are named by the photographs' paths, sizes and times.
        cache_limit: bytes that all cache files together may take; photographs beyond it are decoded at every access.
    """
    key = cache_key(paths, smallest, number, cache_limit)
    pixels_file, index_file = os.path.join(cache, f"{key}.pixels"), os.path.join(cache, f"{key}.json")
    if not (os.path.isfile(pixels_file) and os.path.isfile(index_file)):
        write_cache(paths, smallest, number, cache, cache_limit, pixels_file, index_file)
    with open(index_file) as file:
        index = json.load(file)
    for message in index["passed_over"]:
        warnings.warn(message, stacklevel=2)
    size = os.path.getsize(pixels_file)
    log.info("Cache of decoded photographs: %s (%.0f MB; at most %.1f GB by --cache-limit)",
             pixels_file, size / 1e6, cache_limit / 2**30)
    pixels = np.memmap(pixels_file, np.uint8, "r") if size else np.zeros(0, np.uint8)
    return Photos(index["paths"], [tuple(shape) for shape in index["shapes"]], index["offsets"], pixels)


def read_photo(path):
    """The RGB picture that a person sees, (H, W, 3) uint8: EXIF rotation, palette, alpha (on white), CMYK, 16 bits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a large photograph is no decompression bomb here
        with Image.open(path) as image:
            image.load()
            image = ImageOps.exif_transpose(image)
            return np.asarray(to_rgb(image))


def to_rgb(image):
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(sixteen_to_eight_bits(np.asarray(image))).convert("RGB")
    if image.mode == "CMYK":
        return cmyk_to_rgb(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def sixteen_to_eight_bits(gray):
    top = 65535.0 if gray.dtype != np.float32 else max(float(gray.max()), 1e-9)
    return np.round(np.clip(gray / top, 0, 1) * 255).astype(np.uint8)


def cmyk_to_rgb(image):
    """Through the picture's ink profile where it has one: the plain formula's colours are far too bright."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            inks = ImageCms.ImageCmsProfile(_bytes_io(profile))
            return ImageCms.profileToProfile(image, inks, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except ImageCms.PyCMSError:
            pass
    return image.convert("RGB")


def _bytes_io(data):
    import io

    return io.BytesIO(data)


def cache_key(paths, smallest, number, cache_limit):
    facts = [[os.path.abspath(path), os.path.getsize(path), os.path.getmtime(path)] for path in paths]
    return hashlib.sha256(json.dumps([facts, smallest, number, cache_limit]).encode()).hexdigest()[:24]


def write_cache(paths, smallest, number, cache, cache_limit, pixels_file, index_file):
    """Decode in parallel, write in order, rename when whole."""
    os.makedirs(cache, exist_ok=True)
    make_room(cache, cache_limit)
    index = {"paths": [], "shapes": [], "offsets": [], "passed_over": []}
    limit = min(cache_limit - cache_size(cache), shutil.disk_usage(cache).free - 2**30)
    with tempfile.NamedTemporaryFile(dir=cache, suffix=".part", delete=False) as file:
        try:
            for path, photo in tqdm(decoded(paths, smallest, number, index), "Decoding", number, unit="photo",
                                    disable=None):
                offset = file.tell()
                fits = offset + photo.nbytes <= limit
                if fits:
                    file.write(photo.tobytes())
                index["paths"].append(path)
                index["shapes"].append(photo.shape[:2])
                index["offsets"].append(offset if fits else None)
            file.flush()
            left_out = index["offsets"].count(None)
            if left_out:
                index["passed_over"].append(f"{left_out} photographs do not fit the cache of {limit / 2**30:.1f} GB "
                                            "and are decoded for every crop: see --cache and --cache-limit.")
            os.replace(file.name, pixels_file)
            with open(index_file + ".part", "w") as out:
                json.dump(index, out)
            os.replace(index_file + ".part", index_file)
        except BaseException:
            os.unlink(file.name)
            raise


def decoded(paths, smallest, number, index):
    """Yield (path, pixels) of the first `number` usable photographs; why others are not goes to the index."""
    found, workers = 0, min(8, (os.cpu_count() or 2) * 2)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(paths), workers):  # a few at a time bounds the memory
            batch = paths[start : start + workers]
            for path, (photo, problem) in zip(batch, pool.map(functools.partial(try_photo, smallest=smallest), batch),
                                              strict=True):
                if found == number:
                    return
                if problem:
                    index["passed_over"].append(problem)
                    continue
                found += 1
                yield path, photo


def try_photo(path, smallest):
    try:
        photo = read_photo(path)
    except Exception as error:  # Pillow raises many kinds for files that are not what they say
        return None, f"Passed over {path}: unreadable ({type(error).__name__}: {error})"
    if min(photo.shape[:2]) < smallest:
        return None, f"Passed over {path}: {photo.shape[1]}x{photo.shape[0]}, smaller than the crop of {smallest}."
    return photo, None


def cache_size(cache):
    return sum(entry.stat().st_size for entry in os.scandir(cache) if entry.name.endswith(".pixels"))


def make_room(cache, limit):
    """Delete the oldest cache files until half of the limit is free."""
    entries = sorted((e for e in os.scandir(cache) if e.name.endswith(".pixels")), key=lambda e: e.stat().st_mtime)
    while entries and cache_size(cache) > limit // 2:
        oldest = entries.pop(0).path
        os.unlink(oldest)
        log.info("Removed the old cache file %s", oldest)
