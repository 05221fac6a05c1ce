"""The functions that notebooks call: their ranges, shapes and files."""

import imageio.v3 as iio
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from srwgan.media.gif import GifReader, GifWriter
from srwgan.media.still.images import Picture, write_image
from srwgan.networks.generator import Generator
from srwgan.networks.saving import export_generator
from utils.testGenerate import (
    crop2square,
    generate_batches,
    generate_gif,
    generate_one_img,
    generate_video,
    gif_info,
    load_gen,
    load_gif,
    load_img,
    save_gif,
)


@pytest.fixture(scope="module")
def gen_model():
    tf.keras.utils.set_random_seed(0)
    return Generator(filters=8, blocks=1, scale=2)


def smooth(height, width):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 4 + y, y * 5, 255 - x * 3], -1).clip(0, 255).astype(np.uint8)


def bilinear(images, scale):
    """What an untrained generator gives: its residual starts near 0."""
    return tf.image.resize(images, np.array(images.shape[1:3]) * scale, "bilinear").numpy()


def write_gif(path, count=5, size=(20, 14), loop=2, transparent=False):
    durations = [100, 30, 0, 250, 40][:count]
    with GifWriter(path, size, loop) as writer:
        for i in range(count):
            frame = np.full((size[1], size[0], 4), (50, 100, 150, 255), np.uint8)
            frame[3:9, 2 + i : 8 + i, :3] = 220, 40, 40
            frame[:, -4:, 3] = 0 if transparent else 255
            writer.write(frame, durations[i])
    return durations


def test_load_img_ranges_and_modes(tmp_path):
    rgb = smooth(12, 18)
    Image.fromarray(rgb).save(tmp_path / "x.png")
    image = load_img("x.png", base_path=tmp_path)
    assert image.dtype == np.float32 and image.shape == (12, 18, 3)
    np.testing.assert_allclose(image, rgb / 255, atol=1e-6)
    np.testing.assert_allclose(load_img(tmp_path / "x.png", centralize=True), rgb / 127.5 - 1, atol=1e-6)

    gray = (smooth(9, 9)[..., :1].astype(np.uint16)) * 257 + 3
    write_image(Picture(gray), tmp_path / "deep.png")
    np.testing.assert_allclose(load_img(tmp_path / "deep.png"), np.repeat(gray / 65535, 3, -1), atol=1e-6)
    assert load_img(tmp_path / "deep.png", resize=(4, 4)).max() <= 1
    write_image(Picture(np.full((4, 4, 4), (255, 0, 0, 0), np.uint8)), tmp_path / "clear.png")
    np.testing.assert_array_equal(load_img(tmp_path / "clear.png"), 1)
    with pytest.raises(FileNotFoundError, match="none.png"):
        load_img("none.png", base_path=tmp_path)


def test_resize_takes_the_centred_square(tmp_path):
    picture = np.zeros((10, 30, 3), np.uint8)
    picture[:, 10:20] = 255
    Image.fromarray(picture).save(tmp_path / "x.png")
    np.testing.assert_array_equal(load_img(tmp_path / "x.png", resize=(8, 8)), np.ones((8, 8, 3)))
    np.testing.assert_array_equal(crop2square(picture), 255)
    assert crop2square(picture.swapaxes(0, 1)).shape == (10, 10, 3)
    assert crop2square(Image.fromarray(picture)).size == (10, 10)
    assert load_img(tmp_path / "x.png", resize=(20, 12)).shape == (12, 20, 3)


def test_generate_one_img_and_batches(gen_model):
    images = np.stack([smooth(16, 20), smooth(16, 20)[::-1], smooth(16, 20)[:, ::-1]]).astype(np.float32) / 255
    expected = bilinear(images, 2)
    one = generate_one_img(gen_model, images[0])
    assert one.dtype == np.float32 and one.shape == (32, 40, 3)
    assert one.min() >= 0 and one.max() <= 1
    assert np.abs(one - expected[0])[2:-2, 2:-2].max() < 0.02
    assert generate_one_img(gen_model, images[:1]).shape == (1, 32, 40, 3)
    for batch_size in (2, 8):
        batch = generate_batches(gen_model, images * 2 - 1, batch_size)
        assert batch.shape == (3, 32, 40, 3) and batch.min() >= -1 and batch.max() <= 1
        assert np.abs(batch - (expected * 2 - 1))[:, 2:-2, 2:-2].max() < 0.04
        np.testing.assert_allclose((batch[0] + 1) / 2, one, atol=0.01)
    for wrong in (images[..., :1], images[0]):
        with pytest.raises(ValueError, match="Expected .N, H, W, 3."):
            generate_batches(gen_model, wrong)
    with pytest.raises(ValueError, match="batch_size=0"):
        generate_batches(gen_model, images, 0)


def test_weights_that_were_trained_on_are_used(gen_model):
    image = smooth(8, 8) / np.float32(255)
    before = generate_one_img(gen_model, image)
    weights = gen_model.get_weights()
    gen_model.set_weights([w + 0.2 for w in weights])
    changed = generate_one_img(gen_model, image)
    gen_model.set_weights(weights)
    assert np.abs(changed - before).max() > 0.01
    np.testing.assert_array_equal(generate_one_img(gen_model, image), before)


def test_exported_and_foreign_models(tmp_path, gen_model):
    export_generator(gen_model, tmp_path / "Gen")
    image = smooth(12, 10) / np.float32(255)
    expected = generate_one_img(gen_model, image)
    np.testing.assert_allclose(generate_one_img(load_gen(tmp_path / "Gen"), image), expected, atol=1e-6)

    module = tf.Module()
    signature = [tf.TensorSpec((None, None, None, 3), tf.float32)]
    module.serve = tf.function(lambda x: tf.repeat(tf.repeat(x, 3, 1), 3, 2), input_signature=signature)
    tf.saved_model.save(module, str(tmp_path / "foreign"), signatures=module.serve)
    result = generate_one_img(load_gen(tmp_path / "foreign"), image)
    np.testing.assert_allclose(result, image.repeat(3, 0).repeat(3, 1), atol=1e-6)
    with pytest.raises(FileNotFoundError, match="none"):
        load_gen(tmp_path / "none")


def test_gif_arrays(tmp_path):
    durations = write_gif(tmp_path / "x.gif")
    frames = load_gif("x.gif", base_path=tmp_path)
    assert frames.shape == (5, 14, 20, 3) and frames.dtype == np.float32
    np.testing.assert_allclose(frames[0, 0, 0], np.array([50, 100, 150]) / 127.5 - 1, atol=1e-6)
    assert load_gif(tmp_path / "x.gif", resize=(6, 6), centralize=False).shape == (5, 6, 6, 3)
    save_gif(frames, tmp_path / "y.gif", durations, loop=4)
    info = gif_info(tmp_path / "y.gif")
    assert (info["frames"], info["durations"], info["loop"], info["size"]) == (5, durations, 4, (20, 14))
    np.testing.assert_allclose(load_gif(tmp_path / "y.gif"), frames, atol=1e-6)
    with pytest.raises(ValueError, match="4 durations"):
        save_gif(frames, tmp_path / "z.gif", [10] * 4)


@pytest.mark.parametrize("extension", ["png", "webp", "tif"])
def test_other_animations_are_read_too(tmp_path, extension):
    pixels = np.stack([smooth(14, 20), smooth(14, 20)[::-1], smooth(14, 20)[:, ::-1]])
    options = {"lossless": True} if extension == "webp" else {}
    first, *others = map(Image.fromarray, pixels)
    first.save(tmp_path / f"x.{extension}", save_all=True, append_images=others, **options)
    frames = load_gif(tmp_path / f"x.{extension}")
    np.testing.assert_allclose(frames, pixels / 127.5 - 1, atol=1e-6)
    assert load_gif(f"x.{extension}", tmp_path, resize=(6, 4), centralize=False).shape == (3, 4, 6, 3)


def test_what_is_no_animation_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match="notes.txt, which cannot be read"):
        load_gif(tmp_path / "notes.txt")


def test_what_imageio_reads_of_a_gif_is_saved_as_it_was(tmp_path):
    write_gif(tmp_path / "x.gif")
    frames = iio.imread(tmp_path / "x.gif", index=None)
    save_gif(frames, tmp_path / "y.gif", 40)
    np.testing.assert_array_equal(iio.imread(tmp_path / "y.gif", index=None), frames)


def test_levels_as_imageio_reads_them_are_taken_as_images(tmp_path, gen_model):
    rgb = smooth(12, 16)
    expected = generate_one_img(gen_model, rgb / np.float32(255))
    pictures = {
        "rgb": rgb,
        "rgba": np.dstack([rgb, np.full((12, 16), 255, np.uint8)]),
        "clear": np.zeros((12, 16, 4), np.uint8),
        "gray": rgb[..., 0],
    }
    for name, pixels in pictures.items():
        iio.imwrite(tmp_path / f"{name}.png", pixels)
    read = {name: generate_one_img(gen_model, iio.imread(tmp_path / f"{name}.png")) for name in pictures}
    np.testing.assert_allclose(read["rgb"], expected, atol=1e-6)
    np.testing.assert_allclose(read["rgba"], expected, atol=1e-6)
    assert read["clear"].min() > 0.98  # on white
    gray = np.repeat(rgb[..., :1], 3, -1)
    np.testing.assert_allclose(read["gray"], generate_one_img(gen_model, gray / np.float32(255)), atol=1e-6)
    deep = generate_one_img(gen_model, rgb.astype(np.uint16) * 257)
    np.testing.assert_allclose(deep, expected, atol=1e-6)
    batch = generate_batches(gen_model, np.stack([rgb, rgb]))
    np.testing.assert_allclose(batch, np.stack([expected, expected]) * 2 - 1, atol=1e-5)


@pytest.mark.parametrize("transparent", [False, True])
def test_generate_gif_keeps_timing_and_transparency(tmp_path, gen_model, transparent):
    durations = write_gif(tmp_path / "clip.gif", transparent=transparent)
    result = generate_gif(gen_model, "clip.gif", resize=None, base_path=tmp_path)
    assert result == str(tmp_path / "clip_SR.gif")
    assert not (tmp_path / "clip_resized.gif").exists()
    info = gif_info(result)
    assert (info["durations"], info["loop"], info["size"]) == (durations, 2, (40, 28))
    with GifReader(result) as reader, GifReader(tmp_path / "clip.gif") as source:
        for (frame, _), (low_res, _) in zip(reader, source, strict=True):
            expected = low_res.repeat(2, 0).repeat(2, 1)
            assert np.array_equal(frame[..., 3], expected[..., 3]) or transparent
            seen = (frame[..., 3] > 0) & (expected[..., 3] > 0)
            assert np.abs(frame[seen].astype(int) - expected[seen]).mean() < 12
            assert (frame[:, -3:, 3] == (0 if transparent else 255)).all()


def test_generate_gif_resized(tmp_path, gen_model):
    durations = write_gif(tmp_path / "clip.gif")
    result = generate_gif(gen_model, tmp_path / "clip.gif", resize=(10, 8), batch_size=2)
    for path, size in ((tmp_path / "clip_resized.gif", (10, 8)), (result, (20, 16))):
        info = gif_info(path)
        assert (info["durations"], info["loop"], info["size"]) == (durations, 2, size)
    Image.fromarray(smooth(8, 8)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match="x.png is not a GIF"):
        generate_gif(gen_model, tmp_path / "x.png")
    with pytest.raises(FileNotFoundError, match="nothing.gif"):
        generate_gif(gen_model, "nothing.gif", base_path=tmp_path)


def test_without_gifsicle_a_warning_and_the_plain_file(tmp_path, gen_model, monkeypatch):
    write_gif(tmp_path / "clip.gif")
    monkeypatch.setattr("srwgan.media.gif.optimizer.run_gifsicle", fails_to_start)
    with pytest.warns(UserWarning, match="clip_SR.gif.*gifsicle"):
        generate_gif(gen_model, tmp_path / "clip.gif", resize=None)
    assert gif_info(tmp_path / "clip_SR.gif")["frames"] == 5


def fails_to_start(*_):
    raise OSError("no gifsicle here")


def test_generate_video(tmp_path, gen_model):
    pytest.importorskip("av")
    from srwgan.media.video import VideoReader, VideoWriter

    with VideoWriter(tmp_path / "clip.mp4", (16, 12), frame_rate=10, crf=1) as writer:
        for i in range(4):
            writer.write(smooth(12, 16), i * 0.1)
    for resize, size in ((None, (32, 24)), ((20, 10), (40, 20))):
        result = generate_video(gen_model, "clip.mp4", resize=resize, base_path=tmp_path, crf=5)
        assert result == str(tmp_path / "clip_SR.mp4")
        with VideoReader(result) as reader:
            assert reader.size == size and len(list(reader)) == 4
    with VideoReader(tmp_path / "clip_resized.mp4") as reader:
        assert reader.size == (20, 10) and len(list(reader)) == 4
