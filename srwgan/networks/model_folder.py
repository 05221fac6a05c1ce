"""What a generator's folder may hold beside it: DIR/faithful, its other end, and DIR/robust, for damaged pictures.

Of either, `generator.keras` and `config.json` are enough (`export_generator(..., served=False)`). No TensorFlow here,
so that what is missing is said before its slow start.
"""

import os
from pathlib import Path

MAIN = "SRWGAN_Gen"  # the generator that comes with this repository
PROJECT = Path(__file__).resolve().parents[2]
GENERATOR_FILE = "generator.keras"
FAITHFUL = "faithful"
ROBUST = "robust"  # as a model's name: that of the main generator's folder


def has_faithful_end(folder):
    return os.path.isfile(os.path.join(folder, FAITHFUL, GENERATOR_FILE))


def faithful_end(folder):
    """The folder of a generator's faithful end. Raises FileNotFoundError."""
    if not has_faithful_end(folder):
        raise FileNotFoundError(
            f"Received: a fidelity above 0 for {folder}, without faithful/{GENERATOR_FILE}. "
            "Expected fidelity 0, or a folder with both ends."
        )
    return os.path.join(folder, FAITHFUL)


def robust_of(folder):
    """The folder of the generator for damaged pictures, or None where there is none."""
    path = os.path.join(folder, ROBUST)
    there = any(os.path.isfile(os.path.join(path, name)) for name in (GENERATOR_FILE, "saved_model.pb"))
    return path if there else None


def named_model(name, main):
    """The path that a model's name means: "robust" is that of the generator `main`, others are paths.

    Raises FileNotFoundError.
    """
    if os.fspath(name) != ROBUST:
        return name
    path = robust_of(main)
    if path is None:
        raise FileNotFoundError(
            f"Received: model {ROBUST}, and {os.path.join(main, ROBUST)} has no generator. "
            f"Expected a folder with one, e.g. {main}."
        )
    return path


def found(path):
    """`path` as it is, or under the repository's folder, so that what is shipped with it is found from anywhere."""
    beside = PROJECT / path
    return beside if beside.exists() and not Path(path).exists() else Path(path)
