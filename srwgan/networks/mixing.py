"""Between two generators: interpolated weights give interpolated behaviour (Wang et al. 2018, arXiv:1809.00219).

It holds for generators of which one was fine-tuned from the other. The mix costs what one generator costs.
"""

from srwgan.networks.model_folder import faithful_end
from srwgan.networks.saving import load_generator


def load_at_fidelity(path, fidelity=0.0):
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


def interpolate(generator_a, generator_b, t):
    """A new generator with the weights (1 - t) x a + t x b, in float32.

    Raises:
        ValueError: t outside [0, 1], or generators of different architecture.
    """
    check_fidelity(t)
    return weighted_mean([generator_a, generator_b], [1 - t, t])


def weighted_mean(generators, shares):
    """A new generator with the mean of the generators' weights, in float32; the shares are divided by their sum.

    Of runs that started from one another the mean is often better than each (Wortsman et al. 2022, arXiv:2203.05482).

    Raises:
        ValueError: generators of different architecture, or shares that are not one for each, or below 0, or all 0.
    """
    if len(shares) != len(generators) or min(shares) < 0 or sum(shares) <= 0:
        raise ValueError(
            f"Received: shares {shares} for {len(generators)} generators. Expected one for each, 0 or "
            "more, not all of them 0."
        )
    first, *others = [architecture(generator) for generator in generators]
    for other in others:
        if other != first:
            raise ValueError(f"Received: generators of {first} and {other}. Expected the same architecture.")
    mean = type(generators[0])(**generators[0].get_config(), dtype="float32")
    weights = zip(*(generator.get_weights() for generator in generators), strict=True)
    mean.set_weights(
        [sum(share * value for share, value in zip(shares, values, strict=True)) / sum(shares) for values in weights]
    )
    return mean


def architecture(generator):
    if not hasattr(generator, "get_config"):
        raise ValueError("Received: a foreign SavedModel. Expected a folder with generator.keras, to mix its weights.")
    return {name: value for name, value in generator.get_config().items() if name != "name"}


def check_fidelity(fidelity):
    """Raises ValueError for what is not from 0 (sharp) to 1 (faithful)."""
    if not 0 <= fidelity <= 1:
        raise ValueError(f"Received: fidelity {fidelity:g}. Expected a number from 0 to 1.")
