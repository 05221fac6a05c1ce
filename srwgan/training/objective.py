"""What the generator and the discriminator are trained for: the losses, their forms and their weights."""

from dataclasses import dataclass

TERMS = ("adversarial", "reconstruction", "content", "lattice", "transport", "steady")  # the generator's losses


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The weight of each loss and the form that it takes; see `losses` for the losses themselves.

    The generator descends the weighted sum of its terms, and the discriminator D(fake) - D(real) + gpweight x penalty.

    Args:
        gpweight: weight of the gradient penalty.
        cweight: weight of the content loss.
        advweight: weight of the adversarial loss.
        rweight: weight of the reconstruction loss.
        latweight: weight of the lattice loss.
        reconstruction: form of the reconstruction loss, "mse", "l1" or "psnr".
        luma: share of the reconstruction loss, 0 to 1, that is of the luma alone.
        content_norm: form of the content loss, "energy" or "unit".
        weighting: "fixed" takes the weights as they are. "gradient" divides each term's gradient by a running mean of
            its norm first. "self-adaptive" multiplies each weight by a factor that is trained. See `balancing`.
        otweight: weight of the optimal transport between patches.
        otspace: what the patches are compared by, "discriminator" or "pixels".
        steadyweight: weight of the difference between the results of a crop and of the same crop moved.
    """

    gpweight: float = 10.0
    cweight: float = 1e-3
    advweight: float = 1.0
    rweight: float = 1.0
    latweight: float = 0.0
    reconstruction: str = "mse"
    luma: float = 0.0
    content_norm: str = "energy"
    weighting: str = "fixed"
    otweight: float = 0.0
    otspace: str = "discriminator"
    steadyweight: float = 0.0

    def weights(self, phase: str) -> dict[str, float]:
        """The weight of each of the generator's terms that takes part in a phase of the `Schedule`."""
        if phase == "warmup":
            return {"reconstruction": self.rweight or 1.0}
        weights = (self.advweight, self.rweight, self.cweight, self.latweight, self.otweight, self.steadyweight)
        return {term: weight for term, weight in zip(TERMS, weights, strict=True) if weight}
