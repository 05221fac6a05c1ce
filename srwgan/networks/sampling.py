"""How a diffusion model is sampled. No TensorFlow here, since the command line checks it before TensorFlow starts."""

from dataclasses import dataclass

MOST_STEPS = 50
LARGEST_SEED = 2**31 - 1
SAMPLERS = {"deterministic": 0.0, "stochastic": 1.0}  # name -> stochasticity


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Steps and randomness of a sample. The same values give the same pixels, in tiles of any size.

    Args:
        steps: evaluations of the network, 1 to 50. None: as many as the model was made for.
        seed: of the noise, 0 to 2^31 - 1.
        stochasticity: how much of the noise is drawn anew between two steps: eta of DDIM (Song et al. 2020,
            arXiv:2010.02502). 0 is deterministic, 1 the ancestral sampler of DDPM (Ho et al. 2020, arXiv:2006.11239).

    Raises:
        ValueError: a value outside of these.
    """

    steps: int | None = None
    seed: int = 0
    stochasticity: float = 0.0

    def __post_init__(self):
        if self.steps is not None and not 1 <= self.steps <= MOST_STEPS:
            raise ValueError(f"Received: {self.steps} steps. Expected 1 to {MOST_STEPS}.")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"Received: seed {self.seed}. Expected 0 to {LARGEST_SEED}.")
        if not 0 <= self.stochasticity <= 1:
            raise ValueError(f"Received: stochasticity {self.stochasticity:g}. Expected a number from 0 to 1.")


def levels(steps: int) -> list[float]:
    """The noise levels of a sampler, from 1 down to 0, one more than the steps."""
    return [1 - step / steps for step in range(steps + 1)]


def renewed_share(level: float, next_level: float, stochasticity: float) -> float:
    """The part of the noise's amplitude that a step from `level` to `next_level` draws anew, 0 to 1.

    At stochasticity 1 the step is a draw from q(z_s | z_t, y) of z_t = (1 - t) y + t n, whose new noise has the
    variance s^2 (1 - ((1 - t) s / ((1 - s) t))^2).
    """
    kept = (1 - level) * next_level / ((1 - next_level) * level)
    return stochasticity * (1 - kept**2) ** 0.5


def sampling_of(*, steps: int | None = None, seed: int | None = None, sampler: str | None = None) -> Sampling | None:
    """The `Sampling` that a command line asks for, None where it asks for nothing.

    Args:
        sampler: a name of `SAMPLERS`.

    Raises:
        ValueError: values that a `Sampling` refuses, or another sampler.
    """
    if sampler not in (None, *SAMPLERS):
        raise ValueError(f"Received: sampler {sampler}. Expected {' or '.join(SAMPLERS)}.")
    if steps is None and seed is None and sampler is None:
        return None
    return Sampling(steps=steps, seed=seed or 0, stochasticity=SAMPLERS[sampler or "deterministic"])
