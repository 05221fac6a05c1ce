"""Degraded low-resolution crops: known answers, keyed draws, alignment with the clean downscale."""

import numpy as np
import pytest
from PIL import Image

from srwgan.data.crops import CropOptions, CropStream, held_out_crops
from srwgan.data.degradations import (
    MOST_COLORS,
    add_grain,
    blur,
    check_degradation,
    common_palette,
    compress,
    convolve,
    degrade,
    gaussian_kernel,
    in_random_order,
    real,
    sinc_kernel,
    square,
    to_palette,
)
from srwgan.media.gif.palettes import DITHERS
from utils.studies import degradation_samples

KINDS = ("gif", "jpeg", "real")


def colors_of(pixels):
    return np.unique(pixels.reshape(-1, 3), axis=0)


def rng(*key):
    return np.random.default_rng(key)


def draws(kind, photo, number, crop=64, scale=4):
    """(the photograph's first crop, its clean downscale, degraded ones, their strengths)."""
    piece = np.ascontiguousarray(photo[:crop, :crop])
    made = [degrade(kind, piece, photo=photo, scale=scale, random=rng(i)) for i in range(number)]
    return piece, square(piece, crop // scale), [low for low, _ in made], np.array([strength for _, strength in made])


# GIF


@pytest.mark.parametrize("dither", DITHERS)
@pytest.mark.parametrize("colors", [2, 16, 256])
def test_a_palette_of_n_colors_leaves_at_most_n(make_photo, dither, colors):
    pixels = make_photo(64, 64)
    palette = common_palette([pixels], colors, quantizer="median cut")
    made = to_palette(pixels, palette, dither=dither)
    assert len(palette) == colors
    assert len(colors_of(made)) <= colors
    assert {tuple(color) for color in colors_of(made)} <= {tuple(color) for color in palette}


@pytest.mark.parametrize("dither", DITHERS)
def test_two_colors_are_those_two_and_dither_keeps_the_mean(dither):
    """A ramp from black to white in black and white: in halves without dither, with one its local means survive."""
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (64, 1, 3))
    made = to_palette(ramp, np.array([[0, 0, 0], [255, 255, 255]], np.uint8), dither=dither)
    assert colors_of(made).tolist() == [[0, 0, 0], [255, 255, 255]]
    means, wanted = (x[..., 0].reshape(64, 8, 8).mean((0, 2)) for x in (made, ramp))
    if dither == "none":
        np.testing.assert_array_equal(means, [0] * 4 + [255] * 4)
    else:
        np.testing.assert_allclose(means, wanted, atol=14)


@pytest.mark.parametrize("quantizer", ["median cut", "octree"])
def test_a_palette_of_several_frames_has_the_colors_of_all(quantizer):
    red, blue = (np.full((8, 8, 3), color, np.uint8) for color in ([250, 0, 0], [0, 0, 250]))
    assert len(common_palette([red], 4, quantizer=quantizer)) == 1
    palette = common_palette([red, blue], 4, quantizer=quantizer).astype(int)
    for color in ([250, 0, 0], [0, 0, 250]):
        assert np.abs(palette - color).max(1).min() <= 8


def test_gif_strength_tells_the_colors(make_photo):
    """Palettes are log-uniform from 2 to 256, all dithers occur; strength 1 is 2 colours, 0 is 256."""
    photo = make_photo(96, 96)
    _, _, made, strengths = draws("gif", photo, 120)
    allowed = 2 * (MOST_COLORS / 2) ** (1 - strengths)
    np.testing.assert_allclose(allowed, np.round(allowed), atol=1e-6)
    assert all(len(colors_of(low)) <= colors + 1e-6 for low, colors in zip(made, allowed, strict=True))
    assert strengths.min() < 0.1 and strengths.max() > 0.9 and abs(strengths.mean() - 0.5) < 0.1


# The camera's and the web's degradation


def test_kernels_are_centred_and_of_sum_1():
    for kernel in gaussian_kernel(1.5, 0.4, 0.7), gaussian_kernel(0.01, 0.01, 0), sinc_kernel(1.5, 7):
        assert kernel.sum() == pytest.approx(1) and kernel.shape[0] % 2 == 1
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)
    np.testing.assert_allclose(gaussian_kernel(0.01, 0.01, 0), np.pad([[1.0]], 1), atol=1e-6)


def test_an_anisotropic_gaussian_has_its_two_deviations():
    kernel = gaussian_kernel(2.0, 0.8, np.pi / 2)  # along y
    y, x = np.mgrid[: len(kernel), : len(kernel)] - len(kernel) // 2
    assert np.sqrt((kernel * y**2).sum()) == pytest.approx(2.0, rel=0.03)
    assert np.sqrt((kernel * x**2).sum()) == pytest.approx(0.8, rel=0.03)


def test_a_sinc_filter_passes_below_its_cutoff_and_stops_above():
    columns = np.arange(64)
    for frequency, passes in ((np.pi / 8, True), (np.pi * 7 / 8, False)):
        wave = 128 + 100 * np.cos(frequency * columns)
        pixels = np.rint(np.tile(wave[None, :, None], (64, 1, 3))).astype(np.uint8)
        swing = convolve(pixels, sinc_kernel(np.pi / 2, 10))[16:48, 16:48].astype(float).std()
        assert (swing > 0.85 * wave.std()) if passes else (swing < 0.15 * wave.std())


def test_convolution_keeps_what_is_flat_and_its_place():
    flat = np.full((17, 17, 3), 90, np.uint8)
    np.testing.assert_array_equal(convolve(flat, gaussian_kernel(2, 1, 0.3)), flat)
    dot = np.zeros((17, 17, 3), np.uint8)
    dot[8, 5] = 255
    assert np.unravel_index(convolve(dot, gaussian_kernel(1, 1, 0))[..., 0].argmax(), (17, 17)) == (8, 5)


def test_jpeg_is_worse_with_its_amount_and_0_is_none(make_photo):
    pixels = make_photo(48, 48)
    errors = [np.abs(compress(pixels, None, amount=amount).astype(int) - pixels).mean() for amount in (0, 0.1, 0.5, 1)]
    assert errors[0] == 0 and errors == sorted(set(errors))
    assert blur(pixels, rng(0), amount=0, widest=1.0, size=48) is pixels


def test_steps_of_the_chain_come_in_every_order():
    steps = [lambda pixels, random, i=i: [*pixels, i] for i in range(3)]
    assert len({tuple(in_random_order([], rng(i), steps)) for i in range(60)}) == 6


def test_the_chain_at_strength_0_is_nearly_the_clean_downscale(make_photo, monkeypatch):
    photo = make_photo(64, 64)
    clean = square(photo, 16).astype(int)

    def at(amount):
        monkeypatch.setattr("srwgan.data.degradations.draw_amounts", lambda n, random: np.full(n, amount))
        made = [real(photo, photo=photo, scale=4, random=rng(i)) for i in range(12)]
        assert all(strength == pytest.approx(amount) for _, strength in made)
        return np.mean([np.abs(low - clean).mean() for low, _ in made])

    assert at(0.0) == 0
    assert 0 < at(0.02) < 4 < at(0.5) < at(1.0)


# What both have in common


def shift_between(pairs):
    """(dy, dx) in pixels by which the second pictures are moved against the first, by least squares over all pairs."""
    slopes, differences = [], []
    for still, moved in pairs:
        still = still.astype(float)
        slopes.append(np.stack([slope[2:-2, 2:-2].ravel() for slope in np.gradient(still, axis=(0, 1))], 1))
        differences.append((still - moved)[2:-2, 2:-2].ravel())
    return np.linalg.lstsq(np.concatenate(slopes), np.concatenate(differences), rcond=None)[0]


def smooth_photo(make_photo, seed):
    return np.asarray(Image.fromarray(make_photo(18, 18, seed)).resize((144, 144), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("kind", KINDS)
def test_degraded_crops_stay_in_place(make_photo, kind):
    """Of many pictures, since a palette's steps move one picture's edges by chance."""
    pairs = []
    for seed in range(40):
        _, clean, made, _ = draws(kind, smooth_photo(make_photo, seed), 3, crop=128)
        pairs += [(clean, low) for low in made]
    assert np.abs(shift_between(pairs)).max() < 0.1


def test_the_measure_of_shifts_sees_one_high_resolution_pixel(make_photo):
    photos = [smooth_photo(make_photo, seed) for seed in range(4)]
    pairs = [(square(photo[8:136, 8:136], 32), square(photo[8:136, 9:137], 32)) for photo in photos]
    np.testing.assert_allclose(shift_between(pairs), [0, -0.25], atol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_strength_is_in_range_and_more_is_worse(make_photo, kind):
    _, clean, made, strengths = draws(kind, make_photo(80, 72), 150)
    assert all(low.shape == (16, 16, 3) and low.dtype == np.uint8 for low in made)
    assert 0 <= strengths.min() < 0.1 and 0.9 < strengths.max() <= 1
    errors = np.array([np.abs(low.astype(int) - clean).mean() for low in made])
    assert errors[strengths < 0.15].mean() < errors[(strengths > 0.4) & (strengths < 0.6)].mean()
    assert errors[(strengths > 0.4) & (strengths < 0.6)].mean() < errors[strengths > 0.85].mean()


def test_bicubic_is_the_clean_downscale_of_strength_0(make_photo):
    piece, clean, (made,), (strength,) = draws("bicubic", make_photo(64, 64), 1)
    np.testing.assert_array_equal(made, clean)
    assert strength == 0 and piece.shape == (64, 64, 3)


def test_mixed_is_one_of_the_others(make_photo):
    photo, drawn = make_photo(64, 64), set()
    for i in range(30):
        mixed, strength = degrade("mixed", photo, photo=photo, scale=4, random=np.random.default_rng(i))
        random = np.random.default_rng(i)
        kind = random.choice(["bicubic", "gif", "jpeg", "real"])
        expected, expected_strength = degrade(kind, photo, photo=photo, scale=4, random=random)
        np.testing.assert_array_equal(mixed, expected)
        assert strength == expected_strength
        drawn.add(kind)
    assert len(drawn) == 4


def test_grain_is_on_half_of_the_pictures_and_up_to_the_largest_deviation():
    random, gray = np.random.default_rng(0), np.full((64, 64, 3), 100, np.uint8)  # Poisson's deviation is that at 100
    grainy = [add_grain(gray, random, 20) for _ in range(400)]
    deviations = np.array([pixels.std() for pixels in grainy if not np.array_equal(pixels, gray)])
    assert 160 < len(deviations) < 240
    quarters = np.histogram(deviations, [0, 5, 10, 15, 20.5])[0]
    assert quarters.sum() == len(deviations) and quarters.min() > 25
    assert all(abs(pixels.mean() - 100) < 2 for pixels in grainy)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_key_gives_the_same_crops_and_others_do_not(make_photo, kind):
    photos = [make_photo(40, 52, 0), make_photo(64, 33, 1)]

    def low_res(seed=1, epoch=2, **options):
        stream = CropStream(
            photos,
            CropOptions(crop=32, scale=4, batch_size=4, seed=seed, crops_per_photo=4, degradation=kind, **options),
        )
        return np.concatenate([batch[0].numpy() for batch in stream.epoch(epoch)])

    first = low_res()
    np.testing.assert_array_equal(first, low_res())
    assert not np.array_equal(first, low_res(seed=3)) and not np.array_equal(first, low_res(epoch=3))
    stream = CropStream(
        photos, CropOptions(crop=32, scale=4, batch_size=4, seed=1, crops_per_photo=4, degradation=kind)
    )
    (rest,) = [batch[0].numpy() for batch in stream.epoch(2, first_step=1)]
    np.testing.assert_array_equal(rest, first[4:])

    one_place = CropStream(
        [make_photo(32, 32)], CropOptions(crop=32, scale=4, batch_size=16, crops_per_photo=16, degradation=kind)
    )
    low_res, _, _ = next(iter(one_place.epoch(0)))
    assert len(np.unique(low_res, axis=0)) == 16  # samples of one photograph each have their own


@pytest.mark.parametrize("kind", KINDS)
def test_high_resolution_crops_are_those_of_the_clean_stream(make_photo, kind):
    photos = [make_photo(40, 52, 0), make_photo(64, 33, 1)]
    streams = [
        CropStream(photos, CropOptions(crop=32, scale=4, batch_size=2, degradation=name)) for name in ("bicubic", kind)
    ]
    clean, degraded = (next(iter(stream.epoch(0))) for stream in streams)
    for i in (1, 2):
        np.testing.assert_array_equal(clean[i], degraded[i])
    assert not np.array_equal(clean[0], degraded[0])


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_and_ranges_of_batches_and_held_out_crops(make_photo, kind):
    photos = [make_photo(40, 52, seed) for seed in range(3)]
    low_res, high_res, e = next(
        iter(CropStream(photos, CropOptions(crop=32, scale=4, batch_size=3, draws=2, degradation=kind)).epoch(0))
    )
    assert low_res.shape == (3, 8, 8, 3) and high_res.shape == (3, 32, 32, 3) and e.shape == (3, 2)
    (images, strength), _, _ = next(
        iter(
            CropStream(photos, CropOptions(crop=32, scale=4, batch_size=3, degradation=kind, condition="noise")).epoch(
                0
            )
        )
    )
    np.testing.assert_array_equal(images, low_res)
    assert strength.shape == (3,) and strength.dtype == np.float32

    low_res, high_res = held_out_crops(photos, 2, CropOptions(crop=32, degradation=kind))
    (images, strength), again = held_out_crops(photos, 2, CropOptions(crop=32, degradation=kind, condition="noise"))
    assert low_res.shape == (2, 8, 8, 3) and strength.shape == (2,) and high_res.dtype == np.float32
    np.testing.assert_array_equal(images, low_res)
    np.testing.assert_array_equal(again, high_res)
    for values in (low_res, images, high_res):
        assert -1 <= np.min(values) and np.max(values) <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("webp",), "Received: --degradation webp. Expected one of bicubic, gif, jpeg, real, mixed."),
        (("bicubic", "noise"), "whose strength is always 0. Expected --degradation gif, jpeg, real or mixed."),
    ],
)
def test_unknown_names_and_a_condition_without_a_degradation_are_refused(make_photo, arguments, message):
    with pytest.raises(ValueError, match=message):
        check_degradation(*arguments)
    options = dict(zip(("degradation", "condition"), arguments, strict=False))
    with pytest.raises(ValueError, match=message):
        CropOptions(crop=32, **options)


def test_the_picture_of_samples(make_photo, tmp_path, capsys):
    photo, small, output = (str(tmp_path / name) for name in ("photo.png", "small.png", "samples.png"))
    Image.fromarray(make_photo(256, 260)).save(photo)
    Image.fromarray(make_photo(200, 260)).save(small)
    degradation_samples.main(["--photo", photo, "--output", output])
    with Image.open(output) as picture:
        assert np.asarray(picture.convert("L")).std() > 5
    for path, message in ((small, "of 260x200. Expected 256x256 or more."), (str(tmp_path / "no.png"), "No such file")):
        with pytest.raises(SystemExit) as end:
            degradation_samples.main(["--photo", path, "--output", str(tmp_path / "never.png")])
        assert end.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "never.png").exists()
