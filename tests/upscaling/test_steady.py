"""Steady frames: known motion, cuts, what stays, every kind of pixels, and the way through files."""

import functools
import sys
import threading
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

import testGenerator
from srwgan.convert import clips
from srwgan.convert.clips import upscale_clip
from srwgan.convert.options import Options
from srwgan.media.gif import GifReader, GifWriter
from srwgan.media.video import VideoWriter
from srwgan.networks.generator import Generator
from srwgan.pixels import BICUBIC, resize
from srwgan.upscaling import steady
from srwgan.upscaling.upscaler import Upscaler
from utils.testGenerate import generate_gif

cv2 = pytest.importorskip("cv2", reason="optical flow: python3 -m pip install -r requirements-steady.txt")

SCALE = 4


def texture(height, width, seed=0):
    """(H, W, 3) uint8, cloudy in three sizes, so that every place differs from those around it."""
    random, total = np.random.default_rng(seed), 0
    for sigma, strength in ((3, 16), (8, 24), (24, 48)):
        noise = random.normal(size=(height, width, 3)).astype(np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        total += strength * noise / noise.std()
    return (total + 128).clip(0, 255).round().astype(np.uint8)


def low_resolution(high_res):
    return resize(high_res, (high_res.shape[1] // SCALE, high_res.shape[0] // SCALE), BICUBIC)


def pan(photo, frames, size=(160, 192), step=(1, 3)):
    """Windows of a photograph that move by `step` pixels down and right from one to the next."""
    height, width = size
    for i in range(frames):
        yield np.ascontiguousarray(photo[i * step[0] : i * step[0] + height, i * step[1] : i * step[1] + width])


def invented(high_res, seed, strength=12):
    """A photograph with detail that is another for every seed, and that the low resolution does not show."""
    noise = np.random.default_rng(seed).normal(0, strength, high_res.shape[:2])
    blocks = noise.reshape(high_res.shape[0] // SCALE, SCALE, high_res.shape[1] // SCALE, SCALE)
    detail = (blocks - blocks.mean(axis=(1, 3), keepdims=True)).reshape(noise.shape)
    return (high_res + detail[..., None]).round().clip(0, 255).astype(np.uint8)


def variation(frames, step=(1, 3), margin=32):
    """The mean over all places of the deviation over the frames, which are put back by their pan."""
    height, width = frames[0].shape[:2]
    down, right = (len(frames) - 1) * np.array(step)
    put_back = [
        frame[down - i * step[0] + margin : height - i * step[0] - margin][
            :, right - i * step[1] + margin : width - i * step[1] - margin
        ]
        for i, frame in enumerate(frames)
    ]
    return np.std(np.stack(put_back).astype(float), axis=0).mean()


def made_steady(originals, results):
    steadier = steady.Steadier(SCALE)
    return [steadier(low_resolution(a), b) for a, b in zip(originals, results, strict=True)]


def test_a_still_clip_stays_as_it_is_at_first():
    photo = texture(96, 120)
    results = made_steady([photo] * 4, [invented(photo, seed) for seed in range(4)])
    for result in results:
        np.testing.assert_array_equal(result, invented(photo, 0))


def test_what_is_invented_anew_goes_along_with_the_motion():
    originals = list(pan(texture(180, 230), 8))
    fresh = [invented(original, seed) for seed, original in enumerate(originals)]
    results = made_steady(originals, fresh)
    assert variation(originals) == 0
    assert variation(results) < 0.4 * variation(fresh)
    for result, made in zip(results, fresh, strict=True):  # as sharp as the generator's, not an average of many
        assert result[32:-32, 32:-32].std() > 0.97 * made[32:-32, 32:-32].std()


def test_a_pan_that_is_right_stays_right():
    originals = list(pan(texture(180, 230), 6))
    for result, original in zip(made_steady(originals, originals), originals, strict=True):
        assert np.abs(result.astype(int) - original)[32:-32, 32:-32].mean() < 1.5


def test_after_a_cut_the_generators_own_result_is_taken():
    scenes = [texture(128, 160, seed) for seed in (0, 1, 1)]
    scenes[2] = np.roll(scenes[2], 3, axis=1)
    fresh = [invented(scene, seed) for seed, scene in enumerate(scenes)]
    results = made_steady(scenes, fresh)
    np.testing.assert_array_equal(results[1], fresh[1])
    assert (results[2] != fresh[2]).any()


def test_what_does_not_change_stays_exactly():
    photo = texture(160, 240)
    originals = [photo, photo.copy(), photo.copy()]
    originals[1][40:72, 48:80] = (255, 0, 0)  # and back again
    fresh = [invented(original, seed) for seed, original in enumerate(originals)]
    first, second, third = made_steady(originals, fresh)
    low_res = [low_resolution(original) for original in originals]
    rows, columns = np.nonzero((low_res[0] != low_res[1]).any(axis=-1))
    outside = np.ones(photo.shape[:2], bool)
    top, left = (SCALE * (places.min() - steady.REACH) for places in (rows, columns))
    bottom, right = (SCALE * (places.max() + 1 + steady.REACH) for places in (rows, columns))
    outside[top:bottom, left:right] = False
    assert outside.mean() > 0.8
    for result in (second, third):
        np.testing.assert_array_equal(result[outside], first[outside])
    np.testing.assert_allclose(second[44:68, 52:76].astype(int), fresh[1][44:68, 52:76], atol=1)


def test_what_comes_into_view_is_the_generators():
    photo, there = texture(160, 320), slice(32, -32)
    originals = [photo[:, :160], photo[:, 16:176]]
    fresh = [invented(original, seed) for seed, original in enumerate(originals)]
    _, second = made_steady(originals, fresh)
    np.testing.assert_array_equal(second[there, -8:], fresh[1][there, -8:])
    assert (second[there, 32:96] != fresh[1][there, 32:96]).mean() > 0.5


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_gray_and_transparency(channels):
    originals = list(pan(texture(180, 230), 3))
    fresh = [invented(original, seed) for seed, original in enumerate(originals)]
    random = np.random.default_rng(0)

    def as_kind(pixels):
        colors = pixels if channels == 4 else pixels[..., :1]
        alpha = random.integers(0, 256, (*pixels.shape[:2], 1), np.uint8)
        return colors if channels == 1 else np.concatenate([colors, alpha], axis=-1)

    steadier, colors_alone = steady.Steadier(SCALE), steady.Steadier(SCALE)
    for original, made in zip(originals, fresh, strict=True):
        low_res, high_res = as_kind(low_resolution(original)), as_kind(made)
        result = steadier(low_res, high_res)
        assert result.shape == high_res.shape and result.dtype == np.uint8
        if channels > 1:
            np.testing.assert_array_equal(result[..., -1], high_res[..., -1])
            colors = slice(None, -1)
            expected = colors_alone(np.array(low_res[..., colors]), np.array(high_res[..., colors]))
            np.testing.assert_array_equal(result[..., colors], expected)


def test_16_bits_are_as_8_bits_are():
    originals = list(pan(texture(180, 230), 3))
    fresh = [invented(original, seed) for seed, original in enumerate(originals)]
    deep, shallow = steady.Steadier(SCALE), steady.Steadier(SCALE)
    for original, made in zip(originals, fresh, strict=True):
        low_res = low_resolution(original)
        result = deep(low_res.astype(np.uint16) * 257, made.astype(np.uint16) * 257)
        assert result.dtype == np.uint16
        off = np.abs(result / 257 - shallow(low_res, made))
        assert off.mean() < 0.5 and np.quantile(off, 0.99) < 2
    assert (result % 257 != 0).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (9, 3)])
@pytest.mark.parametrize("scale", [2, 3])
def test_small_frames_and_other_scales(size, scale):
    random, steadier = np.random.default_rng(0), steady.Steadier(scale)
    for _ in range(3):
        low_res = random.integers(0, 256, (*size, 3), np.uint8)
        high_res = low_res.repeat(scale, axis=0).repeat(scale, axis=1)
        assert steadier(low_res, high_res).shape == high_res.shape


def test_frames_of_another_size_start_afresh():
    steadier, photos = steady.Steadier(SCALE), [texture(64, 80), texture(72, 80)]
    for photo in photos:
        np.testing.assert_array_equal(steadier(low_resolution(photo), photo), photo)


def test_strips_make_no_difference(monkeypatch):
    originals = list(pan(texture(240, 230), 3, size=(224, 192)))
    fresh = [invented(original, seed) for seed, original in enumerate(originals)]
    whole = made_steady(originals, fresh)
    monkeypatch.setattr(steady, "STRIP", 192 * 44)
    for strips, expected in zip(made_steady(originals, fresh), whole, strict=True):
        off = np.abs(strips.astype(int) - expected)
        assert off.max() <= 1 and off.mean() < 0.01


def test_results_may_be_changed_and_inputs_are_not():
    originals = list(pan(texture(180, 230), 3))
    fresh = [invented(original, seed) for seed, original in enumerate(originals)]
    expected = made_steady(originals, [made.copy() for made in fresh])
    steadier = steady.Steadier(SCALE)
    for seed, (original, made) in enumerate(zip(originals, fresh, strict=True)):
        result = steadier(low_resolution(original), made)
        np.testing.assert_array_equal(result, expected[seed])
        np.testing.assert_array_equal(made, invented(original, seed))
        result[:] = 0


# Through an upscaler, files and the command line


@pytest.fixture(scope="module")
def upscaler():
    return Upscaler(Generator(filters=4, blocks=1, scale=4), "float32")


@pytest.mark.parametrize("reuse", [True, False])
def test_an_upscalers_frames(upscaler, reuse):
    frames = [low_resolution(frame) for frame in pan(texture(180, 230), 4)]
    frames.insert(2, frames[1])
    steadier, plain = steady.Steadier(4), list(upscaler.frames(frames, reuse))
    results = list(upscaler.frames(frames, reuse, steady=True))
    assert len(results) == 5
    for frame, own, result in zip(frames, plain, results, strict=True):
        np.testing.assert_array_equal(result, steadier(frame, own))
    np.testing.assert_array_equal(results[1], results[2])
    assert (results[1] != plain[1]).any()


def test_stopping_early_and_errors_end_the_threads(upscaler):
    def failing():
        for frame in pan(texture(180, 230), 3):
            yield low_resolution(frame)
        raise OSError("truncated")

    iterator = upscaler.frames(failing(), steady=True)
    next(iterator)
    iterator.close()
    with pytest.raises(OSError, match="truncated"):
        list(upscaler.frames(failing(), steady=True))
    assert not [thread for thread in threading.enumerate() if thread.name == "srwgan-pull"]


def test_a_gif(upscaler, tmp_path):
    path, target = tmp_path / "clip.gif", tmp_path / "clip_SR.gif"
    frames = [low_resolution(frame) for frame in pan(texture(180, 230), 3)]
    with GifWriter(path, (48, 40)) as writer:
        for frame in (*frames, frames[-1]):
            writer.write(frame, 50)
    lines = upscale_clip(
        upscaler, path, target, kind="gif", options=Options(steady=True), progress=lambda *_: None, say=print
    )
    assert lines == []
    as_written = target.read_bytes()
    with pytest.raises(ValueError, match="palette"):
        generate_gif(upscaler.generator, path, resize=None, palette="none")
    assert generate_gif(upscaler.generator, path, resize=None, steady=True) == str(target)
    assert abs(len(as_written) - target.stat().st_size) < 0.2 * len(as_written)  # in another precision, perhaps
    with GifReader(target) as reader:
        results = [frame for frame, _ in reader]
    assert len(results) == 4
    np.testing.assert_array_equal(results[2], results[3])


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_a_resumed_video_goes_on_as_if_it_had_not_been_interrupted(upscaler, tmp_path, monkeypatch, interruption):
    pytest.importorskip("av", reason="videos: python3 -m pip install -r requirements-video.txt")
    written, source = [], tmp_path / "x.mkv"
    with VideoWriter(source, (48, 40), crf=5) as writer:
        for i, frame in enumerate(pan(texture(180, 230), 8)):
            writer.write(low_resolution(frame), Fraction(i, 25))

    class Writer(VideoWriter):
        def write(self, rgb, *times):
            super().write(rgb, *times)
            written.append(rgb)

    def interrupted(done, total):
        if done == 5:
            raise interruption

    def run(target, resume, progress):
        written.clear()
        options = Options(steady=True, resume=resume, scale_out=2)
        upscale_clip(upscaler, source, target, kind="video", options=options, progress=progress, say=lines.append)
        return list(written)

    monkeypatch.setattr(clips, "VideoWriter", functools.partial(Writer, segment_frames=3))
    monkeypatch.setattr(clips, "SEGMENT_FRAMES", 3)
    lines = []
    expected = run(tmp_path / "y.mkv", False, lambda *_: None)
    with pytest.raises(interruption):
        run(tmp_path / "z.mkv", False, interrupted)
    rest = run(tmp_path / "z.mkv", True, lambda *_: None)
    assert "goes on after" in lines[0] and len(rest) in (3, 4, 5) and len(expected) == 8
    for result, wanted in zip(rest, expected[-len(rest) :], strict=True):
        assert np.abs(result.astype(int) - wanted).max() <= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.mkv", "y.mkv", "z.mkv"]


def test_without_opencv_one_line_says_what_to_install(monkeypatch, tmp_path, capsys, upscaler):
    monkeypatch.setitem(sys.modules, "cv2", None)
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    assert testGenerator.main([str(tmp_path / "photo.png"), "--output", str(tmp_path / "out"), "--steady"]) == 2
    message = "--steady needs OpenCV, which is not installed. Run: python3 -m pip install -r requirements-steady.txt"
    assert capsys.readouterr().err == f"testGenerator.py: {message}\n"
    with pytest.raises(ImportError, match="^Steady frames need OpenCV, which is not installed"):
        upscaler.frames([], steady=True)
