"""Photographs as one file of uint8 pixels beside an index, so that a bare machine needs no decoder.

The file holds photographs whole, one after another, for crops to be cut where it is trained. Degradations (a GIF's
palette, JPEG) are made by this machine's processor alone: for these the file holds ready pairs, a crop and then its
low-resolution partner, in the order in which `CropStream` draws them.
"""

import hashlib
import logging
import math
import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from srwgan.data.crops import CropStream, images_of
from srwgan.pixels import resize, to_pixels
from srwgan.training.portable import FORMAT, INDEX, PIXELS
from srwgan.whole_files import write_json, written_whole

log = logging.getLogger("srwgan")

MOST_REDUCED = 0.5  # of height and width; below that, fewer photographs are taken


def pack_photographs(photos, folder, *, crop: int, limit: float) -> None:
    """Write `PIXELS` and `INDEX` of a `Photos` into `folder`, in at most `limit` bytes; a line says what that cost.

    Raises:
        ValueError: not one photograph fits.
    """
    shapes = [tuple(shape) for shape in photos.shapes]
    sizes = fitting_sizes(shapes, crop=crop, limit=limit // 3)
    if not sizes:
        needed = 3 * smallest_area(shapes[0], crop) / 1e6
        raise ValueError(
            f"Received: --packed-limit {limit / 1e6:g}. Expected {needed:.2g} MB or more, for a photograph."
        )
    reduced = sum(size != shape for size, shape in zip(sizes, shapes, strict=False))
    if reduced or len(sizes) < len(shapes):
        log.warning(
            "Warning: for --packed-limit %g MB, %d of %d photographs are packed, %d of them made smaller",
            limit / 1e6,
            len(sizes),
            len(shapes),
            reduced,
        )
    with PixelFile(folder) as file:
        for i, (height, width) in enumerate(tqdm(sizes, "Packing", unit="photo", disable=None)):
            file.write(resize(photos[i], (width, height)))
        names = [os.path.basename(path) for path in photos.paths[: len(sizes)]]
        file.finish({"kind": "photographs", "shapes": sizes, "names": names})


def pack_pairs(stream: CropStream, folder, *, wanted: int, limit: float) -> None:
    """Write `PIXELS` and `INDEX` of the stream's first crops with their degraded partners, in at most `limit` bytes.

    Args:
        wanted: how many are enough, a run's.

    Raises:
        ValueError: not one batch fits.
    """
    options = stream.options
    record = 3 * (options.crop**2 + (options.crop // options.scale) ** 2)
    number = min(int(limit // record), wanted)
    if number < options.batch_size:
        least = record * options.batch_size / 1e6
        raise ValueError(f"Received: --packed-limit {limit / 1e6:g}. Expected {least:.2g} MB or more, for a batch.")
    if number < wanted:
        log.warning(
            "Warning: for --packed-limit %g MB, %d pairs of crops are packed, where a run of these epochs draws %d: "
            "they are used again",
            limit / 1e6,
            number,
            wanted,
        )
    strengths = []
    with PixelFile(folder) as file, tqdm(total=number, desc="Degrading", unit="crop", disable=None) as bar:
        for low_res, high_res, strength in pairs(stream, number):
            file.write(high_res)
            file.write(low_res)
            strengths.append(strength)
            bar.update()
        file.finish({"kind": "pairs", "shapes": [], "strengths": strengths})


def pairs(stream, number):
    """The first `number` of (low_res, high_res, strength) of a stream, images uint8."""
    epoch = 0
    while number > 0:
        for low_res, high_res, _ in stream.epoch(epoch):
            images = to_pixels(images_of(low_res)), to_pixels(high_res)
            strengths = low_res[1].numpy() if stream.options.condition != "none" else np.zeros(len(high_res))
            for low, high, strength in list(zip(*images, strengths, strict=True))[:number]:
                yield low, high, float(strength)
            number -= len(high_res)
            if number <= 0:
                return
        epoch += 1


def fitting_sizes(shapes, *, crop: int, limit: int) -> list:
    """Sizes (height, width) of as many photographs, from the first on, as fit into `limit` pixels.

    The largest are brought down to one area, the larger the better; none to less than `smallest_area`.
    """
    least, number = 0, 0
    for shape in shapes:
        least += smallest_area(shape, crop)
        if least > limit:
            break
        number += 1
    kept = shapes[:number]

    def sizes(most):
        return [reduced_size(shape, max(most, smallest_area(shape, crop))) for shape in kept]

    low, high = 0, max((height * width for height, width in kept), default=0)
    while low < high:  # the largest area that fits
        middle = (low + high + 1) // 2
        if sum(height * width for height, width in sizes(middle)) <= limit:
            low = middle
        else:
            high = middle - 1
    return sizes(low)


def smallest_area(shape, crop):
    """Pixels that a photograph keeps: a share of its height and width, and a crop each way."""
    share = min(1.0, max(MOST_REDUCED, crop / min(shape)))
    return math.ceil(shape[0] * share) * math.ceil(shape[1] * share)


def reduced_size(shape, area):
    """(height, width) of at most `area` pixels in the same proportions."""
    height, width = shape
    if height * width <= area:
        return height, width
    share = math.sqrt(area / (height * width))
    return max(1, int(height * share)), max(1, int(width * share))


class PixelFile:
    """Writes `PIXELS` and, when `finish` is called, `INDEX`, with size and checksum; a context manager."""

    def __init__(self, folder):
        self.folder, self.hash, self.bytes = Path(folder), hashlib.sha256(), 0

    def __enter__(self):
        self.whole = written_whole(self.folder / PIXELS)
        self.file = open(self.whole.__enter__(), "wb")
        return self

    def write(self, pixels):
        content = np.ascontiguousarray(pixels).tobytes()
        self.file.write(content)
        self.hash.update(content)
        self.bytes += len(content)

    def finish(self, about):
        facts = {"bytes": self.bytes, "sha256": self.hash.hexdigest()}
        write_json(self.folder / INDEX, {"format": FORMAT, **about, **facts})

    def __exit__(self, *error):
        self.file.close()
        self.whole.__exit__(*error)
