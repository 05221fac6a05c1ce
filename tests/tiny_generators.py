"""Generators for tests that are small, and differ from bilinear upsampling and from each other."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from srwgan.networks.generator import Generator


def two_ends(folder: Path) -> Iterator[tuple[Path, Generator]]:
    """(folder, generator) of a generator's folder and of its faithful end, to be exported there."""
    for place in (folder, folder / "faithful"):
        generator = Generator(filters=8, blocks=1)
        last = generator.get_layer("last")
        last.kernel.assign(np.random.default_rng(len(place.parts)).normal(0, 0.1, last.kernel.shape))
        yield place, generator
