"""A network on float tensors, as upscaling runs it: the protocol, and which network a generator becomes.

    Upscaler         sizes, memory, whole pictures: NumPy pixels in and out           upscaler.py
      TiledUpscaler  planes, tiles, frames, without TensorFlow                        tiled.py
      Canvas         frames: which regions changed, feature maps kept between them    changed_regions.py
        PixelGraph   one TensorFlow graph: integer pixels in and out                  pixel_graph.py
          Network    float tensors in and out                                         this file
            FastGenerator    a plain Generator's layers without padding               fast_generator.py
            ForeignNetwork   any other model, run as it is                            this file

Each calls the one below it, and none a higher one. Halo, margin and alignment are drawn in `srwgan/networks/edges.py`.
"""

import logging
from typing import Any, Protocol

import keras
import tensorflow as tf

from srwgan.networks.edges import crop, halo_of, margin_of
from srwgan.networks.generator import Generator, with_precision
from srwgan.networks.precision import choose_policy
from srwgan.upscaling.fast_generator import FastGenerator

log = logging.getLogger(__name__)


class Network(Protocol):
    """What `PixelGraph`, `Canvas` and `Upscaler` ask of a network.

    A result is made in two steps, so that what lies between them, rounding to integers, runs on sub-pixels: at a lower
    resolution with more channels, before the last pixel shuffle.

    Attributes:
        scale: the factor between low and high resolution.
        precision: of the computation, "float32", "bfloat16" or "float16".
        halo: low-resolution pixels round a tile that its result depends on, and no fewer than the margin.
        margin: low-resolution pixels on each side that a result does not have. Beyond them the network sees its zeros.
        alignment: of tiles, in low-resolution pixels.
        whole: whether pictures have to be run whole, since the receptive field is not known.
        has_maps: whether it has the methods of `NetworkWithMaps` too.
    """

    scale: int
    precision: str
    halo: int
    margin: int
    alignment: int
    whole: bool
    has_maps: bool

    def sub_pixels(self, low_res: tf.Tensor, gain: float = 1.0, offset: float = 0.0) -> tf.Tensor:
        """Pictures with their margin, or windows -> sub-pixels of the result times `gain` plus `offset`, float32.

        Args:
            low_res: (B, h + 2 margin, w + 2 margin, 3) float32 in [-1, 1]. The result is of h x w of these.
        """

    def shuffled(self, sub_pixels: tf.Tensor) -> tf.Tensor:
        """Sub-pixels of any type -> (B, scale h, scale w, C). C is a third of what it is in RGB for gray sub-pixels."""

    def bytes_per_pixel(self) -> int:
        """Memory that a tile needs, for each low-resolution pixel, halo included."""


class NetworkWithMaps(Network, Protocol):
    """A network whose feature maps can be kept, and updated in part.

    It is a sequence of parts 0..n. Feature map k is the result of part k, and the last part, `tail`, gives sub-pixels.

    Attributes:
        halos: pixels on each side that each part's result depends on. The tail's are no more than `margin`.
    """

    halos: list[int]

    def sub_pixels_and_maps(
        self, low_res: tf.Tensor, gain: float = 1.0, offset: float = 0.0
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """As `sub_pixels` -> (that result, feature maps 0..n - 1)."""

    def part(self, k: int, x: tf.Tensor) -> tf.Tensor:
        """Map k - 1, or for k = 0 the low-resolution picture -> map k, as large."""

    def tail(
        self, x: tf.Tensor, first: tf.Tensor, low_res: tf.Tensor, gain: float = 1.0, offset: float = 0.0
    ) -> tf.Tensor:
        """The same window of the last map, of map 0 and of the low-resolution picture -> sub-pixels.

        The result is smaller than the window by `halos[-1]` low-resolution pixels on each side.
        """

    def map_bytes_per_pixel(self) -> int:
        """Memory of all feature maps, for each low-resolution pixel."""


def network_for(generator: Any, precision: str = "auto", strength: float | None = None) -> Network:
    """A plain Generator as a `FastGenerator`; any other model as a `ForeignNetwork`.

    Args:
        generator: a Generator, or a model with `scale`, `receptive_field` and `alignment`.
        precision: see `choose_policy`. A model that is no Generator keeps its own.
        strength: of the pictures' degradation, 0 to 1, for a Generator with that condition. By default its attribute
            `strength`, else 0.

    Raises:
        ValueError: an unknown precision, or a strength outside [0, 1] or for a model that takes none.
    """
    policy = keras.dtype_policies.get(choose_policy(precision))
    conditional = getattr(generator, "condition", "none") == "noise"
    if strength is None and conditional:
        strength = getattr(generator, "strength", None)
    check_strength(strength, conditional)
    if isinstance(generator, Generator):
        if generator.is_plain and type(generator) is Generator:  # a subclass may have other layers
            return FastGenerator(generator, policy.compute_dtype)
        strength = (strength or 0.0) if conditional else None
        return ForeignNetwork(with_precision(generator, policy.name), policy.compute_dtype, strength=strength)
    if precision not in ("auto", "float32"):
        log.warning("This model computes in the precision it was saved with; precision=%s is left aside.", precision)
    return ForeignNetwork(generator)


def check_strength(strength: float | None, conditional: bool) -> None:
    """Raises ValueError for a strength outside [0, 1], and for any where the generator is not conditional."""
    if strength is None:
        return
    if not conditional:
        raise ValueError(
            f"Received: strength {strength} for a generator that takes none. "
            "Expected none, or a generator trained with --condition noise."
        )
    if not 0 <= strength <= 1:
        raise ValueError(f"Received: strength {strength}. Expected a number from 0 to 1.")


class ForeignNetwork:
    """A `Network` round any model (B, H, W, 3) -> (B, scale H, scale W, 3): run as it is, then cropped by the margin.

    Args:
        generator: the model, with `scale`, `receptive_field` (None: not known) and perhaps `alignment`.
        precision: the one that it computes in.
        strength: what a model with that condition takes, for all pictures; None for a model without one.
    """

    has_maps = False

    def __init__(self, generator: Any, precision: str = "float32", strength: float | None = None):
        self.generator, self.scale, self.precision = generator, generator.scale, precision
        self.strength = strength
        self.alignment = getattr(generator, "alignment", 1)
        self.whole = generator.receptive_field is None
        self.halo, self.margin = halo_of(generator), margin_of(generator)

    def sub_pixels(self, low_res: tf.Tensor, gain: float = 1.0, offset: float = 0.0) -> tf.Tensor:
        """The result itself: this network has no step after the rounding."""
        inputs = low_res if self.strength is None else (low_res, tf.fill(tf.shape(low_res)[:1], self.strength))
        high_res = tf.cast(self.generator(inputs), "float32")
        size = tf.shape(low_res)[1:3] * self.scale
        message = f"The model does not upscale by {self.scale} as it says it does."
        tf.debugging.assert_equal(tf.shape(high_res)[1:3], size, message)
        return crop(high_res, self.margin * self.scale) * gain + offset

    def shuffled(self, sub_pixels: tf.Tensor) -> tf.Tensor:
        return sub_pixels

    def bytes_per_pixel(self) -> int:
        """A cautious guess: 64 channels or more at the result's resolution."""
        channels = max(getattr(self.generator, "filters", 64), 64)
        return channels * 4 * self.scale**2
