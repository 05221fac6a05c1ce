"""The generators that a generator's folder may hold beside its own, found without TensorFlow.

    SRWGAN_Gen/                 the generator: SavedModel, generator.keras, generator.tflite, config.json, README.md
    SRWGAN_Gen/faithful/        its other end, for fidelity
    SRWGAN_Gen/robust/          the generator for damaged pictures
    SRWGAN_Gen/fast/            the real-time generator, for videos
    SRWGAN_Gen/diffusion/       a diffusion model

In the folders inside, `generator.keras` and `config.json` are enough (`export_generator(..., served=False)`). What is
missing is said before the slow start of TensorFlow.
"""

import os
from pathlib import Path

MAIN = "SRWGAN_Gen"  # the generator that comes with this repository
PROJECT = Path(__file__).resolve().parents[2]
GENERATOR_FILE = "generator.keras"
DISCRIMINATOR_FILE = "discriminator.keras"
LITERT_FILE = "generator.tflite"
CONFIG_FILE = "config.json"
# As models' names: those of the main generator's folder.
FAITHFUL, ROBUST, FAST, DIFFUSION = NAMED = "faithful", "robust", "fast", "diffusion"


def has_faithful_end(folder: str | os.PathLike) -> bool:
    return (Path(folder) / FAITHFUL / GENERATOR_FILE).is_file()


def faithful_end(folder: str | os.PathLike) -> Path:
    """The folder of a generator's faithful end.

    Raises:
        FileNotFoundError: there is none.
    """
    if not has_faithful_end(folder):
        raise FileNotFoundError(
            f"Received: a fidelity above 0 for {folder}, without {FAITHFUL}/{GENERATOR_FILE}. "
            "Expected fidelity 0, or a folder with both ends."
        )
    return Path(folder) / FAITHFUL


def end_at(folder: str | os.PathLike, fidelity: float) -> Path:
    """The folder of a generator's sharp end for fidelity 0, and of its faithful end for 1.

    Raises:
        FileNotFoundError: there is no faithful end.
    """
    return faithful_end(folder) if fidelity else Path(folder)


def check_fidelity(fidelity: float) -> None:
    """Raises ValueError for what is not from 0 (sharp) to 1 (faithful)."""
    if not 0 <= fidelity <= 1:
        raise ValueError(f"Received: fidelity {fidelity:g}. Expected a number from 0 to 1.")


def robust_of(folder: str | os.PathLike) -> Path | None:
    """The folder of the generator for damaged pictures, or None where there is none."""
    return generator_inside(folder, ROBUST)


def generator_inside(folder: str | os.PathLike, name: str) -> Path | None:
    """The folder of the generator of that name in a generator's folder, or None where there is none."""
    path = Path(folder) / name
    return path if any((path / file).is_file() for file in (GENERATOR_FILE, "saved_model.pb")) else None


def named_model(name: str | os.PathLike, main: str | os.PathLike) -> str | os.PathLike:
    """The path that a model's name means: the names of `NAMED` are inside the generator `main`, others are paths.

    A folder that has one of these names itself is meant by "./fast" and the like.

    Raises:
        FileNotFoundError: `main` has none of that name.
    """
    if os.fspath(name) not in NAMED:
        return name
    path = generator_inside(main, os.fspath(name))
    if path is None:
        raise FileNotFoundError(
            f"Received: model {name}, and {Path(main) / name} has no generator. "
            f"Expected a folder with one, e.g. {main}."
        )
    return path


def found(path: str | os.PathLike) -> Path:
    """`path` as it is, or under the repository's folder where it is only there.

    So what comes with the repository is found from any working folder.
    """
    beside = PROJECT / path
    return beside if beside.exists() and not Path(path).exists() else Path(path)
