"""The encoded video of an unfinished job, kept in whole segments so that it can go on after an interruption.

A segment is the output of an encoder of its own, started afresh every so many frames: it decodes without any other,
and what its encoder is given are its frames alone. So a job that was interrupted and went on encodes what one that was
not encodes, in the same pieces.

The folder holds `job.json`, which says what the job is, and for each segment N the packets (`N.packets`, one after the
other) and an index (`N.json`), written last and under another name first: a segment whose index is there is whole.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

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
                self._remove_remains()
                return lines
            lines.append(f"{self.path}: made {difference}: starting over.")
        self.remove()
        self.path.mkdir()
        _write_whole(self.path / "job.json", json.dumps(self._job, indent=1).encode())
        return lines

    def new_segment(self):
        """A file to write the next segment's packets to."""
        return open(self.path / f"{len(self.segments):06d}.packets", "wb")

    def add(self, packets_file, index):
        """The segment written to `packets_file` is whole."""
        packets_file.flush()
        os.fsync(packets_file.fileno())
        packets_file.close()
        _write_whole(self.path / f"{len(self.segments):06d}.json", json.dumps(index).encode())
        self.segments.append(index)

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
        kept = {"job.json"}
        for number in range(len(self.segments)):
            kept |= {f"{number:06d}.json", f"{number:06d}.packets"}
        for path in self.path.iterdir():
            if path.name not in kept:
                path.unlink()


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
