import io
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from srwgan.data import photos
from srwgan.data.photos import find_photos, open_photos, read_photo

Image.init()
LANCZOS = Image.Resampling.LANCZOS


@pytest.fixture
def rgb(make_photo):
    return make_photo(40, 56, seed=3)


def close(a, b, tolerance):
    assert a.shape == b.shape and a.dtype == np.uint8
    np.testing.assert_allclose(a.astype(int), b.astype(int), atol=tolerance)


def test_plain_rgb(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), rgb)


def test_gray_and_one_bit(tmp_path, rgb):
    gray = rgb[..., 1]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(gray > 128).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "gray.png"), np.stack([gray] * 3, -1))
    np.testing.assert_array_equal(read_photo(tmp_path / "bit.png"), np.stack([(gray > 128) * 255] * 3, -1))


def test_transparency_is_seen_on_white(tmp_path, rgb):
    alpha = np.tile(np.linspace(0, 255, 56).round().astype(np.uint8), (40, 1))
    Image.fromarray(np.dstack([rgb, alpha])).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([rgb[..., 0], alpha])).save(tmp_path / "la.png")
    a = alpha[..., None] / 255
    close(read_photo(tmp_path / "rgba.png"), (rgb * a + 255 * (1 - a)).round().astype(np.uint8), 1)
    gray = rgb[..., :1].repeat(3, -1)
    close(read_photo(tmp_path / "la.png"), (gray * a + 255 * (1 - a)).round().astype(np.uint8), 1)


def test_palette_with_a_transparent_colour(tmp_path):
    indices = np.zeros((20, 20), np.uint8)
    indices[:, 10:] = 1
    image = Image.fromarray(indices)
    image.putpalette([200, 30, 60, 10, 20, 30])
    image.save(tmp_path / "opaque.png")
    image.save(tmp_path / "clear.png", transparency=1)
    opaque, clear = read_photo(tmp_path / "opaque.png"), read_photo(tmp_path / "clear.png")
    assert opaque[0, 0].tolist() == clear[0, 0].tolist() == [200, 30, 60]
    assert opaque[0, 15].tolist() == [10, 20, 30]
    assert clear[0, 15].tolist() == [255, 255, 255]


def test_cmyk(tmp_path):
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:8, :, 0] = 255  # cyan above, paper below
    Image.fromarray(inks, "CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    photo = read_photo(tmp_path / "cmyk.jpg")
    close(photo[2, 2], np.array([0, 255, 255], np.uint8), 6)
    close(photo[13, 2], np.array([255, 255, 255], np.uint8), 6)


def test_sixteen_bits(tmp_path, rgb):
    deep = rgb.astype(np.uint16) * 257
    (tmp_path / "rgb.png").write_bytes(tf.io.encode_png(deep).numpy())
    (tmp_path / "gray.png").write_bytes(tf.io.encode_png(deep[..., :1]).numpy())
    np.testing.assert_array_equal(read_photo(tmp_path / "rgb.png"), rgb)
    np.testing.assert_array_equal(read_photo(tmp_path / "gray.png"), rgb[..., :1].repeat(3, -1))


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(2, lambda p: p[:, ::-1]), (3, lambda p: p[::-1, ::-1]), (6, lambda p: np.rot90(p, -1)), (8, np.rot90)],
)
def test_exif_orientation(tmp_path, rgb, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(rgb).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_photo(tmp_path / "turned.png"), turn(rgb))


def test_photographs_are_found_recursively_and_divided_as_div2k_is(tmp_path):
    for name in ("b.jpg", "a/c.PNG", "a/notes.txt", "x_LR_bicubic/X4/low.png", ".hidden/h.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [os.path.relpath(path, tmp_path) for path in find_photos(tmp_path)] == ["b.jpg", "a/c.PNG"]
    for name in ("DIV2K/DIV2K_train_HR/0001.png", "DIV2K/DIV2K_valid_HR/0801.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [os.path.basename(path) for path in find_photos(tmp_path)] == ["0001.png"]


def test_linked_folders_are_followed_and_loops_are_not(tmp_path, rgb):
    (tmp_path / "album").mkdir()
    (tmp_path / "Datasets").mkdir()
    Image.fromarray(rgb).save(tmp_path / "album" / "a.png")
    (tmp_path / "Datasets" / "holiday").symlink_to(tmp_path / "album", target_is_directory=True)
    (tmp_path / "album" / "up").symlink_to(tmp_path / "Datasets", target_is_directory=True)
    assert find_photos(tmp_path / "Datasets", ()) == [str(tmp_path / "Datasets" / "holiday" / "a.png")]


def test_a_datapath_that_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="a file. Expected a folder"):
        find_photos(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="does not exist. Expected a folder"):
        find_photos(tmp_path / "missing")


class Messages(logging.Handler):
    """Collects what is logged as a warning."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


def open_quietly(folder, cache, smallest=64, number=100, **options):
    """The photographs, and the warnings about them."""
    messages, logger = Messages(), logging.getLogger("srwgan")
    logger.addHandler(messages)
    try:
        return open_photos(
            find_photos(folder), smallest=smallest, number=number, cache=str(cache), **options
        ), messages.texts
    finally:
        logger.removeHandler(messages)


def decoding_fails(monkeypatch):
    def fail(path, *options):
        raise AssertionError(f"decoded {path}")

    monkeypatch.setattr(photos, "read_photo", fail)


def test_pixels_come_from_the_cache(photo_folder, tmp_path, monkeypatch):
    first, messages = open_quietly(photo_folder, tmp_path / "cache")
    assert not messages and len(first) == 6
    decoding_fails(monkeypatch)
    again, _ = open_quietly(photo_folder, tmp_path / "cache")
    for i, path in enumerate(again.paths):
        assert isinstance(again[i].base, np.memmap) or isinstance(again[i], np.memmap)
        np.testing.assert_array_equal(again[i], np.asarray(Image.open(path)))
    assert again.shapes == [(96, 72), (80, 96)] * 3
    part = again.subset([4, 1])
    assert len(part) == 2
    np.testing.assert_array_equal(part[1], again[1])


def test_a_changed_photograph_is_decoded_again(photo_folder, tmp_path, make_photo):
    open_quietly(photo_folder, tmp_path / "cache")
    new = make_photo(100, 100, seed=99)
    Image.fromarray(new).save(photo_folder / "0.png")
    opened, _ = open_quietly(photo_folder, tmp_path / "cache")
    np.testing.assert_array_equal(opened[0], new)


@pytest.mark.parametrize("cache_limit", [2**30, 0])
def test_small_photographs_are_halved_on_request(tmp_path, make_photo, cache_limit):
    small, large = make_photo(99, 100), make_photo(100, 101)
    (tmp_path / "photos").mkdir()
    for name, photo in (("a.png", small), ("b.png", large)):
        Image.fromarray(photo).save(tmp_path / "photos" / name)
    options = {"smallest": 40, "cache_limit": cache_limit}
    whole, _ = open_quietly(tmp_path / "photos", tmp_path / "cache", **options)
    np.testing.assert_array_equal(whole[0], small)
    halved, _ = open_quietly(tmp_path / "photos", tmp_path / "cache", halve_below=0.01, **options)
    assert halved.shapes[0] == (49, 50)
    np.testing.assert_array_equal(halved.subset([0])[0], Image.fromarray(small).resize((50, 49), LANCZOS))
    np.testing.assert_array_equal(halved[1], large)


@pytest.mark.parametrize("cache_limit", [2**30, 0])
def test_small_photographs_are_there_at_both_sizes_on_request(tmp_path, make_photo, cache_limit):
    tiny, small, large = photos = make_photo(50, 60), make_photo(98, 100), make_photo(100, 101)
    (tmp_path / "photos").mkdir()
    for name, photo in zip("abc", photos, strict=True):
        Image.fromarray(photo).save(tmp_path / "photos" / f"{name}.png")
    both, messages = open_quietly(
        tmp_path / "photos",
        tmp_path / "cache",
        smallest=40,
        number=3,
        cache_limit=cache_limit,
        halve_below=0.01,
        both_sizes=True,
    )
    assert both.shapes == [(50, 60), (49, 50), (98, 100), (100, 101)]  # half of the first is too small
    assert both.halved == [False, True, False, False] and not any("Passed over" in message for message in messages)
    for photo, expected in zip(both.subset([0, 2, 3]), (tiny, small, large), strict=True):
        np.testing.assert_array_equal(photo, expected)
    np.testing.assert_array_equal(both[1], Image.fromarray(small).resize((50, 49), LANCZOS))


def test_a_halved_photograph_may_be_too_small(photo_folder, tmp_path):
    opened, messages = open_quietly(photo_folder, tmp_path / "cache", smallest=40, halve_below=1)
    assert opened.shapes == [(40, 48)] * 3
    assert sum("36x48, smaller than the crop of 40" in message for message in messages) == 3


@pytest.mark.parametrize("suffix", [".pixels", ".json"])
def test_a_torn_cache_is_not_used(photo_folder, tmp_path, suffix):
    first, _ = open_quietly(photo_folder, tmp_path / "cache")
    expected = [np.array(first[i]) for i in range(6)]
    (torn,) = (tmp_path / "cache").glob(f"*{suffix}")
    os.truncate(torn, torn.stat().st_size // 2)
    again, _ = open_quietly(photo_folder, tmp_path / "cache")
    for i in range(6):
        np.testing.assert_array_equal(again[i], expected[i])


def test_a_cache_that_cannot_be_made_is_named(photo_folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="Received: cache .*file/cache, which cannot be made.*Expected --cache"):
        open_quietly(photo_folder, tmp_path / "file" / "cache")


def test_an_interrupted_decoding_leaves_no_cache(photo_folder, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(photos, "write_pixels", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_quietly(photo_folder, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_photographs_beyond_the_limit_are_decoded_at_every_access(photo_folder, tmp_path):
    limit = 3 * 96 * 72 * 3 + 100
    opened, messages = open_quietly(photo_folder, tmp_path / "cache", cache_limit=limit)
    assert sum(file.stat().st_size for file in (tmp_path / "cache").glob("*.pixels")) <= limit
    assert 0 < opened.offsets.count(None) < 6
    assert any("do not fit the cache" in message for message in messages)
    for i, path in enumerate(opened.paths):
        np.testing.assert_array_equal(opened[i], np.asarray(Image.open(path)))


def test_a_file_that_another_worker_renames_is_no_matter(photo_folder, tmp_path, monkeypatch):
    """Two workers that start with an empty cache both write it: one lists what the other has renamed a moment later."""
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: [*listed(folder), folder / ".renamed.part"])
    opened, messages = open_quietly(photo_folder, tmp_path / "cache")
    assert len(opened) == 6 and not messages


def test_old_cache_files_make_room(photo_folder, tmp_path, caplog):
    caplog.set_level(logging.INFO, "srwgan")
    limit = 6 * 96 * 80 * 3 + 1000
    open_quietly(photo_folder, tmp_path / "cache", cache_limit=limit)
    opened, _ = open_quietly(photo_folder, tmp_path / "cache", number=5, cache_limit=limit)
    assert "Removed the old cache file" in caplog.text
    assert None not in opened.offsets
    assert sum(file.stat().st_size for file in (tmp_path / "cache").glob("*.pixels")) <= limit


def test_what_cannot_be_used_is_named_and_passed_over(photo_folder, tmp_path, rgb):
    encoded = io.BytesIO()
    Image.fromarray(rgb).resize((200, 200)).save(encoded, "JPEG")
    (photo_folder / "0.jpg").write_bytes(encoded.getvalue()[: len(encoded.getvalue()) // 2])
    (photo_folder / "1.gif").write_text("not a picture")
    (photo_folder / "2.jpg").touch()
    Image.fromarray(rgb).save(photo_folder / "small.png")
    for _ in range(2):  # decoding, then from the cache
        opened, messages = open_quietly(photo_folder, tmp_path / "cache")
        assert len(opened) == 6
        for name in ("0.jpg", "1.gif", "2.jpg", "small.png"):
            (message,) = [message for message in messages if str(photo_folder / name) in message]
            assert message.startswith("Warning: Passed over ") and "\n" not in message
        assert any("56x40, smaller than the crop of 64" in message for message in messages)


def test_no_more_photographs_than_asked_for(photo_folder, tmp_path):
    opened, _ = open_quietly(photo_folder, tmp_path / "cache", number=2)
    assert [os.path.basename(path) for path in opened.paths] == ["0.png", "1.png"]
    none, _ = open_quietly(photo_folder, tmp_path / "cache", smallest=500)
    assert len(none) == 0


def test_the_cache_serves_another_working_directory(photo_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(photo_folder.parent)
    first = open_photos(find_photos("photos"), smallest=32, number=2, cache=str(tmp_path / "cache"))
    monkeypatch.chdir(photo_folder)
    again = open_photos(find_photos("../photos"), smallest=32, number=2, cache=str(tmp_path / "cache"))
    assert again.paths == first.paths == [str(photo_folder / name) for name in ("0.png", "1.png")]
