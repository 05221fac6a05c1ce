"""The generators that a generator's folder may hold beside its own, found without TensorFlow.

    SRWGAN_Gen/                 the generator: SavedModel, generator.keras, config.json, README.md
    SRWGAN_Gen/faithful/        its other end, for fidelity
    SRWGAN_Gen/robust/          the generator for damaged pictures

In the folders inside, `generator.keras` and `config.json` are enough (`export_generator(..., served=False)`). What is
missing is said before the slow start of TensorFlow.
"""

import os
from pathlib import Path

MAIN = "SRWGAN_Gen"  # the generator that comes with this repository
PROJECT = Path(__file__).resolve().parents[2]
GENERATOR_FILE = "generator.keras"
LITERT_FILE = "generator.tflite"
CONFIG_FILE = "config.json"
FAITHFUL = "faithful"
ROBUST = "robust"  # as a model's name: that of the main generator's folder


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


def robust_of(folder: str | os.PathLike) -> Path | None:
    """The folder of the generator for damaged pictures, or None where there is none."""
    path = Path(folder) / ROBUST
    return path if any((path / name).is_file() for name in (GENERATOR_FILE, "saved_model.pb")) else None


def named_model(name: str | os.PathLike, main: str | os.PathLike) -> str | os.PathLike:
    """The path that a model's name means: "robust" is that of the generator `main`, other names are paths.

    Raises:
        FileNotFoundError: `main` has no robust one.
    """
    if os.fspath(name) != ROBUST:
        return name
    path = robust_of(main)
    if path is None:
        raise FileNotFoundError(
            f"Received: model {ROBUST}, and {Path(main) / ROBUST} has no generator. "
            f"Expected a folder with one, e.g. {main}."
        )
    return path


def found(path: str | os.PathLike) -> Path:
    """`path` as it is, or under the repository's folder where it is only there.

    So what comes with the repository is found from any working folder.
    """
    beside = PROJECT / path
    return beside if beside.exists() and not Path(path).exists() else Path(path)
