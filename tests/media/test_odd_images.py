"""Pictures as people have them: damaged, odd, rare, with all kinds of metadata. Each test makes its own file."""

import io
import struct
import sys
import zlib
from fractions import Fraction

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from srwgan.media.kinds import is_media, kind_of, type_of
from srwgan.media.still.images import Picture, read_header, read_image, write_image
from srwgan.media.still.metadata import photoshop_marker, stored_orientation

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def save(path, data):
    path.write_bytes(data)
    return path


def chunk(name, body, checksum=None):
    checksum = zlib.crc32(name + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def png_bytes(pixels, bits=8, before=b"", body=None, after=b"", color_type=2):
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2" if bits == 16 else np.uint8).reshape(height, -1)
    stored = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)) if body is None else body
    header = struct.pack(">II5B", width, height, bits, color_type, 0, 0, 0)
    parts = chunk(b"IHDR", header), before, chunk(b"IDAT", stored), after, chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# Damage


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", ["checksum", "stream", "cut", "no pixels", "short"])
def test_a_damaged_png_is_refused(tmp_path, kind, bits):
    """What was read of it stayed, and came out half black, where EXIF was looked for before the pixels."""
    pixels = noise(40, 40, 3, dtype=np.uint16 if bits == 16 else np.uint8)
    whole = png_bytes(pixels, bits)
    middle = len(whole) // 2
    overwritten = whole[:middle] + b"\x55" * 100 + whole[middle + 100 :]
    stored = whole[whole.index(b"IDAT") + 4 : -16]
    data = {
        "checksum": overwritten,
        "stream": png_bytes(pixels, bits, body=stored[: len(stored) // 2] + b"\x55" * 100),
        "cut": whole[:middle],
        "no pixels": whole[: whole.index(b"IDAT") - 4] + chunk(b"IEND", b""),
        "short": png_bytes(pixels, bits, body=zlib.compress(zlib.decompress(stored)[: 20 * (1 + 120 * bits // 8)])),
    }[kind]
    with pytest.raises(ValueError, match="x.png: damaged: ") as caught:
        read_image(save(tmp_path / "x.png", data))
    assert "\n" not in str(caught.value) and "function" not in str(caught.value)


def test_a_truncated_interlaced_png_is_damaged(tmp_path):
    data = png_bytes(noise(20, 20, 3))
    interlaced = data[:16] + struct.pack(">II5B", 20, 20, 8, 2, 0, 0, 1)
    interlaced += struct.pack(">I", zlib.crc32(interlaced[12:])) + data[33:]
    with pytest.raises(ValueError, match="x.png: damaged: the pixels of the PNG end early.") as caught:
        read_image(save(tmp_path / "x.png", interlaced))
    assert "argument" not in str(caught.value)


def test_damage_that_browsers_pass_over_costs_a_line(tmp_path):
    pixels = noise(10, 12, 3)
    data = png_bytes(pixels, before=chunk(b"tEXt", b"Title\0x", checksum=0))
    picture = read_image(save(tmp_path / "x.png", data))
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert "tEXt chunk is damaged" in picture.notes[0]
    data = png_bytes(pixels, after=chunk(b"tEXt", b"Title\0" + b"x" * 99))
    picture = read_image(save(tmp_path / "x.png", data[:-60]))
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert "its end, after the pixels, is cut off" in picture.notes[0]


def test_damaged_unsupported_and_not_an_image_are_three_messages(tmp_path):
    jpeg = io.BytesIO()
    Image.fromarray(noise(16, 16, 3)).save(jpeg, "JPEG")
    twelve = jpeg.getvalue()
    at = twelve.index(b"\xff\xc0") + 4
    tifffile.imwrite(tmp_path / "float.tif", np.ones((8, 8), np.float32))
    tifffile.imwrite(tmp_path / "signed.tif", np.ones((8, 8), np.int16))
    tifffile.imwrite(tmp_path / "wide.tif", np.full((8, 8), 70_000, np.uint32))
    tifffile.imwrite(tmp_path / "wide_rgb.tif", np.full((8, 8, 3), 70_000, np.uint32), photometric="rgb")
    save(tmp_path / "twelve.jpg", twelve[:at] + b"\x0c" + twelve[at + 1 :])
    save(tmp_path / "lossless.jpg", twelve.replace(b"\xff\xc0", b"\xff\xc3"))
    save(tmp_path / "x.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    save(tmp_path / "x.jxl", b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 99)
    save(tmp_path / "text.png", b"Dear diary, " * 30)
    save(tmp_path / "cut.jpg", twelve[:200])
    save(tmp_path / "raw.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + b"\0" * 99)
    expected = {
        "twelve.jpg": "a JPEG with 12 bits a sample, which is not supported",
        "lossless.jpg": "a JPEG with lossless compression, which is not supported",
        "float.tif": "a TIFF with floating-point samples of 32 bits, which is not supported",
        "signed.tif": "a TIFF with signed samples of 16 bits, which is not supported",
        "wide.tif": "a TIFF with 32 bits a sample, which is not supported",
        "wide_rgb.tif": "a TIFF with 32 bits a sample, which is not supported",
        "x.eps": "an EPS, which is not supported",
        "x.jxl": "a JPEG XL, which is not supported",
        "text.png": "not an image",
        "cut.jpg": "damaged: the JPEG is cut off",
        "raw.cr3": "a camera's raw file",
    }
    for name, words in expected.items():
        for read in (read_image, read_header) if name not in ("cut.jpg", "x.eps") else (read_image,):
            with pytest.raises(ValueError, match=f"{name}: {words}") as caught:
                read(tmp_path / name)
            assert "\n" not in str(caught.value)


def test_a_tiff_whose_strips_are_missing_is_damaged_without_libtiffs_own_lines(tmp_path, capfd):
    Image.fromarray(noise(60, 60, 3)).save(tmp_path / "x.tif", compression="tiff_lzw")
    data = (tmp_path / "x.tif").read_bytes()
    for count in (len(data) // 3, len(data) * 2 // 3):
        body = bytearray(data)
        body[8:count] = bytes(count - 8) if data[4:8] != b"\x08\0\0\0" else body[8:count]
        save(tmp_path / "x.tif", bytes(body))
        with pytest.raises(ValueError, match="x.tif: damaged"):
            read_image(tmp_path / "x.tif")
    assert capfd.readouterr().err == ""


# Kinds of pixels


def bmp_bytes(width, height, bits, pixels, compression=0, masks=b"", palette=b"", header_size=40):
    header = struct.pack(
        "<IiiHHIIiiII", header_size, width, height, 1, bits, compression, len(pixels), 2835, 2835, 0, 0
    )
    header += masks.ljust(header_size - 40, b"\0") if header_size > 40 else masks
    offset = 14 + len(header) + len(palette)
    return struct.pack("<2sIHHI", b"BM", offset + len(pixels), 0, 0, offset) + header + palette + pixels


MASKS = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)


def test_a_bmp_whose_alpha_is_zero_everywhere_is_opaque(tmp_path):
    bgra = noise(6, 5, 4)
    bgra[..., 3] = 0
    path = save(tmp_path / "x.bmp", bmp_bytes(5, -6, 32, bgra.tobytes(), 3, MASKS, header_size=108))
    np.testing.assert_array_equal(read_image(path).pixels, bgra[..., 2::-1])
    assert not read_header(path).alpha
    bgra[2, 2, 3] = 255  # one that is used
    path = save(tmp_path / "x.bmp", bmp_bytes(5, -6, 32, bgra.tobytes(), 3, MASKS, header_size=108))
    np.testing.assert_array_equal(read_image(path).pixels, bgra[..., [2, 1, 0, 3]])
    assert read_header(path).alpha


def test_a_tga_whose_alpha_is_zero_everywhere_is_opaque(tmp_path):
    rgba = noise(6, 5, 4)
    rgba[..., 3] = 0
    Image.fromarray(rgba).save(tmp_path / "x.tga")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tga").pixels, rgba[..., :3])


def rle4_bytes():
    """(a BMP of 16 colors, run-length encoded with odd runs, its pixels)."""
    palette = noise(16, 3, seed=2)
    rows = [[1] * 5 + [3, 4, 3] + [7, 8, 9, 10, 11], [2] * 13]
    first = bytes([5, 0x11, 3, 0x34]) + bytes([0, 5, 0x78, 0x9A, 0xB0, 0]) + b"\0\0"
    second = bytes([13, 0x22]) + b"\0\1"
    table = b"".join(bytes([*color[::-1], 0]) for color in palette)
    return bmp_bytes(13, 2, 4, first + second, 2, palette=table), palette[np.array(rows[::-1])]


def test_run_length_bmps_of_16_colors(tmp_path):
    pytest.importorskip("av")
    data, pixels = rle4_bytes()
    path = save(tmp_path / "x.bmp", data)
    np.testing.assert_array_equal(read_image(path).pixels, pixels)
    assert read_header(path)[1:] == (13, 2, False, 8)


def test_run_length_bmps_that_are_cut_off_or_at_odd_places(tmp_path):
    pytest.importorskip("av")
    data, pixels = rle4_bytes()
    for count in (3, 9, 15):
        with pytest.raises(ValueError, match="x.bmp: damaged: the BMP is cut off"):
            read_image(save(tmp_path / "x.bmp", data[:-count]))
    palette = noise(256, 3, seed=1)
    table = b"".join(bytes([*color[::-1], 0]) for color in palette) + b"\0"  # the pixels start at an odd byte
    runs = bytes([3, 7, 0, 3, 9, 8, 7, 0, 0, 0, 6, 4, 0, 1])
    whole = bmp_bytes(6, 2, 8, runs, 1, palette=table)
    wanted = palette[np.array([[4] * 6, [7, 7, 7, 9, 8, 7]])]
    np.testing.assert_array_equal(read_image(save(tmp_path / "x.bmp", whole)).pixels, wanted)


def test_without_pyav_a_line_says_what_a_picture_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match="x.bmp: .*needs PyAV.*pip install -r requirements-video.txt"):
        read_image(save(tmp_path / "x.bmp", rle4_bytes()[0]))


def test_bmps_of_other_bit_fields(tmp_path):
    pytest.importorskip("av")
    values = noise(6, 4, 3).astype(np.uint32)
    packed = (values[..., 0] << 20 | values[..., 1] << 10 | values[..., 2]).astype("<u4")
    masks = struct.pack("<III", 0xFF << 20, 0xFF << 10, 0xFF)
    path = save(tmp_path / "x.bmp", bmp_bytes(4, -6, 32, packed.tobytes(), 3, masks))
    np.testing.assert_array_equal(read_image(path).pixels, values)
    assert read_header(path)[1:3] == (4, 6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2])
def test_gray_tiffs_of_all_kinds(tmp_path, channels, dtype):
    pixels = noise(9, 11, channels, dtype=dtype)
    extra = ["unassalpha"] if channels == 2 else None
    planes = "contig" if channels == 2 else None
    stored = pixels if channels == 2 else pixels[..., 0]
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="minisblack", extrasamples=extra, planarconfig=planes)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels, pixels)
    if channels == 1:
        tifffile.imwrite(tmp_path / "y.tif", stored, photometric="miniswhite")
        np.testing.assert_array_equal(read_image(tmp_path / "y.tif").pixels, np.iinfo(dtype).max - pixels)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bit_tiffs_with_lzw_need_no_more_than_pyav(tmp_path, channels, monkeypatch):
    pytest.importorskip("av")
    pixels = noise(40, 30, channels, dtype=np.uint16)
    path = tmp_path / "x.tif"
    if channels == 1:
        Image.fromarray(pixels[..., 0]).save(path, compression="tiff_lzw")
    else:
        lzw_tiff(path, pixels)
    np.testing.assert_array_equal(read_image(path).pixels, pixels)


def lzw_tiff(path, pixels):
    """Through FFmpeg's own encoder: Pillow writes no 16-bit colors, and tifffile no LZW without imagecodecs."""
    import av

    name = "rgba64le" if pixels.shape[-1] == 4 else "rgb48le"
    context = av.CodecContext.create("tiff", "w")
    context.width, context.height, context.pix_fmt = *pixels.shape[1::-1], name
    context.time_base, context.options = Fraction(1), {"compression_algo": "lzw"}
    packets = context.encode(av.VideoFrame.from_ndarray(pixels, format=name))
    path.write_bytes(b"".join(bytes(packet) for packet in packets))


def test_a_gray_tiff_of_12_bits_is_as_bright_as_it_was_meant(tmp_path):
    values = np.array([[0, 4095], [2048, 1000]], np.uint16)
    packed = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in values.tolist())
    tags = [(256, 3, 2), (257, 3, 2), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 3, 2)]
    tags.append((279, 4, len(packed)))
    start = 8 + len(packed)
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    data = b"II*\0" + struct.pack("<I", start) + packed + struct.pack("<H", len(tags)) + entries + b"\0" * 4
    pixels = read_image(save(tmp_path / "x.tif", data)).pixels[..., 0]
    assert np.abs(pixels.astype(float) - values * (65535 / 4095)).max() <= 1


def test_bits_that_are_reduced_are_told(tmp_path):
    deep = noise(4, 4, 3, dtype=np.uint16)
    save(tmp_path / "x.ppm", b"P6 4 4 65535\n" + deep.astype(">u2").tobytes())
    picture = read_image(tmp_path / "x.ppm")
    assert picture.notes == [f"{tmp_path / 'x.ppm'}: 16 bits a sample reduced to 8."]
    assert np.abs(picture.pixels.astype(int) * 257 - deep).max() <= 257
    tifffile.imwrite(tmp_path / "x.tif", noise(4, 4, 4, dtype=np.uint16), photometric="separated")
    assert "16 bits a sample reduced to 8" in read_image(tmp_path / "x.tif").notes[0]


def test_of_a_raw_file_the_picture_is_read_not_its_thumbnail(tmp_path):
    full, thumbnail = noise(16, 24, 3), noise(4, 6, 3)
    for deep in (False, True):
        pixels = full.astype(np.uint16) * 257 if deep else full
        with tifffile.TiffWriter(tmp_path / "x.dng") as tiff:
            tiff.write(thumbnail, subifds=1, subfiletype=1, photometric="rgb", metadata=None)
            tiff.write(pixels, subfiletype=0, photometric="rgb", compression="zlib", metadata=None)
        np.testing.assert_array_equal(read_image(tmp_path / "x.dng").pixels, pixels)
        assert read_header(tmp_path / "x.dng")[1:] == (24, 16, False, 16 if deep else 8)


def test_a_raw_file_of_the_sensors_values_is_refused_by_name(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.dng") as tiff:
        tiff.write(noise(4, 6, 3), subifds=1, subfiletype=1, photometric="rgb", metadata=None)
        options = {"photometric": "cfa", "subfiletype": 0, "metadata": None}
        tiff.write(noise(16, 24, dtype=np.uint16), extratags=[(33421, "H", 2, (2, 2), True)], **options)
    for read in (read_image, read_header):
        with pytest.raises(ValueError, match="x.dng: a camera's raw file; only its thumbnail of 6x4 can be read"):
            read(tmp_path / "x.dng")


# Metadata


def test_one_bad_exif_tag_costs_that_tag_alone(tmp_path):
    good = Image.Exif()
    good[ExifTags.Base.Orientation] = 6
    good[ExifTags.Base.Artist] = "somebody"
    good[ExifTags.Base.Make] = "12345678"  # its text is stored apart, where the fraction will be
    block = bytearray(good.tobytes())
    at = block.index(struct.pack(">HH", ExifTags.Base.Make, 2))
    block[at + 2 : at + 8] = struct.pack(">HI", 5, 1)  # a fraction instead of text
    where = struct.unpack(">I", block[at + 8 : at + 12])[0] + 6
    block[where : where + 8] = struct.pack(">II", 1, 0)
    Image.fromarray(noise(20, 30, 3)).save(tmp_path / "x.jpg", exif=bytes(block))
    picture = read_image(tmp_path / "x.jpg")
    assert picture.pixels.shape == (30, 20, 3)
    assert len(picture.notes) == 1 and "EXIF Make cannot be read and is left out" in picture.notes[0]
    kept = Image.Exif()
    kept.load(picture.exif)
    assert dict(kept) == {ExifTags.Base.Orientation: 1, ExifTags.Base.Artist: "somebody"}


def test_color_chunks_stay_with_a_png(tmp_path):
    bodies = {"gAMA": struct.pack(">I", 100_000), "cHRM": struct.pack(">8I", *range(1, 9)), "cICP": b"\x0c\x0d\0\1"}
    before = b"".join(chunk(name.encode(), body) for name, body in bodies.items())
    for bits, dtype in ((8, np.uint8), (16, np.uint16)):
        path = save(tmp_path / "x.png", png_bytes(noise(4, 5, 3, dtype=dtype), bits, before))
        picture = read_image(path)
        assert picture.colors == bodies
        assert write_image(picture, tmp_path / "y.png") == []
        assert read_image(tmp_path / "y.png").colors == bodies
    (note,) = write_image(picture, tmp_path / "y.webp")[1:]
    assert "gAMA" in note and "cICP" in note and "will look different" in note
    plain = png_bytes(noise(4, 5, 3), before=chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"sRGB", b"\0"))
    assert write_image(read_image(save(tmp_path / "x.png", plain)), tmp_path / "y.jpg") == []


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" tiff:Orientation="6" exif:PixelXDimension="9" GPano:CroppedAreaLeftPixels="5" '
    b'GPano:ProjectionType="equirectangular"><GPano:FullPanoWidthPixels>40</GPano:FullPanoWidthPixels>'
    b"<dc:rights>(c) somebody</dc:rights></rdf:Description></rdf:RDF></x:xmpmeta>"
)
IPTC = b"\x1c\x02\x19\x00\x05panda" + b"\x1c\x02t\x00\x08somebody"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_xmp_iptc_and_comments_travel(tmp_path, suffix):
    image = Image.fromarray(noise(8, 10, 3))
    image.save(tmp_path / "x.jpg", xmp=XMP, comment="from slide 12", extra=photoshop_marker(IPTC))
    picture = read_image(tmp_path / "x.jpg")
    assert (picture.xmp, picture.iptc, picture.comment) == (XMP, IPTC, "from slide 12")
    picture.pixels = picture.pixels.repeat(4, 0).repeat(4, 1)
    notes = write_image(picture, tmp_path / f"y{suffix}")
    again = read_image(tmp_path / f"y{suffix}")
    assert b"(c) somebody" in again.xmp and b'ProjectionType="equirectangular"' in again.xmp
    for expected in (b'Orientation="1"', b'XDimension="32"', b'LeftPixels="20"', b"FullPanoWidthPixels>160<"):
        assert expected in again.xmp
    if suffix == ".webp":
        assert len(notes) == 1 and "IPTC, comment" in notes[0]
    else:
        assert notes == []
    if suffix in (".jpg", ".tif"):
        assert again.iptc == IPTC
    if suffix == ".png":
        assert again.text["Comment"] == "from slide 12" and "70616e6461" in again.text["Raw profile type iptc"]
    if suffix == ".jpg":
        assert again.comment == "from slide 12"
    if suffix == ".tif":
        with Image.open(tmp_path / "y.tif") as tiff:
            assert tiff.tag_v2[270] == "from slide 12"


def test_sixteen_bit_tiffs_keep_xmp_iptc_and_their_documents_tags(tmp_path):
    tags = [(269, "s", 0, "the book", True), (297, "H", 2, (3, 9), True), (700, "B", len(XMP), XMP, True)]
    tags.append((33723, "B", len(IPTC), IPTC, True))
    for dtype in (np.uint8, np.uint16):
        tifffile.imwrite(tmp_path / "x.tif", noise(6, 7, 3, dtype=dtype), photometric="rgb", extratags=tags)
        picture = read_image(tmp_path / "x.tif")
        assert write_image(picture, tmp_path / "y.tif") == []
        again = read_image(tmp_path / "y.tif")
        assert b"(c) somebody" in again.xmp and again.iptc == IPTC
        with Image.open(tmp_path / "y.tif") as tiff:
            assert tiff.tag_v2[269] == "the book" and tiff.tag_v2[297] == (3, 9)


def test_a_jpeg_2000_keeps_its_xmp_and_comment(tmp_path):
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "x.jp2", comment="from slide 12")
    box = b"uuid" + bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + XMP
    data = (tmp_path / "x.jp2").read_bytes()
    at = data.index(b"jp2c") - 4
    path = save(tmp_path / "x.jp2", data[:at] + struct.pack(">I", len(box) + 4) + box + data[at:])
    picture = read_image(path)
    assert picture.xmp == XMP
    write_image(picture, tmp_path / "y.png")
    assert b"(c) somebody" in read_image(tmp_path / "y.png").xmp


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["H", "I"])
def test_the_orientation_of_a_block_that_cannot_be_read(order, kind):
    value = struct.pack(order + kind, 6).ljust(4, b"\0")
    entry = struct.pack(order + "HHI", 274, 3 if kind == "H" else 4, 1) + value
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    assert stored_orientation(b"Exif\0\0" + header + entry) == 6
    assert stored_orientation(b"Exif\0\0" + header + entry[:7]) == 1


def test_exif_as_text_is_taken_over_once(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    block = exif.tobytes()
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Raw profile type exif", f"\nexif\n{len(block):8d}\n{block.hex()}\n")
    Image.fromarray(noise(6, 9, 3)).save(tmp_path / "x.png", pnginfo=chunks)
    picture = read_image(tmp_path / "x.png")
    assert picture.pixels.shape == (9, 6, 3) and picture.text == {}


def test_a_png_keeps_its_xmp(tmp_path):
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", XMP.decode())
    chunks.add_text("Title", "a panda")
    Image.fromarray(noise(6, 7, 3)).save(tmp_path / "x.png", pnginfo=chunks)
    picture = read_image(tmp_path / "x.png")
    assert picture.xmp == XMP and picture.text == {"Title": "a panda"}
    write_image(picture, tmp_path / "y.png")
    assert b"(c) somebody" in read_image(tmp_path / "y.png").xmp


def test_blocks_too_long_for_a_jpeg_are_named(tmp_path):
    picture = Picture(noise(6, 7, 3), xmp=b"<x>" + b"a" * 70_000 + b"</x>")
    (note,) = write_image(picture, tmp_path / "x.jpg")
    assert "XMP of more than 65,000 bytes" in note and "x.jpg" in note


def test_a_phones_second_picture_is_told(tmp_path):
    one, two = (Image.fromarray(noise(8, 8, 3, seed=seed)) for seed in (1, 2))
    one.save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[two])
    picture = read_image(tmp_path / "x.jpg")
    assert picture.format == "JPEG" and "holds 2 pictures" in picture.notes[0]


# Formats


def test_avif_in_and_out(tmp_path):
    y, x = np.mgrid[:24, :32]
    pixels = np.stack([x * 7, y * 9, 255 - x * 7, np.full_like(x, 128)], -1).astype(np.uint8)
    assert write_image(Picture(pixels, icc_profile=SRGB, xmp=XMP), tmp_path / "x.avif") == []
    picture = read_image(tmp_path / "x.avif")
    assert picture.format == "AVIF" and picture.icc_profile == SRGB and b"somebody" in picture.xmp
    assert np.abs(picture.pixels.astype(int) - pixels).mean() < 4
    assert read_header(tmp_path / "x.avif")[:4] == ("AVIF", 32, 24, True)


def test_heic_in_and_out(tmp_path):
    pytest.importorskip("pillow_heif")
    y, x = np.mgrid[:24, :32]
    pixels = np.stack([x * 7, y * 9, 255 - x * 7], -1).astype(np.uint8)
    assert write_image(Picture(pixels, xmp=XMP), tmp_path / "x.heic") == []
    picture = read_image(tmp_path / "x.heic")
    assert picture.format == "HEIF" and np.abs(picture.pixels.astype(int) - pixels).mean() < 5
    assert b"somebody" in picture.xmp and read_header(tmp_path / "x.heic")[:3] == ("HEIF", 32, 24)


def test_a_heic_of_10_bits_keeps_them(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    levels = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64, 1).repeat(3, 2)
    pillow_heif.from_bytes(mode="RGB;16", size=(64, 64), data=levels.tobytes()).save(tmp_path / "x.heic", quality=-1)
    picture = read_image(tmp_path / "x.heic")
    assert picture.pixels.dtype == np.uint16 and len(np.unique(picture.pixels)) > 500
    assert np.abs(picture.pixels.astype(int) - levels).max() < 600 and picture.pixels.max() == 65535
    assert read_header(tmp_path / "x.heic").bits == 16


def test_without_its_plug_in_heic_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = save(tmp_path / "x.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99)
    for read in (read_image, read_header):
        with pytest.raises(ValueError, match="x.jpg: HEIC needs pillow-heif.*pip install -r requirements-heif.txt"):
            read(path)


def test_types_are_told_by_content(tmp_path):
    beginnings = {
        b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff\xe0": "JPEG", b"GIF89a": "GIF", b"RIFF\0\0\0\0WEBPVP8 ": "WEBP",
        b"RIFF\0\0\0\0AVI LIST": "AVI", b"\0\0\0\x20ftypisom": "MP4", b"\0\0\0\x14ftypqt  ": "QuickTime",
        b"\0\0\0\x1cftypavif": "AVIF", b"\0\0\0\x18ftypheic": "HEIF", b"\0\0\0\x1cftypM4A ": "audio",
        b"\x1a\x45\xdf\xa3": "Matroska", b"\0\0\x01\xba": "MPEG", (b"G" + b"\0" * 187) * 4: "MPEG-TS",
        b"OggS" + b"\0" * 24 + b"\x80theora": "Ogg", b"OggS" + b"\0" * 24 + b"OpusHead": "audio", b"BMW": None,
        b"Dear diary": None, b"P1ay": None, b"P5 3 4 255\n": "PNM", b"\0\0\0\x08wide\0\0\0\0mdat": "QuickTime",
    }  # fmt: skip
    for start, expected in beginnings.items():
        assert type_of(start) == expected, start
    video = save(tmp_path / "funny.gif", b"\0\0\0\x20ftypisom" + b"\0" * 99)
    assert kind_of(video) == "video" and is_media(video)
    assert not is_media(save(tmp_path / "notes.txt", b"P5 or not P5"))
    assert not is_media(save(tmp_path / "song.m4a", b"\0\0\0\x1cftypM4A "))
    assert is_media(save(tmp_path / "no_ending", png_bytes(noise(4, 4, 3))))
