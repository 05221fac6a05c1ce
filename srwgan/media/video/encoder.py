"""The settings of an encoder, and which codecs this PyAV has."""

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from srwgan.media.video.colors import BT709, BT2020, LIMITED, guessed_matrix
from srwgan.media.video.formats import CODECS, CONTAINERS, Container
from srwgan.media.video.pyav import import_av

DEFAULT_TIME_BASE = Fraction(1, 360_000)  # holds milliseconds, 90 kHz and NTSC's 1001/24000, 30000, 60000 exactly


@dataclass(frozen=True)
class EncoderSettings:
    """All that an encoder's output depends on besides the frames.

    Attributes:
        codec: one of `CODECS`.
        crf: constant rate factor.
        size: (width, height), both even.
        pixel_aspect: width : height of one pixel.
        time_base: the unit of timestamps, in seconds.
        frame_rate: the nominal one.
        matrix, primaries, transfer: numbers of ITU-T H.273.
        apple_tag: whether HEVC is named as Apple's players know it.
        bits: of a sample, 8 or 10.
        display: the screen that HDR was graded on, and its light, as x265 takes them, or "".
    """

    codec: str
    crf: int
    size: tuple[int, int]
    pixel_aspect: Fraction
    time_base: Fraction
    frame_rate: Fraction
    matrix: int
    primaries: int
    transfer: int
    apple_tag: bool
    bits: int = 8
    display: str = ""

    def apply(self, context):
        """Sets up an encoder's context that is not open yet."""
        codec = CODECS[self.codec]
        context.width, context.height = self.size
        context.pix_fmt = "yuv420p10le" if self.bits == 10 else "yuv420p"
        context.time_base, context.framerate = self.time_base, self.frame_rate
        context.sample_aspect_ratio = self.pixel_aspect
        context.bit_rate = 0
        context.options = {**codec.options, "crf": str(self.crf)}
        if self.display and self.codec == "hevc":
            context.options["x265-params"] = f"{codec.options['x265-params']}:{self.display}"
        context.color_range, context.colorspace = LIMITED, self.matrix
        context.color_primaries, context.color_trc = self.primaries, self.transfer
        if self.apple_tag:
            context.codec_tag = "hvc1"  # Apple's players open no HEVC under FFmpeg's own tag

    def new_encoder(self):
        """An encoder of its own, headers apart from the packets."""
        av = import_av()
        from av.codec.context import Flags

        context = av.CodecContext.create(CODECS[self.codec].encoder, "w")
        self.apply(context)
        context.flags |= Flags.global_header
        with usual_scheduling():
            context.open()
        return context


@contextmanager
def usual_scheduling():
    """Take back the real-time priority that SVT-AV1 gives to threads where it is opened by root.

    It gives that to its own threads and to the one that opens it. All else on the machine would wait for them, and a
    process started from there would have it too.
    """
    threads = Path("/proc/self/task")
    if not threads.is_dir():
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in [int(path.name) for path in threads.iterdir()]:
            with suppress(OSError):  # it ended
                if os.sched_getscheduler(thread) in (os.SCHED_FIFO, os.SCHED_RR):
                    os.sched_setscheduler(thread, policy, parameters)


def container_of(path) -> Container:
    """The `Container` for the extension of `path`.

    Raises:
        ValueError: an unknown extension.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in CONTAINERS:
        raise ValueError(f"Received: {path}. Expected a name ending in one of {', '.join(CONTAINERS)}.")
    return CONTAINERS[suffix]


def available_codecs(path) -> list[str]:
    """Names of the codecs that this PyAV can write in the container of `path`, the default first."""
    av = import_av()
    names = []
    for name in container_of(path).codecs:
        try:
            av.Codec(CODECS[name].encoder, "w")
        except ValueError:  # av.codec.codec.UnknownCodecError
            continue
        names.append(name)
    return names


def check_opens(settings, path):
    """Opens the encoder, so that what it does not take is known before the work.

    Raises:
        ValueError: the frames are larger than the encoder takes.
    """
    (width, height), codec = settings.size, CODECS[settings.codec]
    longest = max(width, height)
    others = [
        name for name in available_codecs(path) if longest <= CODECS[name].longest_side and name != settings.codec
    ]
    instead = f", or --codec {' or '.join(others)}" if others else ""
    expected = f"Expected a smaller --size or --scale-out{instead}."
    if longest > codec.longest_side:
        limit = f"more than {settings.codec} takes ({codec.longest_side} a side)"
        raise ValueError(f"{path}: its frames would have {width}x{height} pixels, {limit}. {expected}")
    try:
        settings.new_encoder()
    except import_av().FFmpegError:
        raise ValueError(f"{path}: {settings.codec} takes no frames of {width}x{height} pixels. {expected}") from None


def deep_codecs(path) -> list[str]:
    """The codecs of the container of `path` that keep 10 bits a sample here and that players decode, best known first.

    H.264 is not among them: hardly any player knows its profile of 10 bits.
    """
    av = import_av()
    names = []
    for name in ("hevc", "av1"):
        if name in available_codecs(path):
            formats = av.Codec(CODECS[name].encoder, "w").video_formats or ()
            if any(found.name == "yuv420p10le" for found in formats):
                names.append(name)
    return names


def keeps_bits(path, codec: str | None) -> bool:
    """Whether a video `path` by that codec (None: the one that is chosen) holds more than 8 bits a sample."""
    names = deep_codecs(path)
    return bool(names) and codec in (None, *names, *(CODECS[name].encoder for name in names))


def encoder_settings(
    path, size, *, source=None, codec=None, crf=None, frame_rate=None, pixel_aspect=None, deep=False
) -> EncoderSettings:
    """`EncoderSettings` for the video `path` of `size` (width, height), upscaled from `source` (VideoInfo or None).

    `deep` asks for 10 bits a sample, and for a codec that holds them where none is named.
    """
    container, accepted = container_of(path), available_codecs(path)
    if deep and codec is None:
        codec = next(iter(deep_codecs(path)), None)
    chosen = next((name for name in accepted if codec in (None, name, CODECS[name].encoder)), None)
    if chosen is None:
        raise ValueError(
            f"Received: codec={codec} for {Path(path).name}. Expected one of {', '.join(accepted) or 'none here'}."
        )
    limit = CODECS[chosen].max_crf
    if crf is not None and not 0 <= crf <= limit:
        raise ValueError(f"Received: crf={crf}. Expected 0 (best) to {limit} for {chosen}.")
    width, height = size
    return EncoderSettings(
        codec=chosen,
        crf=CODECS[chosen].crf if crf is None else crf,
        size=(width + width % 2, height + height % 2),
        pixel_aspect=Fraction(pixel_aspect or (source.pixel_aspect if source else 1)),
        time_base=source.time_base if source else DEFAULT_TIME_BASE,
        frame_rate=Fraction(frame_rate or (source.frame_rate if source else None) or 25).limit_denominator(100_000),
        # Wide-gamut material keeps its matrix, so that its three tags stay a known combination.
        matrix=BT2020 if source and source.primaries == BT2020 else guessed_matrix(width, height),
        primaries=source.primaries if source else BT709,
        transfer=source.transfer if source else BT709,
        apple_tag=chosen == "hevc" and container.format in ("mp4", "mov"),
        bits=10 if deep else 8,
        display=source.display if source and deep else "",
    )
