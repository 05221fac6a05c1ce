"""Generators for tests that are small, and differ from bilinear upsampling and from each other."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from srwgan.networks.generator import Generator


def noisy(blocks: int, seed: int, *, spread: float = 0.05) -> Generator:
    """The generator of 4 filters, scale 2 and so many blocks, each weight with normal noise of that deviation."""
    keras.utils.set_random_seed(0)
    generator, random = Generator(filters=4, blocks=blocks, scale=2), np.random.default_rng(seed)
    generator.set_weights([weights + random.normal(0, spread, weights.shape) for weights in generator.get_weights()])
    return generator


def two_ends(folder: Path) -> Iterator[tuple[Path, Generator]]:
    """(folder, generator) of a generator's folder and of its faithful end, to be exported there."""
    for place in (folder, folder / "faithful"):
        generator = Generator(filters=8, blocks=1)
        last = generator.get_layer("last")
        last.kernel.assign(np.random.default_rng(len(place.parts)).normal(0, 0.1, last.kernel.shape))
        yield place, generator
