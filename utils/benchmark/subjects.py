"""What is measured: a generator, the command line, and clips made for it."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from srwgan.networks.model_folder import MAIN, found

ROOT = Path(__file__).resolve().parents[2]
CLIP_SIZE = 120, 160
LEVELS = np.array([0, 51, 102, 153, 204, 255], np.uint8)  # of each color: 216 in all, which a GIF can hold


def model_of(options) -> Path | None:
    """The folder of the generator that --model names, by default this repository's; None where that is not there.

    Raises:
        FileNotFoundError: there is nothing at --model.
    """
    if options.model is None:
        model = found(MAIN)
        return model if model.exists() else None
    if not Path(options.model).exists():
        raise FileNotFoundError(f"Received: --model {options.model}. Expected a folder that is there, e.g. {MAIN}.")
    return Path(options.model).resolve()


def generator_for(options):
    """The generator of --model or, where there is none, an untrained one; speed does not depend on the weights."""
    from srwgan.networks.generator import Generator
    from srwgan.networks.saving import load_generator

    model = model_of(options)
    if model:
        return load_generator(model)
    generator = Generator()
    last = generator.get_layer("last").kernel
    last.assign(np.random.default_rng(0).normal(0, 0.05, last.shape))  # an untrained residual would be 0
    return generator


def model_folder(options, folder) -> Path:
    """The folder of the generator of --model; an untrained one is exported to `folder`."""
    from srwgan.networks.saving import export_generator

    model = model_of(options)
    if model:
        return model
    model = Path(folder) / "model"
    if not model.exists():
        export_generator(generator_for(options), model)
    return model


def fast_bfloat16() -> bool:
    from srwgan.networks.precision import has_fast_bfloat16

    return has_fast_bfloat16()


@dataclass(frozen=True)
class Clip:
    """The same frames as a GIF, as a video and as a function that yields them."""

    gif: Path
    video: Path
    frames: Callable


def make_clip(folder: Path, name: str, *, count: int, share: float, size: tuple[int, int] = CLIP_SIZE) -> Clip:
    """A textured picture of `count` frames of `size` (height, width), of which a `share` of the pixels moves."""
    from srwgan.media.gif import GifWriter

    height, width = size
    rows, columns = round(height * share**0.5), round(width * share**0.5)
    top, left = (height - rows) // 3, (width - columns) // 2
    scene, still = textured(height, width + 3 * 64, 1), textured(height, width, 0)

    def frames():
        for i in range(count):
            frame, pan = still.copy(), 3 * (i % 64)
            frame[top : top + rows, left : left + columns] = scene[:rows, pan : pan + columns]
            yield frame

    palette = np.array([[r, g, b] for r in LEVELS for g in LEVELS for b in LEVELS], np.uint8)
    gif, video = folder / f"{name}.gif", folder / f"{name}.mp4"
    with GifWriter(gif, (width, height), palette=palette, dither="none") as writer:
        for frame in frames():
            writer.write(frame, 40)
    write_video(video, frames(), size=size)
    return Clip(gif, video, frames)


def textured(height, width, seed):
    """Smooth shapes in the colors of `LEVELS`, which a GIF shows exactly."""
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(seed)
    waves = [np.sin(x / rng.uniform(3, 25) + y / rng.uniform(3, 25) + rng.uniform(0, 6)) for _ in range(9)]
    values = np.stack([sum(waves[i::3]) for i in range(3)], -1) / 6 + 0.5
    return LEVELS[(values * (len(LEVELS) - 1)).round().astype(int).clip(0, len(LEVELS) - 1)]


def write_video(path, frames, *, size=CLIP_SIZE):
    """Write frames of `size` (height, width), 25 a second."""
    from srwgan.media.video import VideoWriter

    height, width = size
    with VideoWriter(path, (width, height), frame_rate=25) as writer:
        for i, frame in enumerate(frames):
            writer.write(frame, Fraction(i, 25), Fraction(1, 25))


def command_line(source, *, folder, model, engine="tensorflow") -> list[str]:
    """The command that upscales a file to a folder below `folder`."""
    where = ["--output", str(Path(folder) / "results"), "--model", str(model), "--engine", engine]
    return [sys.executable, "testGenerator.py", str(source), *where]


def run(command):
    """Run a command in the repository's folder.

    Raises:
        OSError: it failed; the message has what it said.
    """
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        raise OSError(f"{' '.join(command)} failed: {result.stderr.strip()}")
