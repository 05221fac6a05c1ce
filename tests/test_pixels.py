import numpy as np
import pytest

from srwgan.pixels import (
    bicubic,
    downscale,
    range_to_levels,
    range_to_unit,
    resize,
    to_levels,
    to_pixels,
    to_range,
    to_unit,
    unit_to_pixels,
    unit_to_range,
    upscale_bicubic,
)

LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, -1)


def test_every_level_survives_the_way_to_each_range_and_back():
    np.testing.assert_array_equal(to_pixels(to_range(LEVELS)), LEVELS)
    np.testing.assert_array_equal(unit_to_pixels(to_unit(LEVELS)), LEVELS)
    np.testing.assert_array_equal(to_pixels(unit_to_range(to_unit(LEVELS))), LEVELS)
    np.testing.assert_array_equal(unit_to_pixels(range_to_unit(to_range(LEVELS).numpy())), LEVELS)


def test_the_ends_of_the_ranges():
    black, white = LEVELS[:1, :1], LEVELS[-1:, -1:]
    assert to_range(black).numpy().tolist() == [[[-1] * 3]] and to_range(white).numpy().tolist() == [[[1] * 3]]
    assert to_unit(np.array([0, 65535], np.uint16)).tolist() == [0, 1] and to_unit(white).max() == 1
    assert to_unit(white).dtype == np.float32


def test_levels_that_are_not_rounded():
    np.testing.assert_allclose(range_to_levels(np.array([-1, -0.5, 0, 1])), [0, 63.75, 127.5, 255])


def test_what_is_outside_is_clipped():
    assert to_pixels(np.array([-1.5, 1.5], np.float32)).tolist() == [0, 255]
    assert unit_to_pixels(np.array([-0.5, 1.5])).tolist() == [0, 255]
    assert to_levels(np.array([-3.0, 99.6, 300.0])).tolist() == [0, 100, 255]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_bicubic_of_arrays_is_that_of_tensors(make_photo, scale):
    small = make_photo(12, 24)
    larger = to_pixels(upscale_bicubic(to_range(small[None]), scale))[0].astype(int)
    np.testing.assert_allclose(bicubic(small, scale), larger, atol=2)  # Pillow rounds between its two passes
    np.testing.assert_allclose(resize(bicubic(small, scale), (24, 12)), small, atol=40)
    assert downscale(bicubic(small, scale)[None], scale).shape == (1, 12, 24, 3)


def test_bicubic_is_cubic_convolution():
    step = np.full((32, 32, 3), 100, np.uint8)
    step[:, 16:] = 200
    # Keys' kernel with a = -1/2 at the distances, 5/4 and then 3/4 and 7/4, of the pixels that are 200.
    expected = [100 - 100 * 0.0703125, 100 + 100 * (0.2265625 - 0.0234375)]
    np.testing.assert_array_equal(bicubic(step, 2)[16, 30:32, 0], np.round(expected))
