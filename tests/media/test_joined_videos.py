"""Videos that are more than one clip: recordings joined in one file, covers, fonts, sound of all kinds."""

import io
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip("av")

from srwgan.media.video import VideoReader, VideoWriter, probe_video  # noqa: E402

SIZE = 48, 36


def picture(number, size=SIZE):
    return np.full((size[1], size[0], 3), 10 * number % 256, np.uint8)


def make_clip(path, count=12, sound=None, size=SIZE, encoder="libx264", format=None, prepare=None, pix_fmt="yuv420p"):
    """A clip of 25 frames a second, with sound by the encoder named."""
    with av.open(str(path), "w", format=format) as clip:
        video = clip.add_stream(encoder, rate=25)
        video.width, video.height, video.pix_fmt = *size, pix_fmt
        audio = clip.add_stream(sound, rate=44_100, layout="mono") if sound else None
        if prepare:
            prepare(clip)
        for number in range(count):
            clip.mux(video.encode(av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")))
        clip.mux(video.encode(None))
        if sound:
            wave = np.sin(np.arange(44_100 * count // 25) / 20).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate = 44_100
            resampler = av.AudioResampler(format=audio.codec_context.codec.audio_formats[0].name, rate=44_100)
            for part in resampler.resample(frame):
                clip.mux(audio.encode(part))
            clip.mux(audio.encode(None))
    return path


def joined(path, *clips):
    path.write_bytes(b"".join(clip.read_bytes() for clip in clips))
    return path


def copied(source, target, **options):
    with VideoReader(source) as reader, VideoWriter(target, reader.size, source=reader, **options) as writer:
        for rgb, pts in reader:
            writer.write(rgb, pts)
    return reader, writer


def times(path):
    with av.open(str(path)) as clip:
        return [frame.pts * frame.time_base for frame in clip.decode(video=0)]


def lengths(path):
    """{type of track: seconds}."""
    with av.open(str(path)) as clip:
        return {stream.type: float(stream.duration * stream.time_base) for stream in clip.streams if stream.duration}


@pytest.mark.parametrize("suffix", [".ts", ".vob"])
@pytest.mark.parametrize("sound", [None, "mp2"])
def test_joined_recordings_play_one_after_the_other(tmp_path, suffix, sound):
    encoder = "libx264" if suffix == ".ts" else "mpeg2video"
    clips = [make_clip(tmp_path / f"{name}{suffix}", 12, sound, encoder=encoder) for name in "ab"]
    reader, writer = copied(joined(tmp_path / f"joined{suffix}", *clips), tmp_path / "out.mp4")
    found = times(tmp_path / "out.mp4")
    assert len(found) == 24
    steps = np.diff([float(time) for time in found])
    assert np.allclose(steps, 0.04, atol=0.03) and steps.min() > 0.01
    assert lengths(tmp_path / "out.mp4")["video"] == pytest.approx(0.96, abs=0.1)
    if sound:
        assert lengths(tmp_path / "out.mp4")["audio"] == pytest.approx(0.96, abs=0.15)


def test_a_joined_recording_of_another_size_is_told(tmp_path):
    clips = [make_clip(tmp_path / "a.ts"), make_clip(tmp_path / "b.ts", size=(64, 48))]
    with VideoReader(joined(tmp_path / "joined.ts", *clips)) as reader:
        assert {rgb.shape for rgb, _ in reader} == {(36, 48, 3)}
        assert any("frames of 64x48 from 0.4" in line for line in reader.messages)


def cover():
    data = io.BytesIO()
    Image.new("RGB", (60, 80), (200, 30, 40)).save(data, "JPEG")
    return data.getvalue()


def test_attachments_and_covers_stay_in_matroska(tmp_path):
    def prepare(clip):
        clip.add_attachment("fancy.ttf", "application/x-truetype-font", b"a font")
        clip.add_attachment("cover.jpg", "image/jpeg", cover())

    source = make_clip(tmp_path / "in.mkv", prepare=prepare)
    _, writer = copied(source, tmp_path / "out.mkv")
    assert writer.messages == []
    with av.open(str(tmp_path / "out.mkv")) as clip:
        fonts = [(stream.name, bytes(stream.data)) for stream in clip.streams if stream.type == "attachment"]
        assert fonts == [("fancy.ttf", b"a font")]
        (packet, *_) = clip.demux(clip.streams.video[1])
        assert bytes(packet) == cover()

    _, writer = copied(source, tmp_path / "out.mp4")
    (line,) = writer.messages
    assert "left out: mp4 holds no attached files" in line and "attachment" in line
    with av.open(str(tmp_path / "out.mp4")) as clip:
        (packet, *_) = clip.demux(clip.streams.video[1])
        assert bytes(packet) == cover()
    assert probe_video(tmp_path / "out.mp4").size == SIZE


@pytest.mark.parametrize("codec", ["pcm_s16le", "adpcm_ima_wav"])
def test_raw_sound_becomes_aac_in_an_mp4(tmp_path, codec):
    source = make_clip(tmp_path / "in.avi", 25, codec, encoder="mjpeg", pix_fmt="yuvj420p")
    _, writer = copied(source, tmp_path / "out.mp4")
    (line,) = writer.messages
    assert f"({codec}): encoded anew as aac for mp4" in line
    with av.open(str(tmp_path / "out.mp4")) as clip:
        assert clip.streams.audio[0].codec_context.name == "aac"
    assert lengths(tmp_path / "out.mp4")["audio"] == pytest.approx(1, abs=0.1)
    if codec == "pcm_s16le":
        _, writer = copied(source, tmp_path / "out.mov")
        assert writer.messages == []  # QuickTime's own


@pytest.mark.parametrize(("codec", "words"), [("h264", "more than h264 takes (16384 a side)"), ("av1", "av1 takes")])
def test_frames_larger_than_an_encoder_takes_are_refused_before_the_work(tmp_path, codec, words):
    with pytest.raises(ValueError) as caught:
        VideoWriter(tmp_path / "out.mp4", (16_800, 16), codec=codec)
    message = str(caught.value)
    assert "out.mp4: its frames would have 16800x16 pixels" in message and words in message
    assert "--codec hevc or vp9" in message and "avcodec" not in message
    assert list(tmp_path.iterdir()) == []


def test_a_clock_is_no_frame_rate(tmp_path):
    """Matroska without a default duration: its milliseconds were taken for 1000 frames a second."""
    with av.open(str(tmp_path / "in.mkv"), "w") as clip:
        stream = clip.add_stream("libx264", rate=1000)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = 40 * number, Fraction(1, 1000)
            clip.mux(stream.encode(frame))
        clip.mux(stream.encode(None))
    info = probe_video(tmp_path / "in.mkv")
    assert float(info.frame_rate) == pytest.approx(25, rel=0.01)
