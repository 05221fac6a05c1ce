"""How a picture is cut into tiles: as few and as large as memory allows, all of one shape."""

import math
from pathlib import Path

LARGEST_TILE = 1024 * 1024  # low-resolution pixels; larger ones hardly gain: halos are 5% of this one
SMALLEST_TILE = 16 * 16
MEMORY_SHARE = 0.4  # of what is available: TensorFlow's allocator, the decoder and the encoder need room too
UNKNOWN_MEMORY = 2 << 30


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


def available_memory():
    """Bytes this process may still take: the system's, within the limits of its control groups (SLURM)."""
    return min([system_memory(), *cgroup_memory()])


def system_memory(path="/proc/meminfo"):
    try:
        lines = Path(path).read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return UNKNOWN_MEMORY


def cgroup_memory(root="/sys/fs/cgroup", memberships="/proc/self/cgroup"):
    """What each limit on this process's control group and on those above it leaves, versions 1 and 2."""
    try:
        lines = Path(memberships).read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            base, limit, used = Path(root), "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            base, limit, used = Path(root, "memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        own = base / group.strip("/")
        for folder in (own, *own.parents):
            if folder == base.parent:
                break
            try:
                yield max(int((folder / limit).read_text()) - int((folder / used).read_text()), 0) + page_cache(folder)
            except (OSError, ValueError):  # no limit ("max"), or a group that cannot be seen from inside a container
                continue


def page_cache(folder):
    """Bytes of file cache charged to a control group, which the kernel gives back when memory is short."""
    for line in (folder / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0
