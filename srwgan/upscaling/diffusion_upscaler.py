"""Pictures of any size through a diffusion model, in bounded memory for the network.

A tile of a sampler of N steps would depend on N receptive fields around it. So the steps are on the outside, and each
step goes through the whole picture tile by tile: the halo is that of one step, nothing is computed twice, and the
pixels are the same for every tile size. What is kept of a picture between the steps is its residual and its noise, 24
bytes for each pixel of the result.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cached_property
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from srwgan.networks.diffusion import DiffusionGenerator, upsampled
from srwgan.networks.diffusion_process import noise_in, noised
from srwgan.networks.edges import crop, pixels_with_margin
from srwgan.networks.generator import with_precision
from srwgan.networks.noise import key_of, white_noise
from srwgan.networks.precision import choose_policy
from srwgan.networks.sampling import Sampling, levels, renewed_share
from srwgan.upscaling import tiles
from srwgan.upscaling.pixel_graph import PixelGraph, traced
from srwgan.upscaling.tiled import TiledUpscaler, check_pixels


class DiffusionNetwork:
    """What tiles ask of a diffusion model: one estimate of the residual. See `network.Network`.

    Args:
        generator: the model. Its weights are copied.
        precision: see `choose_policy`.
    """

    whole = has_maps = False

    def __init__(self, generator: DiffusionGenerator, precision: str = "auto"):
        policy = keras.dtype_policies.get(choose_policy(precision))
        self.generator, self.precision = with_precision(generator, policy.name), policy.compute_dtype
        self.scale, self.halo, self.alignment = generator.scale, generator.receptive_field, generator.alignment
        self.margin = self.halo  # as `diffusion_image_operator` has it

    def shuffled(self, sub_pixels: tf.Tensor) -> tf.Tensor:
        return sub_pixels

    def bytes_per_pixel(self) -> int:
        """A cautious guess: 64 channels or more at the result's resolution, as `ForeignNetwork`'s."""
        return max(self.generator.filters, 64) * 4 * self.scale**2


class DiffusionGraph(PixelGraph):
    """A diffusion model between pixels of one kind.

    Attributes:
        estimate: (tile with its halo, its residual, its noise, level) -> (residual, noise) of the tile without halo,
            the noise being what the tile's noisy residual has with that residual.
        finished: (tile with its halo, residual without) -> pixels of the tile.
    """

    @cached_property
    def estimate(self) -> Callable:
        halo = self.network.halo * self.network.scale

        def run(pixels, residual, noise, level):
            at_level = tf.fill(tf.shape(pixels)[:1], level)
            noisy = noised(residual, noise, at_level)
            estimate = self.network.generator([self.to_network(pixels), noisy, at_level], training=False)
            return crop(estimate, halo), crop(noise_in(noisy, estimate, level), halo)

        state = tf.TensorSpec([None, None, None, 3], tf.float32)
        return traced(run, self.pixels, state, state, tf.TensorSpec([], tf.float32))

    @cached_property
    def finished(self) -> Callable:
        network = self.network

        def run(pixels, residual):
            picture = crop(upsampled(self.to_network(pixels), network.scale), network.halo * network.scale)
            return self.to_pixels((picture + residual) * self.gain + self.offset, pixels, network.halo)

        return traced(run, self.pixels, tf.TensorSpec([None, None, None, 3], tf.float32))


class Tile(NamedTuple):
    """A tile of a picture as slices of pictures, rows and columns.

    Attributes:
        low_res: of the low resolution with its margin, halo included.
        state: of the high resolution with its margin, halo included.
        inside: of the result.
    """

    low_res: tuple
    state: tuple
    inside: tuple


class DiffusionUpscaler(TiledUpscaler):
    """Upscales pictures, animations and batches through a diffusion model, as `Upscaler` does through a generator.

    Transparency is drawn in one step, since none of it is to be invented. Every frame of an animation gets the same
    noise, so that what stays still in the source stays still in the result.

    Args:
        generator: a `DiffusionGenerator`.
        precision, tile, batch_size: as of `Upscaler`.
        sampling: steps and randomness. By default the generator's attribute `sampling`, else as many steps as it was
            made for, and seed 0.

    Raises:
        ValueError: arguments, and in the methods pixels, outside of these.
    """

    out_of_memory = tf.errors.ResourceExhaustedError

    def __init__(
        self,
        generator: DiffusionGenerator,
        precision: str = "auto",
        tile: int | None = None,
        batch_size: int | None = None,
        sampling: Sampling | None = None,
    ):
        super().__init__(DiffusionNetwork(generator, precision), tile=tile, batch_size=batch_size)
        self.generator = generator
        self.sampling = sampling or getattr(generator, "sampling", None) or Sampling()

    def make_graph(self, dtype: str, channels: int, *, is_alpha: bool) -> DiffusionGraph:
        return DiffusionGraph(self.network, dtype, channels, is_alpha=is_alpha)

    def batch(
        self, pixels: np.ndarray, is_alpha: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        """(B, H, W, C) of one plane each, C = 1 or 3 -> (B, scale H, scale W, C), one picture after another."""
        results = []
        for i in range(len(pixels)):

            def picture_progress(done, total, i=i):
                progress(i * total + done, len(pixels) * total)

            results.append(self.picture(pixels[i : i + 1], is_alpha, progress and picture_progress))
        return np.concatenate(results)

    def picture(self, pixels, is_alpha, progress):
        """`sampled` of srwgan/networks/diffusion.py, of a picture (1, H, W, C), tile by tile."""
        try:
            return self.picture_in_tiles(pixels, is_alpha, progress)
        except self.out_of_memory as error:
            if self.tile or self.largest_area <= tiles.SMALLEST_TILE:
                raise MemoryError("Not enough memory to upscale this picture. Try a smaller tile.") from error
            self.largest_area //= 4
            return self.picture(pixels, is_alpha, progress)

    def picture_in_tiles(self, pixels, is_alpha, progress):
        graph = self.graph_for(pixels.dtype, pixels.shape[-1], is_alpha=is_alpha)
        _, height, width, channels = pixels.shape
        scale, margin = self.scale, self.network.halo * self.scale
        padded, parts = self.pad(pixels), list(self.tiles(height, width))
        path = levels(1 if is_alpha else self.sampling.steps or self.generator.steps)
        noise, residual = self.plane(padded.shape, 0), None
        for step, (level, following) in enumerate(zip(path, path[1:], strict=False)):
            last = np.zeros_like(noise) if residual is None else pixels_with_margin(residual, margin)
            residual = np.empty((1, height * scale, width * scale, 3), np.float32)
            noise_inside = np.empty_like(residual)
            for i, part in enumerate(parts):
                windows = padded[part.low_res], last[part.state], noise[part.state]
                made = graph.estimate(*map(tf.constant, windows), tf.constant(level, tf.float32))
                residual[part.inside], noise_inside[part.inside] = (x.numpy() for x in made)
                if progress:
                    progress(step * len(parts) + i + 1, (len(path) - 1) * len(parts))
            if following:
                noise[:, margin : noise.shape[1] - margin, margin : noise.shape[2] - margin] = noise_inside
                renewed = renewed_share(level, following, self.sampling.stochasticity)
                if renewed:
                    noise = (1 - renewed**2) ** 0.5 * noise + renewed * self.plane(padded.shape, step + 1)
        result = np.empty((1, height * scale, width * scale, channels), pixels.dtype)
        for part in parts:
            made = graph.finished(tf.constant(padded[part.low_res]), tf.constant(residual[part.inside]))
            result[part.inside] = made.numpy()
        return result

    def plane(self, padded_shape, use):
        """The noise of a picture with its margin, (1, scale H, scale W, 3); the picture's own corner is position 0."""
        scale, margin = self.scale, self.network.halo * self.scale
        _, height, width, _ = padded_shape
        keys = tf.constant([key_of(self.sampling.seed, use)], tf.int64)
        return white_noise(keys, height=height * scale, width=width * scale, top=-margin, left=-margin).numpy()

    def tiles(self, height: int, width: int) -> Iterator[Tile]:
        """The tiles of a picture of this size."""
        halo = self.network.halo
        rows, columns = self.tile_shape(height, width)
        for y in tiles.origins(0, height, rows):
            for x in tiles.origins(0, width, columns):
                padded = slice(y, y + rows + 2 * halo), slice(x, x + columns + 2 * halo)
                inside = slice(y, y + rows), slice(x, x + columns)
                yield Tile((slice(None), *padded), self.enlarged(padded), self.enlarged(inside))

    def enlarged(self, window: tuple) -> tuple:
        """A window of rows and columns of the low resolution as one of pictures at the high resolution."""
        return slice(None), *(slice(part.start * self.scale, part.stop * self.scale) for part in window)

    def reusing(self, frames):
        """Yields the upscaled frames; one that equals the frame before is not drawn again."""
        before = result = None
        with closing(frames):
            for pixels in frames:
                check_pixels(pixels)
                if before is None or not np.array_equal(before, pixels):
                    result = self.image(pixels)
                before = pixels
                yield result.copy()
