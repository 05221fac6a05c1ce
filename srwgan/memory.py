"""What of the machine this process may take: memory and processor cores."""

import os
from collections.abc import Iterator
from pathlib import Path

UNKNOWN_MEMORY = 2 << 30  # bytes, where the system does not say


def available_memory() -> int:
    """Bytes that this process may still take: the least of what the system and each control group (SLURM) leave."""
    return min([system_memory(), *cgroup_memory()])


def system_memory(path: str | Path = "/proc/meminfo") -> int:
    """Bytes that the system says are available, or `UNKNOWN_MEMORY`."""
    try:
        lines = Path(path).read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return UNKNOWN_MEMORY


def cgroup_memory(root: str | Path = "/sys/fs/cgroup", memberships: str | Path = "/proc/self/cgroup") -> Iterator[int]:
    """Yields the bytes that each limit on this process's control group, and on the groups above it, leaves.

    Args:
        root: where control groups, of version 1 or 2, are mounted.
        memberships: which groups the process is in, lines of "number:controllers:group".
    """
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
            except (OSError, ValueError):  # no limit ("max"), or a group that is hidden from a container
                continue


def page_cache(folder: Path) -> int:
    """Bytes of file cache that count for a control group. The kernel gives them back when memory is short."""
    for line in (folder / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0


def usable_cores() -> int:
    """Processor cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
