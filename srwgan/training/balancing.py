"""How the generator's losses are balanced: what each loss's gradient at the generated image is multiplied by."""

import math

import tensorflow as tf

from srwgan.training.control.controls import WEIGHTS, Controls
from srwgan.training.objective import TERMS, Objective
from srwgan.training.replicas import mirrored_variable

ADAPTIVE_BOUND = 10.0  # a self-adaptive weight is multiplied by at most this, and divided by at most this
ADAPTIVE_RATE = 1e-3  # the sum of all changes of self-adaptive weights in a step


class Balance:
    """The factors of the loss terms, by `Objective.weighting`, and the variables that they follow from.

    Args:
        objective: the losses and their weights.
        controls: a controller's factors, by which the weights are multiplied in the full phase; None without one.

    Attributes:
        running_norms: for each term a running mean of the norm of its gradient at the generated image.
        adaptive: for each term the variable that its self-adaptive factor follows from.
    """

    def __init__(self, objective: Objective, controls: Controls | None = None):
        self.objective, self.controls = objective, controls
        # Options that are off leave nothing in a checkpoint, so that runs from before they were there go on.
        later = {"transport": objective.otweight, "steady": objective.steadyweight}
        terms = [term for term in TERMS if later.get(term, True)]
        self.running_norms = {term: mirrored_variable(0.0) for term in terms}
        adaptive = objective.weights("full") if objective.weighting == "self-adaptive" else ()
        self.adaptive = {term: mirrored_variable(0.0) for term in adaptive}

    def factors(self, norms: dict[str, tf.Tensor], phase: str) -> dict:
        """What each term's gradient is multiplied by; `norms` holds this step's norm under "TERM_norm"."""
        factors = self.objective.weights(phase)
        if self.objective.weighting == "gradient":
            for term in factors:
                running, now = self.running_norms[term].read_value(), norms[f"{term}_norm"]
                factors[term] /= tf.where(running > 0, running, now) + 1e-12
        if self.objective.weighting == "self-adaptive" and phase == "full":
            factors = {term: weight * mask(self.adaptive[term].read_value()) for term, weight in factors.items()}
        if self.controls and phase == "full":
            for term in set(WEIGHTS) & set(factors):
                factors[term] *= self.controls.factor(term)
        return factors

    def update(self, metrics: dict[str, tf.Tensor], finite: tf.Tensor, phase: str) -> None:
        """Take in what a step measured, unless one of its gradients was not `finite`."""
        for term, running in self.running_norms.items():
            if f"{term}_norm" in metrics:
                norm = metrics[f"{term}_norm"]
                update = tf.where(running > 0, 0.99 * running + 0.01 * norm, norm)
                running.assign(tf.where(finite, update, running))
        if self.objective.weighting == "self-adaptive" and phase == "full":
            self.adapt(metrics, finite)

    def adapt(self, metrics: dict[str, tf.Tensor], finite: tf.Tensor) -> None:
        """Each term's factor climbs the weighted loss that the generator descends.

        These are the self-adaptive weights of McClenny and Braga-Neto 2020 (arXiv:2009.04544) with two changes. The
        ascent is divided by the sum of the terms' slopes. The positive `mask` is bounded.

        The adversarial loss is defined up to a constant only. Its term is therefore D(real) - D(fake), taken before
        the discriminator's step. Where that is negative, its factor falls.
        """
        weights = self.objective.weights("full")
        losses = {term: metrics["wasserstein" if term == "adversarial" else term] for term in weights}
        slopes = {term: weight * losses[term] * mask_slope(self.adaptive[term]) for term, weight in weights.items()}
        total = tf.add_n([tf.abs(slope) for slope in slopes.values()]) + 1e-12
        for term, slope in slopes.items():
            self.adaptive[term].assign_add(tf.where(finite, ADAPTIVE_RATE * slope / total, 0.0))


def mask(value: tf.Tensor) -> tf.Tensor:
    """The factor of a self-adaptive weight: 1 at 0, rising, between 1 / ADAPTIVE_BOUND and ADAPTIVE_BOUND."""
    return ADAPTIVE_BOUND ** tf.tanh(value)


def mask_slope(value: tf.Tensor) -> tf.Tensor:
    """The derivative of `mask`."""
    return mask(value) * math.log(ADAPTIVE_BOUND) * (1 - tf.tanh(value) ** 2)
