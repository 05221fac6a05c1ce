"""GIFs and videos through an upscaler, a frame at a time, each into a GIF or a video.

`Upscaler.frames` pulls and upscales frames in threads of its own while they are encoded here: the three overlap, and
memory does not grow with the number of frames.
"""

import hashlib
import math
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import chain, islice

import numpy as np

from srwgan.media.animation import WRITERS, AnimationReader
from srwgan.media.gif import Debander, GifReader, GifWriter, Trial, build_palette, optimize_gif
from srwgan.media.still.encoding import Extras
from srwgan.media.still.images import flattened
from srwgan.media.still.metadata import decoded
from srwgan.media.video import VideoReader, VideoWriter, keeps_bits
from srwgan.media.video.segments import LastResult, parts_folder
from srwgan.media.video.writer import SEGMENT_FRAMES
from srwgan.pixels import resize
from srwgan.prefetch import prefetched
from srwgan.whole_files import check_file, check_unchanged

FASTEST_GIF_MS = 20  # players show frames of 0 and 10 ms for 100 ms


def upscale_clip(
    upscaler, source, target, *, kind: str, options, progress: Callable, say: Callable[[str], None]
) -> list[str]:
    """Upscale the GIF, animation or video `source` into `target`, a GIF, animation or video by its suffix.

    Args:
        kind: of the source: "gif", "animation" or "video".
        options: an `options.Options`.
        progress: called with (frames done, frames in all or None).
        say: called with lines that are to be shown before the work.

    Returns:
        Lines to show to the user after it.
    """
    read = READERS[kind]
    suffix = target.suffix.lower()
    write = write_gif if suffix == ".gif" else write_animation if suffix in WRITERS else write_video
    with read(source, options) as clip:
        if clip.video and write is write_video:
            clip.video.deep = clip.video.info.bits > 8 and keeps_bits(target, options.codec)
        write(upscaler, clip, target, options=options, progress=progress, say=say)
    return clip.notes + lost_extras(target, clip.extras)


# What files of an ending hold besides frames; videos hold what comes from a video, see `mux`.
HELD = {
    ".gif": ("comment",),
    ".png": ("icc_profile", "colors", "exif", "xmp", "comment"),
    ".apng": ("icc_profile", "colors", "exif", "xmp", "comment"),
    ".webp": ("icc_profile", "exif", "xmp"),
    ".avif": ("icc_profile", "exif", "xmp"),
}


def lost_extras(target, extras):
    """Lines about what of an animation's extras its result does not hold."""
    words = {"icc_profile": "ICC profile", "colors": "color chunks", "exif": "EXIF", "xmp": "XMP", "comment": "comment"}
    held = HELD.get(target.suffix.lower(), ())
    lost = [word for name, word in words.items() if name not in held and getattr(extras, name)]
    return [f"{target}: left out, since {target.suffix[1:]} does not hold it: {', '.join(lost)}."] if lost else []


@dataclass(frozen=True)
class Clip:
    """A GIF, animation or video being read.

    Attributes:
        frames: called with how many to leave out at the start, iterates over (pixels, start, duration). Pixels are
            uint8 (H, W, 3 or 4), uint16 of a deep video; times are ms, the duration None where the next frame's start
            tells it.
        size: (width, height).
        frame_count: may be None, or a guess for a video.
        loop: how often it plays: None once, 0 for ever, n repeats it n times after the first.
        comments: a GIF's.
        extras: an animation's profile and metadata.
        video: the `VideoReader`, or None.
        notes: lines to show to the user.
    """

    frames: Callable
    size: tuple[int, int]
    frame_count: int | None
    loop: int | None = 0
    comments: tuple[bytes, ...] = ()
    extras: Extras = field(default_factory=Extras)
    video: VideoReader | None = None
    notes: list[str] = field(default_factory=list)


@contextmanager
def read_gif(path, options):
    """Gives the `Clip` of a GIF."""
    before = check_file(path)
    with GifReader(path) as reader:
        check_size(path, reader.size, options)
        smooth = Debander(None if reader.local_palettes else reader.palette) if options.deband else np.asarray
        clip = Clip(
            played(reader, smooth, lambda: check_unchanged(path, before)),
            reader.size,
            reader.frame_count,
            reader.loop,
            tuple(reader.comments),
            Extras(comment=decoded(b"\n".join(reader.comments)) or None),
        )
        yield clip
        clip.notes.extend(reader.messages)  # which are known once it was read through


@contextmanager
def read_animation(path, options):
    """Gives the `Clip` of an APNG, animated WebP or AVIF sequence."""
    with AnimationReader(path, options.max_pixels) as reader:
        clip = Clip(played(reader), reader.size, reader.frame_count, reader.loop, extras=reader.extras)
        clip.notes.extend(reader.messages)
        yield clip


def played(reader, smooth=np.asarray, at_end=lambda: None):
    """What `Clip.frames` is, of a reader that gives (rgba, ms); RGB where nothing of the whole is transparent."""
    transparent = any((frame[..., 3] < 255).any() for frame, _ in reader)

    def frames(skip=0):
        start = 0
        for number, (frame, duration) in enumerate(reader):
            if number >= skip:
                frame = frame if transparent else np.ascontiguousarray(frame[..., :3])
                yield smooth(frame), start, duration
            start += duration
        at_end()

    return frames


def check_size(path, size, options):
    width, height = size
    if width * height > options.max_pixels:
        raise ValueError(f"{path}: {width}x{height} pixels. Expected at most {options.max_pixels:,} in all.")


@contextmanager
def read_video(path, options):
    """Gives the `Clip` of a video."""
    with VideoReader(path) as reader:
        check_size(path, reader.size, options)

        def frames(skip=0):
            for frame, start in reader.frames(skip):
                yield frame, start * 1000, None

        clip = Clip(frames, reader.size, reader.frame_count, video=reader)
        yield clip
        clip.notes.extend(reader.messages)


READERS = {"gif": read_gif, "animation": read_animation, "video": read_video}  # by the kind of the source


# Writing


def write_gif(upscaler, clip, path, *, options, progress, say):
    """Upscales a `Clip` into a GIF. Arguments as of `upscale_clip`; so are those of the next two."""
    size = options.result_size(*clip.size, upscaler.scale)
    frames = clip.frames() if clip.video is None else with_durations(thinned(clip), clip)
    palette = options.palette
    if palette == "global":
        palette = build_palette(frame for frame, *_ in clip.frames())  # the source's colors: the result's are those
    with Trial(path) if options.gifsicle else nullcontext() as trial:
        stored = trial.add if trial else None
        writer = GifWriter(path, size, clip.loop, clip.comments, palette=palette, dither=options.dither, stored=stored)
        with writer, upscaled(upscaler, frames, size=size, options=options) as results:
            first = list(islice(results, 1))  # pulled here: the upscaler's threads have the priority of who starts them
            written = (writer.write(pixels, float(duration)) for pixels, _, duration in chain(first, results))
            with closing(prefetched(written, gives_way=True)) as ticks:
                for done, _ in enumerate(ticks, 1):
                    progress(done, clip.frame_count)
        if trial and (writer.local_palettes or trial.gains()):  # else there is nothing to do, and nothing to say
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                optimize_gif(path, trial=trial)
            clip.notes.extend(str(warning.message) for warning in caught)


def write_animation(upscaler, clip, path, *, options, progress, say):
    """Upscales a `Clip` into an APNG, animated WebP or AVIF sequence."""
    size = options.result_size(*clip.size, upscaler.scale)
    frames = clip.frames() if clip.video is None else with_durations(clip.frames(), clip)
    with WRITERS[path.suffix.lower()](path, size, clip.loop, extras=clip.extras, quality=options.quality) as writer:
        with upscaled(upscaler, frames, size=size, options=options) as results:
            first = list(islice(results, 1))  # see write_gif
            written = (writer.write(pixels, duration) for pixels, _, duration in chain(first, results))
            with closing(prefetched(written, gives_way=True)) as ticks:
                for done, _ in enumerate(ticks, 1):
                    progress(done, clip.frame_count)
    clip.notes.extend(writer.messages)


def write_video(upscaler, clip, path, *, options, progress, say):
    """Upscales a `Clip` into a video, and says where one goes on that was interrupted."""
    size = options.result_size(*clip.size, upscaler.scale)
    writer = VideoWriter(
        path,
        size,
        source=clip.video,
        codec=options.codec,
        crf=options.crf,
        pixel_aspect=1 if options.size else None,
        resume=options.resume,
        deep=bool(clip.video and clip.video.deep),
        settings=job_settings(upscaler, options),
    )
    last_result, written = LastResult(parts_folder(path)), None
    try:
        with writer:
            skip = writer.frames_done
            saved = last_result.load(skip) if options.steady else None
            first, first_result = (saved[0] - 1, saved[1]) if saved else (skip, None)  # the frame to go on from
            if skip:
                of_all = f" of about {clip.frame_count}" if clip.frame_count else ""
                say(f"{path}: goes on after {skip} frames{of_all}, at {writer.goes_on_at:.2f} s.")
            frames = clip.frames(first) if clip.video else as_browsers_play(clip, first)
            with upscaled(upscaler, frames, options=options, first_result=first_result) as results:
                for done, (pixels, start, duration) in enumerate(results, first + 1):
                    if done <= skip:
                        continue
                    seconds = None if duration is None else Fraction(duration) / 1000
                    writer.write(opaque(resize(pixels, size)), Fraction(start) / 1000, seconds)
                    written = done, pixels
                    if options.steady and (done - skip) % SEGMENT_FRAMES == 0:  # a segment is whole
                        last_result.save(*written)
                    progress(done, clip.frame_count)
    except BaseException as error:
        if options.steady and written and not isinstance(error, Exception):  # Ctrl-C, which leaves all frames there
            last_result.save(*written)
        raise
    finally:
        clip.notes.extend(writer.messages)


def job_settings(upscaler, options):
    """What an unfinished video's frames depend on. --resume goes on only where it is the same."""
    same = {name: value for name, value in asdict(options).items() if name not in ("resume", "reuse", "gifsicle")}
    return {"model": fingerprint(upscaler), "options": same}


def fingerprint(upscaler):
    """A hash of what an upscaler makes of one picture, which tells models and precisions apart."""
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    return hashlib.sha256(upscaler.image(picture).tobytes()).hexdigest()


def opaque(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3 or 4) -> (H, W, 3): transparent parts on white."""
    return flattened(pixels) if pixels.shape[-1] == 4 else pixels


# Times


def with_durations(frames, clip):
    """Yields a video's frames with the duration of each: until the next one, or until the end."""
    held = None
    for pixels, start, _ in frames:
        if held is not None:
            yield *held, start - held[1]
        held = pixels, start
    if held is not None:
        yield *held, max(FASTEST_GIF_MS, clip.video.end * 1000 - held[1])


def thinned(clip):
    """Yields a video's frames without those that a GIF's players cannot show for so short a time."""
    due, dropped = -math.inf, 0
    for pixels, start, duration in clip.frames():
        if start < due:
            dropped += 1
            continue
        due = start + FASTEST_GIF_MS
        yield pixels, start, duration
    if dropped:
        clip.notes.append(f"{clip.video.path}: {dropped} frames left out: a GIF shows at most 50 a second.")


def as_browsers_play(clip, skip):
    """Yields a GIF's frames. Browsers show those of 0 and 10 ms for 100 ms: so does the video."""
    start = 0
    for number, (pixels, _, duration) in enumerate(clip.frames()):
        duration = duration if duration >= FASTEST_GIF_MS else 100
        if number >= skip:
            yield pixels, start, duration
        start += duration


@contextmanager
def upscaled(upscaler, frames, *, options, size=None, first_result=None):
    """Gives an iterator over (upscaled pixels, start, duration) of frames that come as such.

    Args:
        size: (width, height) that they are resized to.
        first_result: see `TiledUpscaler.frames`.
    """
    times = deque()  # the upscaler is some frames ahead

    def pixels_only():
        with closing(frames):
            for pixels, *time in frames:
                times.append(time)
                yield pixels

    how = {"reuse": options.reuse}
    if options.steady:  # which not every upscaler knows
        how |= {"steady": True, "first_result": first_result}
    with closing(upscaler.frames(pixels_only(), **how)) as results:
        yield ((resize(result, size) if size else result, *times.popleft()) for result in results)
