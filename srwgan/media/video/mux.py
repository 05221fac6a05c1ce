"""The finished video: encoded segments joined, with the sound, subtitles, chapters and metadata of the source."""

from fractions import Fraction

from srwgan.media.video import timeline
from srwgan.media.video.encoder import CODECS, usual_scheduling
from srwgan.media.video.pyav import import_av
from srwgan.media.video.reader import codec_name, open_video
from srwgan.whole_files import temporary_beside

# Written by the muxer itself, or about the source's encoding and turn, which the new file does not share.
OWN_TAGS = {"encoder", "duration", "rotate", "major_brand", "minor_version", "compatible_brands", "vendor_id",
            "number_of_frames", "number_of_bytes", "bps", "alpha_mode"}  # fmt: skip
# What browsers, phones and television sets play in an MP4.
COVERS_IN_MP4 = {"mjpeg", "png", "bmp"}
PLAYED_IN_MP4 = {"aac", "ac3", "alac", "dts", "eac3", "flac", "mp2", "mp3", "opus"}
CHANNEL_BITS = 96_000  # a second, of a channel of sound that is encoded anew
# Raw sound often has channels without saying where they stand.
USUAL_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)


def mux_video(path, container, settings, folder, end_tick, source=None):
    """Writes `path` from the segments of `folder` and the tracks of `source`.

    Args:
        path: where to.
        container: the `Container`.
        settings: the `EncoderSettings` that the segments were made with.
        folder: the `SegmentFolder`.
        end_tick: when the last frame stops being shown.
        source: the `VideoReader`, or None.

    Returns:
        Lines for the user about tracks that are left out or encoded anew.
    """
    if source is None:
        with _open_output(path, container, settings) as output:
            video = _video_stream(output, settings, folder)
            output.mux(_video_packets(video, settings, folder, end_tick))
        return []
    with open_video(source.path) as original, _open_output(path, container, settings) as output:
        main = original.streams[source.info.stream_index]
        video = _video_stream(output, settings, folder)
        _copy_tags(original, output)
        _copy_tags(main, video)
        tracks, messages = _tracks(original, main, output, container, source)
        _copy_chapters(original, output, source.info.start)
        _interleave(output, _video_packets(video, settings, folder, end_tick), original, tracks)
    return messages


def check_tracks(path, container, settings, source):
    """Opens what `mux_video` will write, so that what cannot be is known before the work. Leaves nothing.

    Raises:
        ValueError: the tracks do not go into such a file together.
    """
    av = import_av()
    temporary = temporary_beside(path)
    try:
        with open_video(source.path) as original, _open_output(temporary, container, settings) as output:
            main = original.streams[source.info.stream_index]
            _new_video_stream(output, settings)
            _tracks(original, main, output, container, source)
            output.start_encoding()
    except av.FFmpegError:
        raise ValueError(
            f"{source.path}: its tracks do not go into {container.format}. Expected another --format."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def _open_output(path, container, settings):
    options = {}
    if container.format in ("mp4", "mov"):
        # Start offsets are stored in the movie's time scale, 1/1000 s by default: too coarse for exact timestamps.
        options = {"movflags": "+faststart", "movie_timescale": str(max(1000, settings.time_base.denominator))}
    return import_av().open(str(path), "w", format=container.format, container_options=options)


def _video_stream(output, settings, folder):
    stream = _new_video_stream(output, settings)
    headers = bytes(stream.codec_context.extradata or b"").hex()
    for segment in folder.segments:
        if segment["extradata"] != headers:
            raise ValueError(f"{folder.path}: made by another encoder. Remove it and start over.")
    return stream


def _new_video_stream(output, settings):
    stream = output.add_stream(CODECS[settings.codec].encoder, rate=settings.frame_rate)
    settings.apply(stream.codec_context)
    stream.time_base = settings.time_base
    with usual_scheduling():
        stream.codec_context.open()
    return stream


def _video_packets(stream, settings, folder, end_tick):
    """Packets of the whole video in decoding order."""
    av = import_av()
    decoded = [pts for segment in folder.segments for _, pts, _ in segment["packets"]]
    timing = packet_times(decoded, end_tick)
    for (payload, pts, key), (dts, duration) in zip(folder.packets(), timing, strict=True):
        packet = av.Packet(payload)
        packet.stream, packet.time_base = stream, settings.time_base
        packet.pts, packet.dts, packet.duration, packet.is_keyframe = pts, dts, duration, key
        yield packet


def packet_times(decoded, end):
    """Decoding times and durations, [(dts, duration)], of packets given their presentation times in decoding order.

    With `delay` frames of reordering, the i-th packet is decoded when the (i - delay)-th frame is shown:

        time        -lead   0     1     2     3             a delay of 1
        decoded     I0      P3    B1    B2    P5
        shown               0     1     2     3

    That is never after the packet's own frame. So the times increase over the joints of segments too.
    MP4 stores a track's length as the sum of decoding intervals. The `lead`, how long before the first frame decoding
    starts, and the last duration are chosen so that this sum is `end` less the first time, whatever the frames' rates.
    """
    shown = sorted(decoded)
    rank = {pts: number for number, pts in enumerate(shown)}
    delay = max(number - rank[pts] for number, pts in enumerate(decoded))
    last_dts = shown[-1 - delay]
    lead = decoded[-1] - last_dts
    if decoded[-1] != shown[-1]:  # then a longer one is free to be had, as constant rates take it
        lead = min(max(lead, delay * (shown[1] - shown[0])), end - last_dts - 1)
    dts = [shown[0] - lead + lead * i // delay for i in range(delay)] + shown[: len(shown) - delay]
    ends = shown[1:] + [end]
    durations = [ends[rank[pts]] - pts for pts in decoded]
    durations[-1] = end - last_dts - lead
    return list(zip(dts, durations, strict=True))


def _interleave(output, video_packets, original, tracks):
    """Muxes all packets roughly in the order of their times, so that the muxer holds few of them."""
    video = next(video_packets, None)
    if tracks:
        by_index = {track.original.index: track for track in tracks}
        for packet in timeline.packets(original):
            track = by_index.get(packet.stream.index)
            if track is None:
                continue
            if packet.dts is not None:
                time = packet.dts * packet.time_base
                while video is not None and video.dts * video.time_base <= time:
                    output.mux(video)
                    video = next(video_packets, None)
            output.mux(track.packets(packet))
    while video is not None:
        output.mux(video)
        video = next(video_packets, None)


def _tracks(original, main, output, container, source):
    """The tracks that the output takes from the source, and lines about the others."""
    tracks, messages = [], []
    for stream in original.streams:
        if stream.index == main.index:
            continue
        name = codec_name(stream)
        label = f"{source.path}: {stream.type} track {stream.index} ({name})"
        if stream.type in ("audio", "subtitle") and stream.codec_context:
            played = stream.type != "audio" or is_played(name, container)
            track = _copied(stream, output, source.info.start) if played else None
            if track is None and stream.type == "audio" and can_encode(stream, container.audio_encoder):
                track = _Encoded(stream, output, container.audio_encoder, source.info.start)
                messages.append(f"{label}: encoded anew as {container.audio_encoder} for {container.format}.")
            if track is None:
                messages.append(f"{label}: left out: {container.format} does not take it.")
            else:
                tracks.append(track)
        elif _is_cover(stream) and container.format in ("mp4", "mov") and name in COVERS_IN_MP4:
            tracks.append(_Cover(stream, output))
        elif stream.type == "attachment" or _is_cover(stream):
            reason = _attach(stream, original, output, container)
            if reason:
                messages.append(f"{label}: left out: {reason}.")
        elif stream.type == "video":
            messages.append(f"{label}: left out: only the first picture track is upscaled.")
        else:
            messages.append(f"{label}: left out: it is no picture, sound or subtitles.")
    return tracks, messages


def is_played(codec: str, container) -> bool:
    """Whether players of the container's files are to be expected to know a sound codec, beside FFmpeg's own."""
    return container.format != "mp4" or codec in PLAYED_IN_MP4


def _is_cover(stream):
    from av.stream import Disposition

    return stream.type == "video" and bool(stream.disposition & Disposition.attached_pic)


def _attach(stream, original, output, container):
    """Takes an attachment or a cover over. Returns why it cannot be, None where it was."""
    if _is_cover(stream):
        data = _cover(original, stream)
        kind = {"mjpeg": "jpeg"}.get(codec_name(stream), codec_name(stream))
        name = stream.metadata.get("filename") or f"cover.{'jpg' if kind == 'jpeg' else kind}"
        mimetype = stream.metadata.get("mimetype") or f"image/{kind}"
    else:
        data, name, mimetype = stream.data, stream.name, stream.mimetype
    if not data:
        return "it is empty"
    if container.format == "matroska":
        output.add_attachment(name or "attachment", mimetype or "application/octet-stream", bytes(data))
        return None
    return f"{container.format} holds no attached files"


class _Cover:
    """A cover in an MP4, a track of one packet that players take for no film."""

    def __init__(self, original, output):
        from av.stream import Disposition

        self.original, self._copy = original, output.add_stream_from_template(original)
        self._copy.disposition = Disposition.attached_pic

    def packets(self, packet):
        if not packet.size:
            return []
        packet.stream = self._copy
        return [packet]


def _cover(original, stream):
    """The file of a cover, which is the only packet of its stream."""
    with open_video(original.name) as again:
        for packet in again.demux(again.streams[stream.index]):
            if packet.size:
                return bytes(packet)
    return b""


def _copied(stream, output, start):
    try:
        return _Copied(stream, output.add_stream_from_template(stream), start)
    except ValueError:  # the container takes no such codec
        return None


class _Copied:
    """A track whose packets are copied, their times counted from `start` (seconds)."""

    def __init__(self, original, copy, start):
        self.original, self._copy = original, copy
        self._shift = round(start / original.time_base)
        copy.time_base = original.time_base
        copy.disposition = original.disposition
        _copy_tags(original, copy)
        self._last = self._end = None

    def packets(self, packet):
        if packet.dts is None or packet.pts is None:  # the mark of the end
            return []
        packet.pts -= self._shift
        packet.dts -= self._shift
        if self._last is not None and packet.dts <= self._last:  # an overlap where recordings were joined
            if packet.dts + (packet.duration or 0) <= self._end or self.original.type != "audio":
                return []
            packet.pts += self._last + 1 - packet.dts
            packet.dts = self._last + 1
        self._last, self._end = packet.dts, packet.dts + (packet.duration or 0)
        packet.stream = self._copy
        return [packet]


def sound_settings(stream, encoder):
    """(sample rate, layout, channels) of a track that is encoded anew."""
    context = stream.codec_context
    rate = context.sample_rate if encoder == "aac" and context.sample_rate in AAC_RATES else 48_000
    channels = context.layout.nb_channels or context.channels
    return rate, USUAL_LAYOUTS.get(channels, context.layout.name), channels


def can_encode(stream, encoder):
    """Whether an encoder opens for the track's sound."""
    av = import_av()
    rate, layout, channels = sound_settings(stream, encoder)
    try:
        context = av.CodecContext.create(encoder, "w")
        context.sample_rate, context.layout, context.bit_rate = rate, layout, CHANNEL_BITS * channels
        context.format, context.time_base = context.codec.audio_formats[0].name, Fraction(1, rate)
        context.open()
    except (av.FFmpegError, ValueError):
        return False
    return True


class _Encoded:
    """A track of sound that is encoded anew."""

    def __init__(self, original, output, encoder, start):
        self.original, self._start, self._end = original, start, None
        rate, layout, channels = sound_settings(original, encoder)
        self._stream = output.add_stream(encoder, rate=rate, layout=layout)
        self._stream.bit_rate = CHANNEL_BITS * channels
        self._stream.disposition = original.disposition
        _copy_tags(original, self._stream)

    def packets(self, packet):
        encoded = []
        try:
            frames = packet.decode()
        except import_av().FFmpegError:  # damaged: silence until the next
            frames = []
        for frame in frames:
            if frame.pts is not None:
                frame.pts -= round(self._start / frame.time_base)
                end = frame.pts + round(frame.samples / Fraction(frame.sample_rate) / frame.time_base)
                if self._end is not None and end <= self._end:  # an overlap where recordings were joined
                    continue
                frame.pts = frame.pts if self._end is None else max(frame.pts, self._end)
                self._end = max(end, frame.pts)
            encoded += self._stream.encode(frame)
        if packet.dts is None and not packet.size:
            encoded += self._stream.encode(None)
        return encoded


def _copy_tags(original, copy):
    for name, value in original.metadata.items():
        if name.lower() not in OWN_TAGS and not name.startswith("_STATISTICS"):
            copy.metadata[name] = value
    if "name" in copy.metadata:  # QuickTime's word for it
        copy.metadata.setdefault("title", copy.metadata.pop("name"))


def _copy_chapters(original, output, start):
    chapters = original.chapters()
    for chapter in chapters:
        shift = round(Fraction(start) / chapter["time_base"])
        chapter["start"], chapter["end"] = chapter["start"] - shift, chapter["end"] - shift
    if chapters:
        output.set_chapters(chapters)
