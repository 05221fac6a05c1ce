import numpy as np
import pytest

from srwgan.measuring import metrics
from srwgan.measuring.lpips import LPIPS


@pytest.fixture(scope="module")
def distance():
    return LPIPS()


def rings(height, width, phase):
    """A smooth deterministic picture, float64 in [-1, 1]."""
    y, x = np.mgrid[:height, :width].astype(float)
    radius = np.hypot(x - width / 2, y - height / 2)
    waves = [np.sin(0.02 * radius**1.5 + phase + channel) for channel in range(3)]
    return np.stack(waves, axis=-1) * np.cos(0.05 * x)[..., None]


def to_uint8(picture):
    return np.uint8(np.clip(np.round(picture * 127.5 + 127.5), 0, 255))


def noisy(picture, deviation):
    noise = np.random.default_rng(0).normal(0, deviation, picture.shape)
    return np.uint8(np.clip(np.round(picture + noise), 0, 255))


def gray(value, height=32, width=40):
    return np.full((height, width, 3), value, np.uint8)


def test_luma_range():
    assert metrics.luma(gray(0))[0, 0] == 16
    assert metrics.luma(gray(255))[0, 0] == pytest.approx(235)
    green = np.zeros((1, 1, 3), np.uint8)
    green[..., 1] = 255
    assert metrics.luma(green)[0, 0] == pytest.approx(144.553)  # BT.601's 16 + 219 x 0.587, in MATLAB's digits


def test_psnr_of_a_constant_difference():
    expected = 20 * np.log10(255 / (10 * 219 / 255))
    assert metrics.psnr(gray(100), gray(110)) == pytest.approx(expected)
    assert metrics.psnr(gray(100), gray(100)) == float("inf")


def test_psnr_of_all_channels():
    assert metrics.psnr_rgb(gray(100), gray(110)) == pytest.approx(20 * np.log10(255 / 10))
    assert metrics.psnr_rgb(gray(110), gray(100)) == metrics.psnr_rgb(gray(100), gray(110))
    assert metrics.psnr_rgb(gray(100), gray(100)) == float("inf")


def test_psnr_shaves_the_border():
    framed = gray(100)
    framed[:4], framed[-4:], framed[:, :4], framed[:, -4:] = 0, 0, 0, 0
    assert metrics.psnr(framed, gray(100), shave=4) == float("inf")
    assert metrics.psnr(framed, gray(100), shave=3) < 40


def test_ssim_of_constants():
    x, y = (16 + 219 / 255 * value for value in (100, 150))
    c1 = (0.01 * 255) ** 2
    assert metrics.ssim(gray(100), gray(150)) == pytest.approx((2 * x * y + c1) / (x * x + y * y + c1))
    assert metrics.ssim(to_uint8(rings(40, 40, 0)), to_uint8(rings(40, 40, 0))) == pytest.approx(1)


@pytest.mark.parametrize("shave", [0, 4])
def test_ssim_equals_scikit_image(shave):
    skimage_metrics = pytest.importorskip("skimage.metrics")
    original = to_uint8(rings(70, 90, 0))
    for picture in (noisy(original, 20), to_uint8(rings(70, 90, 0.4))):
        expected = skimage_metrics.structural_similarity(
            metrics.luma(picture, shave),
            metrics.luma(original, shave),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
        )
        assert metrics.ssim(picture, original, shave) == pytest.approx(expected, abs=1e-9)


def test_color_shift():
    tinted = gray(100)
    tinted[..., 2] += 3
    tinted[:16, :, 0] += 1
    assert metrics.color_shift(tinted, gray(100)) == pytest.approx(3)


def test_flat_texture_is_measured_only_where_bicubic_is_flat():
    bicubic = gray(100, 64, 64)
    bicubic[:, 32:] = noisy(bicubic[:, 32:], 40)
    checkered = bicubic.copy()
    checkered[:, :32] += 2 * (np.indices((64, 32)).sum(axis=0) % 2).astype(np.uint8)[..., None]
    deviation = 219 / 255 * np.sqrt(40 * 41) / 81 * 2  # 9x9 windows hold 40 of the one and 41 of the other
    assert metrics.flat_texture(bicubic, bicubic) == pytest.approx(0)
    assert metrics.flat_texture(checkered, bicubic) == pytest.approx(deviation)
    busy = noisy(gray(128), 40)
    assert np.isnan(metrics.flat_texture(busy, busy))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_lattice_peak_shows_a_grid(scale):
    original = noisy(to_uint8(rings(200, 260, 0)), 1)
    lines = [np.arange(length) % scale == 0 for length in original.shape[:2]]
    gridded = np.minimum(original, 253) + 2 * np.logical_or.outer(*lines).astype(np.uint8)[..., None]
    assert abs(metrics.lattice_peak(noisy(original, 1), original, scale)) < 2
    assert metrics.lattice_peak(gridded, original, scale) > 9
    assert metrics.lattice_peak(noisy(gridded, 1), gridded, scale) < 2  # the original's own


def test_lattice_peak_ignores_another_period():
    original = noisy(to_uint8(rings(200, 260, 0)), 1)
    stripes = (np.arange(260) % 5 == 0).astype(np.uint8)[:, None]
    assert metrics.lattice_peak(np.minimum(original, 253) + 2 * stripes, original, 4) < 2


def test_metrics_name_what_they_received():
    with pytest.raises(ValueError, match="Expected the same shape"):
        metrics.lattice_peak(gray(0, 64, 64), gray(0, 64, 80), 4)
    with pytest.raises(ValueError, match="at least 64x64"):
        metrics.lattice_peak(gray(0, 63, 64), gray(0, 63, 64), 4)
    with pytest.raises(ValueError, match="uint8"):
        metrics.psnr(np.zeros((32, 32, 3)), np.zeros((32, 32, 3)))


def test_lpips_equals_the_reference(distance):
    """The figures are of a float64 NumPy computation of the network, made apart from this one from the original float32
    weights (richzhang/PerceptualSimilarity's v0.1 layers, torchvision's AlexNet)."""
    picture = rings(64, 80, 0)
    blurred = (np.roll(picture, -1, axis=1) + picture + np.roll(picture, 1, axis=1)) / 3
    pictures = np.stack([rings(64, 80, 0.5), blurred, 0 * picture])
    expected = [0.034225013, 0.002087655, 0.850914062]
    np.testing.assert_allclose(distance(pictures, np.stack([picture] * 3)), expected, rtol=1e-4)


def test_lpips_is_a_symmetric_distance(distance):
    a, b = rings(64, 80, 0)[None], rings(64, 80, 2)[None]
    assert float(distance(a, a)[0]) == 0
    assert float(distance(a, b)[0]) == pytest.approx(float(distance(b, a)[0]), rel=1e-5)
    assert float(distance(a, b)[0]) > 0.01


def test_lpips_names_what_it_received(distance):
    with pytest.raises(ValueError, match="at least 31"):
        distance(np.zeros((1, 30, 64, 3)), np.zeros((1, 30, 64, 3)))
    with pytest.raises(ValueError, match="Expected the same"):
        distance(np.zeros((1, 64, 64, 3)), np.zeros((1, 64, 80, 3)))
