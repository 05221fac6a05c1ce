"""Videos: times, sound, colors, turns, interruptions; what is written is read back by PyAV itself."""

import json
import os
import random
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from srwgan.media.video import VideoReader, VideoWriter, probe_video
from srwgan.media.video.colors import FULL, LIMITED, frame_range

av = pytest.importorskip("av", reason="PyAV is not installed (requirements-video.txt)")

TICK = Fraction(1, 90_000)
# x264 gives the same bytes for the same frames only where its rows of 16x16 blocks fill its vector registers.
REPEATABLE = 4
CONSTANT = [3003 * i for i in range(40)]  # 29.97 frames a second
VARIABLE = [0]
for _ in range(39):
    VARIABLE.append(VARIABLE[-1] + random.Random(len(VARIABLE)).choice([1500, 3003, 9000, 777, 45_000]))
MATRICES = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # H.273 number: red's and blue's share of luma


def picture(number, size=(64, 32)):
    """(H, W, 3) uint8, different for each number and in each corner."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    moving = 0.5 + 0.5 * np.sin(4 * x + number / 3)
    return np.round(255 * np.stack([0.8 * x + 0.1, 0.6 * y + 0.2, 0.7 * moving], -1)).astype(np.uint8)


def make_clip(
    path, ticks=CONSTANT, size=(64, 32), tracks=1, frames=None, subtitles=None, encoder="libx264", time_base=TICK,
    pix_fmt="yuv420p", prepare=lambda stream: None, late=0,
):  # fmt: skip
    """A clip made by PyAV alone, with `tracks` sines of 440, 880... Hz as AAC; `frames` are VideoFrames if given.

    All starts `late` seconds late.
    """
    with av.open(str(path), "w") as clip:
        clip.metadata["title"] = "A clip"
        video = clip.add_stream(encoder, rate=30)
        video.width, video.height, video.pix_fmt = *size, pix_fmt
        video.codec_context.time_base = video.time_base = time_base
        video.options = {"crf": "4", "preset": "ultrafast", "bf": "2"} if encoder == "libx264" else {}
        prepare(video)
        sound = [clip.add_stream("aac", rate=48_000, layout="stereo") for _ in range(tracks)]
        for number, stream in enumerate(sound):
            stream.metadata.update({"language": ["eng", "deu"][number], "title": f"Track {number}"})
        if subtitles:
            written = av.open(str(subtitles))
            text = clip.add_stream_from_template(written.streams.subtitles[0])
        for i, tick in enumerate(ticks):
            frame = frames[i] if frames else av.VideoFrame.from_ndarray(picture(i, size)).reformat(format=pix_fmt)
            frame.pts, frame.time_base = tick + round(late / time_base), time_base
            clip.mux(video.encode(frame))
        clip.mux(video.encode(None))
        for number, stream in enumerate(sound):
            for start in range(0, int((ticks[-1] + 3003) * time_base * 48_000), 1024):
                time = np.arange(start, start + 1024) / 48_000
                wave = 0.3 * np.sin(2 * np.pi * 440 * (number + 1) * time).astype(np.float32)
                frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
                frame.sample_rate, frame.pts, frame.time_base = 48_000, start + 48_000 * late, Fraction(1, 48_000)
                clip.mux(stream.encode(frame))
            clip.mux(stream.encode(None))
        if subtitles:
            for packet in written.demux():
                if packet.dts is not None:
                    packet.stream = text
                    clip.mux(packet)
            written.close()
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    make_clip(folder / "constant.mp4", CONSTANT, tracks=2)
    make_clip(folder / "variable.mp4", VARIABLE)
    make_clip(folder / "variable.mkv", [tick // 90 for tick in VARIABLE], time_base=Fraction(1, 1000))
    make_clip(folder / "late.mp4", [tick + 1234 for tick in VARIABLE])
    make_clip(folder / "broadcast.ts", CONSTANT, late=10)
    return folder


def copy_video(source, target, factor=2, stop_after=None, **options):
    """Enlarges every pixel of `source`; interrupted after `stop_after` frames. Returns (reader, writer)."""
    with VideoReader(source) as reader:
        size = (reader.size[0] * factor, reader.size[1] * factor)
        with VideoWriter(target, size, source=reader, **options) as writer:
            for number, (rgb, pts) in enumerate(reader.frames(skip=writer.frames_done), start=writer.frames_done):
                if number == stop_after:
                    raise KeyboardInterrupt
                writer.write(rgb.repeat(factor, 0).repeat(factor, 1), pts)
    return reader, writer


def shown(path):
    """[(time, pixels)] by PyAV alone."""
    with av.open(str(path)) as clip:
        return [(frame.pts * frame.time_base, frame.to_ndarray(format="rgb24")) for frame in clip.decode(video=0)]


def track_packets(path, kind, number=0):
    with av.open(str(path)) as clip:
        packets = clip.demux(getattr(clip.streams, kind)[number])
        return [(bytes(packet), packet.pts * packet.time_base) for packet in packets if packet.dts is not None]


# Times


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("name", ["constant.mp4", "variable.mp4", "variable.mkv", "late.mp4"])
def test_timestamps_are_those_of_the_source(clips, tmp_path, name, suffix):
    target = tmp_path / f"out{suffix}"
    reader, writer = copy_video(clips / name, target, segment_frames=7)
    expected = [time for time, _ in shown(clips / name)]
    assert [time for time, _ in shown(target)] == expected
    assert len(expected) == 40 and probe_video(target).frame_count == 40
    assert expected[0] + probe_video(target).duration == reader.end
    assert writer.messages == [] and os.listdir(tmp_path) == [target.name]


def test_matroska_holds_whole_milliseconds_from_the_first_packet(clips, tmp_path):
    copy_video(clips / "variable.mkv", tmp_path / "same.mkv")
    assert [t for t, _ in shown(tmp_path / "same.mkv")] == [t for t, _ in shown(clips / "variable.mkv")]
    copy_video(clips / "variable.mp4", tmp_path / "rounded.mkv")
    times = [t for t, _ in shown(tmp_path / "rounded.mkv")]
    for time, expected in zip(times, VARIABLE, strict=True):
        assert abs(time - times[0] - expected * TICK) <= Fraction(1, 1000)


def test_broadcast_clocks_start_at_zero_and_stay_in_step(clips, tmp_path):
    copy_video(clips / "broadcast.ts", tmp_path / "out.mp4")
    before, after = shown(clips / "broadcast.ts"), shown(tmp_path / "out.mp4")
    assert before[0][0] > 5
    start = track_packets(clips / "broadcast.ts", "audio")[0][1]
    assert [time for time, _ in after] == [time - start for time, _ in before]
    assert track_packets(tmp_path / "out.mp4", "audio")[0][1] == 0


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "hevc"), (".mp4", "av1"), (".webm", "vp9"), (".mkv", "vp9")])
def test_other_codecs(tmp_path, suffix, codec):
    target = tmp_path / f"out{suffix}"
    times = [Fraction(number * number, 20) for number in range(6)]
    with VideoWriter(target, (64, 64), codec=codec, crf=10, segment_frames=4) as writer:
        for number, time in enumerate(times):
            writer.write(picture(number, (64, 64)), time)
    frames = shown(target)
    assert [time for time, _ in frames] == times
    assert probe_video(target).codec == codec
    for number, (_, pixels) in enumerate(frames):
        assert np.abs(pixels.astype(int) - picture(number, (64, 64))).mean() < 5


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_of_a_gif_last_as_long_as_they_should(tmp_path, suffix):
    durations = [100, 20, 1500, 30, 2000]
    with VideoWriter(tmp_path / f"gif{suffix}", (16, 16)) as writer:
        for number, duration in enumerate(durations):
            writer.write(picture(number, (16, 16)), Fraction(sum(durations[:number]), 1000), Fraction(duration, 1000))
    times = [time for time, _ in shown(tmp_path / f"gif{suffix}")]
    assert times == [Fraction(sum(durations[:number]), 1000) for number in range(5)]
    assert probe_video(tmp_path / f"gif{suffix}").duration == Fraction(sum(durations), 1000)


def test_decoding_times_suit_any_reordering():
    from srwgan.media.video.mux import packet_times

    draw = random.Random(3)
    for _ in range(200):
        times = sorted(draw.sample(range(1000), draw.randint(1, 30)))
        decoded = sorted(times, key=lambda time: times.index(time) + draw.choice([0, 0, 2.5, 3.5]))
        end = times[-1] + draw.randint(1, 300)
        timing = packet_times(decoded, end)
        dts = [time for time, _ in timing]
        assert all(a < b for a, b in zip(dts, dts[1:], strict=False))
        assert all(time <= pts for time, pts in zip(dts, decoded, strict=True))
        assert dts[-1] + timing[-1][1] - dts[0] == end - times[0]
        assert max(pts + duration for pts, (_, duration) in zip(decoded, timing, strict=True)) == end


# Sound, subtitles, metadata


def test_sound_is_copied_packet_by_packet(clips, tmp_path):
    copy_video(clips / "constant.mp4", tmp_path / "out.mp4", segment_frames=9)
    for number in (0, 1):
        packets = track_packets(clips / "constant.mp4", "audio", number)
        assert len(packets) > 50
        assert track_packets(tmp_path / "out.mp4", "audio", number) == packets
    with av.open(str(tmp_path / "out.mp4")) as clip:
        assert clip.metadata["title"] == "A clip"
        assert [stream.language for stream in clip.streams.audio] == ["eng", "deu"]
        assert [stream.metadata["name"] for stream in clip.streams.audio] == ["Track 0", "Track 1"]


def test_sound_that_the_container_does_not_take_is_encoded_anew(clips, tmp_path):
    _, writer = copy_video(clips / "constant.mp4", tmp_path / "out.webm")
    assert len(writer.messages) == 2 and "audio track 1 (aac): encoded anew as libopus for webm" in writer.messages[0]
    with av.open(str(tmp_path / "out.webm")) as clip:
        assert [stream.codec_context.name for stream in clip.streams.audio] == ["opus", "opus"]
        frames = list(clip.decode(audio=1))
    wave = np.concatenate([frame.to_ndarray().reshape(-1, 2)[:, 0] if frame.format.is_packed else frame.to_ndarray()[0]
                           for frame in frames])  # fmt: skip
    assert abs(len(wave) / 48_000 - 40 * 3003 / 90_000) < 0.05
    assert abs(np.argmax(np.abs(np.fft.rfft(wave))) * 48_000 / len(wave) - 880) < 2


def test_subtitles_are_copied_or_a_line_says_that_they_are_not(tmp_path):
    (tmp_path / "words.srt").write_text("1\n00:00:00,100 --> 00:00:00,900\nHello\n\n")
    source = make_clip(tmp_path / "in.mkv", tracks=0, subtitles=tmp_path / "words.srt")
    _, writer = copy_video(source, tmp_path / "out.mkv")
    assert writer.messages == []
    assert track_packets(tmp_path / "out.mkv", "subtitles") == track_packets(source, "subtitles") != []
    _, writer = copy_video(source, tmp_path / "out.mp4")
    assert len(writer.messages) == 1 and "subtitle track 1 (subrip): left out" in writer.messages[0]


# Colors


def yuv_frame(components, size, matrix=2, full=False, pix_fmt="yuv420p"):
    frame = av.VideoFrame(*size, pix_fmt)
    for plane, value in zip(frame.planes, components, strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    return frame


def rgb_of(components, matrix, full):
    """The definition of Y'CbCr in ITU-R BT.601, 709 and 2020."""
    y, cb, cr = (float(value) for value in components)
    black, luma, chroma = (0, 255, 255) if full else (16, 219, 224)
    y, cb, cr = (y - black) / luma, (cb - 128) / chroma, (cr - 128) / chroma
    red_share, blue_share = MATRICES[matrix]
    red, blue = y + 2 * (1 - red_share) * cr, y + 2 * (1 - blue_share) * cb
    green = (y - red_share * red - blue_share * blue) / (1 - red_share - blue_share)
    return np.clip(255 * np.array([red, green, blue]), 0, 255)


@pytest.mark.parametrize(
    ("size", "tag", "matrix", "full"),
    [
        ((64, 48), 1, 1, False), ((64, 48), 1, 1, True), ((64, 48), 6, 6, True), ((64, 48), 9, 9, False),
        ((64, 48), 2, 6, False), ((64, 720), 2, 1, False), ((1280, 720), 6, 6, False),
    ],
)  # fmt: skip
def test_matrix_and_range_of_the_source_are_respected(tmp_path, size, tag, matrix, full):
    def prepare(stream):
        stream.codec_context.colorspace, stream.codec_context.color_range = tag, 2 if full else 1

    colors = [(81, 90, 200), (145, 54, 60), (41, 220, 110), (120, 128, 128), (170, 110, 150)]
    frames = [yuv_frame(color, size, tag, full) for color in colors]
    make_clip(tmp_path / "in.mp4", [3000 * i for i in range(5)], size, 0, frames, prepare=prepare)
    with VideoReader(tmp_path / "in.mp4") as reader:
        assert reader.info.matrix == matrix
        for color, (rgb, _) in zip(colors, reader, strict=True):
            assert np.abs(rgb - rgb_of(color, matrix, full)).max() <= 2


@pytest.mark.parametrize("full", [False, True])
def test_range_is_that_of_the_tag_where_the_format_does_not_tell(tmp_path, full):
    def prepare(stream):
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 2 if full else 1

    color = (81, 90, 200)
    frames = [yuv_frame(color, (64, 48), 1, full)]
    make_clip(tmp_path / "in.mkv", [0], (64, 48), 0, frames, encoder="ffv1", prepare=prepare)
    with av.open(str(tmp_path / "in.mkv")) as clip:
        assert next(clip.decode(video=0)).format.name == "yuv420p"  # not yuvj420p, which is full by its name
    ((rgb, _),) = VideoReader(tmp_path / "in.mkv")
    assert np.abs(rgb - rgb_of(color, 1, full)).max() <= 1


def test_range_without_a_tag():
    ranges = {name: frame_range(av.VideoFrame(16, 16, name)) for name in ("yuv420p", "yuvj420p", "rgb24")}
    assert ranges == {"yuv420p": LIMITED, "yuvj420p": FULL, "rgb24": FULL}


def test_rgb_video_is_taken_as_it_is(tmp_path):
    make_clip(tmp_path / "in.mkv", [0, 4000], tracks=0, encoder="ffv1", pix_fmt="bgr0")
    for number, (rgb, _) in enumerate(VideoReader(tmp_path / "in.mkv")):
        np.testing.assert_array_equal(rgb, picture(number))


@pytest.mark.parametrize(("size", "matrix"), [((64, 48), 6), ((1280, 720), 1)])
def test_colors_written_are_tagged_and_right(tmp_path, size, matrix):
    colors = [(200, 30, 40), (20, 180, 60), (30, 50, 220), (128, 128, 128), (250, 240, 10)]
    with VideoWriter(tmp_path / "out.mp4", size, crf=1) as writer:
        for number, color in enumerate(colors):
            writer.write(np.full((*size[::-1], 3), color, np.uint8), Fraction(number, 10))
    with av.open(str(tmp_path / "out.mp4")) as clip:
        for color, frame in zip(colors, clip.decode(video=0), strict=True):
            assert (frame.colorspace, frame.color_range, frame.format.name) == (matrix, 1, "yuv420p")
            components = [np.frombuffer(bytes(plane), np.uint8)[0] for plane in frame.planes]
            assert np.abs(rgb_of(components, matrix, False) - color).max() <= 3


def test_ten_bits_become_eight_and_a_line_says_so(tmp_path):
    frames = [yuv_frame((120, 128, 128), (32, 32)).reformat(format="yuv420p10le") for _ in range(3)]
    make_clip(tmp_path / "in.mkv", [0, 40, 80], (32, 32), 0, frames, time_base=Fraction(1, 1000), encoder="ffv1",
              pix_fmt="yuv420p10le")  # fmt: skip
    with VideoReader(tmp_path / "in.mkv") as reader:
        for rgb, _ in reader:
            assert rgb.dtype == np.uint8 and np.abs(rgb - rgb_of((120, 128, 128), 6, False)).max() <= 2
        assert any("10 bits a sample: converted to 8 bits" in line for line in reader.messages)


# Geometry


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_turned_clips_come_out_upright(tmp_path, degrees, mirrored):
    def prepare(stream):
        stream.set_display_rotation(degrees, hflip=mirrored)
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    source = make_clip(tmp_path / "in.mp4", CONSTANT[:3], tracks=0, prepare=prepare)
    stored = [pixels for _, pixels in shown(source)]
    reader, _ = copy_video(source, tmp_path / "out.mp4", factor=1, crf=1)
    expected = [np.rot90(pixels, degrees // 90) for pixels in stored]  # counterclockwise, as PyAV counts
    expected = [pixels[:, ::-1] if mirrored else pixels for pixels in expected]
    assert reader.size == expected[0].shape[1::-1]
    assert reader.pixel_aspect == (Fraction(3, 4) if degrees in (90, 270) else Fraction(4, 3))
    assert probe_video(tmp_path / "out.mp4").pixel_aspect == reader.pixel_aspect
    assert probe_video(tmp_path / "out.mp4").turn == (False, False, False)
    for pixels, (_, written) in zip(expected, shown(tmp_path / "out.mp4"), strict=True):
        assert np.abs(pixels.astype(int) - written).mean() < 3


def test_odd_sizes_are_made_even_by_repeating_the_edge(tmp_path):
    with VideoWriter(tmp_path / "out.mp4", (17, 31), crf=1) as writer:
        writer.write(picture(0, (17, 31)), Fraction(0))
    assert any("18x32" in line for line in writer.messages)
    ((_, pixels),) = shown(tmp_path / "out.mp4")
    assert pixels.shape == (32, 18, 3)
    assert np.abs(pixels[:31, :17].astype(int) - picture(0, (17, 31))).mean() < 6


# Interruptions


@pytest.mark.parametrize(("stop_after", "kept"), [(16, 16), (21, 21), (3, 3)])
def test_an_interruption_leaves_no_video_and_what_was_encoded_is_kept(clips, tmp_path, stop_after, kept):
    source, whole, target = clips / "variable.mp4", tmp_path / "whole.mp4", tmp_path / "out.mp4"
    copy_video(source, whole, REPEATABLE, segment_frames=8)
    with pytest.raises(KeyboardInterrupt):
        copy_video(source, target, REPEATABLE, segment_frames=8, stop_after=stop_after)
    assert sorted(os.listdir(tmp_path)) == ["out.mp4.parts", "whole.mp4"]
    _, writer = copy_video(source, target, REPEATABLE, segment_frames=8, resume=True)
    assert (writer.frames_done, writer.messages) == (kept, [])
    assert sorted(os.listdir(tmp_path)) == ["out.mp4", "whole.mp4"]
    if kept % 8 == 0:
        assert target.read_bytes() == whole.read_bytes()
    for (time, pixels), (expected_time, expected) in zip(shown(target), shown(whole), strict=True):
        assert time == expected_time and np.abs(pixels.astype(int) - expected).mean() < 3


def test_after_kill_what_was_encoded_of_a_segment_is_kept(clips, tmp_path):
    source, target = clips / "constant.mp4", tmp_path / "out.mp4"
    options = {"crf": 20, "segment_frames": 1000}
    with VideoReader(source) as reader:
        writer = VideoWriter(target, reader.size, source=reader, **options)
        writer.__enter__()
        for rgb, pts in reader:
            for part in range(4):
                writer.write(rgb, pts + Fraction(part, 400))
        shutil.copytree(tmp_path / "out.mp4.parts", tmp_path / "copy")  # what a killed process leaves
        writer.__exit__(ValueError, ValueError(), None)
        assert os.listdir(tmp_path) == ["copy"]
        os.rename(tmp_path / "copy", tmp_path / "out.mp4.parts")
        with VideoWriter(target, reader.size, source=reader, resume=True, **options) as writer:
            skip = writer.frames_done
            assert 40 < skip < 160 and writer.goes_on_at > 0
            count = 0
            for rgb, pts in reader:
                for part in range(4):
                    if count >= skip:
                        writer.write(rgb, pts + Fraction(part, 400))
                    count += 1
    assert [time for time, _ in shown(target)] == [
        tick * TICK + Fraction(part, 400) for tick in CONSTANT for part in range(4)
    ]
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_an_interruption_while_joining_loses_no_frame(clips, tmp_path, monkeypatch):
    source, whole, target = clips / "constant.mp4", tmp_path / "whole.mp4", tmp_path / "out.mp4"
    copy_video(source, whole, REPEATABLE, segment_frames=16)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", interrupt_for(target, os.replace))
        copy_video(source, target, REPEATABLE, segment_frames=16)
    assert not target.exists() and sorted(os.listdir(tmp_path)) == ["out.mp4.parts", "whole.mp4"]
    _, writer = copy_video(source, target, REPEATABLE, segment_frames=16, resume=True)
    assert writer.frames_done == 40 and target.read_bytes() == whole.read_bytes()


def interrupt_for(target, replace):
    def interrupted(source, destination):
        if destination == target:
            raise KeyboardInterrupt
        replace(source, destination)

    return interrupted


def test_remains_of_a_segment_are_not_taken_for_one(clips, tmp_path):
    source, target = clips / "constant.mp4", tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        copy_video(source, target, segment_frames=8, stop_after=30)
    packets = tmp_path / "out.mp4.parts" / "000001.packets"
    packets.write_bytes(packets.read_bytes()[:-1])
    _, writer = copy_video(source, target, segment_frames=8, resume=True)
    assert writer.frames_done == 8
    assert [time for time, _ in shown(target)] == [tick * TICK for tick in CONSTANT]


@pytest.mark.parametrize("change", ["crf", "settings", "source", "job"])
def test_another_job_starts_over(clips, tmp_path, change):
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    source.write_bytes((clips / "constant.mp4").read_bytes())
    options = {"crf": 20, "settings": {"model": "a"}, "segment_frames": 8}
    with pytest.raises(KeyboardInterrupt):
        copy_video(source, target, stop_after=20, **options)
    if change == "crf":
        options["crf"] = 21
    elif change == "settings":
        options["settings"] = {"model": "b"}
    elif change == "source":
        source.write_bytes((clips / "variable.mp4").read_bytes())
    else:
        (tmp_path / "out.mp4.parts" / "job.json").write_text("[1")
    _, writer = copy_video(source, target, resume=True, **options)
    assert writer.frames_done == 0 and len(writer.messages) == 1 and "starting over" in writer.messages[0]


def test_without_resume_a_job_starts_over(clips, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        copy_video(clips / "constant.mp4", tmp_path / "out.mp4", segment_frames=8, stop_after=20)
    assert json.loads((tmp_path / "out.mp4.parts" / "job.json").read_text())["frames a segment"] == 8
    _, writer = copy_video(clips / "constant.mp4", tmp_path / "out.mp4", segment_frames=8)
    assert writer.frames_done == 0 and os.listdir(tmp_path) == ["out.mp4"]


def test_an_error_before_the_first_segment_leaves_nothing(clips, tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"an earlier one")
    with VideoReader(clips / "constant.mp4") as reader, pytest.raises(ValueError, match="wrong"):
        with VideoWriter(tmp_path / "out.mp4", reader.size, source=reader) as writer:
            for rgb, pts in reader:
                writer.write(rgb, pts)
                if pts > Fraction(1, 10):
                    raise ValueError("something is wrong")
    assert os.listdir(tmp_path) == ["out.mp4"] and (tmp_path / "out.mp4").read_bytes() == b"an earlier one"


def test_a_strange_folder_of_that_name_is_left_alone(tmp_path):
    (tmp_path / "out.mp4.parts").mkdir()
    (tmp_path / "out.mp4.parts" / "diary.txt").write_text("mine")
    with pytest.raises(ValueError, match="in the way"), VideoWriter(tmp_path / "out.mp4", (16, 16)):
        pass
    assert (tmp_path / "out.mp4.parts" / "diary.txt").read_text() == "mine"


def test_a_source_that_changes_is_refused(clips, tmp_path):
    source = tmp_path / "in.mp4"
    source.write_bytes((clips / "constant.mp4").read_bytes())
    with VideoReader(source) as reader, pytest.raises(ValueError, match="changed while it was read"):
        for _ in reader:
            os.utime(source, ns=(0, 0))


# Refusals


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"Dear diary,\n" * 99, "no video"),
        ("truncated", "damaged: the MP4 file is cut off"),
        ("sound", "no video stream"),
    ],
)
def test_what_is_no_video_is_named_in_one_line(clips, tmp_path, content, words):
    path = tmp_path / "bad.mp4"
    if content == "truncated":  # without its index, which is at the end
        content = (clips / "constant.mp4").read_bytes()[:5000]
    if content == "sound":
        with av.open(str(path), "w") as clip:
            stream = clip.add_stream("aac", rate=48_000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 48_000
            clip.mux(stream.encode(frame))
            clip.mux(stream.encode(None))
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as raised:
        VideoReader(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        VideoReader(tmp_path / "none.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        VideoReader(tmp_path / "folder.mp4")
    with pytest.raises(ValueError, match="is a folder"), VideoWriter(tmp_path / "folder.mp4", (16, 16)):
        pass


def test_a_video_cut_short_gives_its_frames_and_a_line(tmp_path):
    source = make_clip(tmp_path / "in.mkv", [40 * i for i in range(100)], time_base=Fraction(1, 1000))
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with VideoReader(source) as reader:
        frames = list(reader)
        assert 10 < len(frames) < 90
        assert any("truncated" in line for line in reader.messages)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("out.xyz", {}, ".mp4, .m4v, .mov, .mkv, .webm"),
        ("out.mp4", {"codec": "divx"}, "h264, hevc, vp9, av1"),
        ("out.webm", {"codec": "h264"}, "vp9, av1"),
        ("out.mp4", {"crf": 60}, "0 .best. to 51"),
    ],
)
def test_unknown_settings_name_the_known_ones(tmp_path, name, options, words):
    with pytest.raises(ValueError, match=words):
        VideoWriter(tmp_path / name, (16, 16), **options)
    assert os.listdir(tmp_path) == []


def test_wrong_frames_and_times_are_refused(tmp_path):
    for frame, time, words in [
        (picture(0, (16, 18)), 1, "18, 16"), (picture(0, (16, 16)).astype(float), 1, "uint8"),
        (picture(0, (16, 16)), 0, "increase"), (picture(0, (16, 16)), -1, "increase"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=words), VideoWriter(tmp_path / "out.mp4", (16, 16)) as writer:
            writer.write(picture(0, (16, 16)), Fraction(0))
            writer.write(frame, Fraction(time))
    with pytest.raises(ValueError, match="no frame"), VideoWriter(tmp_path / "out.mp4", (16, 16)):
        pass
    assert os.listdir(tmp_path) == []


def test_without_pyav_the_error_says_what_to_install(clips, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install -r requirements-video\.txt"):
        VideoReader(clips / "constant.mp4")


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="Linux schedules so")
def test_no_encoder_makes_threads_real_time(tmp_path):
    """SVT-AV1 does where it is root's: such threads, and what is started from them, stop the rest of the machine."""
    path = tmp_path / "clip.webm"
    with VideoWriter(path, (64, 48), codec="av1") as writer:
        for i in range(3):
            writer.write(np.full((48, 64, 3), 80 * i, np.uint8), Fraction(i, 10))
            threads = [int(thread.name) for thread in Path("/proc/self/task").iterdir()]
            assert {os.sched_getscheduler(thread) for thread in threads} <= {os.SCHED_OTHER, os.SCHED_BATCH}
    assert path.exists() and os.sched_getscheduler(0) != os.SCHED_FIFO
