"""The bundled photographs and samples are what the training default, the README and their licences need."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

IMAGES = Path(__file__).resolve().parents[2] / "Images"
PHOTOS = sorted((IMAGES / "train").glob("*"))
LICENCES = {"CC0", "CC BY 2.0", "CC BY 4.0", "CC BY-SA 3.0", "CC BY-SA 4.0", "public domain"}


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.int16)


def gif_frames(path):
    with Image.open(path) as gif:
        return np.stack([np.asarray(frame.convert("RGB"), dtype=np.int16) for frame in ImageSequence.Iterator(gif)])


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    subprocess.run([sys.executable, IMAGES / "make_samples.py", "--output", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def sources():
    """What SOURCES.md says of each file: {path: (photograph, author, project, licence, changes)}."""
    text = (IMAGES / "SOURCES.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {row[0]: tuple(row[1:]) for row in rows if re.search(r"\.(jpg|png|gif)$", row[0])}


def test_there_are_enough_photographs_and_they_are_small_together():
    assert len(PHOTOS) >= 24
    assert sum(path.stat().st_size for path in PHOTOS) <= 5_000_000
    assert sum(path.stat().st_size for path in (IMAGES / "originals").iterdir()) <= 1_500_000


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_a_photograph_is_rgb_upright_and_large_enough_for_a_crop(path):
    with Image.open(path) as photo:
        photo.load()
        assert photo.mode == "RGB"
        assert min(photo.size) >= 384
        assert photo.getexif().get(0x0112, 1) == 1
        assert "icc_profile" not in photo.info, "plain sRGB is what training reads"


def test_no_photograph_is_there_twice():
    def thumbnail(path):
        with Image.open(path) as photo:
            return np.asarray(photo.convert("RGB").resize((16, 16)), dtype=np.float64)

    paths = [*PHOTOS, *(IMAGES / "originals").glob("*.jpg")]
    thumbnails = [thumbnail(path) for path in paths]
    for i, first in enumerate(thumbnails):
        for j in range(i):
            assert np.abs(first - thumbnails[j]).mean() > 15, f"{paths[i].name} looks like {paths[j].name}"


def test_each_picture_has_an_author_and_a_free_licence_and_no_other_is_listed(sources):
    pictures = {path.relative_to(IMAGES).as_posix() for path in [*PHOTOS, *(IMAGES / "originals").iterdir()]}
    pictures |= {"sample.png", "sample_HR.png", "sample_SR.png", "sample.gif", "sample_SR.gif"}
    assert pictures <= set(sources)
    for name, (photograph, author, project, licence, changes) in sources.items():
        assert (IMAGES / name).is_file(), f"SOURCES.md lists {name}, which is not there"
        assert photograph and author and project and changes
        assert licence in LICENCES, f"{name}: {licence}"


def test_the_sample_is_the_antialiased_bicubic_quarter_of_its_original():
    high_res = Image.open(IMAGES / "sample_HR.png")
    low_res = pixels(IMAGES / "sample.png")
    assert (low_res.shape[1] * 4, low_res.shape[0] * 4) == high_res.size
    assert (IMAGES / "sample_HR.png").stat().st_size <= 1_000_000
    expected = high_res.resize((high_res.width // 4, high_res.height // 4), Image.Resampling.BICUBIC)
    assert np.abs(low_res - np.asarray(expected, dtype=np.int16)).max() <= 1


def test_the_gif_loops_without_a_seam_before_a_still_background():
    with Image.open(IMAGES / "sample.gif") as gif:
        assert gif.is_animated and 20 <= gif.n_frames <= 30
        assert gif.info["loop"] == 0
        assert gif.size == (128, 96)
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
    assert durations == [80] * len(durations)
    frames = gif_frames(IMAGES / "sample.gif")
    steps = np.abs(frames - np.roll(frames, 1, axis=0)).mean(axis=(1, 2, 3))
    assert steps.min() > 0.1, "a frame repeats the one before"
    assert steps[0] <= 1.2 * steps[1:].max(), "the jump from the last frame to the first is larger than any other"
    still = (frames == frames[:1]).all(axis=(0, 3)).mean()
    assert 0.1 < still < 0.9


@pytest.mark.parametrize("name", ["sample.png", "sample_HR.png"])
def test_make_samples_rebuilds_the_pictures(rebuilt, name):
    np.testing.assert_array_equal(pixels(rebuilt / name), pixels(IMAGES / name))


def test_make_samples_rebuilds_the_gif(rebuilt):
    again, bundled = gif_frames(rebuilt / "sample.gif"), gif_frames(IMAGES / "sample.gif")
    assert again.shape == bundled.shape
    # Not to the last bit: how colours are chosen for a palette may change between versions of Pillow.
    assert np.abs(again - bundled).mean() < 1.0


def test_make_samples_leaves_nothing_else_behind(rebuilt):
    assert sorted(path.name for path in rebuilt.iterdir()) == ["sample.gif", "sample.png", "sample_HR.png"]
