"""Between two generators: interpolated weights give interpolated behaviour (Wang et al. 2018, arXiv:1809.00219).

It holds for generators of which one was fine-tuned from the other. The mix costs what one generator costs.
"""

from srwgan.export import load_generator
from srwgan.variants import check_fidelity, faithful_end


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
    config_a, config_b = architecture(generator_a), architecture(generator_b)
    if config_a != config_b:
        raise ValueError(f"Received: generators of {config_a} and {config_b}. Expected the same architecture.")
    mix = type(generator_a)(**generator_a.get_config(), dtype="float32")
    pairs = zip(generator_a.get_weights(), generator_b.get_weights(), strict=True)
    mix.set_weights([(1 - t) * a + t * b for a, b in pairs])
    return mix


def architecture(generator):
    if not hasattr(generator, "get_config"):
        raise ValueError("Received: a foreign SavedModel. Expected a folder with generator.keras, to mix its weights.")
    return {name: value for name, value in generator.get_config().items() if name != "name"}
