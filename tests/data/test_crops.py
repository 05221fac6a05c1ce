import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from srwgan.data.crops import CropOptions, CropStream, held_out_crops
from srwgan.pixels import downscale, to_pixels, upscale_bicubic

TURNS = [lambda p, k=k, flip=flip: np.rot90(p[:, ::-1] if flip else p, k) for k in range(4) for flip in (False, True)]


def levels(images):
    return np.round((np.asarray(images) + 1) * 127.5).astype(int)


def batches(stream, *args, **options):
    return [tuple(part.numpy() for part in batch) for batch in stream.epoch(*args, **options)]


def joined(parts):
    """A list of batches as one (low_res, high_res, e)."""
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


@pytest.fixture
def photos(make_photo):
    return [make_photo(40, 52, 0), make_photo(64, 33, 1), make_photo(32, 32, 2)]


def stream_of(photos, **options):
    return CropStream(photos, CropOptions(**options))


def bicubic_by_pillow(levels, width, height):
    """In floating point, since Pillow rounds and clips 8-bit pictures between its two passes."""
    channels = [
        Image.fromarray(levels[..., c].astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
        for c in range(3)
    ]
    return np.clip(np.stack([np.asarray(channel) for channel in channels], -1), 0, 255)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_low_resolution_is_the_bicubic_downscale_of_the_same_crop(photos, scale):
    """Flips and turns are common to both: each low-resolution crop fits its own high-resolution one."""
    low_res, high_res, _ = joined(batches(stream_of(photos, crop=32, scale=scale, batch_size=4, crops_per_photo=4), 0))
    assert low_res.shape == (12, 32 // scale, 32 // scale, 3) and high_res.shape == (12, 32, 32, 3)
    assert low_res.dtype == high_res.dtype == np.float32
    for low, high in zip(levels(low_res), levels(high_res), strict=True):
        np.testing.assert_allclose(low, bicubic_by_pillow(high, 32 // scale, 32 // scale), atol=0.51)
    np.testing.assert_allclose(low_res, levels(low_res) / 127.5 - 1, atol=1e-6)  # whole levels, as in a file


def test_grain_is_in_both_of_a_pair_and_drawn_anew_for_each(photos):
    def pairs(**options):
        stream = stream_of(photos, crop=32, scale=4, batch_size=4, seed=1, crops_per_photo=8, grain=20, **options)
        return [levels(images) for images in joined(batches(stream, 0))[:2]]

    low_res, grainy = pairs()
    clean = levels(joined(batches(stream_of(photos, crop=32, scale=4, batch_size=4, seed=1, crops_per_photo=8), 0))[1])
    for low, high in zip(low_res, grainy, strict=True):
        np.testing.assert_allclose(low, bicubic_by_pillow(high, 8, 8), atol=0.51)
    grains = [high - same for high, same in zip(grainy, clean, strict=True) if not np.array_equal(high, same)]
    assert 4 < len(grains) < 20 and len(np.unique(grains, axis=0)) == len(grains)
    np.testing.assert_array_equal(pairs()[1], grainy)
    np.testing.assert_array_equal(pairs(degradation="gif")[1], grainy)


def test_a_scale_of_three(photos):
    low_res, high_res, _ = batches(stream_of(photos, crop=30, scale=3, batch_size=3), 0)[0]
    for low, high in zip(levels(low_res), levels(high_res), strict=True):
        np.testing.assert_allclose(low, bicubic_by_pillow(high, 10, 10), atol=0.51)


def test_every_crop_is_a_flipped_or_turned_piece_of_its_photograph(photos):
    """A photograph of exactly the crop's size has one place to cut and eight ways to turn it; all occur."""
    square = photos[2]
    _, high_res, _ = joined(batches(stream_of([square], crop=32, scale=4, batch_size=8, crops_per_photo=64), 0))
    turned = [turn(square) for turn in TURNS]
    counts = [sum(np.array_equal(crop, each) for crop in levels(high_res)) for each in turned]
    assert sum(counts) == 64 and min(counts) > 0


def test_crops_reach_every_border():
    """Each pixel names its place, so a crop tells where it was cut."""
    rows, columns = np.mgrid[:20, :37].astype(np.uint8)
    photo = np.stack([rows, columns, rows], -1)
    _, high_res, _ = joined(batches(stream_of([photo], crop=16, scale=4, batch_size=16, crops_per_photo=512), 0))
    crops = levels(high_res)
    tops, lefts = crops[..., 0].min(axis=(1, 2)), crops[..., 1].min(axis=(1, 2))
    assert set(tops) == set(range(5)) and set(lefts) == set(range(22))
    assert np.bincount(tops).min() > 512 / 5 * 0.6  # uniform: about 102 each


def test_the_same_draw_gives_the_same_crop_and_others_do_not(photos):
    def draw(seed, epoch):
        return joined(batches(stream_of(photos, crop=32, scale=4, batch_size=3, seed=seed, crops_per_photo=4), epoch))

    first, again = draw(1, 5), draw(1, 5)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    for different in draw(1, 6), draw(2, 5):
        assert not np.array_equal(first[1], different[1])
        assert not np.isclose(first[2], different[2]).any()


def test_going_on_at_a_step_gives_the_remaining_batches(photos):
    stream = stream_of(photos, crop=32, scale=4, batch_size=2, seed=3, crops_per_photo=5, draws=2)
    whole, rest = batches(stream, 4), batches(stream, 4, first_step=3)
    assert len(whole) == stream.steps() == 8 and len(rest) == 5
    for one, other in zip(whole[3:], rest, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("sampling", ["each", "side", "area"])
@pytest.mark.parametrize(("workers", "replicas"), [(2, 1), (1, 2), (2, 2)])
def test_workers_together_see_what_one_process_sees(photos, workers, replicas, sampling):
    number = workers * replicas
    alone = batches(stream_of(photos, crop=32, scale=4, batch_size=8, crops_per_photo=9, sampling=sampling), 2)
    stream = stream_of(photos, crop=32, scale=4, batch_size=8 // number, crops_per_photo=9, sampling=sampling)
    shares = [
        batches(stream, 2, worker=worker, workers=workers, replicas_per_worker=replicas) for worker in range(workers)
    ]
    assert stream.steps(number) == len(alone) == 4
    for step, expected in enumerate(alone):
        parts = [part for share in shares for part in share[step * replicas : (step + 1) * replicas]]
        for made, whole in zip(joined(parts), expected, strict=True):
            np.testing.assert_array_equal(made, whole)


def test_every_photograph_equally_often():
    photos = [np.full((16, 16 + 8 * i, 3), 40 * i, np.uint8) for i in range(5)]
    stream = stream_of(photos, crop=16, scale=4, batch_size=5, crops_per_photo=3)
    for epoch in range(2):
        _, high_res, _ = joined(batches(stream, epoch))
        assert np.bincount(levels(high_res)[:, 0, 0, 0] // 40).tolist() == [3] * 5


@pytest.mark.parametrize(("sampling", "share"), [("area", 0.9), ("side", 0.75)])
def test_photographs_by_their_size(sampling, share):
    photos = [np.zeros((16, 16, 3), np.uint8), np.full((48, 48, 3), 200, np.uint8)]  # 1 : 9
    stream = stream_of(photos, crop=16, scale=4, batch_size=16, crops_per_photo=512, sampling=sampling)
    chosen = stream.photo_of_each_sample(0, 4000)
    assert abs(chosen.mean() - share) < 0.03
    _, high_res, _ = batches(stream, 0)[0]
    np.testing.assert_array_equal(levels(high_res)[:, 0, 0, 0] // 200, chosen[:16])


@pytest.mark.parametrize(("interpolation", "mean", "deviation"), [("gaussian", 0, 1), ("uniform", 0.5, 12**-0.5)])
def test_penalty_positions(interpolation, mean, deviation):
    photo = np.zeros((16, 16, 3), np.uint8)
    stream = stream_of(
        [photo], crop=16, scale=4, batch_size=64, crops_per_photo=1024, draws=3, interpolation=interpolation
    )
    _, _, e = joined(batches(stream, 0))
    assert e.shape == (1024, 3) and e.dtype == np.float32
    assert abs(e.mean() - mean) < 0.06 and abs(e.std() - deviation) < 0.05
    assert np.abs(np.corrcoef(e.T) - np.eye(3)).max() < 0.12
    assert (interpolation == "uniform") == (0 <= e.min() and e.max() <= 1)


def test_an_epochs_last_batch_is_filled_up(photos):
    stream = stream_of(photos, crop=32, scale=4, batch_size=4)
    assert stream.steps() == 1
    assert [len(high_res) for _, high_res, _ in batches(stream, 0)] == [4]


def test_held_out_crops_are_the_centres(photos):
    low_res, high_res = held_out_crops(photos, 2, CropOptions(crop=32))
    assert low_res.shape == (2, 8, 8, 3)
    np.testing.assert_array_equal(to_pixels(high_res), np.stack([photos[0][4:36, 10:42], photos[1][16:48, :32]]))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_both_ways_is_pillows(photos, scale):
    small = photos[0][:36, :48]
    smaller = downscale(tf.constant(small[None]), scale)[0]
    np.testing.assert_allclose(smaller, bicubic_by_pillow(small, 48 // scale, 36 // scale), atol=0.51)
    larger = to_pixels(upscale_bicubic(tf.constant(small[None] / 127.5 - 1, tf.float32), scale))[0]
    np.testing.assert_allclose(larger, bicubic_by_pillow(small, 48 * scale, 36 * scale), atol=0.51)
