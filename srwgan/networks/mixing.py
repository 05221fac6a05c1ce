"""Weighted means of generators' weights, and generators between a sharp and a faithful end.

Interpolated weights give interpolated behavior (Wang et al. 2018, arXiv:1809.00219), where one generator was fine-tuned
from the other or both from a third. The mean costs what one generator costs.
"""

import os
from typing import Any

from srwgan.networks.foreign_generator import ForeignGenerator
from srwgan.networks.generator import Generator
from srwgan.networks.model_folder import check_fidelity, faithful_end
from srwgan.networks.saving import load_generator


def load_at_fidelity(path: str | os.PathLike, fidelity: float = 0.0) -> Generator | ForeignGenerator:
    """The generator at `path` (fidelity 0), its faithful end at `path`/faithful (1), or a mix of their weights.

    Raises:
        FileNotFoundError: nothing there, or no faithful end where one is needed.
        ValueError: no generator, a fidelity outside [0, 1], or ends of different architecture.
    """
    check_fidelity(fidelity)
    if fidelity == 0:
        return load_generator(path)
    faithful = load_generator(faithful_end(path))
    return interpolate(load_generator(path), faithful, fidelity)


def interpolate(generator_a: Generator, generator_b: Generator, t: float) -> Generator:
    """A new generator with the weights (1 - t) a + t b, in float32.

    Raises:
        ValueError: t outside [0, 1], or generators of different architecture.
    """
    check_fidelity(t)
    return weighted_mean([generator_a, generator_b], [1 - t, t])


def weighted_mean(generators: list[Generator], shares: list[float]) -> Generator:
    """A new generator with the weighted mean of the generators' weights, in float32.

    The mean of runs that started from one another is often better than each (Wortsman et al. 2022, arXiv:2203.05482).

    Args:
        generators: of one architecture.
        shares: one for each, 0 or more. They are divided by their sum.

    Raises:
        ValueError: generators of different architecture, or shares that are not one for each, or below 0, or all 0.
    """
    if len(shares) != len(generators) or min(shares) < 0 or sum(shares) <= 0:
        raise ValueError(
            f"Received: shares {shares} for {len(generators)} generators. Expected one for each, 0 or "
            "more, not all of them 0."
        )
    check_same_architecture(generators)
    mean = type(generators[0])(**generators[0].get_config(), dtype="float32")
    weights = zip(*(generator.get_weights() for generator in generators), strict=True)
    mean.set_weights(
        [sum(share * value for share, value in zip(shares, values, strict=True)) / sum(shares) for values in weights]
    )
    return mean


def check_same_architecture(generators: list[Generator]) -> None:
    """Raises ValueError for generators of different architecture, or for a foreign SavedModel."""
    first, *others = [architecture(generator) for generator in generators]
    for other in others:
        if other != first:
            raise ValueError(f"Received: generators of {first} and {other}. Expected the same architecture.")


def architecture(generator: Generator) -> dict[str, Any]:
    """A generator's configuration without its name. Raises ValueError for a foreign SavedModel, which has none."""
    if not hasattr(generator, "get_config"):
        raise ValueError("Received: a foreign SavedModel. Expected a folder with generator.keras, to mix its weights.")
    return {name: value for name, value in generator.get_config().items() if name != "name"}
