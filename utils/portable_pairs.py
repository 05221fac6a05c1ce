#!/usr/bin/env python3
"""Makes the ready pairs of a degraded export where it is trained, by as many processes as that machine has.

    python3 -m utils.portable_pairs FOLDER --photographs PHOTOS --number 160000 --output PAIRS
    python3 FOLDER/portable_run.py FOLDER --photographs PAIRS/photographs.bin --wait PAIRS/photographs.bin ...

A degradation (`--degradation gif`, `jpeg`, `real`, `mixed`) is a processor's work. A pair of a crop of 128x128 and its
partner takes about 2 ms of a core and 52 kB, so the photographs and the code are less to carry than the pairs. Needs
NumPy, Pillow and tqdm, no TensorFlow.

PAIRS gets `photographs.json` at once, so that `portable_run.py` can compile meanwhile, and `photographs.bin` when it is
whole. Pair i depends on the export's --seed and i alone, not on the number of processes.
"""

import contextlib
import json
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from srwgan.commandline import OneLineParser, one_line_errors, real, run_command, whole
from srwgan.data.degradations import add_grain, degrade
from srwgan.data.shares import sampling_weights
from srwgan.pixels import turned
from srwgan.training.portable import INDEX, PIXELS
from srwgan.whole_files import write_json, written_whole
from utils.portable_run import FORMAT, read_photographs

PAIRS_A_PART = 512  # what a process makes at a time
CANDIDATES = 8  # crops of which one is drawn by its mean gradient, near enough to one of all that there are

# Of a worker process: the photographs, and the pixels' file that it writes into.
shared = {}


def main(argv=None):
    """Run the command line; returns the exit status."""
    parser = OneLineParser(prog="portable_pairs", description=__doc__.split("\n", 1)[0])
    add = parser.add_argument
    add("folder", type=Path, help="what train_SRWGAN.py --export-step wrote, with --degradation")
    add("--photographs", type=Path, required=True, metavar="PHOTOS", help="folder of the photographs of the export")
    add("--output", type=Path, required=True, metavar="PAIRS", help="folder of the pairs")
    add("--number", type=whole(1), required=True, help="of pairs")
    add(
        "--texture",
        type=real(0, 1),
        default=0.0,
        metavar="SHARE",
        help="of the crops, drawn by their mean gradient (0)",
    )
    add("--processes", type=whole(1), default=os.cpu_count(), help="(default: as many as there are cores)")
    args = parser.parse_args(argv)
    with one_line_errors(parser):
        make_pairs(
            args.folder,
            args.photographs,
            args.output,
            number=args.number,
            texture=args.texture,
            processes=args.processes,
        )
    return 0


@dataclass(frozen=True)
class Recipe:
    """What pairs are made by, of the export's flags.

    Attributes:
        degradation, grain, sampling, crop, scale, seed: as of `srwgan.data.crops.CropOptions`.
        shapes: (H, W) of each photograph.
        texture: share of the crops that are drawn by their mean gradient.
    """

    degradation: str
    grain: float
    sampling: str
    crop: int
    scale: int
    seed: int
    shapes: tuple
    texture: float = 0.0

    @classmethod
    def of(cls, meta: dict, texture: float) -> "Recipe":
        flags = meta["flags"]
        names = ("degradation", "grain", "sampling", "scale", "seed")
        shapes = tuple(tuple(shape) for shape in meta["cut_from"]["shapes"])
        return cls(**{name: flags[name] for name in names}, crop=meta["crop"], shapes=shapes, texture=texture)

    @cached_property
    def weights(self) -> np.ndarray:
        """(N,), up to each photograph the sum of what they are drawn in proportion to."""
        return np.cumsum(sampling_weights(self.shapes, self.sampling))

    @property
    def record(self) -> int:
        """Bytes of a pair."""
        return 3 * (self.crop**2 + (self.crop // self.scale) ** 2)


def make_pairs(
    folder: Path, photographs: Path, output: Path, *, number: int, texture: float = 0.0, processes: int = 1
) -> None:
    """Write `PIXELS` and `INDEX` of so many pairs into `output`.

    Raises:
        ValueError: `folder` is no export with a degradation, or photographs of it are missing.
    """
    meta = read_meta(folder)
    recipe, output = Recipe.of(meta, texture), Path(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / PIXELS).unlink(missing_ok=True)
    facts = {"format": FORMAT, "kind": "pairs", "shapes": [], "number": number, "bytes": number * recipe.record}
    write_json(output / INDEX, {**facts, "strengths": None})
    with (
        tempfile.TemporaryDirectory(dir=output) as scratch,
        written_whole(output / PIXELS) as temporary,
        process_pool(recipe, meta["cut_from"], photographs, Path(scratch, "decoded"), temporary, processes) as pool,
        tqdm(total=number, desc="Degrading", unit="pair", disable=None) as bar,
    ):
        np.memmap(temporary, np.uint8, "w+", shape=(number, recipe.record)).flush()
        strengths = np.zeros(number, np.float32)
        parts = [range(first, min(first + PAIRS_A_PART, number)) for first in range(0, number, PAIRS_A_PART)]
        for done in as_completed([pool.submit(write_part, part) for part in parts]):
            part, values = done.result()
            strengths[part.start : part.stop] = values
            bar.update(len(part))
        write_json(output / INDEX, {**facts, "strengths": strengths.tolist()})


def read_meta(folder):
    """`meta.json` of an export that has photographs to cut pairs from."""
    try:
        meta = json.loads(Path(folder, "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Received: {folder}, without a readable meta.json ({error}). Expected what --export-step wrote."
        ) from error
    if meta.get("format") != FORMAT or not meta.get("cut_from"):
        raise ValueError(
            f"Received: {folder}. Expected an export of this version with --degradation gif, real or mixed."
        )
    return meta


@contextlib.contextmanager
def process_pool(recipe, cut_from, photographs, decoded, pixels, processes):
    """Processes that have the photographs, decoded once into a file, and write into the file `pixels`."""
    starts = np.cumsum([0, *(3 * height * width for height, width in recipe.shapes)])
    memory = np.memmap(decoded, np.uint8, "w+", shape=(int(starts[-1]),))
    photos = read_photographs(photographs, cut_from["names"], recipe.shapes)
    for i, photo in enumerate(tqdm(photos, "Decoding", len(recipe.shapes), unit="photo", disable=None)):
        memory[starts[i] : starts[i + 1]] = photo.reshape(-1)
    memory.flush()
    start = partial(begin, recipe, str(decoded), str(pixels), starts)
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), start) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def begin(recipe, decoded, pixels, starts):
    """What a worker process needs, once."""
    memory = np.memmap(decoded, np.uint8, "r")
    photos = [
        memory[start : start + 3 * height * width].reshape(height, width, 3)
        for start, (height, width) in zip(starts, recipe.shapes, strict=False)
    ]
    shared.update(recipe=recipe, photos=photos, pixels=pixels)


def write_part(part):
    """Make the pairs of a range of numbers and write them; returns the range and their strengths."""
    recipe = shared["recipe"]
    records = np.memmap(shared["pixels"], np.uint8, "r+").reshape(-1, recipe.record)
    strengths = []
    for i in part:
        high_res, low_res, strength = make_pair(recipe, shared["photos"], i)
        records[i] = np.concatenate([high_res.reshape(-1), low_res.reshape(-1)])
        strengths.append(strength)
    return part, strengths


def make_pair(recipe: Recipe, photos: list, i: int):
    """Pair i: a crop (C, C, 3) uint8, turned and with grain, its partner (C/s, C/s, 3) uint8, and its strength."""
    random = np.random.default_rng([recipe.seed, i])
    candidates = [draw_crop(recipe, photos, random)]
    if random.random() < recipe.texture:
        candidates += [draw_crop(recipe, photos, random) for _ in range(CANDIDATES - 1)]
    gradients = np.array([mean_gradient(crop) + 1e-9 for _, crop in candidates])
    photo, crop = candidates[random.choice(len(candidates), p=gradients / gradients.sum())]
    crop = turned(crop, random.integers(8))
    if recipe.grain:
        crop = add_grain(crop, random, recipe.grain)
    low_res, strength = degrade(recipe.degradation, crop, photo=photo, scale=recipe.scale, random=random)
    return crop, low_res, strength


def draw_crop(recipe, photos, random):
    """A photograph, and a crop of it."""
    photo = photos[int(np.searchsorted(recipe.weights, random.random() * recipe.weights[-1], "right"))]
    top, left = random.integers(np.array(photo.shape[:2]) - recipe.crop + 1)
    return photo, photo[top : top + recipe.crop, left : left + recipe.crop]


def mean_gradient(crop):
    """The mean difference of the luma of neighbors, in levels."""
    luma = crop.mean(-1, dtype=np.float32)
    return sum(float(np.abs(np.diff(luma, axis=axis)).mean()) for axis in (0, 1))


if __name__ == "__main__":
    run_command(main)
