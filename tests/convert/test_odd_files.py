"""Files and folders as people have them, through an upscaler that repeats pixels. Each test makes its own files."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from srwgan.convert.files import upscale_file, upscale_paths, upscaled_picture
from srwgan.convert.options import Options
from srwgan.media.animation import WRITERS, AnimationReader
from srwgan.media.gif import GifReader, GifWriter, gif_info
from srwgan.media.still.encoding import Extras
from srwgan.media.still.images import Picture, read_image, write_image


class Repeat:
    """Stands in for an `Upscaler`: every pixel becomes 2 x 2; like one, it fills what is transparent."""

    scale = 2

    def image(self, pixels, progress=None):
        if progress:
            progress(1, 1)
        result = pixels.repeat(2, 0).repeat(2, 1)
        if pixels.shape[-1] in (2, 4):
            result[result[..., -1] == 0, :-1] = 77
        return result

    def frames(self, frames, reuse=True):
        for frame in frames:
            yield self.image(frame)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def squares(count, height=12, width=16, channels=3):
    frames = []
    for i in range(count):
        frame = np.full((height, width, 4), (40, 80, 120, 255), np.uint8)
        frame[2 + i % 4 : 6 + i % 4, 3:9, :3] = (200, 30, 40 * (i % 5))
        frame[:, 12:] = 0 if channels == 4 else frame[:, 12:]
        frames.append(frame[..., :channels])
    return frames


def make(path, frames, durations, loop=0):
    writer, options = (GifWriter, {}) if path.suffix == ".gif" else (WRITERS[path.suffix], {"quality": 100})
    with writer(path, frames[0].shape[1::-1], loop, **options) as file:
        for frame, duration in zip(frames, durations, strict=True):
            file.write(frame, duration)
    return path


def lines_of(inputs, output, **kwargs):
    lines = []
    return upscale_paths(Repeat(), inputs, output, say=lines.append, **kwargs), lines


def save(path, data):
    path.write_bytes(data)
    return path


# Colors under alpha


def test_colors_under_alpha_are_kept_where_there_are_some(tmp_path):
    pixels = noise(6, 8, 4)
    pixels[:3, :, 3], pixels[3:, :, 3] = 0, 200
    write_image(Picture(pixels), tmp_path / "texture.png")
    upscale_file(Repeat(), tmp_path / "texture.png", tmp_path / "out.png")
    np.testing.assert_array_equal(read_image(tmp_path / "out.png").pixels, pixels.repeat(2, 0).repeat(2, 1))


def test_a_texture_whose_alpha_is_zero_everywhere_keeps_its_colors(tmp_path):
    pixels = noise(6, 8, 4)
    pixels[..., 3] = 0
    write_image(Picture(pixels), tmp_path / "texture.png")
    for size in (None, (10, 9)):
        upscale_file(Repeat(), tmp_path / "texture.png", tmp_path / "out.png", options=Options(size=size))
        result = read_image(tmp_path / "out.png").pixels
        assert not result[..., 3].any() and len(np.unique(result[..., :3])) > 20


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_colors_under_alpha_stay_through_files_and_sizes(tmp_path, suffix):
    pixels = noise(6, 8, 4)
    pixels[:3, :, 3], pixels[3:, :, 3] = 0, 200
    write_image(Picture(pixels), tmp_path / f"texture{suffix}", quality=100)
    np.testing.assert_array_equal(read_image(tmp_path / f"texture{suffix}").pixels, pixels)
    options = Options(size=(20, 15), quality=100)
    upscale_file(Repeat(), tmp_path / f"texture{suffix}", tmp_path / f"out{suffix}", options=options)
    result = read_image(tmp_path / f"out{suffix}").pixels
    assert len(np.unique(result[:4, :, :3])) > 50 and not result[:4, :, 3].any()


def test_alpha_may_be_data(tmp_path):
    seen = []

    class Watching(Repeat):
        def image(self, pixels, progress=None):
            seen.append(pixels.shape[-1])
            return super().image(pixels, progress)

    pixels = noise(6, 8, 4)
    calls = []
    result = upscaled_picture(Watching(), pixels, alpha="data", progress=lambda *call: calls.append(call))
    np.testing.assert_array_equal(result, pixels.repeat(2, 0).repeat(2, 1))
    assert sorted(seen) == [1, 3] and sorted(calls) == [(1, 2), (2, 2)]
    with pytest.raises(ValueError, match="alpha=gloss. Expected one of transparency, data"):
        Options(alpha="gloss")


def test_what_is_one_color_under_alpha_costs_no_second_run():
    pixels, runs = noise(6, 8, 4), []
    pixels[:3] = 0

    class Counting(Repeat):
        def image(self, pixels, progress=None):
            runs.append(1)
            return super().image(pixels, progress)

    upscaled_picture(Counting(), pixels)
    assert len(runs) == 1


# Folders


def test_endings_do_not_decide(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, form in (("a.jpe", "JPEG"), ("b.j2k", "JPEG2000"), ("c", "PNG"), ("d.dat", "WEBP"), ("e.jfif", "JPEG")):
        Image.fromarray(noise(8, 8, 3)).save(folder / name, form)
    make(folder / "f.apng", squares(3), [50] * 3)
    (folder / "notes.txt").write_text("no picture")
    (folder / "song.mp3").write_bytes(b"ID3" + b"\0" * 99)
    report, lines = lines_of([folder], tmp_path / "out")
    assert report.failed == []
    names = sorted(target.name for _, target in report.done)
    assert names == ["a_SR.jpe", "b_SR.png", "c_SR.png", "d_SR.webp", "e_SR.jfif", "f_SR.apng"]
    said = f"2 files passed over, no image, GIF or video: {folder / 'notes.txt'}, {folder / 'song.mp3'}."
    assert lines[-1] == said and len(report.passed_over) == 2


def test_linked_folders_are_followed_and_loops_are_not(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "pics").mkdir()
    write_image(Picture(noise(4, 4, 3)), tmp_path / "real" / "in.png")
    write_image(Picture(noise(4, 4, 3)), tmp_path / "pics" / "one.png")
    (tmp_path / "pics" / "album").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real" / "up").symlink_to(tmp_path / "pics", target_is_directory=True)
    (tmp_path / "pics" / "self").symlink_to(tmp_path / "pics", target_is_directory=True)
    (tmp_path / "pics" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    report, _ = lines_of([tmp_path / "pics"], tmp_path / "out")
    names = sorted(str(target.relative_to(tmp_path / "out")) for _, target in report.done)
    assert names == ["album/in_SR.png", "one_SR.png"] and report.passed_over == [tmp_path / "pics" / "gone.png"]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_the_longest_names_that_a_result_may_have(tmp_path, suffix):
    stem = "w" * (255 - len(f"_SR{suffix}"))
    source = make(tmp_path / f"short{suffix}", squares(2), [50] * 2).rename(tmp_path / f"{stem}{suffix}")
    report, _ = lines_of([source], tmp_path / "out")
    assert [target.name for _, target in report.done] == [f"{stem}_SR{suffix}"]
    assert os.listdir(tmp_path / "out") == [f"{stem}_SR{suffix}"]
    source = source.rename(tmp_path / f"{'w' * (255 - len(suffix))}{suffix}")
    report, _ = lines_of([source], tmp_path / "out")
    assert "its result's name would be 258 bytes long. Expected --output NAME" in report.failed[0][1]


def test_the_longest_name_of_a_video(tmp_path):
    pytest.importorskip("av")
    gif = make(tmp_path / "x.gif", squares(3), [50] * 3)
    target = tmp_path / f"{'w' * 251}.mp4"
    upscale_file(Repeat(), gif, target)
    assert sorted(os.listdir(tmp_path)) == [target.name, "x.gif"]


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path):
    from srwgan.whole_files import temporary_beside

    gif = make(tmp_path / "x.gif", squares(3), [50] * 3)
    (tmp_path / "out").mkdir()
    own = temporary_beside(tmp_path / "out" / "x_SR.gif")  # of this process, which is not gone
    own.write_bytes(b"half")
    gone = own.with_name(own.name.replace(f"-{os.getpid()}-", "-99999999-"))
    gone.write_bytes(b"half")
    other = temporary_beside(tmp_path / "out" / "y_SR.gif")
    other = other.with_name(other.name.replace(f"-{os.getpid()}-", "-99999999-"))  # of another result
    other.write_bytes(b"half")
    lines_of([gif], tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == sorted([own.name, other.name, "x_SR.gif"])


# Animations


@pytest.mark.parametrize("to", [".gif", ".webp", ".apng", ".avif", ".png"])
@pytest.mark.parametrize("of", [".gif", ".webp", ".apng", ".avif"])
def test_animations_become_each_other(tmp_path, of, to):
    frames, durations = squares(5, channels=4), [100, 40, 200, 50, 90]
    source = make(tmp_path / f"x{of}", frames, durations, loop=0)
    report, lines = lines_of([source], tmp_path / f"y{to}", options=Options(quality=100))
    assert report.failed == []
    if to == ".gif":
        info = gif_info(tmp_path / "y.gif")
        assert (info["durations"], info["loop"], info["size"]) == (durations, 0, (32, 24))
        with GifReader(tmp_path / "y.gif") as reader:
            shown = [frame for frame, _ in reader]
    else:
        reader = AnimationReader(tmp_path / f"y{to}")
        assert [duration for _, duration in reader] == pytest.approx(durations) and reader.loop == 0
        shown = [frame for frame, _ in reader]
    tolerance = 0 if ".avif" not in (of, to) else 16
    for played, frame in zip(shown, frames, strict=True):
        wanted = frame.repeat(2, 0).repeat(2, 1)
        np.testing.assert_array_equal(played[..., 3], wanted[..., 3])
        seen = played[..., 3] > 0
        assert np.abs(played[seen][:, :3].astype(int) - wanted[seen][:, :3]).max() <= tolerance


def test_a_format_is_for_the_files_whose_kind_it_is(tmp_path):
    make(tmp_path / "clip.gif", squares(3), [50] * 3)
    make(tmp_path / "clip2.png", squares(3), [50] * 3)
    write_image(Picture(noise(4, 4, 3)), tmp_path / "still.png")
    wanted = {
        "webp": ["clip2_SR.webp", "clip_SR.webp", "still_SR.webp"],
        "jpg": ["clip2_SR.png", "clip_SR.gif", "still_SR.jpg"],
        "gif": ["clip2_SR.gif", "clip_SR.gif", "still_SR.png"],
        "apng": ["clip2_SR.apng", "clip_SR.apng", "still_SR.png"],
    }
    for name, results in wanted.items():
        report, _ = lines_of([tmp_path], tmp_path / name, options=Options(format=name), overwrite=True)
        assert sorted(os.listdir(tmp_path / name)) == results and not report.failed
        for result in results:
            (tmp_path / name / result).unlink()
        (tmp_path / name).rmdir()


def test_what_a_result_does_not_hold_is_told(tmp_path):
    exif = Image.Exif()
    exif[315] = "somebody"
    with WRITERS[".webp"](tmp_path / "x.webp", (16, 12), extras=Extras(exif=exif.tobytes(), xmp=b"<x/>")) as file:
        for frame in squares(2):
            file.write(frame, 50)
    assert upscale_file(Repeat(), tmp_path / "x.webp", tmp_path / "y.png") == []
    (line,) = upscale_file(Repeat(), tmp_path / "x.webp", tmp_path / "y.gif", options=Options(gifsicle=False))
    assert line == f"{tmp_path / 'y.gif'}: left out, since gif does not hold it: EXIF, XMP."
    with GifWriter(tmp_path / "z.gif", (16, 12), 0, [b"a note"]) as file:
        file.write(squares(1)[0], 50)
    assert upscale_file(Repeat(), tmp_path / "z.gif", tmp_path / "z_SR.gif", options=Options(gifsicle=False)) == []
    (line,) = upscale_file(Repeat(), tmp_path / "z.gif", tmp_path / "z.webp")
    assert "left out, since webp does not hold it: comment" in line


def test_an_animated_webp_becomes_a_video_and_back(tmp_path):
    pytest.importorskip("av")
    durations = [100, 40, 200, 60]
    source = make(tmp_path / "x.webp", squares(4, 16, 16), durations)
    upscale_file(Repeat(), source, tmp_path / "x.mkv", options=Options(crf=1))
    upscale_file(Repeat(), tmp_path / "x.mkv", tmp_path / "y.webp")
    assert [duration for _, duration in AnimationReader(tmp_path / "y.webp")] == durations


def test_a_gif_that_is_a_video_is_upscaled_as_one(tmp_path):
    pytest.importorskip("av")
    gif = make(tmp_path / "x.gif", squares(3), [50] * 3)
    upscale_file(Repeat(), gif, tmp_path / "x.mp4")
    (tmp_path / "x.mp4").rename(tmp_path / "funny.gif")
    report, lines = lines_of([tmp_path / "funny.gif"], tmp_path / "out")
    assert [target.name for _, target in report.done] == ["funny_SR.mp4"]
    assert any("funny.gif: is a video: MP4 instead" in line for line in lines)


def test_damage_is_told_before_any_result(tmp_path):
    body = struct.pack(">II5B", 4, 4, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
    report, _ = lines_of([save(tmp_path / "x.png", data)], tmp_path / "out")
    assert "x.png: damaged: " in report.failed[0][1] and not (tmp_path / "out").exists()
