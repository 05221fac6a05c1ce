"""The sweep over a folder of files: on a small one that is made here, and on faults that it has to find."""

import csv
import os

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("av")

import sweep  # noqa: E402 (tests/sweep.py)

from srwgan.media.animation import ApngWriter, WebpWriter  # noqa: E402
from srwgan.media.gif import GifWriter  # noqa: E402
from srwgan.media.still.images import Picture, write_image  # noqa: E402
from srwgan.media.video import VideoWriter  # noqa: E402


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def clip(writer):
    with writer as file:
        for number in range(4):
            frame = np.full((16, 20, 3), (40, 80, 120), np.uint8)
            frame[number : number + 6, 4:9] = (200, 30, 60 * number)
            file.write(frame, 50)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    y, x = np.mgrid[:24, :32]
    soft = np.stack([x * 7, y * 9, 255 - x * 7], -1).astype(np.uint8)
    for name in ("a.png", "b.bmp", "c.tif", "d.jpg", "e.webp"):
        write_image(Picture(soft, dpi=(72, 72)), folder / name, quality=95)
    write_image(Picture(noise(9, 8, 4)), folder / "alpha.png")
    write_image(Picture(noise(9, 8, 3).astype(np.uint16) * 257), folder / "deep.png")
    clip(GifWriter(folder / "f.gif", (20, 16), 0))
    clip(ApngWriter(folder / "g.apng", (20, 16), 0))
    clip(WebpWriter(folder / "h.webp", (20, 16), 0, quality=100))
    with VideoWriter(folder / "i.mp4", (32, 24)) as writer:
        for number in range(5):
            writer.write(soft, number / 25)
    data = (folder / "a.png").read_bytes()
    (folder / "cut.png").write_bytes(data[: len(data) // 2])
    (folder / "text.png").write_text("not a picture")
    return folder


def test_a_folder_is_as_it_should_be(folder, tmp_path, capsys):
    report = tmp_path / "report.csv"
    assert sweep.main([str(folder), "--report", str(report)]) == 0
    with open(report, newline="", encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert len(rows) == len(os.listdir(folder))
    refused = {name for name, row in rows.items() if row["verdict"] == "refused"}
    assert refused == {"cut.png", "text.png"} and "refuses it" in rows["text.png"]["details"]
    assert {row["verdict"] for name, row in rows.items() if name not in refused} == {"same"}
    assert capsys.readouterr().out.startswith("2 refused, 11 same")


def dropping(source, target):
    """A converter that loses the last frame of a GIF."""
    with sweep.GifReader(source) as reader, GifWriter(target, (40, 32), 0) as writer:
        for frame, duration in list(reader)[:-1]:
            writer.write(frame.repeat(2, 0).repeat(2, 1), duration)


def inverting(source, target):
    """A converter that gets colors wrong."""
    write_image(Picture(255 - np.asarray(Image.open(source)).repeat(2, 0).repeat(2, 1)), target)


def forgetting(source, target):
    """A converter that loses the resolution."""
    write_image(Picture(np.asarray(Image.open(source)).repeat(2, 0).repeat(2, 1)), target)


@pytest.mark.parametrize(
    ("name", "convert", "verdict"),
    [("f.gif", dropping, "differs"), ("a.png", inverting, "differs"), ("a.png", forgetting, "lost")],
)
def test_faults_are_found(folder, monkeypatch, name, convert, verdict):
    def upscale_file(upscaler, source, target, options):
        convert(source, target)
        return []

    monkeypatch.setattr(sweep, "upscale_file", upscale_file)
    row = sweep.examined(folder / name)
    assert row.verdict == verdict and row.details


def test_an_error_that_is_no_sentence_is_a_crash(folder, monkeypatch):
    monkeypatch.setattr(sweep, "upscale_file", failing)
    assert sweep.examined(folder / "d.jpg").verdict == "crash"


def failing(*args, **kwargs):
    raise KeyError("an error that is no sentence")


def test_a_process_that_dies_or_hangs_is_a_line(tmp_path):
    worker = sweep.Worker()
    try:
        row = worker.examine(tmp_path / "none.png", 60)
        assert row.verdict == "refused" and "no such file" in row.details[0]
        assert worker.examine(tmp_path / "none.png", 0).verdict in ("hang", "refused")
        row = worker.examine(tmp_path / "none.png", 60)
        assert row.verdict == "refused"
    finally:
        worker.stop()
