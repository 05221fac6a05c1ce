"""The encoded video of an unfinished job, kept in whole segments so that it can go on after an interruption.

A segment is the output of an encoder of its own, started afresh every so many frames: it decodes without any other,
and what its encoder is given are its frames alone. One that was interrupted ends earlier, with what was encoded until
then.

    out.mp4.parts/
        job.json           what the job is
        000000.packets     a segment's packets, one after the other
        000000.json        its index, written last and under another name first: the segment is whole
        000001.packets
        000001.log         of a segment being written: its frames and packets, a line each
        last_result.npz    of frames that are each made of the one before: see `LastResult`

After `kill -9` the log tells how much of the last segment can be kept: packets stand in decoding order, so those from
the first on decode without the rest, and they are kept up to where they are all frames up to a time.

    shown     0  1  2  3  4  5          packets in the file (by the frame shown)   0  3  1  2  5
                                        kept: as many as make frames 0 to n        0  3  1  2
"""

import hashlib
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np

LAST_RESULT = "last_result.npz"
LONGEST_NAME = 255  # bytes, in nearly all file systems
ENDS = 1 << 20  # bytes at either end of a file that its identity covers


class SegmentFolder:
    """The folder `path` of the job that `job` (a dict that JSON can hold) describes.

    `segments` are the indices of the whole segments, in order: dicts with `packets` ([size, pts, key] each, in decoding
    order, pts in ticks), `end` (the tick at which its last frame stops being shown, None where nobody said) and
    `extradata` (the encoder's headers, hexadecimal).
    """

    def __init__(self, path, job):
        self.path, self._job = Path(path), json.loads(json.dumps(job))
        self.segments = []

    def open(self, resume):
        """Starts over, or with `resume` goes on where the folder's job is this one. Returns lines for the user."""
        lines = []
        if resume and self.path.exists():
            difference = self._difference()
            if difference is None:
                self.segments = self._whole_segments()
                rest = salvaged(self.path / f"{len(self.segments):06d}.packets")
                if rest:
                    _write_whole(self.path / f"{len(self.segments):06d}.json", json.dumps(rest).encode())
                    self.segments.append(rest)
                self._remove_remains()
                return lines
            lines.append(f"{self.path}: made {difference}: starting over.")
        self.remove()
        self.path.mkdir()
        _write_whole(self.path / "job.json", json.dumps(self._job, indent=1).encode())
        return lines

    def new_segment(self):
        """The `Segment` to write next."""
        return Segment(self.path / f"{len(self.segments):06d}.packets")

    def add(self, segment, end, extradata):
        """A `Segment` is whole: its last frame stops being shown at the tick `end`, None where nobody said."""
        index = {"packets": segment.packets, "end": end, "extradata": extradata}
        segment.close(whole=True)
        _write_whole(self.path / f"{len(self.segments):06d}.json", json.dumps(index).encode())
        self.segments.append(index)
        segment.log_path.unlink(missing_ok=True)

    def packets(self):
        """Iterates over (payload, pts, key) of all segments, in decoding order."""
        for number, index in enumerate(self.segments):
            with open(self.path / f"{number:06d}.packets", "rb") as file:
                for size, pts, key in index["packets"]:
                    yield file.read(size), pts, key

    def remove(self):
        """Removes the folder. Raises ValueError where it holds something else than a job."""
        if self.path.exists():
            if not (self.path / "job.json").exists() and any(self.path.iterdir()):
                raise ValueError(f"{self.path}: is in the way. Expected no such folder but an interrupted job's.")
            shutil.rmtree(self.path)

    def _difference(self):
        """What of the job the folder was made for differs from this one, in words; None where nothing does."""
        try:
            earlier = json.loads((self.path / "job.json").read_bytes())
            names = sorted(name for name in earlier.keys() | self._job if earlier.get(name) != self._job.get(name))
        except (OSError, ValueError, AttributeError):
            return "by an unknown job"
        return f"with another {', '.join(names)}" if names else None

    def _whole_segments(self):
        segments = []
        while True:
            name = f"{len(segments):06d}"
            try:
                index = json.loads((self.path / f"{name}.json").read_bytes())
                size = os.path.getsize(self.path / f"{name}.packets")
            except (OSError, ValueError):
                return segments
            if size != sum(packet[0] for packet in index["packets"]):
                return segments
            segments.append(index)

    def _remove_remains(self):
        """Removes what follows the whole segments: an index left there could come to stand beside other packets."""
        kept = {"job.json", LAST_RESULT}
        for number in range(len(self.segments)):
            kept |= {f"{number:06d}.json", f"{number:06d}.packets"}
        for path in self.path.iterdir():
            if path.name not in kept:
                path.unlink()


class Segment:
    """A segment being written: the file of its packets, and a log of what is in it.

    Attributes:
        packets: [size, pts, key] each, in decoding order.
        frames: how many the encoder was given.
    """

    def __init__(self, path: Path):
        self.log_path = path.with_suffix(".log")
        self._file, self._log = open(path, "wb"), open(self.log_path, "w", encoding="ascii")
        self.packets, self.frames = [], 0

    def add_frame(self, tick: int):
        """Notes that the encoder was given the frame shown at `tick`."""
        self._note({"frame": tick})
        self.frames += 1

    def add_packets(self, packets, extradata: str):
        """Writes an encoder's packets; `extradata` are its headers, hexadecimal."""
        for packet in packets:
            if not self.packets:
                self._note({"extradata": extradata})
            self._file.write(bytes(packet))
            self._file.flush()
            self.packets.append([packet.size, packet.pts, packet.is_keyframe])
            self._note({"packet": self.packets[-1]})

    def close(self, whole: bool = False):
        """Closes its files, with `whole` once they are on the disk."""
        if whole:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        self._log.close()

    def _note(self, line):
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()


def salvaged(packets_path: Path) -> dict | None:
    """The index of what can be kept of a segment that was being written, None where nothing can."""
    notes = []
    try:
        for line in packets_path.with_suffix(".log").read_text(encoding="ascii").splitlines():
            notes.append(json.loads(line))
    except OSError:
        return None
    except ValueError:  # the last line is cut off
        pass
    ticks = [note["frame"] for note in notes if "frame" in note]
    packets = [note["packet"] for note in notes if "packet" in note]
    extradata = next((note["extradata"] for note in notes if "extradata" in note), None)
    there = packets_path.stat().st_size if packets_path.exists() else 0
    for count in range(len(packets), 0, -1):
        size = sum(packet[0] for packet in packets[:count])
        if size <= there and sorted(packet[1] for packet in packets[:count]) == ticks[:count]:
            os.truncate(packets_path, size)
            return {"packets": packets[:count], "end": None, "extradata": extradata}
    return None


class LastResult:
    """A frame's pixels in the folder of an unfinished video, for frames that are each made of the one before.

    Args:
        folder: of the video.
    """

    def __init__(self, folder: Path):
        self.path = folder / LAST_RESULT

    def save(self, count: int, pixels: np.ndarray):
        """Keeps the last of the first `count` frames, which the video has; nothing where the folder is gone."""
        if self.path.parent.is_dir():
            content = io.BytesIO()
            np.savez(content, count=count, pixels=pixels)
            _write_whole(self.path, content.getbuffer())

    def load(self, most: int) -> tuple[int, np.ndarray] | None:
        """(count, pixels) as saved; None where nothing was, or more frames than the `most` that the video has."""
        try:
            with np.load(self.path) as saved:
                count, pixels = int(saved["count"]), saved["pixels"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        return (count, pixels) if 0 < count <= most else None


def parts_folder(path) -> Path:
    """The folder of the segments of the video `path`: its name and ".parts", or less of it where that is too long."""
    path = Path(path)
    if len(os.fsencode(f"{path.name}.parts")) <= LONGEST_NAME:
        return path.with_name(f"{path.name}.parts")
    return path.with_name(f"{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.parts")


def file_identity(path):
    """What tells the file `path` from another or an earlier one: its size, its time, a hash of its two ends."""
    stat = os.stat(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        digest.update(file.read(ENDS))
        file.seek(max(0, stat.st_size - ENDS))
        digest.update(file.read(ENDS))
    return {"size": stat.st_size, "modified_ns": stat.st_mtime_ns, "ends": digest.hexdigest()}


def _write_whole(path, content):
    temporary = path.with_name(path.name + ".part")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
