"""The one way through which every picture goes: any size, in bounded memory, at the machine's speed.

The image operator is: pad the picture's edges by the receptive field (replicating pixels), run the network, crop. So
every tile size gives the same pixels.
"""

import logging
import threading
from contextlib import closing
from functools import partial
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from srwgan.prefetch import in_background
from srwgan.upscaling import tiles
from srwgan.upscaling.changed_regions import Canvas
from srwgan.upscaling.fast_generator import network_for
from srwgan.upscaling.pixel_graph import CompiledNetwork
from srwgan.upscaling.transparency import fill_transparent

GPU_BATCH_AREA = 256 * 256  # low-resolution pixels that keep a GPU busy; a CPU is busy with one small frame
log = logging.getLogger(__name__)


class Upscaler:
    """Upscales pictures, animations and batches through one generator.

    Pixels are numpy arrays (H, W, C), C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA (straight alpha), uint8 or uint16, of
    any size; the result has the same dtype and channels. One object may serve several threads.

    Args:
        generator: a Generator, or a model with `scale`, `receptive_field` and `alignment` (see `network_for`). Its
            weights are those of now: later training does not change the Upscaler.
        precision: "auto" (bfloat16 where the machine computes in it, else float32), "float32", "bfloat16", "float16".
        tile: side of square tiles in low-resolution pixels; by default the largest that memory allows.
        batch_size: tiles or frames run at once; by default 1 on a CPU, more small ones on a GPU.
        strength: of the pictures' degradation, 0 to 1, for a generator with that condition (default: its attribute
            `strength`, else 0).

    Attributes:
        scale: the factor between low and high resolution.
        precision: the one that is computed in.

    Raises ValueError for arguments and pixels outside of these.
    """

    def __init__(self, generator, precision="auto", tile=None, batch_size=None, strength=None):
        for name, value in (("tile", tile), ("batch_size", batch_size)):
            if value is not None and value < 1:
                raise ValueError(f"Received: {name}={value}. Expected 1 or more.")
        self.generator = generator
        self.network = network_for(generator, precision, strength)
        self.scale, self.precision = self.network.scale, self.network.precision
        self.tile, self.batch_size = tile, batch_size
        self.compiled, self.lock = {}, threading.Lock()
        self.largest_area = tiles.LARGEST_TILE
        if self.network.whole:
            log.warning("This model's receptive field is not known: pictures are run whole, whatever the memory.")

    def image(self, pixels, progress=None):
        """(H, W, C) -> (scale H, scale W, C).

        progress(done, total) is called after each tile; what it raises ends the run.
        """
        check_pixels(pixels)
        height, width, channels = pixels.shape
        result = np.empty((height * self.scale, width * self.scale, channels), pixels.dtype)
        parts = []
        for part in planes(pixels):
            if is_flat_alpha(part):
                result[..., part.channels] = part.pixels.flat[0]
            else:
                parts.append(part)
        for i, part in enumerate(parts):

            def part_progress(done, total, i=i):
                progress(i * total + done, len(parts) * total)

            high_res = self.batch(part.pixels[None], part.is_alpha, progress and part_progress)
            result[..., part.channels] = high_res[0]
        return result

    def frames(self, frames, reuse=True):
        """Yields the upscaled frames of an animation, in order, while a few at most are in memory.

        Pulling `frames` and upscaling run in threads of their own, ahead of the consumer. An exception of `frames` is
        raised here; closing or deleting the iterator ends the threads.

        Args:
            frames: iterable of pixels.
            reuse: run again only what changed since the last frame (the same pixels, to rounding).
        """
        decoded = in_background(frames)
        return in_background(self.reusing(decoded) if reuse else self.in_batches(decoded), ahead=1)

    def tensor(self, low_res):
        """(B, H, W, 3) float32 in [-1, 1] -> (B, scale H, scale W, 3) alike."""
        low_res = np.asarray(low_res, np.float32)
        if low_res.ndim != 4 or low_res.shape[-1] != 3:
            raise ValueError(f"Received: an array of shape {low_res.shape}. Expected (batch, height, width, 3).")
        return self.batch(low_res)

    def batch(self, pixels, is_alpha=False, progress=None):
        """(B, H, W, C) of one plane each, C = 1 or 3 -> (B, scale H, scale W, C)."""
        count, height, width, channels = pixels.shape
        compiled = self.compiled_for(pixels.dtype, channels, is_alpha)
        if self.takes_pictures(height, width):
            try:
                return self.run_pictures(compiled, pixels, progress)
            except tf.errors.ResourceExhaustedError:  # a GPU's memory cannot be asked for
                self.largest_area = height * width // 4
        padded = self.pad(pixels)
        rows, columns = (size - 2 * self.network.halo for size in padded.shape[1:3])
        result = np.empty((count, rows * self.scale, columns * self.scale, channels), pixels.dtype)
        self.run_region(compiled, padded, result, (0, rows, 0, columns), progress)
        return result[:, : height * self.scale, : width * self.scale]

    def takes_pictures(self, height, width):
        """Whether pictures of this size are one tile, of a network that knows what lies beyond a picture's edges."""
        return self.network.takes_pictures and self.tile_shape(height, width) == (height, width)

    def run_pictures(self, compiled, pixels, progress):
        count, height, width, _ = pixels.shape
        batch_size, results = self.batch_size or self.default_batch_size(height, width), []
        for start in range(0, count, batch_size):
            results.append(np.asarray(compiled.picture(pixels[start : start + batch_size])))
            if progress:
                progress(min(start + batch_size, count), count)
        return results[0] if len(results) == 1 else np.concatenate(results)

    def pad(self, pixels):
        """Replicates the edges by the halo, and on to a multiple of the alignment at the bottom and on the right."""
        halo, alignment = self.network.halo, self.network.alignment
        height, width = (tiles.aligned(size, alignment) - size for size in pixels.shape[1:3])
        return np.pad(pixels, [(0, 0), (halo, halo + height), (halo, halo + width), (0, 0)], "edge")

    def run_region(self, compiled, padded, result, region, progress=None):
        """Fills result at region (top, bottom, left, right; low-resolution pixels) from padded, tile by tile."""
        try:
            self.run_tiles(compiled, padded, result, region, progress)
        except tf.errors.ResourceExhaustedError as error:
            if self.tile or self.network.whole or self.largest_area <= tiles.SMALLEST_TILE:
                raise MemoryError("Not enough memory to upscale this picture. Try a smaller tile.") from error
            self.largest_area //= 4
            self.run_region(compiled, padded, result, region, progress)

    def run_tiles(self, compiled, padded, result, region, progress):
        alignment, halo, scale = self.network.alignment, self.network.halo, self.scale
        top, left = (start // alignment * alignment for start in region[::2])
        bottom, right = (tiles.aligned(stop, alignment) for stop in region[1::2])
        height, width = self.tile_shape(bottom - top, right - left)
        origins = [
            (i, y, x)
            for y in tiles.origins(top, bottom, height)
            for x in tiles.origins(left, right, width)
            for i in range(len(padded))
        ]
        batch_size = self.batch_size or self.default_batch_size(height, width)
        for start in range(0, len(origins), batch_size):
            batch = origins[start : start + batch_size]
            windows = [padded[i, y : y + height + 2 * halo, x : x + width + 2 * halo] for i, y, x in batch]
            patches = np.asarray(compiled.run(np.stack(windows)))
            for (i, y, x), patch in zip(batch, patches, strict=True):
                result[i, y * scale : (y + height) * scale, x * scale : (x + width) * scale] = patch
            if progress:
                progress(start + len(batch), len(origins))

    def tile_shape(self, height, width):
        if self.network.whole:
            return height, width
        if self.tile:
            side = tiles.aligned(self.tile, self.network.alignment)
            return min(side, height), min(side, width)
        area = tiles.tile_area(self.network.bytes_per_pixel(), self.network.halo, self.batch_size or 1)
        return tiles.tile_shape(height, width, self.network.halo, min(area, self.largest_area), self.network.alignment)

    def default_batch_size(self, height, width):
        if not tf.config.list_physical_devices("GPU"):
            return 1
        return max(GPU_BATCH_AREA // (height * width), 1)

    def reusing(self, frames):
        canvases = {}
        with closing(frames):
            for pixels in frames:
                check_pixels(pixels)
                height, width, channels = pixels.shape
                result = np.empty((height * self.scale, width * self.scale, channels), pixels.dtype)
                for part in planes(pixels):
                    result[..., part.channels] = self.updated(canvases, part)
                yield result

    def updated(self, canvases, plane):
        """The plane's upscaled pixels, from the canvas that holds its previous ones."""
        height, width, channels = plane.pixels.shape
        kind, canvas = canvases.pop(plane.is_alpha, (None, None))
        if is_flat_alpha(plane):
            return plane.pixels.flat[0]
        if kind != (plane.pixels.shape, plane.pixels.dtype):
            canvas = self.canvas(height, width, channels, plane.pixels.dtype, plane.is_alpha)
        canvas.update(self.pad(plane.pixels[None]))
        canvases[plane.is_alpha] = (plane.pixels.shape, plane.pixels.dtype), canvas
        return canvas.high_res[0, : height * self.scale, : width * self.scale]

    def canvas(self, height, width, channels, dtype, is_alpha):
        compiled = self.compiled_for(dtype, channels, is_alpha)
        return Canvas(compiled, partial(self.run_region, compiled), keep_maps=self.maps_fit(height, width))

    def maps_fit(self, height, width):
        """Whether a whole frame is one tile with memory left for the feature maps between the network's parts."""
        if not self.takes_pictures(height, width):
            return False
        needed = self.network.bytes_per_pixel() + 2 * self.network.map_bytes_per_pixel()
        return height * width <= tiles.tile_area(needed, self.network.halo)

    def in_batches(self, frames):
        """Each frame whole; small ones in batches."""
        with closing(frames):
            batch = []
            for pixels in frames:
                check_pixels(pixels)
                if batch and (batch[0].shape, batch[0].dtype) != (pixels.shape, pixels.dtype):
                    yield from self.whole_frames(batch)
                    batch = []
                batch.append(pixels)
                if len(batch) == (self.batch_size or self.default_batch_size(*pixels.shape[:2])):
                    yield from self.whole_frames(batch)
                    batch = []
            if batch:
                yield from self.whole_frames(batch)

    def whole_frames(self, batch):
        if batch[0].shape[2] in (2, 4):
            return map(self.image, batch)
        return self.batch(np.stack(batch))

    def compiled_for(self, dtype, channels, is_alpha):
        key = np.dtype(dtype).name, channels, is_alpha
        with self.lock:
            if key not in self.compiled:
                self.compiled[key] = CompiledNetwork(self.network, *key)
            return self.compiled[key]


class Plane(NamedTuple):
    """What goes through the network by itself: RGB or gray pixels, and which channels of the picture they are."""

    channels: slice
    pixels: np.ndarray
    is_alpha: bool


def planes(pixels):
    if pixels.shape[2] in (1, 3):
        return [Plane(slice(None), pixels, False)]
    alpha = pixels[..., -1:]
    colours = fill_transparent(pixels[..., :-1], alpha)
    return [Plane(slice(None, -1), colours, False), Plane(slice(-1, None), alpha, True)]


def is_flat_alpha(plane):
    """Whether the result is known without the network: it stays within the range of its neighbours."""
    return plane.is_alpha and (plane.pixels == plane.pixels.flat[0]).all()


def check_pixels(pixels):
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        received = f"{pixels.dtype} pixels of shape {pixels.shape}"
        raise ValueError(f"Received: {received}. Expected uint8 or uint16 of (height, width, 1 to 4 channels).")
    if 0 in pixels.shape:
        raise ValueError(f"Received: an empty picture of shape {pixels.shape}. Expected at least one pixel.")
