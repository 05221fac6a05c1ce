"""Pairs of crops and their degraded partners, made from an export where it is trained."""

import argparse
import json

import numpy as np
import pytest
from PIL import Image

from utils import portable_pairs
from utils import portable_run as runner

CROP, SCALE, NUMBER = 32, 4, 12
RECORD = 3 * (CROP**2 + (CROP // SCALE) ** 2)


@pytest.fixture
def photos(tmp_path, make_photo):
    """A folder of two photographs."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(make_photo(48, 64, seed=i)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def export(tmp_path):
    """What an export's meta.json says of its pairs; the second photograph is taken at half its size too."""
    folder = tmp_path / "export"
    folder.mkdir()
    flags = {"degradation": "gif", "grain": 0.0, "sampling": "area", "scale": SCALE, "seed": 5}
    cut_from = {"names": ["0.png", "1.png", "1.png"], "shapes": [[48, 64], [48, 64], [36, 48]]}
    meta = {"format": runner.FORMAT, "crop": CROP, "flags": flags, "cut_from": cut_from}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def make(export, photos, output, *more):
    flags = [export, "--photographs", photos, "--output", output, "--number", NUMBER, *more]
    return portable_pairs.main([str(flag) for flag in flags])


def pairs_of(folder):
    records = np.fromfile(folder / "photographs.bin", np.uint8).reshape(-1, RECORD)
    high_res, low_res = np.split(records, [3 * CROP**2], axis=1)
    return high_res.reshape(-1, CROP, CROP, 3), low_res.reshape(-1, CROP // SCALE, CROP // SCALE, 3)


def test_crops_of_the_photographs_and_their_partners(export, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(portable_pairs, "PAIRS_A_PART", 5)  # the last part is a shorter one
    assert make(export, photos, tmp_path / "one", "--processes", 1) == 0
    assert make(export, photos, tmp_path / "two", "--processes", 2) == 0
    files = [
        (tmp_path / name / file).read_bytes()
        for file in ("photographs.bin", "photographs.json")
        for name in ("one", "two")
    ]
    assert files[0] == files[1] and files[2] == files[3]  # whatever the number of processes
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["photographs.bin", "photographs.json"]

    whole = [np.asarray(Image.open(photos / name)) for name in ("0.png", "1.png")]
    whole.append(np.asarray(Image.open(photos / "1.png").resize((48, 36), Image.Resampling.LANCZOS)))
    index = json.loads((tmp_path / "one" / "photographs.json").read_text())
    assert index["number"] == len(index["strengths"]) == NUMBER and len(set(index["strengths"])) > NUMBER // 2
    for high_res, low_res, strength in zip(*pairs_of(tmp_path / "one"), index["strengths"], strict=True):
        turned = [np.rot90(flipped, turns) for flipped in (high_res, high_res[:, ::-1]) for turns in range(4)]
        assert any(is_within(crop, photo) for crop in turned for photo in whole)
        colors = len(np.unique(low_res.reshape(-1, 3), axis=0))
        assert colors <= round(2 ** (8 - 7 * strength))  # the strength says how few a palette has
        small = high_res.reshape(CROP // SCALE, SCALE, CROP // SCALE, SCALE, 3).mean((1, 3))
        assert abs(low_res.mean() - small.mean()) < 25


def is_within(crop, photo):
    windows = np.lib.stride_tricks.sliding_window_view(photo, (CROP, CROP, 3))[:, :, 0]
    return bool((windows == crop).all((2, 3, 4)).any())


def test_texture_is_preferred(export, photos, tmp_path, make_photo):
    """Half of a photograph is plain: fewer crops are there with --texture."""
    half = make_photo(48, 512, seed=3)
    half[:, :256] = 100
    Image.fromarray(half).save(photos / "half.png")
    meta = json.loads((export / "meta.json").read_text())
    meta["cut_from"] = {"names": ["half.png"], "shapes": [[48, 512]]}
    (export / "meta.json").write_text(json.dumps(meta))
    plain = []
    for texture in (0, 1):
        output = tmp_path / str(texture)
        assert make(export, photos, output, "--processes", 1, "--number", 60, "--texture", texture) == 0
        plain.append(sum((crop == 100).all() for crop in pairs_of(output)[0]))
    assert plain[0] > 15 and plain[1] < 3


def test_what_a_runner_takes(export, photos, tmp_path):
    """It compiles by the index alone, and reads the strengths once the pairs are there."""
    output = tmp_path / "pairs"
    assert make(export, photos, output, "--processes", 1) == 0
    index = json.loads((output / "photographs.json").read_text())
    (output / "photographs.json").write_text(json.dumps({**index, "strengths": None}))
    meta = {"degraded": True, "grain": 0.0, "crop": CROP, "photographs": "photographs.bin"}
    exported = argparse.Namespace(folder=export, meta=meta)
    arguments = argparse.Namespace(texture=0.0, grain=None)
    photographs = runner.Photographs(output / "photographs.bin", exported, arguments)
    assert photographs.tables()["strengths"].shape == (NUMBER,)
    assert photographs.index["bytes"] == NUMBER * RECORD == (output / "photographs.bin").stat().st_size
    with pytest.raises(runner.BadInput, match="the index alone. Expected --wait"):
        photographs.load(None, None)
    (output / "photographs.json").write_text(json.dumps(index))
    assert runner.Photographs.wait_for(output / "photographs.bin") is None  # no number of seconds
    photographs.index = photographs.read_index()
    assert np.allclose(photographs.tables()["strengths"], index["strengths"])


def test_what_it_cannot_use(export, photos, tmp_path, capsys):
    def line_of(*arguments):
        with pytest.raises(SystemExit) as end:
            make(*arguments)
        assert end.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    (photos / "0.png").unlink()
    assert "without 1 photographs, such as 0.png. Expected all of 2 that" in line_of(export, photos, tmp_path / "a")
    assert not (tmp_path / "a" / "photographs.bin").exists()
    meta = json.loads((export / "meta.json").read_text())
    (export / "meta.json").write_text(json.dumps({**meta, "cut_from": None}))
    assert "Expected an export of this version with --degradation" in line_of(export, photos, tmp_path / "b")
    assert "without a readable meta.json" in line_of(tmp_path, photos, tmp_path / "c")
