"""Films of 10 bits and HDR: their bits, color tags and light levels are those of the source."""

from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av")

from srwgan.convert.files import upscale_file  # noqa: E402
from srwgan.convert.options import Options  # noqa: E402
from srwgan.media.video import VideoReader, VideoWriter, keeps_bits, probe_video  # noqa: E402

SIZE = 64, 48
BT2020, PQ = 9, 16
HDR10 = "hdr10=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400"


class Repeat:
    scale = 2

    def image(self, pixels, progress=None):
        return pixels.repeat(2, 0).repeat(2, 1)

    def frames(self, frames, reuse=True):
        yield from map(self.image, frames)


def ramp(number):
    """A gray ramp of more levels than 8 bits have."""
    levels = np.linspace(20_000, 24_000 + 500 * number, SIZE[0] * SIZE[1])
    return np.repeat(levels.reshape(SIZE[1], SIZE[0], 1), 3, axis=2).astype(np.uint16)


def make_clip(path, encoder="libx265", pix_fmt="yuv420p10le", options=None, tags=(BT2020, BT2020, PQ)):
    with av.open(str(path), "w") as clip:
        stream = clip.add_stream(encoder, rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = tags
        context.color_range, context.options = 1, options or {}
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(ramp(number), format="rgb48le")
            kwargs = {"src_colorspace": 9, "dst_colorspace": 9, "src_color_range": 2, "dst_color_range": 1}
            clip.mux(stream.encode(frame.reformat(format=pix_fmt, **kwargs)))
        clip.mux(stream.encode(None))
    return path


def needs(encoder):
    try:
        formats = av.Codec(encoder, "w").video_formats
    except ValueError:
        formats = ()
    if not any(found.name == "yuv420p10le" for found in formats):
        pytest.skip(f"{encoder} of 10 bits is not in this PyAV")


@pytest.mark.parametrize(("suffix", "codec", "encoder"), [
    (".mp4", None, "libx265"), (".mkv", None, "libx265"), (".mkv", "av1", "libsvtav1"), (".webm", None, "libsvtav1"),
])  # fmt: skip
def test_bits_and_tags_are_kept(tmp_path, suffix, codec, encoder):
    needs("libx265")
    needs(encoder)
    source = make_clip(tmp_path / "in.mkv", options={"x265-params": "log-level=error"})
    most = 128 if encoder == "libx265" else 514  # half a level of 8 bits; two, for an encoder that is coarser
    lines = upscale_file(Repeat(), source, tmp_path / f"out{suffix}", options=Options(codec=codec, crf=4))
    assert lines == []
    info = probe_video(tmp_path / f"out{suffix}")
    assert (info.bits, info.matrix, info.primaries, info.transfer) == (10, BT2020, BT2020, PQ)
    with VideoReader(tmp_path / f"out{suffix}") as reader, VideoReader(source) as before:
        reader.deep = before.deep = True
        for (rgb, _), (wanted, _) in zip(reader, before, strict=True):
            assert rgb.dtype == np.uint16 and len(np.unique(rgb)) > 40  # of 8 bits it would be 17
            assert np.abs(rgb - Repeat().image(wanted).astype(int)).mean() < most


def test_what_hdr10_says_of_its_screen_is_kept(tmp_path):
    needs("libx265")
    source = make_clip(tmp_path / "in.mp4", options={"x265-params": f"log-level=error:{HDR10}"})
    display = HDR10.removeprefix("hdr10=1:")
    assert probe_video(source).display == display
    upscale_file(Repeat(), source, tmp_path / "out.mp4")
    assert probe_video(tmp_path / "out.mp4").display == display


def test_what_does_not_hold_the_bits_costs_a_line(tmp_path):
    source = make_clip(tmp_path / "in.mkv", "ffv1")
    for name, options in (("out.mp4", Options(codec="h264")), ("out.gif", Options())):
        lines = upscale_file(Repeat(), source, tmp_path / name, options=options)
        assert any(
            "10 bits a sample, high dynamic range, whose transfer is kept: converted to 8" in line for line in lines
        )
    assert probe_video(tmp_path / "out.mp4").bits == 8
    assert not keeps_bits(tmp_path / "x.mp4", "h264") and not keeps_bits(tmp_path / "x.webm", "vp9")


def test_films_of_8_bits_stay_so(tmp_path):
    source = make_clip(tmp_path / "in.mp4", "libx264", "yuv420p", tags=(1, 1, 1))
    upscale_file(Repeat(), source, tmp_path / "out.mp4")
    info = probe_video(tmp_path / "out.mp4")
    assert (info.codec, info.bits) == ("h264", 8)


def test_frames_of_another_depth_are_refused(tmp_path):
    needs("libx265")
    with pytest.raises(ValueError, match="uint16"), VideoWriter(tmp_path / "out.mp4", SIZE, deep=True) as writer:
        writer.write(np.zeros((*SIZE[::-1], 3), np.uint8), Fraction(0))
    assert list(tmp_path.iterdir()) == []
