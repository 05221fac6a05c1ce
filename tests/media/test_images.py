"""Image files in and out: depths, alpha, color modes, metadata, and what is said of broken files."""

import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tifffile
from PIL import ExifTags, Image, ImageCms

from srwgan.media.still.images import Picture, fit_pixels, output_format, read_header, read_image, write_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def smooth(height, width, channels=3):
    y, x = np.mgrid[:height, :width]
    return np.stack([(x * 3 + y * (c + 1)) % 256 // 2 + 60 for c in range(channels)], -1).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_lossless_formats_give_back_every_sample(tmp_path, suffix, channels, dtype):
    pixels = noise(13, 17, channels, dtype=dtype)
    path = tmp_path / f"x{suffix}"
    assert write_image(Picture(pixels), path) == []
    if (suffix, channels, dtype) == (".tif", 2, np.uint16):  # a kind of TIFF that Pillow does not recognise
        np.testing.assert_array_equal(tifffile.imread(path), pixels)
    else:
        picture = read_image(path)
        assert picture.pixels.dtype == dtype
        np.testing.assert_array_equal(picture.pixels, pixels)
    assert os.listdir(tmp_path) == [path.name]


def test_sixteen_bit_tiff_planar_and_premultiplied(tmp_path):
    rgb = noise(9, 11, 3, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "planar.tif", np.moveaxis(rgb, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "planar.tif").pixels, rgb)

    straight = np.full((4, 4, 4), (60000, 20000, 10, 32768), np.uint16)
    premultiplied = straight.copy()
    premultiplied[..., :3] = np.round(straight[..., :3] * (32768 / 65535))
    tifffile.imwrite(tmp_path / "p.tif", premultiplied, photometric="rgb", extrasamples=["assocalpha"])
    assert np.abs(read_image(tmp_path / "p.tif").pixels.astype(int) - straight).max() <= 1


def test_sixteen_bit_png_with_a_transparent_color(tmp_path):
    for channels in (1, 3):
        pixels = noise(5, 6, channels, dtype=np.uint16)
        pixels[0, 0] = 7
        data = tf.io.encode_png(pixels).numpy()
        body = b"tRNS" + struct.pack(f">{channels}H", *[7] * channels)
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        (tmp_path / "x.png").write_bytes(data[:33] + chunk + data[33:])
        result = read_image(tmp_path / "x.png").pixels
        np.testing.assert_array_equal(result[..., :-1], pixels)
        assert result[0, 0, -1] == 0 and (result[1:, :, -1] == 65535).all()


def test_sixteen_bit_png_keeps_its_metadata(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    picture = Picture(
        noise(5, 6, 3, dtype=np.uint16), icc_profile=SRGB, exif=exif.tobytes(), dpi=(300, 300), text={"Title": "grün"}
    )
    write_image(picture, tmp_path / "x.png")
    again = read_image(tmp_path / "x.png")
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    assert again.icc_profile == SRGB and again.text == {"Title": "grün"}
    assert np.allclose(again.dpi, 300, atol=0.1)
    with Image.open(tmp_path / "x.png") as image:
        assert image.getexif()[ExifTags.Base.Artist] == "somebody"


def test_palettes_are_read_as_a_person_sees_them(tmp_path):
    rgb = smooth(12, 14)
    Image.fromarray(rgb).quantize(16).save(tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(read_image(tmp_path / "p.png").pixels, np.asarray(image.convert("RGB")))
    palette = Image.fromarray(rgb).quantize(16)
    palette.save(tmp_path / "t.png", transparency=palette.getpixel((0, 0)))
    pixels = read_image(tmp_path / "t.png").pixels
    assert pixels.shape == (12, 14, 4) and pixels[0, 0, 3] == 0 and pixels[..., 3].max() == 255


def test_gray_one_bit_and_transparent_gray_stay_gray(tmp_path):
    Image.fromarray(noise(8, 9)).save(tmp_path / "gray.jpg")
    assert read_image(tmp_path / "gray.jpg").pixels.shape == (8, 9, 1)
    Image.fromarray(noise(8, 9) > 127).save(tmp_path / "bit.png")
    pixels = read_image(tmp_path / "bit.png").pixels
    assert pixels.shape == (8, 9, 1) and set(np.unique(pixels)) == {0, 255}
    gray = noise(8, 9)
    Image.fromarray(gray).save(tmp_path / "t.png", transparency=int(gray[0, 0]))
    pixels = read_image(tmp_path / "t.png").pixels
    assert pixels.shape == (8, 9, 2) and pixels[0, 0, 1] == 0
    np.testing.assert_array_equal(pixels[..., 0], gray)


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (255, 0, 255, 0)).save(tmp_path / "x.jpg", quality=100)
    red, green, blue = read_image(tmp_path / "x.jpg").pixels[4, 4].astype(int)
    assert green > 200 and red < 40 and blue < 40
    # A profile that is not one for CMYK is passed over, not fatal.
    Image.new("CMYK", (8, 8), (255, 0, 255, 0)).save(tmp_path / "y.jpg", quality=100, icc_profile=SRGB)
    picture = read_image(tmp_path / "y.jpg")
    assert picture.pixels.shape == (8, 8, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_reset(tmp_path, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Maker"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageWidth] = 20
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] = 200
    Image.fromarray(smooth(16, 24)).save(tmp_path / "x.jpg", exif=exif, quality=95)
    picture = read_image(tmp_path / "x.jpg")
    with Image.open(tmp_path / "x.jpg") as image:
        np.testing.assert_array_equal(picture.pixels, np.asarray(ImageOps.exif_transpose(image)))

    for suffix in (".tif", ".webp", ".png", ".jpg"):
        write_image(picture, tmp_path / f"y{suffix}", quality=100)
        with Image.open(tmp_path / f"y{suffix}") as image:
            kept = image.getexif()
            assert kept[ExifTags.Base.Orientation] == 1 and kept[ExifTags.Base.Make] == "Maker"
            assert kept.get_ifd(ExifTags.IFD.Exif) == {ExifTags.Base.ISOSpeedRatings: 200}
    assert np.abs(read_image(tmp_path / "y.jpg").pixels.astype(int) - picture.pixels).mean() < 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_orientation_of_png_and_tiff(tmp_path, dtype):
    pixels = noise(6, 10, 3, dtype=dtype)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Model] = "Model"
    write_image(Picture(pixels, exif=exif.tobytes()), tmp_path / "x.png")
    np.testing.assert_array_equal(read_image(tmp_path / "x.png").pixels, np.rot90(pixels, -1))
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    picture = read_image(tmp_path / "x.tif")
    np.testing.assert_array_equal(picture.pixels, np.rot90(pixels, -1))
    write_image(picture, tmp_path / "y.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "y.tif").pixels, picture.pixels)


def test_tiff_to_tiff_keeps_description_not_layout(tmp_path):
    Image.fromarray(smooth(20, 30)).save(
        tmp_path / "x.tif", description="a gradient", dpi=(150, 150), compression="tiff_lzw", icc_profile=SRGB
    )
    picture = read_image(tmp_path / "x.tif")
    picture.pixels = np.repeat(np.repeat(picture.pixels, 2, 0), 2, 1)
    for deep in (False, True):
        picture.pixels = picture.pixels.astype(np.uint16) * 257 if deep else picture.pixels
        write_image(picture, tmp_path / "y.tif")
        again = read_image(tmp_path / "y.tif")
        np.testing.assert_array_equal(again.pixels, picture.pixels)
        assert again.icc_profile == SRGB and again.dpi == (150, 150)
        with Image.open(tmp_path / "y.tif") as image:
            assert image.tag_v2[270] == "a gradient" and image.size == (60, 40)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_profiles_are_kept_where_they_match(tmp_path, suffix):
    write_image(Picture(smooth(16, 16), icc_profile=SRGB, dpi=(72, 72)), tmp_path / f"x{suffix}")
    picture = read_image(tmp_path / f"x{suffix}")
    assert picture.icc_profile == SRGB
    if suffix != ".webp":
        assert np.allclose(picture.dpi, 72, atol=0.1)
    write_image(Picture(smooth(16, 16, 1), icc_profile=SRGB), tmp_path / f"gray{suffix}")
    assert read_image(tmp_path / f"gray{suffix}").icc_profile is None
    write_image(Picture(smooth(16, 16, 1), icc_profile=GRAY_PROFILE), tmp_path / "gray.png")
    assert read_image(tmp_path / "gray.png").icc_profile == GRAY_PROFILE


def test_alpha_and_depth_into_formats_that_cannot_hold_them(tmp_path):
    half_red = np.full((8, 8, 4), (255, 0, 0, 128), np.uint8)
    (note,) = write_image(Picture(half_red), tmp_path / "x.jpg", quality=100)
    assert "transparency" in note and "x.jpg" in note
    assert np.abs(read_image(tmp_path / "x.jpg").pixels[4, 4].astype(int) - (255, 127, 127)).max() <= 3

    ramp = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32, 1)
    reduced, (note,) = fit_pixels(ramp, "BMP", "x.bmp")
    assert "16 bits" in note
    np.testing.assert_array_equal(reduced, np.round(ramp / 257).astype(np.uint8))


def test_the_result_has_the_source_format_where_that_can_hold_it(tmp_path):
    Image.fromarray(smooth(8, 8)).save(tmp_path / "x.jpg")
    header = read_header(tmp_path / "x.jpg")
    assert header == ("JPEG", 8, 8, False, 8)
    assert output_format(header, 32, 32) == ("JPEG", None)
    assert output_format(header, 32, 32, asked="tif") == ("TIFF", None)
    assert output_format(header, 70000, 32)[0] == "PNG"
    with pytest.raises(ValueError, match="70000x32.*65500"):
        output_format(header, 70000, 32, asked="jpg")
    with pytest.raises(ValueError, match="format=xyz.*png"):
        output_format(header, 8, 8, asked="xyz")
    for name, reason in (("PSD", "cannot be written"), ("BMP", "transparency")):
        chosen, note = output_format(header._replace(format=name, alpha=True), 32, 32)
        assert chosen == "PNG" and reason in note
    Image.fromarray(noise(8, 8, 4)).save(tmp_path / "x.tga")
    picture = read_image(tmp_path / "x.tga")
    assert picture.format == "TGA"
    write_image(picture, tmp_path / "y")
    np.testing.assert_array_equal(read_image(tmp_path / "y").pixels, picture.pixels)


def test_header_tells_depth_and_alpha(tmp_path):
    for channels in (1, 2, 3, 4):
        for dtype, suffix in ((np.uint8, "png"), (np.uint16, "png"), (np.uint16, "tif")):
            if (channels, suffix) == (2, "tif"):
                continue
            path = tmp_path / f"x.{suffix}"
            write_image(Picture(noise(5, 7, channels, dtype=dtype)), path)
            header = read_header(path)
            assert header[1:] == (7, 5, channels in (2, 4), np.iinfo(dtype).bits)


def test_quality(tmp_path):
    picture = Picture(noise(64, 64, 3))
    sizes = []
    for quality in (30, 90):
        write_image(picture, tmp_path / "x.jpg", quality=quality)
        sizes.append((tmp_path / "x.jpg").stat().st_size)
    assert sizes[0] < sizes[1]
    write_image(picture, tmp_path / "x.webp", quality=100)
    np.testing.assert_array_equal(read_image(tmp_path / "x.webp").pixels, picture.pixels)
    with pytest.raises(ValueError, match="quality=101.*1 to 100"):
        write_image(picture, tmp_path / "z.jpg", quality=101)
    assert not (tmp_path / "z.jpg").exists()


@pytest.mark.parametrize("name, kwargs", [("a.webp", {"lossless": True}), ("a.png", {}), ("a.tif", {}), ("a.gif", {})])
def test_first_frame_of_several_with_a_note(tmp_path, name, kwargs):
    frames = [Image.fromarray(np.full((8, 8, 3), v, np.uint8)) for v in (20, 120, 220)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **kwargs)
    picture = read_image(tmp_path / name)
    assert (picture.pixels[..., :3] == 20).all()
    assert len(picture.notes) == 1 and "3" in picture.notes[0] and name in picture.notes[0]


def broken_files(folder):
    """(path, what its error has to say) for every kind of file that cannot be read."""
    (folder / "empty.png").write_bytes(b"")
    (folder / "folder.png").mkdir()
    (folder / "text.png").write_text("not a picture " * 20)
    cases = [("missing.png", "no such file"), ("empty.png", "empty"), ("folder.png", "folder")]
    cases += [("text.png", "not an image")]
    for suffix in ("png", "jpg", "webp", "bmp", "tif"):
        for dtype in (np.uint8, np.uint16) if suffix in ("png", "tif") else (np.uint8,):
            whole, cut = folder / f"whole.{suffix}", folder / f"cut{np.iinfo(dtype).bits}.{suffix}"
            write_image(Picture(noise(40, 40, 3, dtype=dtype)), whole)
            cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
            cases.append((cut.name, "damaged|not an image"))
    return cases


def test_broken_files_get_one_clear_line(tmp_path):
    for name, expected in broken_files(tmp_path):
        with pytest.raises((ValueError, OSError), match=expected) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_decompression_bomb_is_refused_by_its_header(tmp_path):
    header = struct.pack(">II5B", 60000, 60000, 8, 2, 0, 0, 0)

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 100)), chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    for read in (read_image, read_header):
        with pytest.raises(ValueError, match="bomb.png.*60000x60000"):
            read(tmp_path / "bomb.png")
    write_image(Picture(noise(10, 10, 3)), tmp_path / "x.png")
    with pytest.raises(ValueError, match="at most 99 pixels"):
        read_image(tmp_path / "x.png", max_pixels=99)
    assert read_image(tmp_path / "x.png", max_pixels=100).pixels.shape == (10, 10, 3)


def test_a_file_that_changes_while_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    write_image(Picture(noise(10, 10, 3)), path)
    read_bytes = Path.read_bytes

    def read_and_grow(self):
        data = read_bytes(self)
        with open(self, "ab") as file:
            file.write(b"more")
        return data

    monkeypatch.setattr(Path, "read_bytes", read_and_grow)
    with pytest.raises(ValueError, match="x.png.*changed while it was read"):
        read_image(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    path.write_bytes(b"old")

    def full_disk(self, file, *args, **kwargs):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(OSError, match="x.png: cannot be written .No space left"):
        write_image(Picture(noise(10, 10, 3)), path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["x.png"]
    with pytest.raises(OSError, match="nowhere"):
        monkeypatch.undo()
        write_image(Picture(noise(10, 10, 3)), tmp_path / "nowhere" / "x.png")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_deep_pngs_are_the_same_by_tensorflow_and_by_ffmpeg(tmp_path, monkeypatch, channels):
    pytest.importorskip("av", reason="FFmpeg: python3 -m pip install -r requirements-video.txt")
    import tensorflow as tf

    pixels = noise(9, 13, channels, dtype=np.uint16)
    paths = [tmp_path / "tensorflow.png", tmp_path / "ffmpeg.png"]
    for path in paths:
        write_image(Picture(pixels, dpi=(300, 300)), path)
        monkeypatch.delitem(sys.modules, "tensorflow", raising=False)  # FFmpeg's turn
    for path in paths:
        picture = read_image(path)
        np.testing.assert_array_equal(picture.pixels, pixels)
        assert picture.dpi == pytest.approx((300, 300), rel=1e-3)
        np.testing.assert_array_equal(tf.io.decode_png(path.read_bytes(), dtype=tf.uint16), pixels)
