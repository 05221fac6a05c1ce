"""Photographs of noise, of lines and of nothing: each kind of crop is taken where it is."""

import csv

import numpy as np
import pytest
from PIL import Image

from srwgan.measuring.pairs import find_pairs, read_pair
from srwgan.pixels import luma
from utils.studies.texture_crops import KINDS, REACH, Crop, choose, main, measure, structure_tensor

SIDE = 64
AREA = SIDE + 2 * REACH


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)


def lines(height, width, angle=0.0):
    y, x = np.mgrid[:height, :width]
    along = x * np.cos(angle) + y * np.sin(angle)
    return np.uint8(np.rint(127.5 + 100 * np.sin(along / 1.5)))


def rings(height, width):
    y, x = np.mgrid[:height, :width]
    return np.uint8(np.rint(127.5 + 100 * np.sin(np.hypot(x - width / 2, y - height / 2) / 1.5)))


def save(gray, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(gray).convert("RGB").save(path)
    return path


def figures(gray):
    return measure(*structure_tensor(luma(np.repeat(gray[..., None], 3, axis=-1))))


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 4])
def test_lines_are_coherent_and_aligned_at_any_angle(angle):
    found = figures(lines(AREA, AREA, angle))
    assert found["coherence"] > 0.95 and found["alignment"] > 0.95 and found["density"] > 0.95
    assert found["structure"] > 10 * found["texture"]


def test_noise_is_neither_and_rings_are_coherent_only():
    found = figures(noise(AREA, AREA))
    assert found["coherence"] < 0.2 and found["alignment"] < 0.2
    assert found["texture"] > 10 * found["structure"]
    found = figures(rings(4 * AREA, 4 * AREA))
    assert found["coherence"] > 0.8 and found["alignment"] < 0.2


def test_texture_in_a_corner_is_not_dense():
    sparse = np.full((AREA, AREA), 128, np.uint8)
    sparse[: AREA // 3, : AREA // 3] = noise(AREA // 3, AREA // 3)
    assert figures(sparse)["density"] < 0.3 < figures(noise(AREA, AREA))["density"]


def test_nothing_has_no_figures():
    assert set(figures(np.full((AREA, AREA), 77, np.uint8)).values()) == {0.0}


@pytest.fixture
def photos(tmp_path):
    """One photograph of noise on its left and of lines on its right, one of nothing, a file that is no picture."""
    both = np.concatenate([noise(2 * AREA, 2 * AREA), lines(2 * AREA, 2 * AREA)], axis=1)
    save(both, tmp_path / "photos" / "both.png")
    save(np.full((2 * AREA, 2 * AREA), 128, np.uint8), tmp_path / "photos" / "nothing.png")
    (tmp_path / "photos" / "torn.png").write_bytes(b"\x89PNG torn")
    return tmp_path / "photos"


def run(*arguments):
    return main([*map(str, arguments), "--size", str(SIDE)])


def test_each_kind_is_taken_where_it_is(photos, tmp_path, capsys):
    out = tmp_path / "out"
    run(photos, out, "--scales", 1, "--number", 1)
    said = capsys.readouterr()
    assert "torn.png" in said.err and "Passed over" in said.err
    assert f"{out / 'texture'}: 1 crops of 1 photographs" in said.out
    with open(out / "crops.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    original = np.asarray(Image.open(photos / "both.png"))
    for row in rows:
        left, top = int(row["left"]), int(row["top"])
        assert (left + SIDE <= 2 * AREA) if row["crop"].startswith("texture") else (left >= 2 * AREA)
        np.testing.assert_array_equal(Image.open(out / row["crop"]), original[top : top + SIDE, left : left + SIDE])
    for kind in KINDS:  # as `utils.evaluate` reads them
        (low_res, high_res), *_ = [read_pair(*pair[1:], scale=4) for pair in find_pairs(out / kind)]
        assert (low_res.shape, high_res.shape) == ((SIDE // 4, SIDE // 4, 3), (SIDE, SIDE, 3))


def test_only_the_last_photographs_are_looked_at(photos, tmp_path, capsys):
    run(photos, tmp_path / "out", "--last", 2, "--scales", 1)
    assert "texture: 0 crops" in capsys.readouterr().out


def crop(photo, left, figure, scale=1.0):
    return Crop(photo, scale, left, 0, SIDE, {"texture": figure})


def test_the_best_are_chosen_that_do_not_overlap_a_few_of_each_photograph():
    best, beside, far, last = crop("a", 0, 9), crop("a", SIDE // 2, 8), crop("a", SIDE, 7), crop("a", 2 * SIDE, 6)
    half, other, flat = crop("a", SIDE // 4, 8.5, scale=0.5), crop("b", 0, 5), crop("c", 0, 0)
    crops = [flat, other, last, half, far, beside, best]
    assert choose(crops, "texture", number=9, most=9) == [best, far, last, other]
    assert choose(crops, "texture", number=9, most=2) == [best, far, other]
    assert choose(crops, "texture", number=1, most=9) == [best]
    assert half.overlaps(best) and not far.overlaps(best) and not crop("b", 0, 1).overlaps(best)


@pytest.mark.parametrize(("arguments", "said"), [
    (["{photos}", "{photos}"], "not empty"),
    (["{tmp}/nowhere", "{tmp}/out"], "does not exist"),
    (["{photos}", "{tmp}/out", "--size", "1000"], "Expected some, or a smaller --size"),
    (["{photos}", "{tmp}/out", "--scales", "0"], "Expected a number from 0 to 1"),
])  # fmt: skip
def test_errors_are_one_line(photos, tmp_path, capsys, arguments, said):
    with pytest.raises(SystemExit) as stopped:
        main([argument.format(photos=photos, tmp=tmp_path) for argument in arguments])
    assert stopped.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert said in message and not (tmp_path / "out").exists()
