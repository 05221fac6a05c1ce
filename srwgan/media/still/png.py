"""PNG's chunks: whether they are whole, and those that say what the colors mean.

A PNG is a signature of 8 bytes, then chunks:

    +--------+------+-----------------+----------+
    | length | name | body            | checksum |     the checksum (CRC-32) covers name and body
    |   4    |  4   | `length` bytes  |    4     |
    +--------+------+-----------------+----------+

A name that starts with a small letter is ancillary: the picture can be shown without it.
Source: Portable Network Graphics, third edition, W3C 2025.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from srwgan.media.still.errors import CutOff, Damaged

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# How samples become light, for viewers that find no ICC profile. Chunks on bits and backgrounds speak of other pixels.
COLOR_CHUNKS = ("cICP", "mDCV", "cLLI", "sRGB", "gAMA", "cHRM")
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by color type
# Where each pass of an interlaced PNG starts, and its steps: x, y, step in x, step in y.
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
WHOLE = ((0, 0, 1, 1),)
BLOCK = 1 << 20
FRAME_CHUNKS = ("acTL", "fcTL", "fdAT")  # ancillary by their name, but an animation is not itself without them
SRGB_GAMMA, SRGB_CHROMATICITIES = 45455, (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
SRGB_CODES = (b"\x01\x0d\x00\x01",)  # cICP: primaries of BT.709, transfer of sRGB, RGB, full range


class Chunk(NamedTuple):
    """One chunk of a PNG: its name, where it starts and ends in the file, its body, whether its checksum is right."""

    name: str
    start: int
    end: int
    body: memoryview
    right: bool


def chunks(data: bytes, path) -> Iterator[Chunk]:
    """The chunks up to and with IEND.

    Raises:
        CutOff: a chunk reaches beyond the file's end.
        Damaged: there is no chunk where one is expected.
    """
    view, start = memoryview(data), len(SIGNATURE)
    while start < len(data):
        length, name = struct.unpack(">I4s", bytes(view[start : start + 8]).ljust(8, b"\0"))
        end = start + 12 + length
        if end > len(data):
            if not name.isalpha():
                raise Damaged(f"{path}: damaged: bytes that are no PNG chunk stand at {start}.")
            raise CutOff(f"{path}: damaged: the PNG is cut off in its {name.decode('latin1')} chunk.")
        (checksum,) = struct.unpack(">I", view[end - 4 : end])
        right = zlib.crc32(view[start + 4 : end - 4]) == checksum
        yield Chunk(name.decode("latin1"), start, end, view[start + 8 : end - 4], right)
        if name == b"IEND":
            return
        start = end


def checked(data: bytes, path, notes: list[str]) -> bytes:
    """The PNG as a strict decoder may have it: without ancillary chunks whose checksum is wrong.

    Browsers pass over such chunks. Each of them adds a line to `notes`.

    Raises:
        Damaged: a chunk that the pixels need is cut off, missing or has a wrong checksum.
    """
    kept, names, color_type = [data[: len(SIGNATURE)]], set(), None
    try:
        for chunk in chunks(data, path):
            if not chunk.right and (chunk.name[:1].isupper() or chunk.name in FRAME_CHUNKS):
                raise Damaged(f"{path}: damaged: the checksum of its {chunk.name} chunk is wrong.")
            if not chunk.right:
                notes.append(f"{path}: its {chunk.name} chunk is damaged and is left out.")
                continue
            if chunk.name == "IHDR" and len(chunk.body) == 13:
                color_type = chunk.body[9]
            if chunk.name == "PLTE" and color_type in (0, 4):
                continue  # forbidden in gray, and passed over by browsers
            names.add(chunk.name)
            kept.append(data[chunk.start : chunk.end])
    except CutOff:
        if "IDAT" not in names or "acTL" in names or cut_in_pixels(kept):
            raise
        notes.append(f"{path}: its end, after the pixels, is cut off.")
    if color_type is None or "IDAT" not in names or (color_type == 3 and "PLTE" not in names):
        missing = "IHDR" if color_type is None else "IDAT" if "IDAT" not in names else "PLTE"
        raise Damaged(f"{path}: damaged: the PNG has no {missing} chunk.")
    if "IEND" not in names:
        kept.append(b"\0\0\0\0IEND\xaeB`\x82")
    return b"".join(kept)


def cut_in_pixels(kept):
    """Whether the compressed pixels of these chunks (bytes each) have not come to their end."""
    stream = zlib.decompressobj()
    try:
        for chunk in kept[1:]:
            if chunk[4:8] == b"IDAT":
                stream.decompress(chunk[8:-4])
    except zlib.error:
        return True
    return not stream.eof


def check_pixels(data: bytes, path):
    """Raises `Damaged` where the compressed pixels are broken, or fewer than the picture's.

    Decoders show what there is, and leave the rest black.
    """
    parts = {}
    for chunk in chunks(data, path):
        parts.setdefault(chunk.name, []).append(chunk.body)
    width, height, bits, color_type, _, _, interlaced = struct.unpack(">II5B", parts["IHDR"][0])
    pixel_bits = bits * CHANNELS.get(color_type, 1)
    expected = sum(
        rows * (1 + -(-columns * pixel_bits // 8))
        for rows, columns in (pass_size(width, height, *step) for step in (ADAM7 if interlaced else WHOLE))
        if rows and columns
    )
    stream, there = zlib.decompressobj(), 0
    try:
        for part in parts["IDAT"]:
            waiting = bytes(part)
            while waiting and there < expected:
                there += len(stream.decompress(waiting, BLOCK))
                waiting = stream.unconsumed_tail
    except zlib.error:
        raise Damaged(f"{path}: damaged: the pixels of the PNG cannot be decoded.") from None
    if there < expected:
        raise CutOff(f"{path}: damaged: the pixels of the PNG end early.")


def pass_size(width, height, x, y, step_x, step_y):
    """(rows, columns) of a pass of an interlaced PNG."""
    return -(-max(height - y, 0) // step_y), -(-max(width - x, 0) // step_x)


def color_chunks(data: bytes, path) -> dict[str, bytes]:
    """The bodies of `COLOR_CHUNKS` that a whole PNG has."""
    found = {}
    for chunk in chunks(data, path):
        if chunk.name == "IDAT":
            break
        if chunk.name in COLOR_CHUNKS:
            found.setdefault(chunk.name, bytes(chunk.body))
    return found


def is_plain_srgb(colors: dict[str, bytes], has_profile: bool) -> bool:
    """Whether a viewer that knows no color chunks shows the picture as one that does (`has_profile`: by ICC)."""
    if "cICP" in colors:
        return colors["cICP"] in SRGB_CODES
    if has_profile or "sRGB" in colors:
        return True
    gamma = struct.unpack(">I", colors["gAMA"])[0] if len(colors.get("gAMA", b"")) == 4 else SRGB_GAMMA
    chromaticities = SRGB_CHROMATICITIES
    if len(colors.get("cHRM", b"")) == 32:
        chromaticities = struct.unpack(">8I", colors["cHRM"])
    near = all(abs(one - other) <= 100 for one, other in zip(chromaticities, SRGB_CHROMATICITIES, strict=True))
    return near and abs(gamma - SRGB_GAMMA) <= 500
