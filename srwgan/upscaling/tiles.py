"""How a picture is cut into tiles: as few and as large as memory allows, all of one shape."""

import math

from srwgan.memory import available_memory
from srwgan.networks.edges import aligned

LARGEST_TILE = 1024 * 1024  # low-resolution pixels; of this one the halo is 5%, and a larger one hardly gains
SMALLEST_TILE = 16 * 16
MEMORY_SHARE = 0.4  # of what is available: TensorFlow's allocator, the decoder and the encoder need room too


def tile_area(bytes_per_pixel: int, halo: int, batch_size: int = 1) -> int:
    """Low-resolution pixels, without the halo, of the largest tile that memory allows and that is worth its size."""
    pixels = MEMORY_SHARE * available_memory() / bytes_per_pixel / batch_size
    side = math.sqrt(pixels) - 2 * halo
    return int(min(max(side, math.sqrt(SMALLEST_TILE)) ** 2, LARGEST_TILE))


def tile_shape(height: int, width: int, *, halo: int, area: int, alignment: int = 1) -> tuple[int, int]:
    """(height, width) of the tiles that cover a region at the least cost, halos included. All tiles have one shape.

    Args:
        height, width: of the region.
        halo: of a tile.
        area: pixels of a tile at most, without its halo.
        alignment: of the tiles.
    """
    best = None
    for rows in range(1, height // alignment + 2):
        tile_height = aligned(math.ceil(height / rows), alignment)
        tile_width = max(area // tile_height // alignment, 1) * alignment
        columns = math.ceil(width / tile_width)
        tile_width = aligned(math.ceil(width / columns), alignment)
        cost = rows * columns * (tile_height + 2 * halo) * (tile_width + 2 * halo)
        if best is None or (tile_height * tile_width <= area, -cost) > best[0]:
            best = (tile_height * tile_width <= area, -cost), (min(tile_height, height), min(tile_width, width))
        elif best[0][0] and 2 * rows * halo * width > -best[0][1]:
            break  # more rows cost more by their halos alone
    return best[1]


def origins(start: int, stop: int, tile: int) -> list[int]:
    """Where tiles of one size begin so that they cover start..stop. The last one may overlap the one before:

    |--------|--------|
                    |--------|
    start                    stop
    """
    return [min(origin, stop - tile) for origin in range(start, stop, tile)]
