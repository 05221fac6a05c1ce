"""Any size through a network that takes tiles: planes, tiles, frames. No TensorFlow here, see `TiledUpscaler`.

Every way of running a network, whole, in tiles or in patches of a frame, is the image operator of
`srwgan/networks/edges.py`, where halo and margin are drawn.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from srwgan.networks.edges import aligned, pixels_with_margin
from srwgan.prefetch import prefetched
from srwgan.upscaling import tiles
from srwgan.upscaling.changed_regions import Canvas
from srwgan.upscaling.steady import Steadier
from srwgan.upscaling.transparency import fill_transparent


class TiledUpscaler:
    """What `Upscaler` (TensorFlow) and `LiteUpscaler` (LiteRT) have in common.

    Pixels are NumPy arrays (H, W, C) of any size, uint8 or uint16: C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA
    (straight alpha). The result has the same dtype and channels. One object may serve several threads.

    A subclass says in `make_graph` what runs windows of one kind of pixels, and in `out_of_memory` what that raises
    where memory does not suffice.

    Args:
        network: with `scale`, `precision`, `halo`, `margin`, `alignment`, `whole` and `bytes_per_pixel()`, see
            `Network`.
        tile: side of square tiles in low-resolution pixels. By default a tile is as large as memory allows.
        batch_size: tiles or frames run at once.

    Attributes:
        scale: the factor between low and high resolution.
        precision: of the computation.

    Raises:
        ValueError: arguments, and in the methods pixels, outside of these.
    """

    out_of_memory: type[BaseException] = MemoryError

    def __init__(self, network: Any, tile: int | None = None, batch_size: int | None = None):
        for name, value in (("tile", tile), ("batch_size", batch_size)):
            if value is not None and value < 1:
                raise ValueError(f"Received: {name}={value}. Expected 1 or more.")
        self.network = network
        self.scale, self.precision = network.scale, network.precision
        self.tile, self.batch_size = tile, batch_size
        self.graphs, self.lock = {}, threading.Lock()
        self.largest_area = tiles.LARGEST_TILE

    def image(self, pixels: np.ndarray, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """(H, W, C) -> (scale H, scale W, C).

        Args:
            progress: called after each tile with (tiles done, tiles in all). An exception of it ends the run.

        Raises:
            MemoryError: not even the smallest tile fits.
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

    def frames(
        self,
        frames: Iterable[np.ndarray],
        reuse: bool = True,
        steady: bool = False,
        first_result: np.ndarray | None = None,
    ) -> Iterator[np.ndarray]:
        """Yields the upscaled frames of an animation in order. A few frames at most are in memory.

        Pulling `frames` and upscaling run in threads of their own, ahead of the consumer. An exception of `frames` is
        raised here. Closing or deleting the iterator ends the threads.

        Args:
            frames: pixels.
            reuse: run again only what changed since the frame before (the same pixels, to rounding).
            steady: carry what was made along with the motion, so that it does not shimmer: see `Steadier`.
            first_result: of `steady`, what the first frame's result was in an earlier run, with which this one goes on.

        Raises:
            ImportError: `steady`, and OpenCV is not installed.
        """
        steadier = Steadier(self.scale, first_result) if steady else None
        decoded, low_res = prefetched(frames), deque()
        if steady:
            decoded = noted(decoded, low_res)
        results = prefetched(self.reusing(decoded) if reuse else self.in_batches(decoded), ahead=1)
        return prefetched(steadied(results, low_res, steadier), ahead=1) if steady else results

    def tensor(self, low_res: np.ndarray) -> np.ndarray:
        """(B, H, W, 3) float32 in [-1, 1] -> (B, scale H, scale W, 3) alike."""
        low_res = np.asarray(low_res, np.float32)
        if low_res.ndim != 4 or low_res.shape[-1] != 3:
            raise ValueError(f"Received: an array of shape {low_res.shape}. Expected (batch, height, width, 3).")
        return self.batch(low_res)

    def batch(
        self, pixels: np.ndarray, is_alpha: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        """(B, H, W, C) of one plane each, C = 1 or 3 -> (B, scale H, scale W, C), tile by tile."""
        _, height, width, channels = pixels.shape
        graph = self.graph_for(pixels.dtype, channels, is_alpha=is_alpha)
        padded = self.pad(pixels)
        rows, columns = (size - 2 * self.network.margin for size in padded.shape[1:3])
        result = self.run_region(graph, padded, None, (0, rows, 0, columns), progress=progress)
        return result[:, : height * self.scale, : width * self.scale]

    def pad(self, pixels: np.ndarray) -> np.ndarray:
        return pixels_with_margin(pixels, self.network.margin, self.network.alignment)

    def run_region(self, graph, padded, result, region, *, progress=None):
        """Fills a region of the result tile by tile, in smaller tiles where a GPU's memory does not suffice.

        Args:
            padded: (B, H + 2 margin, W + 2 margin, C) pixels with their margin.
            result: (B, scale H, scale W, C), written in place; None for a new one, of which the region is all.
            region: (top, bottom, left, right) in low-resolution pixels of the result.

        Returns:
            The result.
        """
        try:
            return self.run_tiles(graph, padded, result, region, progress=progress)
        except self.out_of_memory as error:
            if self.tile or self.network.whole or self.largest_area <= tiles.SMALLEST_TILE:
                raise MemoryError("Not enough memory to upscale this picture. Try a smaller tile.") from error
            self.largest_area //= 4
            return self.run_region(graph, padded, result, region, progress=progress)

    def run_tiles(self, graph, padded, result, region, *, progress):
        alignment, scale = self.network.alignment, self.scale
        span = partial(window_span, halo=self.network.halo, margin=self.network.margin)
        top, left = (start // alignment * alignment for start in region[::2])
        bottom, right = (aligned(stop, alignment) for stop in region[1::2])
        height, width = self.tile_shape(bottom - top, right - left)
        origins = [
            (i, y, x)
            for y in tiles.origins(top, bottom, height)
            for x in tiles.origins(left, right, width)
            for i in range(len(padded))
        ]
        batch_size = self.batch_size or self.default_batch_size(height, width)
        if result is None:
            if (bottom, right) == (height, width) and len(origins) <= batch_size:
                result = np.asarray(graph.windows(padded))  # the result itself, not a copy
                if progress:
                    progress(len(origins), len(origins))
                return result
            result = np.empty((len(padded), bottom * scale, right * scale, padded.shape[-1]), padded.dtype)
        for start in range(0, len(origins), batch_size):
            batch = origins[start : start + batch_size]
            spans = [(i, span(y, height, padded.shape[1]), span(x, width, padded.shape[2])) for i, y, x in batch]
            patches = np.asarray(graph.windows(np.stack([padded[i, rows, columns] for i, rows, columns in spans])))
            for (i, y, x), (_, rows, columns), patch in zip(batch, spans, patches, strict=True):
                top, left = (y - rows.start) * scale, (x - columns.start) * scale
                inside = patch[top : top + height * scale, left : left + width * scale]
                result[i, y * scale : (y + height) * scale, x * scale : (x + width) * scale] = inside
            if progress:
                progress(start + len(batch), len(origins))
        return result

    def tile_shape(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the tiles, without their halo, of a region of this size."""
        halo, alignment = self.network.halo, self.network.alignment
        if self.network.whole:
            return height, width
        if self.tile:
            side = aligned(self.tile, alignment)
            return min(side, height), min(side, width)
        area = tiles.tile_area(self.network.bytes_per_pixel(), halo, self.batch_size or 1)
        return tiles.tile_shape(height, width, halo=halo, area=min(area, self.largest_area), alignment=alignment)

    def default_batch_size(self, height: int, width: int) -> int:
        """Tiles or frames of this size that are run at once."""
        return 1

    def reusing(self, frames):
        """Yields the upscaled frames, of which only what changed is run."""
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
        kind, canvas = canvases.pop(plane.is_alpha, (None, None))  # gone where this frame's alpha is flat
        if is_flat_alpha(plane):
            return plane.pixels.flat[0]
        if kind != (plane.pixels.shape, plane.pixels.dtype):
            graph = self.graph_for(plane.pixels.dtype, channels, is_alpha=plane.is_alpha)
            keep_maps = self.maps_fit(height, width)
            canvas = Canvas(graph, partial(self.run_region, graph), keep_maps=keep_maps)
        canvas.update(self.pad(plane.pixels[None]))
        canvases[plane.is_alpha] = (plane.pixels.shape, plane.pixels.dtype), canvas
        return canvas.high_res[0, : height * self.scale, : width * self.scale]

    def maps_fit(self, height: int, width: int) -> bool:
        """Whether feature maps of frames of this size are kept between them."""
        return False

    def in_batches(self, frames):
        """Yields the upscaled frames, each run whole, small ones in batches."""
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

    def graph_for(self, dtype: Any, channels: int, *, is_alpha: bool) -> Any:
        """What runs pixels of this kind, made when it is first asked for."""
        key = np.dtype(dtype).name, channels, is_alpha
        with self.lock:
            if key not in self.graphs:
                self.graphs[key] = self.make_graph(key[0], channels, is_alpha=is_alpha)
            return self.graphs[key]

    def make_graph(self, dtype: str, channels: int, *, is_alpha: bool) -> Any:
        """What has `windows`, a function from (B, h + 2 margin, w + 2 margin, C) to (B, scale h, scale w, C) pixels."""
        raise NotImplementedError


def window_span(start: int, size: int, stop: int, *, halo: int, margin: int) -> slice:
    """The rows, or the columns, of a tile's window in a picture with its margin, see `edges`.

    Args:
        start, size: of the tile, in the picture without its margin.
        stop: size of the picture with its margin.
    """
    size = min(size + 2 * halo, stop)
    start = min(max(start + margin - halo, 0), stop - size)
    return slice(start, start + size)


def noted(frames, seen):
    """Yields frames, each of which it puts into `seen` too."""
    with closing(frames):
        for pixels in frames:
            seen.append(pixels)
            yield pixels


def steadied(results, low_res, steadier):
    """Yields results made steady. `low_res` holds their frames, the oldest first, and is emptied."""
    with closing(results):
        for result in results:
            yield steadier(low_res.popleft(), result)


class Plane(NamedTuple):
    """The channels of a picture that go through the network together: its colors (1 or 3), or its alpha (1)."""

    channels: slice
    pixels: np.ndarray
    is_alpha: bool


def planes(pixels: np.ndarray) -> list[Plane]:
    if pixels.shape[2] in (1, 3):
        return [Plane(slice(None), pixels, False)]
    alpha = pixels[..., -1:]
    colors = fill_transparent(pixels[..., :-1], alpha)
    return [Plane(slice(None, -1), colors, False), Plane(slice(-1, None), alpha, True)]


def is_flat_alpha(plane: Plane) -> bool:
    """Whether the plane is alpha of one value, which it keeps: alpha stays within the range of its neighbors."""
    return plane.is_alpha and (plane.pixels == plane.pixels.flat[0]).all()


def check_pixels(pixels: np.ndarray) -> None:
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        received = f"{pixels.dtype} pixels of shape {pixels.shape}"
        raise ValueError(f"Received: {received}. Expected uint8 or uint16 of (height, width, 1 to 4 channels).")
    if 0 in pixels.shape:
        raise ValueError(f"Received: an empty picture of shape {pixels.shape}. Expected at least one pixel.")
