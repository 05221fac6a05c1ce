"""Flicker: exact motion, known answers, and the report."""

import json

import numpy as np
import pytest
from PIL import Image

from srwgan.measuring.flicker import (
    MOTIONS,
    ClipMeter,
    Motion,
    aligned_frames,
    column_over_time,
    flicker,
    flicker_of_still,
)
from srwgan.measuring.lpips import LPIPS
from srwgan.pixels import bicubic
from utils import evaluate

PAN, ZOOM, TURN, NOISY = MOTIONS


@pytest.fixture(scope="module")
def distance():
    return LPIPS()


def upscale(low_res):
    return bicubic(low_res, 4)


@pytest.mark.parametrize("motion", [PAN, Motion("back", pan=(-2, -5)), NOISY], ids=lambda motion: motion.name)
def test_a_panned_original_lies_over_itself_exactly(make_photo, motion):
    frames = list(aligned_frames(make_photo(200, 220), None, motion, scale=4))
    assert len(frames) == 8
    for frame in frames[1:]:
        np.testing.assert_array_equal(frame, frames[0])


@pytest.mark.parametrize("motion", [ZOOM, TURN], ids=lambda motion: motion.name)
def test_zooms_and_turns_come_back_to_where_they_were(motion):
    y, x = np.mgrid[:240, :260]
    smooth = np.stack([120 + 60 * np.sin(x / 17), 120 + 60 * np.cos(y / 13), 100 + (x + y) / 9], -1)
    smooth = smooth.round().astype(np.uint8)
    first, *others = aligned_frames(smooth, None, motion, scale=4)
    assert min(first.shape[:2]) > 100
    for frame in others:
        assert np.abs(frame.astype(int) - first).max() <= 3


def test_the_window_is_inside_of_every_frame():
    marked = np.full((240, 260, 3), 255, np.uint8)  # what lies beyond a frame is black
    for motion in (ZOOM, TURN, Motion("both", zoom=-0.01, turn=1.0)):
        assert all((frame == 255).all() for frame in aligned_frames(marked, None, motion, scale=4))


def test_a_method_that_flickers_has_more_than_one_that_does_not(make_photo, distance):
    calls = iter(range(100))

    def flickering(low_res):
        return np.clip(upscale(low_res).astype(int) + 10 * (next(calls) % 2), 0, 255).astype(np.uint8)

    still, blinking, original = flicker_of_still(
        np.clip(make_photo(200, 220), 0, 240), [upscale, flickering], PAN, scale=4, distance=distance
    )
    assert original.variation == pytest.approx(0, abs=1e-9) and original.lpips == 0
    assert blinking.variation > still.variation > 0 and blinking.lpips > still.lpips > 0


def test_known_variation(distance):
    black, gray = np.zeros((2, 40, 40, 3), np.uint8)
    gray += 6
    result = flicker([black, gray, black, gray], distance, [black, black, black, black])
    assert result.variation == pytest.approx(3)  # half of the frames 3 below their mean, half above
    assert 0 < result.to_original < result.lpips  # half of the frames are the original, no two neighbors are alike
    assert flicker([gray, gray], distance, [gray, gray]).lpips == 0


def test_noise_is_the_same_for_every_method(make_photo):
    seen = [[], []]
    for inputs in seen:
        list(
            aligned_frames(
                make_photo(200, 220), lambda x, inputs=inputs: inputs.append(x) or upscale(x), NOISY, scale=4
            )
        )
    np.testing.assert_array_equal(*seen)


def test_stills_that_are_too_small(make_photo):
    for motion in (PAN, ZOOM):
        with pytest.raises(ValueError, match="Received: a still of 72x64"):
            list(aligned_frames(make_photo(64, 72), None, motion, scale=4))


def test_a_column_of_a_steady_clip_has_level_stripes(make_photo):
    photo = make_photo(40, 50)
    column = column_over_time([photo] * 5, x=7)
    assert column.shape == (40, 5, 3)
    np.testing.assert_array_equal(column, np.repeat(photo[:, 7:8], 5, axis=1))


def test_clips(make_photo, distance):
    pytest.importorskip("cv2", reason="optical flow: python3 -m pip install -r requirements-steady.txt")
    photo = make_photo(96, 120)
    originals = [photo[:, i : i + 96] for i in (0, 2, 4)]
    same, other = ClipMeter(distance), ClipMeter(distance)
    for i, original in enumerate(originals):
        same.add(original, original)
        other.add(photo[:, 6 * i : 6 * i + 96], original)  # thrice as fast
    assert same.figures().tof == same.figures().tlp == same.figures().lpips == 0
    assert other.figures().tof > 1 and other.figures().tlp > 0
    single = ClipMeter(distance)
    single.add(photo, photo)
    with pytest.raises(ValueError, match="Received: a clip of 1 frames"):
        single.figures()


def test_the_report(tmp_path, make_photo, capsys):
    pytest.importorskip("cv2", reason="optical flow: python3 -m pip install -r requirements-steady.txt")
    (tmp_path / "data").mkdir()
    Image.fromarray(make_photo(200, 220)).save(tmp_path / "data" / "photo.png")
    frames = [Image.fromarray(make_photo(64, 100)[:, i : i + 64]) for i in range(3)]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:], duration=50)
    paths = {name: str(tmp_path / name) for name in ("data", "clip.gif", "report.json", "column.png")}
    flags = ["--data", paths["data"], "--clips", paths["clip.gif"], "--json", paths["report.json"]]
    assert evaluate.main(["--flicker", *flags, "--column", paths["column.png"]]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert [row["model"] for row in report["stills"]] == ["bicubic", "original"]
    assert report["stills"][0]["pan"]["variation"] > 0.1
    assert report["stills"][1]["pan"]["variation"] == pytest.approx(0, abs=1e-9)
    assert report["clips"]["clip.gif"]["bicubic"]["tof"] >= 0
    assert "noisy pan" in capsys.readouterr().out
    with Image.open(tmp_path / "column.png") as picture:
        assert picture.width > 300  # bicubic and the original side by side


@pytest.mark.parametrize(
    "flags",
    [[], ["--data", "x", "--clips", "a.gif"], ["--data", "x", "--column", "c.png"], ["--data", "x", "--steady"]],
)
def test_flags_that_do_not_go_together(flags, capsys):
    with pytest.raises(SystemExit) as error:
        evaluate.main(flags)
    assert error.value.code == 2 and "Received: " in capsys.readouterr().err
