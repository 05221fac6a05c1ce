"""Any folder of files through the readers and writers, each held against what a second decoder shows.

    python3 tests/sweep.py FOLDER [--report report.csv] [--seconds 60]

An upscaler that repeats pixels stands in for the network, so that what should come out is known: of the picture that
the second decoder (FFmpeg, by PyAV; Pillow where FFmpeg knows no such file) shows, every pixel twice as wide and high.
Frames, times, loops and metadata are held against the source. Each file has a process of its own, and so many seconds.

Verdicts, one a file, in the order of how much they matter:

    crash        an error that is not one clear line, or a process that died
    hang         not done after --seconds
    differs      other pixels, frames, times, loops than the second decoder or the source shows, without a line
    lost         metadata that the source has, its result has not, and no line names
    refused      one line says why; in brackets, whether the second decoder shows the file
    told         as "differs" or "lost", and a line says so
    same         what is expected
"""

import argparse
import csv
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from srwgan.commandline import one_line  # noqa: E402
from srwgan.convert.files import upscale_file  # noqa: E402
from srwgan.convert.jobs import Job, kind_of, plan_target  # noqa: E402
from srwgan.convert.options import Options  # noqa: E402
from srwgan.media.animation import AnimationReader  # noqa: E402
from srwgan.media.gif import GifReader  # noqa: E402
from srwgan.media.still.images import read_image  # noqa: E402
from srwgan.media.still.metadata import UPRIGHT, stored_orientation  # noqa: E402
from srwgan.media.still.second_decoder import pixels_of  # noqa: E402

VERDICTS = ("crash", "hang", "differs", "lost", "refused", "told", "same")
LOSSY = ("JPEG", "WEBP", "AVIF", "HEIF", "MPO", "JPEG2000")  # whose decoders may differ by a little
MEAN_LOSSY, MEAN_VIDEO = 4.0, 16.0  # of 255
OTHER_FORMAT = "instead"  # in lines that say no more than that a result has another format
CLEAR_ERRORS = (ValueError, OSError, ImportError, MemoryError)


class Repeat:
    """Stands in for an `Upscaler`: every pixel becomes 2 x 2."""

    scale = 2

    def image(self, pixels, progress=None):
        return pixels.repeat(2, 0).repeat(2, 1)

    def frames(self, frames, reuse=True):
        yield from map(self.image, frames)


@dataclass
class Row:
    """What became of one file: a line of the report."""

    file: str
    kind: str = ""
    verdict: str = "same"
    details: list[str] = field(default_factory=list)

    def add(self, verdict: str, detail: str):
        """Takes the worse of two verdicts."""
        self.verdict = min(self.verdict, verdict, key=VERDICTS.index)
        self.details.append(detail)


def sweep(folder, seconds: float = 60, processes: bool = True):
    """Yields a `Row` for each file under `folder`, sorted."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    worker = Worker() if processes else None
    try:
        for path in files:
            yield worker.examine(path, seconds) if worker else examined(path)
    finally:
        if worker:
            worker.stop()


class Worker:
    """A process that examines files, and another one after each that dies or hangs."""

    def __init__(self):
        self._process = self._connection = None

    def examine(self, path, seconds):
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        self._connection.send(path)
        try:
            if self._connection.poll(seconds):
                return self._connection.recv()
            verdict = "hang"
        except (EOFError, OSError):
            verdict = "crash"
        self.stop()
        return Row(str(path), verdict=verdict, details=[f"after {seconds:g} s" if verdict == "hang" else "it died"])

    def stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def serve(connection):
    while True:
        connection.send(examined(connection.recv()))


def examined(path) -> Row:
    """The `Row` of one file."""
    row = Row(str(path))
    try:
        row.kind = kind_of(path)
        with tempfile.TemporaryDirectory() as folder:
            options = Options(quality=100, crf=1, gifsicle=False)
            target, notes = plan_target(Job(path, Path(folder)), scale=2, options=options)
            notes += upscale_file(Repeat(), path, target, options=options)
            row.details += notes
            {"image": hold_image, "gif": hold_clip, "animation": hold_clip, "video": hold_video}[row.kind](
                path, target, row, told=any(OTHER_FORMAT not in note for note in notes)
            )
    except CLEAR_ERRORS as error:
        line = one_line(error, path)
        shown = second_decoder_shows(path)
        row.add(
            "refused" if "\n" not in line else "crash",
            f"{line} [a second decoder {'shows' if shown else 'refuses'} it]",
        )
    except Exception as error:
        row.add("crash", f"{type(error).__name__}: {error}")
    return row


# What is held against what


def hold_image(path, target, row, told):
    result, expected = read_image(target), second_picture(path)
    if expected is None:
        row.add("told" if told else "same", "no second decoder knows it")
    else:
        wanted = Repeat().image(expected)
        error = difference(result.pixels, wanted)
        most = MEAN_LOSSY if read_image(path).format in LOSSY or target.suffix.lower() in (".jpg", ".jpeg") else 0
        if error is None:
            row.add("told" if told else "differs", f"{result.pixels.shape} instead of {wanted.shape}")
        elif error > most:
            row.add("told" if told else "differs", f"a mean of {error:.2f} of 255 from a second decoder")
    for name in lost_metadata(path, target):
        row.add("told" if told else "lost", name)


def hold_clip(path, target, row, told):
    read = GifReader if row.kind == "gif" else AnimationReader
    with read(path) as before, read(target) as after:
        if before.frame_count != after.frame_count:
            row.add("differs", f"{after.frame_count} frames instead of {before.frame_count}")
        if before.loop != after.loop:
            row.add("told" if told else "differs", f"loop {after.loop} instead of {before.loop}")
        durations = [[duration for _, duration in reader] for reader in (before, after)]
        if np.abs(np.subtract(*map(np.cumsum, durations))).max() > 10:
            row.add("told" if told else "differs", "other times")
        compare_frames(path, target, row, before, after, told)


def compare_frames(path, target, row, before, after, told):
    worst, count = 0.0, 0
    for (frame, _), (result, _), shown in zip(before, after, second_frames(path), strict=False):
        count += 1
        worst = max(worst, difference(result, Repeat().image(frame)) or 0)
        if shown is not None and shown.shape[:2] == frame.shape[:2]:
            error = difference(frame, shown)
            if error is not None and error > (0.5 if row.kind == "gif" else MEAN_LOSSY):
                row.add("told" if told else "differs", f"frame {count}: a mean of {error:.2f} from a second decoder")
                break
    if worst > MEAN_LOSSY:
        row.add("told" if told else "differs", f"the result is a mean of {worst:.2f} from its source")


def hold_video(path, target, row, told):
    import av

    lengths = []
    for file in (path, target):
        with av.open(str(file)) as container:
            times = [frame.pts * frame.time_base for frame in decodable(container) if frame.pts is not None]
            sounds = len(container.streams.audio), len(container.streams.subtitles)
            lengths.append((len(times), float(max(times, default=0) - min(times, default=Fraction(0))), sounds))
    (frames, seconds, tracks), (frames_after, seconds_after, tracks_after) = lengths
    if frames != frames_after:
        row.add("told" if told else "differs", f"{frames_after} frames instead of {frames}")
    if abs(seconds - seconds_after) > max(0.1, seconds / 50):
        row.add("told" if told else "differs", f"{seconds_after:.2f} s instead of {seconds:.2f}")
    if tracks != tracks_after:
        row.add("told" if told else "lost", f"tracks of sound and subtitles {tracks_after} instead of {tracks}")


def decodable(container):
    """The frames of an open video, past damaged packets."""
    import av

    for packet in container.demux(container.streams.video[0]):
        try:
            yield from packet.decode()
        except av.FFmpegError:
            continue


def difference(pixels, wanted):
    """The mean absolute difference, in 1/255, of two pictures as seen on white or on black; None of other sizes."""
    if pixels.shape[:2] != wanted.shape[:2]:
        return None
    one, other = (in_rgba(part) for part in (pixels, wanted))
    errors = []
    for ground in (0.0, 255.0):
        seen = [part[..., :3] * part[..., 3:] / 255 + ground * (1 - part[..., 3:] / 255) for part in (one, other)]
        errors.append(np.abs(seen[0] - seen[1]).mean())
    error = max(errors)
    return 0.0 if error < 0.01 else float(error)


def in_rgba(pixels):
    pixels = pixels.astype(np.float32) / (257 if pixels.dtype == np.uint16 else 1)
    alpha = pixels[..., -1:] if pixels.shape[-1] in (2, 4) else np.full((*pixels.shape[:2], 1), 255, np.float32)
    colors = pixels[..., :-1] if pixels.shape[-1] in (2, 4) else pixels
    return np.concatenate([np.broadcast_to(colors, (*pixels.shape[:2], 3)), alpha], axis=-1)


def lost_metadata(path, target):
    """Names of what Pillow finds in the source and not in the result."""
    found = []
    for file in (path, target):
        try:
            with Image.open(file) as image:
                image.load()
                profile = image.info.get("icc_profile")
                kept = image.mode in ("RGB", "RGBA", "L", "LA") and profile and profile[16:20] in (b"RGB ", b"GRAY")
                tags = {tag for tag in image.getexif() if tag in (270, 271, 272, 305, 306, 315, 33432)}
                found.append({
                    "ICC profile": bool(kept), "resolution": "dpi" in image.info and file.suffix != ".webp",
                    "XMP": bool(image.info.get("xmp")), "EXIF": len(tags), "gamma": "gamma" in image.info,
                    "comment": bool(image.info.get("comment")) and image.format != "GIF",
                })  # fmt: skip
        except Exception:
            return []
    before, after = found
    result = [name for name in before if before[name] and not after[name]]
    if "comment" in result and Path(target).suffix.lower() in (".png", ".tif"):
        result.remove("comment")  # it is a text there
    return result


# The second decoder


def second_picture(path):
    """(H, W, C) pixels, upright, by FFmpeg; by Pillow where FFmpeg decodes none; None where neither does."""
    try:
        import av

        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            pixels = pixels_of(frame)
        if path.suffix.lower() == ".avif" and pixels.shape[-1] != 4:  # whose alpha is a stream of its own there
            pixels = pillow_picture(path)
    except Exception:
        pixels = pillow_picture(path)
    if pixels is None:
        return None
    try:
        with Image.open(path) as image:
            orientation = image.getexif().get(274, 1)
            if image.mode in ("CMYK", "LAB", "YCbCr") and image.format != "JPEG":
                return None  # which FFmpeg shows without a profile
    except Exception:
        orientation = stored_orientation(None)
    return UPRIGHT.get(orientation, UPRIGHT[1])(pixels)


def pillow_picture(path):
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGBA"))
    except Exception:
        return None


def second_frames(path):
    """The frames of a GIF or animation by FFmpeg, or by Pillow where FFmpeg plays none; then None for ever."""
    try:
        import av

        with av.open(str(path)) as container:
            if path.suffix.lower() == ".avif":
                raise ValueError("its alpha is a stream of its own there")
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgba")
    except Exception:
        try:
            with Image.open(path) as image:
                for frame in ImageSequence.Iterator(image):
                    yield np.asarray(frame.convert("RGBA"))
        except Exception:
            pass
    while True:
        yield None


def second_decoder_shows(path):
    try:
        import av

        with av.open(str(path)) as container:
            return next(container.decode(video=0), None) is not None
    except Exception:
        return pillow_picture(path) is not None


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--report", type=Path, default=Path("sweep.csv"))
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args(argv)
    counts = Counter()
    with open(args.report, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "kind", "verdict", "details"])
        for row in sweep(args.folder, args.seconds):
            counts[row.verdict] += 1
            writer.writerow([os.path.relpath(row.file, args.folder), row.kind, row.verdict, " | ".join(row.details)])
            if row.verdict in ("crash", "hang", "differs", "lost"):
                print(f"{row.verdict:8} {row.file}: {' | '.join(row.details)}", flush=True)
    print(", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]), f"-> {args.report}")
    return 1 if counts["crash"] or counts["hang"] or counts["differs"] or counts["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())
