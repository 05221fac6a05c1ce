"""The record of the photographs that a run is trained on, so that it goes on with the same ones or not at all."""

import os
from pathlib import Path

from srwgan.data.photos import Photos
from srwgan.training.flags import PHOTOGRAPHS_FILE
from srwgan.whole_files import read_json, write_json

SIDES = {"training": "to train on", "held_out": "held out"}
NAMED = 3  # photographs that an error names


def record_of(datapath: str, photos: Photos, held_out: Photos) -> dict:
    """What is known of the photographs: their folder, and for both sides of the split {name: bytes of the file}.

    Names are relative to the folder, so that it may move.
    """
    sides = dict(zip(SIDES, (photos, held_out), strict=True))
    return {
        "folder": os.path.abspath(datapath),
        **{
            side: {os.path.relpath(path, datapath): os.path.getsize(path) for path in found.paths}
            for side, found in sides.items()
        },
    }


def write_record(folder: str, record: dict) -> None:
    """Keep the record in the folder of a run."""
    write_json(Path(folder, PHOTOGRAPHS_FILE), record)


def read_record(folder: str) -> dict | None:
    """The record in the folder of a run, None for a run from before there were records."""
    return read_json(Path(folder, PHOTOGRAPHS_FILE))


def check_folder(run: str, record: dict, datapath: str) -> None:
    """Refuse to go on with a run whose photographs are not there.

    Raises:
        ValueError: there is no folder `datapath`.
    """
    if not os.path.isdir(datapath):
        number = sum(len(record[side]) for side in SIDES)
        raise ValueError(
            f"Received: --resume {run}, which was trained on {number} photographs in {record['folder']}, and no folder "
            f"{datapath}. Expected the photographs there, or their new folder as --datapath."
        )


def check_same(run: str, record: dict, now: dict) -> None:
    """Refuse to go on with a run on other photographs than it was trained on.

    Args:
        run: its folder.
        record: of the run.
        now: the record of the photographs that are there.

    Raises:
        ValueError: one is missing, new, of another size, or on the other side of the split.
    """
    different = []
    for side in SIDES:
        before, after = record[side].items(), now[side].items()
        different += sorted({name for name, _ in before ^ after} - set(different))
    if different:
        names = ", ".join(different[:NAMED]) + (f" and {len(different) - NAMED} more" if len(different) > NAMED else "")
        raise ValueError(
            f"Received: --resume {run} with other photographs in {now['folder']} than it was trained on (different: "
            f"{names}). Expected the same {describe(record)}, not {describe(now)}."
        )


def describe(record: dict) -> str:
    return " and ".join(f"{len(record[side])} {what}" for side, what in SIDES.items())
