"""The one way through which every picture goes: any size, in bounded memory, at the machine's speed.

`network.py` says who calls whom here.
"""

import logging
from typing import Any

import tensorflow as tf

from srwgan.networks.diffusion import DiffusionGenerator
from srwgan.networks.sampling import Sampling
from srwgan.upscaling import tiles
from srwgan.upscaling.diffusion_upscaler import DiffusionUpscaler
from srwgan.upscaling.network import check_strength, network_for
from srwgan.upscaling.pixel_graph import PixelGraph
from srwgan.upscaling.tiled import TiledUpscaler

GPU_BATCH_AREA = 256 * 256  # low-resolution pixels that keep a GPU busy; a CPU is busy with one small frame
log = logging.getLogger(__name__)


class Upscaler(TiledUpscaler):
    """Upscales pictures, animations and batches through one generator.

    Pixels are NumPy arrays (H, W, C) of any size, uint8 or uint16: C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA
    (straight alpha). The result has the same dtype and channels. One object may serve several threads.

    Of a diffusion model, `Upscaler(...)` gives a `DiffusionUpscaler`.

    Args:
        generator: a Generator, a DiffusionGenerator, or a model with `scale`, `receptive_field` and `alignment` (see
            `network_for`). Its weights are copied: later training does not change the Upscaler.
        precision: "auto" (bfloat16 where the machine is fast at it, else float32), "float32", "bfloat16", "float16".
        tile: side of square tiles in low-resolution pixels. By default a tile is as large as memory allows.
        batch_size: tiles or frames run at once. By default 1 on a CPU, and on a GPU more where they are small.
        strength: of the pictures' degradation, 0 to 1, for a generator with that condition. By default its attribute
            `strength`, else 0.
        sampling: steps and randomness of a diffusion model. By default its attribute `sampling`, else its own steps.

    Attributes:
        scale: the factor between low and high resolution.
        precision: of the computation.

    Raises:
        ValueError: arguments, and in the methods pixels, outside of these.
    """

    out_of_memory = tf.errors.ResourceExhaustedError

    def __new__(cls, generator: Any, precision="auto", tile=None, batch_size=None, strength=None, sampling=None):
        check_sampling(sampling, generator)
        if not isinstance(generator, DiffusionGenerator):
            return super().__new__(cls)
        check_strength(strength, False)
        return DiffusionUpscaler(generator, precision, tile=tile, batch_size=batch_size, sampling=sampling)

    def __init__(
        self,
        generator: Any,
        precision: str = "auto",
        tile: int | None = None,
        batch_size: int | None = None,
        strength: float | None = None,
        sampling: Sampling | None = None,
    ):
        super().__init__(network_for(generator, precision, strength), tile=tile, batch_size=batch_size)
        self.generator = generator
        if self.network.whole:
            log.warning("This model's receptive field is not known: pictures are run whole, whatever the memory.")

    def make_graph(self, dtype: str, channels: int, *, is_alpha: bool) -> PixelGraph:
        return PixelGraph(self.network, dtype, channels, is_alpha=is_alpha)

    def default_batch_size(self, height: int, width: int) -> int:
        if not tf.config.list_physical_devices("GPU"):
            return 1
        return max(GPU_BATCH_AREA // (height * width), 1)

    def maps_fit(self, height: int, width: int) -> bool:
        """Whether a whole frame is one tile, with memory left for the feature maps and what replaces them."""
        if not self.network.has_maps or self.tile_shape(height, width) != (height, width):
            return False
        needed = self.network.bytes_per_pixel() + 2 * self.network.map_bytes_per_pixel()
        return height * width <= tiles.tile_area(needed, self.network.halo)


def check_sampling(sampling: Sampling | None, generator: Any) -> None:
    """Raises ValueError for a sampling of what is no diffusion model."""
    if sampling is not None and not isinstance(generator, DiffusionGenerator):
        raise ValueError(
            "Received: steps, seed or sampler for a generator that draws nothing. Expected a diffusion model."
        )
