"""Files and folders through an upscaler that repeats pixels: what comes out can be told without a network."""

import functools
import os
import sys
import threading
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from srwgan.convert import clips, files
from srwgan.convert.files import upscale_file, upscale_paths
from srwgan.convert.jobs import find_jobs, kind_of
from srwgan.convert.options import Options
from srwgan.media.gif import GifReader, GifWriter, gif_info, optimizer
from srwgan.media.still.images import Picture, read_image, write_image
from srwgan.media.video import VideoReader, VideoWriter
from srwgan.pixels import resize
from srwgan.prefetch import prefetched


class Repeat:
    """Stands in for an `Upscaler`: every pixel becomes 2 x 2; frames come out two later, as batches would."""

    scale = 2

    def image(self, pixels, progress=None):
        return pixels.repeat(2, 0).repeat(2, 1)

    def frames(self, frames, reuse=True):
        held = []
        for frame in frames:
            held.append(self.image(frame))
            if len(held) > 2:
                yield held.pop(0)
        yield from held


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def squares(count, height=12, width=16, channels=3):
    """Frames of few flat colors, so that palettes are exact."""
    frames = []
    for i in range(count):
        frame = np.full((height, width, 3), (40, 80, 120), np.uint8)
        frame[2 + i % 4 : 6 + i % 4, 3:9] = (200, 30, 40 * (i % 5))
        if channels == 4:
            alpha = np.full((height, width, 1), 255, np.uint8)
            alpha[:, 12:] = 0
            frame = np.concatenate([frame, alpha], -1)
        frames.append(frame)
    return frames


def write_gif(path, frames, durations, loop=0, comments=()):
    with GifWriter(path, frames[0].shape[1::-1], loop, comments) as writer:
        for frame, duration in zip(frames, durations, strict=True):
            writer.write(frame, duration)
    return path


def write_clip(path, frames, times):
    with VideoWriter(path, frames[0].shape[1::-1], crf=1, frame_rate=25) as writer:
        for frame, time in zip(frames, times, strict=True):
            writer.write(frame, Fraction(time), Fraction(1, 25))
    return path


def lines_of(*args, **kwargs):
    """(report, lines said) of upscale_paths."""
    lines = []
    return upscale_paths(Repeat(), *args, say=lines.append, **kwargs), lines


# Images


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_an_image_keeps_its_depth_and_channels(tmp_path, channels, dtype):
    pixels = noise(5, 7, channels, dtype=dtype)
    write_image(Picture(pixels, dpi=(300, 300)), tmp_path / "x.png")
    report, _ = lines_of([tmp_path / "x.png"], tmp_path / "out")
    assert report.done == [(tmp_path / "x.png", tmp_path / "out" / "x_SR.png")]
    result = read_image(tmp_path / "out" / "x_SR.png")
    np.testing.assert_array_equal(result.pixels, Repeat().image(pixels))
    assert np.allclose(result.dpi, 300, atol=0.1)


def test_formats_and_names(tmp_path):
    pixels = noise(8, 8, 3)
    for name in ("a.JPEG", "b.webp", "c.bmp", "d.tga"):
        Image.fromarray(pixels).save(tmp_path / name)
    report, lines = lines_of([tmp_path], tmp_path / "out")
    assert {target.name for _, target in report.done} == {"a_SR.JPEG", "b_SR.webp", "c_SR.bmp", "d_SR.png"}
    assert any("d.tga" in line and "PNG instead" in line for line in lines)
    report, _ = lines_of([tmp_path / "c.bmp"], tmp_path / "out2", options=Options(format="tif"))
    assert report.done[0][1].name == "c_SR.tif"

    rgba = tmp_path / "alpha.png"
    write_image(Picture(noise(8, 8, 4)), rgba)
    report, lines = lines_of([rgba], tmp_path / "out2", options=Options(format="jpg"))
    assert report.done[0][1].name == "alpha_SR.jpg" and any("put on white" in line for line in lines)
    report, _ = lines_of([rgba], tmp_path / "named" / "result.webp")
    assert report.done == [(rgba, tmp_path / "named" / "result.webp")]


@pytest.mark.parametrize(
    "options, size", [(Options(), (28, 20)), (Options(scale_out=1.5), (21, 15)), (Options(size=(9, 40)), (9, 40))]
)
def test_size_of_the_result(tmp_path, options, size):
    write_image(Picture(noise(10, 14, 3)), tmp_path / "x.png")
    upscale_file(Repeat(), tmp_path / "x.png", tmp_path / "y.png", options=options)
    with Image.open(tmp_path / "y.png") as image:
        assert image.size == size


def test_resize_is_pillows_lanczos_and_weighs_colors_by_alpha():
    rgb = noise(20, 30, 3)
    expected = np.asarray(Image.fromarray(rgb).resize((11, 13), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(resize(rgb, (11, 13)), expected)
    np.testing.assert_array_equal(resize(rgb[..., :1], (11, 13))[..., 0], expected[..., 0])
    deep = resize(rgb.astype(np.uint16) * 257, (11, 13))
    assert np.abs(deep / 257.0 - expected).max() <= 1
    for dtype in (np.uint8, np.uint16):
        top = np.iinfo(dtype).max
        red = np.zeros((16, 16, 4), dtype)
        red[:, :8] = (top, 0, 0, top)
        red[:, 8:] = (0, top, 0, 0)  # a color that nobody sees
        result = resize(red, (7, 7))
        seen = result[..., 3] > top // 100
        assert (result[seen][:, 0] >= top - 1).all() and (result[seen][:, 1] <= 1).all()


def test_wrong_options_are_refused_in_one_line():
    for wrong in (
        {"scale_out": 0},
        {"size": (0, 5)},
        {"scale_out": 2, "size": (5, 5)},
        {"quality": 0},
        {"format": "docx"},
        {"palette": "web"},
        {"dither": "riemersma"},
        {"codec": "mpeg1"},
        {"codec": "h264", "crf": 52},
    ):
        with pytest.raises(ValueError, match="Received: .*Expected") as caught:
            Options(**wrong)
        assert "\n" not in str(caught.value)


# GIFs


@pytest.mark.parametrize("channels", [3, 4])
def test_a_gif_plays_as_its_source(tmp_path, channels):
    frames, durations = squares(9, channels=channels), [100, 20, 70, 0, 10, 50, 2000, 40, 30]
    source = write_gif(tmp_path / "x.gif", frames, durations, loop=3, comments=[b"hello"])
    calls = []
    upscale_file(Repeat(), source, tmp_path / "y.gif", progress=lambda *call: calls.append(call))
    with GifReader(tmp_path / "y.gif") as reader:
        assert (reader.size, reader.loop, reader.comments) == ((32, 24), 3, [b"hello"])
        result = list(reader)
    assert [duration for _, duration in result] == durations
    for frame, (played, _) in zip(frames, result, strict=True):
        wanted = Repeat().image(frame)
        np.testing.assert_array_equal(played[..., 3], wanted[..., 3] if channels == 4 else 255)
        seen = played[..., 3] > 0
        np.testing.assert_array_equal(played[seen][:, :3], wanted[seen][:, :3])
    assert calls == [(i, 9) for i in range(1, 10)]


def test_transparency_is_only_upscaled_where_there_is_some(tmp_path):
    seen = []

    class Watching(Repeat):
        def frames(self, frames, reuse=True):
            frames = list(frames)
            seen.append((frames[0].shape[-1], reuse))
            return super().frames(frames, reuse)

    for channels in (3, 4):
        source = write_gif(tmp_path / f"{channels}.gif", squares(3, channels=channels), [50] * 3)
        upscale_file(Watching(), source, tmp_path / f"{channels}_SR.gif", options=Options(reuse=channels == 3))
    assert seen == [(3, True), (4, False)]


def test_gif_options(tmp_path):
    y, x = np.mgrid[:24, :24]
    frames = [np.stack([x * 8 + i, y * 8, x * 0 + 40 * i], -1).astype(np.uint8) for i in range(4)]
    source = write_gif(tmp_path / "x.gif", frames, [50] * 4)
    locals_of = {}
    for palette in ("global", "frame"):
        target = tmp_path / f"{palette}.gif"
        upscale_file(
            Repeat(), source, target, options=Options(palette=palette, gifsicle=False, deband=True, dither="none")
        )
        info = gif_info(target)
        assert info["frames"] == 4 and info["size"] == (48, 48)
        locals_of[palette] = info["local_palettes"]
    assert locals_of == {"global": 0, "frame": 3}


@pytest.mark.parametrize("palette", ["global", "frame"])
def test_gifsicle_gets_some_frames_and_the_rest_where_it_gains(tmp_path, monkeypatch, palette):
    """It leaves what has local palettes, and says so."""
    given, count = [], optimizer.SHORT

    def run(source, result, colors):
        given.append(gif_info(source)["frames"])
        result.write_bytes(source.read_bytes())

    monkeypatch.setattr(optimizer, "run_gifsicle", run)
    source = write_gif(tmp_path / "x.gif", [noise(12, 16, 3, seed=i) // 64 * 64 for i in range(count)], [50] * count)
    how = Options(palette=palette)
    notes = upscale_file(Repeat(), source, tmp_path / "y.gif", options=how)
    assert gif_info(tmp_path / "y.gif")["frames"] == count
    assert sorted(os.listdir(tmp_path)) == ["x.gif", "y.gif"]
    if palette == "global":
        assert given == [optimizer.TRIED] and not notes
        monkeypatch.setattr(optimizer, "WORTH", 1)
        upscale_file(Repeat(), source, tmp_path / "y.gif", options=how)
        assert given == [optimizer.TRIED, optimizer.TRIED, count]
    else:
        assert not given and "local palettes" in notes[0]


def test_deband_runs_before_upscaling(tmp_path, monkeypatch):
    source = write_gif(tmp_path / "x.gif", squares(3), [50] * 3)
    monkeypatch.setattr(clips, "Debander", lambda palette: lambda frame: 255 - frame)
    for deband in (False, True):
        upscale_file(Repeat(), source, tmp_path / "y.gif", options=Options(deband=deband))
        with GifReader(tmp_path / "y.gif") as reader:
            for (played, _), frame in zip(reader, squares(3), strict=True):
                np.testing.assert_array_equal(played[..., :3], Repeat().image(255 - frame if deband else frame))


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_the_thread_that_encodes_a_gif_gives_way_to_the_networks(tmp_path, monkeypatch):
    def niceness():
        return os.getpriority(os.PRIO_PROCESS, 0)  # of the calling thread

    source = write_gif(tmp_path / "x.gif", squares(5), [50] * 5)
    before, written, encoding, upscaling = niceness(), GifWriter.write, [], []
    monkeypatch.setattr(GifWriter, "write", lambda *args: [encoding.append(niceness()), written(*args)])

    class InThread(Repeat):
        def image(self, pixels):
            upscaling.append(niceness())
            return super().image(pixels)

        def frames(self, frames, reuse=True):
            return prefetched(super().frames(frames))

    upscale_file(InThread(), source, tmp_path / "y.gif")
    assert encoding == [min(before + 10, 19)] * 5
    assert upscaling == [before] * 5 and niceness() == before


def test_a_gif_is_written_where_priorities_are_forbidden(tmp_path, monkeypatch):
    def forbidden(*args):
        raise PermissionError("not permitted")

    source = write_gif(tmp_path / "x.gif", squares(3), [50] * 3)
    monkeypatch.setattr(os, "setpriority", forbidden, raising=False)
    upscale_file(Repeat(), source, tmp_path / "y.gif")
    assert gif_info(tmp_path / "y.gif")["frames"] == 3


def test_an_error_in_any_stage_leaves_nothing_behind(tmp_path, monkeypatch):
    source = write_gif(tmp_path / "x.gif", squares(30), [50] * 30)
    (tmp_path / "cut.gif").write_bytes(source.read_bytes()[:-7])

    class Failing(Repeat):
        def frames(self, frames, reuse=True):
            for number, frame in enumerate(frames):
                if number == 12:
                    raise ValueError("frame 12 cannot be upscaled")
                yield self.image(frame)

    threads = threading.active_count()
    with pytest.raises(ValueError, match="cannot be upscaled"):
        upscale_file(Failing(), source, tmp_path / "y.gif")
    with pytest.raises(ValueError, match="cut.gif"):
        upscale_file(Repeat(), tmp_path / "cut.gif", tmp_path / "y.gif")

    written = GifWriter.write

    def full_disk(self, frame, duration):
        if duration == 50 and self._pending is not None:
            raise OSError(28, "No space left on device")
        written(self, frame, duration)

    monkeypatch.setattr(GifWriter, "write", full_disk)
    with pytest.raises(OSError, match="No space"):
        upscale_file(Repeat(), source, tmp_path / "y.gif")
    assert sorted(os.listdir(tmp_path)) == ["cut.gif", "x.gif"]
    assert threading.active_count() == threads


# Videos


def test_gif_to_video_and_back(tmp_path):
    pytest.importorskip("av")
    source = write_gif(tmp_path / "x.gif", squares(5, 16, 16), [200, 40, 0, 40, 300])
    upscale_file(Repeat(), source, tmp_path / "x.mp4", options=Options(crf=1))
    with VideoReader(tmp_path / "x.mp4") as reader:
        assert reader.size == (32, 32)
        result = list(reader)
        # A GIF's frame of 0 ms is shown for 100 ms, as in browsers.
        assert [float(time) for _, time in result] == pytest.approx([0, 0.2, 0.24, 0.34, 0.38])
        assert float(reader.end) == pytest.approx(0.68)
    for (frame, _), wanted in zip(result, squares(5, 16, 16), strict=True):
        assert np.abs(frame.astype(int) - Repeat().image(wanted)).mean() < 12

    upscale_file(Repeat(), tmp_path / "x.mp4", tmp_path / "y.gif")
    info = gif_info(tmp_path / "y.gif")
    assert info["durations"] == [200, 40, 100, 40, 300] and info["size"] == (64, 64) and info["loop"] == 0


def test_fast_videos_lose_frames_that_gif_players_would_slow_down(tmp_path):
    pytest.importorskip("av")
    write_clip(tmp_path / "x.mp4", squares(12, 16, 16), [Fraction(i, 100) for i in range(12)])
    report, lines = lines_of([tmp_path / "x.mp4"], tmp_path / "out", options=Options(format="gif"))
    assert report.failed == []
    durations = gif_info(tmp_path / "out" / "x_SR.gif")["durations"]
    assert len(durations) == 6 and min(durations) >= 20
    assert any("6 frames left out" in line for line in lines)


def test_video_to_video_keeps_times_and_resumes(tmp_path, monkeypatch):
    pytest.importorskip("av")
    times = [Fraction(i * i + i, 50) for i in range(8)]
    source = write_clip(tmp_path / "x.mp4", squares(8, 16, 20), times)
    upscale_file(Repeat(), source, tmp_path / "y.mp4", options=Options(scale_out=3, crf=10))
    with VideoReader(tmp_path / "y.mp4") as reader:
        assert reader.size == (60, 48)
        assert [time for _, time in reader] == times

    class Interrupted(Repeat):
        def frames(self, frames, reuse=True):
            for number, frame in enumerate(frames):
                if number == 6:
                    raise KeyboardInterrupt
                yield self.image(frame)

    class Counting(Repeat):
        def frames(self, frames, reuse=True):
            for frame in frames:
                counted.append(1)
                yield self.image(frame)

    monkeypatch.setattr(clips, "VideoWriter", functools.partial(VideoWriter, segment_frames=3))
    with pytest.raises(KeyboardInterrupt):
        upscale_file(Interrupted(), source, tmp_path / "z.mp4")
    assert not (tmp_path / "z.mp4").exists()
    counted = []
    lines = upscale_file(Counting(), source, tmp_path / "z.mp4", options=Options(resume=True))
    assert len(counted) == 8 - 6
    assert lines[0] == f"{tmp_path / 'z.mp4'}: goes on after 6 frames of about 8, at 0.60 s."
    with VideoReader(tmp_path / "z.mp4") as reader:
        assert [time for _, time in reader] == times
    assert sorted(os.listdir(tmp_path)) == ["x.mp4", "y.mp4", "z.mp4"]


# Folders


def test_folders_keep_their_tree_and_pass_over_what_is_done(tmp_path):
    tree = tmp_path / "in"
    for name in ("a.png", "sub/b.png", "sub/deep/c.png", ".hidden/d.png", "sub/.e.png"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(Picture(noise(4, 4, 3)), tree / name)
    (tree / "notes.txt").write_text("not a picture, and nobody says it is")
    report, _ = lines_of([tree], tmp_path / "out")
    assert len(report.done) == 3 and not report.failed
    results = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*"))
    assert results == ["a_SR.png", "sub/b_SR.png", "sub/deep/c_SR.png"]

    report, _ = lines_of([tree], tmp_path / "out")
    assert (len(report.done), len(report.skipped)) == (0, 3)
    stamp = (tmp_path / "out" / "a_SR.png").stat().st_mtime
    os.utime(tree / "a.png", (stamp + 10, stamp + 10))  # changed since
    report, _ = lines_of([tree], tmp_path / "out")
    assert [source.name for source, _ in report.done] == ["a.png"]
    report, _ = lines_of([tree], tmp_path / "out", overwrite=True)
    assert len(report.done) == 3


@pytest.mark.parametrize("output", ["in", "in/results"])
def test_results_are_never_taken_for_sources(tmp_path, output):
    (tmp_path / "in").mkdir()
    write_image(Picture(noise(4, 4, 3)), tmp_path / "in" / "a.png")
    for _ in range(2):
        report, _ = lines_of([tmp_path / "in"], tmp_path / output, overwrite=True)
        assert [source.name for source, _ in report.done] == ["a.png"]


def test_one_bad_file_does_not_stop_the_rest(tmp_path):
    folder = tmp_path / "in"
    (folder / "e.png").mkdir(parents=True)
    for name in ("a.png", "z.png"):
        write_image(Picture(noise(30, 30, 3)), folder / name)
    (folder / "b.png").write_bytes(b"")
    (folder / "c.jpg").write_text("text")
    (folder / "d.png").write_bytes((folder / "a.png").read_bytes()[:800])
    (folder / "f.gif").write_text("text")
    report, lines = lines_of([folder], tmp_path / "out")
    assert [source.name for source, _ in report.done] == ["a.png", "z.png"]
    assert [source.name for source, _ in report.failed] == ["b.png", "c.jpg", "d.png", "f.gif"]
    for source, reason in report.failed:
        assert str(source) in reason and "\n" not in reason
        assert any(reason in line for line in lines)
    assert sorted(os.listdir(tmp_path / "out")) == ["a_SR.png", "z_SR.png"]


def test_a_failure_leaves_no_folder_behind(tmp_path):
    write_image(Picture(noise(30, 30, 3)), tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:800])
    report, _ = lines_of([tmp_path / "cut.png"], tmp_path / "new" / "out")
    assert len(report.failed) == 1 and not (tmp_path / "new").exists()


def test_two_sources_of_one_result(tmp_path):
    for name in ("x/a.png", "y/a.png", "x/a.bmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_image(Picture(noise(4, 4, 3)), tmp_path / name)
    report, _ = lines_of([tmp_path / "x" / "a.png", tmp_path / "y", tmp_path / "x" / "a.png"], tmp_path / "out")
    assert [target.name for _, target in report.done] == ["a_SR.png", "a_y_SR.png"]
    for _ in range(2):
        report, _ = lines_of([tmp_path / "x"], tmp_path / "out2", options=Options(format="webp"))
        names = [target.name for _, target in report.done + report.skipped]
        assert names == ["a_SR.webp", "a_png_SR.webp"] and not report.failed
    Image.fromarray(noise(4, 4, 3)).save(tmp_path / "x" / "a.tga")  # sorted before a.png, which keeps its name
    report, _ = lines_of([tmp_path / "x"], tmp_path / "out3")
    assert [target.name for _, target in report.done] == ["a_SR.bmp", "a_SR.png", "a_tga_SR.png"]


def test_inputs_and_outputs_that_cannot_be(tmp_path):
    write_image(Picture(noise(4, 4, 3)), tmp_path / "a.png")
    write_gif(tmp_path / "a.gif", squares(2), [50, 50])
    with pytest.raises(FileNotFoundError, match="none.png"):
        find_jobs([tmp_path / "none.png"], tmp_path)
    with pytest.raises(ValueError, match="b.png.*Expected a folder"):
        find_jobs([tmp_path / "a.png", tmp_path / "a.gif"], tmp_path / "b.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file.*Expected a folder"):
        find_jobs([tmp_path / "a.png"], tmp_path / "file")
    for source, target in (("a.png", "a.gif"), ("a.gif", "b.jpg"), ("a.png", "b.xyz"), ("a.png", "b.mp4")):
        with pytest.raises(ValueError, match=f"{target}.*Expected a name in"):
            if target == "a.gif":
                (tmp_path / target).rename(tmp_path / "moved.gif")
            upscale_file(Repeat(), tmp_path / source, tmp_path / target)
        if target == "a.gif":
            (tmp_path / "moved.gif").rename(tmp_path / target)
    with pytest.raises(ValueError, match="source itself"):
        upscale_file(Repeat(), tmp_path / "a.png", tmp_path / "a.png")


def test_a_gif_that_changes_while_read_is_refused(tmp_path):
    source = write_gif(tmp_path / "x.gif", squares(5), [50] * 5)

    class Growing(Repeat):
        def frames(self, frames, reuse=True):
            with open(source, "ab") as file:
                file.write(b"more")
            yield from super().frames(frames)

    with pytest.raises(ValueError, match="x.gif: the file changed while it was read"):
        upscale_file(Growing(), source, tmp_path / "y.gif")
    assert not (tmp_path / "y.gif").exists()


def test_results_larger_than_memory_are_refused(tmp_path, monkeypatch):
    write_image(Picture(noise(10, 10, 3)), tmp_path / "x.png")
    monkeypatch.setattr(files, "available_memory", lambda: 2000)
    report, _ = lines_of([tmp_path / "x.png"], tmp_path / "out")
    ((_, reason),) = report.failed
    assert "x.png: its result takes" in reason and not (tmp_path / "out").exists()


def test_kinds_are_told_by_content(tmp_path):
    write_gif(tmp_path / "x.gif", squares(2), [50, 50]).rename(tmp_path / "gif.png")
    write_image(Picture(noise(4, 4, 3)), tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "png.gif")
    report, _ = lines_of([tmp_path / "gif.png", tmp_path / "png.gif"], tmp_path / "out")
    assert [target.name for _, target in report.done] == ["gif_SR.gif", "png_SR.png"]
    assert kind_of(tmp_path / "png.gif") == "image"
