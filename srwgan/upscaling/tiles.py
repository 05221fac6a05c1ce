"""How a picture is cut into tiles: as few and as large as memory allows, all of one shape."""

import math

from srwgan.memory import available_memory

LARGEST_TILE = 1024 * 1024  # low-resolution pixels; larger ones hardly gain: halos are 5% of this one
SMALLEST_TILE = 16 * 16
MEMORY_SHARE = 0.4  # of what is available: TensorFlow's allocator, the decoder and the encoder need room too


def tile_area(bytes_per_pixel, halo, batch_size=1):
    """Low-resolution pixels of the largest tile to use."""
    pixels = MEMORY_SHARE * available_memory() / bytes_per_pixel / batch_size
    side = math.sqrt(pixels) - 2 * halo
    return int(min(max(side, math.sqrt(SMALLEST_TILE)) ** 2, LARGEST_TILE))


def tile_shape(height, width, halo, area, alignment=1):
    """(height, width) of equal tiles of `area` pixels at most that cover a region at the least cost, halos included."""
    best = None
    for rows in range(1, height // alignment + 2):
        tile_height = aligned(math.ceil(height / rows), alignment)
        tile_width = max(area // tile_height // alignment, 1) * alignment
        columns = math.ceil(width / tile_width)
        tile_width = aligned(math.ceil(width / columns), alignment)
        cost = rows * columns * (tile_height + halo) * (tile_width + halo)
        if best is None or (tile_height * tile_width <= area, -cost) > best[0]:
            best = (tile_height * tile_width <= area, -cost), (min(tile_height, height), min(tile_width, width))
        elif best[0][0] and rows * halo * width > -best[0][1]:
            break  # more rows cost more by their halos alone
    return best[1]


def origins(start, stop, tile):
    """Tile origins that cover start..stop, the last one shifted back so that all tiles have one size."""
    return [min(origin, stop - tile) for origin in range(start, stop, tile)]


def aligned(size, alignment):
    return math.ceil(size / alignment) * alignment
