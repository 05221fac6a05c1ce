"""Between two generators: interpolated weights give interpolated behaviour (Wang et al. 2018, arXiv:1809.00219).

It holds for generators of which one was fine-tuned from the other. The mix costs what one generator costs.
"""


def interpolate(generator_a, generator_b, t):
    """A new generator with the weights (1 - t) x a + t x b, in float32.

    Raises:
        ValueError: t outside [0, 1], or generators of different architecture.
    """
    if not 0 <= t <= 1:
        raise ValueError(f"Received: fidelity {t:g}. Expected a number from 0 to 1.")
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
