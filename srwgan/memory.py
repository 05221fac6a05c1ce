"""How much memory this process may still take."""

from pathlib import Path

UNKNOWN_MEMORY = 2 << 30  # bytes, where the system does not say


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
