"""Pages to train on: they hold text and lines, each is another, and they are the same again."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srwgan.data.photos import find_photos
from utils.studies import pages
from utils.studies.pages import HEIGHT, WIDTH, main, page


def test_pages_differ_and_are_the_same_again():
    first, again, second = page(0), page(0), page(1)
    assert first.shape == (HEIGHT, WIDTH, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - second).mean() > 10


def test_a_page_has_edges_that_are_sharp_and_smooth():
    """Many steps from ground to ink, more than photographs have, and levels between the two."""
    luma = page(0).mean(-1)
    steps = np.abs(np.diff(luma, axis=1))
    assert 0.01 < np.mean(steps > 60) < 0.5
    assert len(np.unique(page(0).reshape(-1, 3), axis=0)) > 1000


def test_they_stand_beside_photographs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pages, "page", lambda number: np.full((4, 6, 3), number, np.uint8))
    Image.new("RGB", (8, 8)).save(tmp_path / "0801.png")
    main([str(tmp_path), "--number", "3"])
    assert capsys.readouterr().out == f"{tmp_path}: 3 pages of {WIDTH}x{HEIGHT}\n"
    photos = [Path(path).name for path in find_photos(tmp_path, subfolders=())]
    assert len(photos) == 4 and photos[-1] == "0801.png", "the last ones are held out"
    assert np.asarray(Image.open(tmp_path / "000_page_002.png")).max() == 2
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), "--number", "1"])
    assert ended.value.code == 2
    assert "with 000_page_000.png. Expected a folder without such pages" in capsys.readouterr().err


def test_there_are_fonts():
    """Some of each family; one is missing only if Matplotlib no longer brings it."""
    names = {file.stem for file in pages.fonts()}
    assert {"DejaVuSans", "DejaVuSerif-Bold", "STIXGeneral"} <= names
    assert not any("Display" in name for name in names)
