import numpy as np
import pytest
from PIL import Image

from srwgan.measuring.pairs import Pair, degraded, find_pairs, labels, read_pair
from srwgan.pixels import BICUBIC


def test_originals_are_cropped_and_downscaled(tmp_path, make_photo):
    Image.fromarray(make_photo(64, 84, 1)).save(tmp_path / "lake.png")
    Image.fromarray(make_photo(69, 75, 2)).save(tmp_path / "odd.png")
    (tmp_path / "notes.txt").write_text("no picture")
    assert [name for name, *_ in find_pairs(tmp_path)] == ["lake", "odd"]
    low_res, high_res = read_pair(None, tmp_path / "odd.png", scale=4)
    assert low_res.shape == (17, 18, 3) and high_res.shape == (68, 72, 3)
    source = Image.open(tmp_path / "odd.png").crop((0, 0, 72, 68))
    np.testing.assert_array_equal(low_res, source.resize((18, 17), BICUBIC))


def test_gray_deep_and_transparent_pictures_become_rgb(tmp_path, make_photo):
    gray = make_photo(64, 64)[..., 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(np.uint16(gray) * 257).save(tmp_path / "deep.png")
    Image.fromarray(np.dstack([gray, gray, gray, np.full_like(gray, 9)])).save(tmp_path / "clear.png")
    for name in "gray", "deep", "clear":
        np.testing.assert_array_equal(read_pair(None, tmp_path / f"{name}.png", scale=2)[1], np.dstack([gray] * 3))


def test_pairs_are_found_by_their_names(tmp_path, make_photo):
    for name in ("lake_LR", "lake_HR"):
        Image.fromarray(make_photo(32, 40)).save(tmp_path / f"{name}.png")
    (pair,) = find_pairs(tmp_path)
    assert pair == Pair("lake", tmp_path / "lake_LR.png", tmp_path / "lake_HR.png")


@pytest.mark.parametrize(
    ("paths", "expected"), [(["a/Set5/", "b/Set14"], ["Set5", "Set14"]), (["a/x", "b/x"], ["a/x", "b/x"])]
)
def test_labels_tell_folders_apart(paths, expected):
    assert labels(paths) == expected


def test_degraded_pictures_are_the_same_every_time_and_not_the_clean_one(make_photo):
    pixels = make_photo(40, 56)
    for kind in "gif", "jpeg":
        np.testing.assert_array_equal(degraded(pixels, kind), degraded(pixels, kind))
        assert not np.array_equal(degraded(pixels, kind), pixels)


def test_pictures_that_differ_in_their_extension_alone_are_two(tmp_path, make_photo):
    for name in ("a.png", "a.jpg", "b.png"):
        Image.fromarray(make_photo(40, 40)).save(tmp_path / name)
    assert [pair.name for pair in find_pairs(tmp_path)] == ["a.jpg", "a.png", "b"]
