"""Animated PNG, WebP and AVIF: every frame, its time, the loop, transparency and metadata, out and in again."""

import io
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageSequence

from srwgan.media.animation import WRITERS, AnimationReader, ApngWriter, WebpWriter
from srwgan.media.kinds import kind_of
from srwgan.media.still.encoding import Extras

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def squares(count, height=12, width=18, channels=4):
    frames = []
    for i in range(count):
        frame = np.full((height, width, 4), (40, 80, 120, 255), np.uint8)
        frame[2 + i % 4 : 6 + i % 4, 3:9] = (200, 30, 40 * (i % 5), 255)
        frame[:, 14:, 3] = 0 if i % 2 else 128
        frames.append(frame[..., :channels])
    return frames


def write(path, frames, durations, loop=0, **options):
    with WRITERS[path.suffix](path, frames[0].shape[1::-1], loop, **options) as writer:
        for frame, duration in zip(frames, durations, strict=True):
            writer.write(frame, duration)
    return path


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("suffix", [".apng", ".png", ".webp", ".avif"])
def test_frames_and_times_come_back(tmp_path, suffix, channels):
    frames, durations = squares(7, channels=channels), [100, 40, 0 if suffix != ".avif" else 1, 33, 70, 1000, 50]
    frames[4] = frames[3]  # equal ones are frames too
    path = write(tmp_path / f"x{suffix}", frames, durations, quality=100)
    assert kind_of(path) == "animation" and os.listdir(tmp_path) == [path.name]
    reader = AnimationReader(path)
    assert (reader.size, reader.frame_count, reader.loop, reader.messages) == ((18, 12), 7, 0, [])
    for _ in range(2):
        result = list(reader)
        assert [duration for _, duration in result] == pytest.approx(durations)
        for (played, _), frame in zip(result, frames, strict=True):
            alpha = frame[..., 3] if channels == 4 else 255
            assert np.abs(played[..., 3].astype(int) - alpha).max() <= (0 if suffix != ".avif" else 3)
            seen = played[..., 3] > 0
            error = np.abs(played[seen][:, :3].astype(int) - frame[seen][:, :3])
            assert error.max() <= (0 if suffix != ".avif" else 12)


@pytest.mark.parametrize("suffix", [".apng", ".webp"])
def test_another_decoder_shows_the_same(tmp_path, suffix):
    av = pytest.importorskip("av")
    frames = squares(6, channels=3)
    path = write(tmp_path / f"x{suffix}", frames, [100, 50, 20, 100, 100, 30], quality=100)
    if suffix == ".webp":  # FFmpeg plays no animated WebP: by Pillow's own iterator
        with Image.open(path) as image:
            shown = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
    else:
        with av.open(str(path)) as container:
            shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for played, frame in zip(shown, frames, strict=True):
        np.testing.assert_array_equal(played, frame)


@pytest.mark.parametrize(("loop", "plays"), [(None, 1), (0, 0), (1, 2), (9, 10)])
@pytest.mark.parametrize("suffix", [".apng", ".webp"])
def test_loops_are_kept(tmp_path, suffix, loop, plays):
    path = write(tmp_path / f"x{suffix}", squares(2), [50, 50], loop)
    with Image.open(path) as image:
        assert image.info["loop"] == plays
    assert AnimationReader(path).loop == loop


def test_avif_says_that_it_plays_for_ever(tmp_path):
    with WRITERS[".avif"](tmp_path / "x.avif", (18, 12), None) as writer:
        writer.write(squares(1)[0], 50)
    assert "plays 1 times" in writer.messages[0]


@pytest.mark.parametrize("suffix", [".apng", ".webp", ".avif"])
def test_metadata_travel(tmp_path, suffix):
    exif = Image.Exif()
    exif[315] = "somebody"
    extras = Extras(SRGB, exif.tobytes(), xmp=b"<x:xmpmeta>rights</x:xmpmeta>")
    path = write(tmp_path / f"x{suffix}", squares(3), [50, 50, 50], extras=extras)
    again = AnimationReader(path).extras
    assert again.icc_profile == SRGB and b"rights" in again.xmp
    assert Image.Exif().load(again.exif) is None and b"somebody" in again.exif


def test_fractions_of_a_millisecond(tmp_path):
    path = write(tmp_path / "x.apng", squares(6, channels=3), [1001 / 60] * 6)
    assert [duration for _, duration in AnimationReader(path)] == pytest.approx([1001 / 60] * 6, abs=1e-3)
    path = write(tmp_path / "x.webp", squares(6, channels=3), [1001 / 60] * 6)
    durations = [duration for _, duration in AnimationReader(path)]
    assert sum(durations) == round(6 * 1001 / 60) and set(durations) == {16, 17}
    path = write(tmp_path / "long.apng", squares(2, channels=3), [400_000, 50])
    assert [duration for _, duration in AnimationReader(path)] == pytest.approx([400_000, 50])


def test_only_what_changed_is_stored(tmp_path):
    rng = np.random.default_rng(0)
    still = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    frames = [still.copy() for _ in range(10)]
    for number, frame in enumerate(frames):
        frame[:3, number : number + 3] = 0
    for suffix in (".apng", ".webp"):
        one = write(tmp_path / f"one{suffix}", frames[:1], [50], quality=100).stat().st_size
        assert write(tmp_path / f"x{suffix}", frames, [50] * 10, quality=100).stat().st_size < 1.5 * one


def test_memory_does_not_grow_with_the_frames(tmp_path):
    peaks = []
    for count in (4, 40):
        frame = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
        tracemalloc.start()
        with ApngWriter(tmp_path / "x.apng", (200, 200)) as writer:
            for number in range(count):
                writer.write(np.roll(frame, number, 0), 50)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_a_still_for_programs_that_play_nothing_is_no_frame(tmp_path):
    frames = [Image.fromarray(frame) for frame in squares(4)]
    frames[0].save(tmp_path / "x.png", save_all=True, default_image=True, append_images=frames[1:], duration=50, loop=3)
    reader = AnimationReader(tmp_path / "x.png")
    assert reader.frame_count == 3 and reader.loop == 2
    for (played, duration), frame in zip(reader, squares(4)[1:], strict=True):
        np.testing.assert_array_equal(played, frame)
        assert duration == 50


@pytest.mark.parametrize("blend", [0, 1])
@pytest.mark.parametrize("dispose", [0, 1, 2])
def test_what_becomes_of_a_frame_after_its_time(tmp_path, dispose, blend):
    """Held against FFmpeg: Pillow leaves cleared areas as they were."""
    av = pytest.importorskip("av")
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (12, 18, 4)).astype(np.uint8)) for _ in range(5)]
    frames[0].save(
        tmp_path / "x.png", save_all=True, append_images=frames[1:], duration=40, disposal=dispose, blend=blend
    )
    with av.open(str(tmp_path / "x.png")) as container:
        shown = [frame.to_ndarray(format="rgba") for frame in container.decode(video=0)]
    for (played, _), wanted in zip(AnimationReader(tmp_path / "x.png"), shown, strict=True):
        errors = [
            np.abs(a[..., :3] * (a[..., 3:] / 255) - b[..., :3] * (b[..., 3:] / 255)) for a, b in [(played, wanted)]
        ]
        assert (
            max(error.max() for error in errors) < 3 and np.abs(played[..., 3].astype(int) - wanted[..., 3]).max() <= 1
        )


def test_stills_are_no_animations(tmp_path):
    for name in ("x.png", "x.webp", "x.avif"):
        Image.fromarray(squares(1)[0]).save(tmp_path / name)
        assert kind_of(tmp_path / name) == "image"


def test_wrong_frames_are_refused_and_leave_nothing(tmp_path):
    for frame, words in ((np.zeros((3, 3, 3), np.uint8), "3, 3"), (np.zeros((12, 18, 3)), "float64")):
        with pytest.raises(ValueError, match=words), WebpWriter(tmp_path / "x.webp", (18, 12)) as writer:
            writer.write(frame, 50)
    with pytest.raises(ValueError, match="No frame"), ApngWriter(tmp_path / "x.png", (18, 12)):
        pass
    with pytest.raises(ValueError, match="17000x4 pixels for WebP.*16383"):
        WebpWriter(tmp_path / "x.webp", (17_000, 4))
    assert os.listdir(tmp_path) == []


def test_a_damaged_animation_is_refused(tmp_path):
    path = write(tmp_path / "x.png", squares(5), [50] * 5)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"fdAT") + 12
    data[at] ^= 255
    path.write_bytes(data)
    with pytest.raises(ValueError, match="x.png: damaged: the checksum of its fdAT"):
        AnimationReader(path)
    path = write(tmp_path / "x.webp", squares(5), [50] * 5)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(ValueError, match="x.webp: damaged"):
        list(AnimationReader(path))


def test_sixteen_bits_are_reduced_with_a_line(tmp_path):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = zlib.compress(b"".join(b"\0" + b"\x12\x34" * 3 * 4 for _ in range(4)))
    control = struct.pack(">IIIIHHBB", 4, 4, 0, 0, 1, 10, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    data += chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", struct.pack(">I", 0) + control)
    data += chunk(b"IDAT", rows) + chunk(b"fcTL", struct.pack(">I", 1) + control)
    data += chunk(b"fdAT", struct.pack(">I", 2) + rows) + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(data)
    reader = AnimationReader(tmp_path / "x.png")
    assert "16 bits" in reader.messages[0]
    assert all((frame[..., :3] == 0x12).all() and duration == 100 for frame, duration in reader)
    assert Image.open(io.BytesIO(data)).n_frames == 2
