"""Which engine runs a generator: TensorFlow, or LiteRT, which starts in a twentieth of the time.

TensorFlow is the faster one once it runs, in bfloat16 several times, and the only one for what LiteRT does not have.
Which of them is done first is a matter of how much there is to do.
"""

import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srwgan.commandline import quiet_start
from srwgan.convert.jobs import Job, kind_of
from srwgan.measured import cache_file, recalled
from srwgan.media import animation, gif
from srwgan.media.still.images import read_header
from srwgan.memory import usable_cores
from srwgan.networks.model_folder import LITERT_FILE, check_fidelity, end_at
from srwgan.networks.sampling import Sampling

ENGINES = ("auto", "tensorflow", "litert")
TENSORFLOW_START = 2.5  # seconds for importing it and compiling a first picture's graph, on two cores; or more
TRIAL_SIDE = 64  # of the tile, in low-resolution pixels, that LiteRT's rate is measured on
RATES_FILE = cache_file("litert_rates.json")


@dataclass(frozen=True)
class Settings:
    """How a generator is run, see `Upscaler`; `fidelity` as in `load_at_fidelity`, `sampling` of a diffusion model."""

    fidelity: float = 0.0
    precision: str = "auto"
    strength: float | None = None
    tile: int | None = None
    batch_size: int | None = None
    sampling: Sampling | None = None


def choose_engine(asked: str, folders: list, *, settings: Settings, jobs: list[Job]) -> str:
    """The engine, "tensorflow" or "litert".

    "auto" is LiteRT where it takes no longer for all jobs than TensorFlow takes to start, and where TensorFlow is not
    installed.

    Args:
        asked: of `ENGINES`.
        folders: those of the generators that the jobs need.
        settings: how they are run.
        jobs: what there is to do.

    Raises:
        ValueError: LiteRT was asked for, and cannot do this.
        ImportError: neither engine that can do this is installed.
    """
    obstacle = next(filter(None, (litert_obstacle(folder, settings) for folder in folders)), None)
    if asked == "litert" and obstacle:
        raise ValueError(f"Received: --engine litert, but {obstacle}. Expected auto or tensorflow.")
    if asked != "auto":
        return asked
    if not is_installed("tensorflow"):
        if obstacle:
            needed = "python3 -m pip install -r requirements.txt"
            raise ImportError(f"TensorFlow is not installed, and {obstacle}. Run: {needed}")
        return "litert"
    if obstacle:
        return "tensorflow"
    slowest = max(seconds_per_pixel(end_at(folder, settings.fidelity)) for folder in folders)
    return "litert" if slowest * sum(map(pixels_of, jobs)) <= TENSORFLOW_START else "tensorflow"


def litert_obstacle(folder, settings: Settings) -> str | None:
    """Why LiteRT cannot run a folder's generator so, None where it can."""
    if not is_installed("ai_edge_litert"):
        return "LiteRT is not installed"
    if settings.precision not in ("auto", "float32"):
        return f"it computes in float32, not in {settings.precision}"
    if settings.strength is not None:
        return "it runs no generator that is told a strength"
    if settings.sampling is not None:
        return "it draws no samples"
    if settings.fidelity not in (0, 1):
        return f"it mixes no weights, as fidelity {settings.fidelity:g} asks for"
    if not (Path(end_at(folder, settings.fidelity)) / LITERT_FILE).is_file():
        return f"{end_at(folder, settings.fidelity)} has no {LITERT_FILE}"
    return None


def load_upscaler(engine: str, folder, settings: Settings):
    """The `Upscaler` or `LiteUpscaler` of a folder's generator.

    Raises:
        ValueError, FileNotFoundError: as `load_at_fidelity` and `LiteUpscaler` do.
    """
    check_fidelity(settings.fidelity)
    if engine == "litert":
        from srwgan.upscaling.litert import LiteUpscaler

        return LiteUpscaler(end_at(folder, settings.fidelity), tile=settings.tile)
    with quiet_start():
        from srwgan.networks.mixing import load_at_fidelity
        from srwgan.upscaling.upscaler import Upscaler

    return Upscaler(
        load_at_fidelity(folder, settings.fidelity),
        precision=settings.precision,
        tile=settings.tile,
        batch_size=settings.batch_size,
        strength=settings.strength,
        sampling=settings.sampling,
    )


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def pixels_of(job: Job) -> float:
    """Low-resolution pixels of all frames of a job: infinitely many of a video, and none of what cannot be read."""
    try:
        kind = kind_of(job.source)
        if kind == "image":
            header = read_header(job.source)
            return header.width * header.height
        if kind == "video":
            return float("inf")
        with gif.GifReader(job.source) if kind == "gif" else animation.AnimationReader(job.source) as reader:
            return reader.size[0] * reader.size[1] * reader.frame_count
    except Exception:  # the job itself will say what is wrong
        return 0


def seconds_per_pixel(folder) -> float:
    """LiteRT's time for a low-resolution pixel on this machine, measured once for each generator and kept."""
    file = Path(folder) / LITERT_FILE
    key = f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns} {usable_cores()}"
    return recalled(RATES_FILE, key, lambda: measured_seconds_per_pixel(folder), kind=float)


def measured_seconds_per_pixel(folder) -> float:
    from srwgan.upscaling.litert import LiteUpscaler

    upscaler = LiteUpscaler(folder)
    picture = np.zeros((TRIAL_SIDE, TRIAL_SIDE, 3), np.uint8)
    seconds = []
    for _ in range(2):  # of a first run memory is allocated
        start = time.perf_counter()
        upscaler.image(picture)
        seconds.append(time.perf_counter() - start)
    return min(seconds) / TRIAL_SIDE**2
