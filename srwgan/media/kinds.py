"""What a file is, told by its first bytes: names and endings are often wrong, and many files have none.

A file's *type* is its format in one word ("PNG", "MP4", ...). Its *kind* says how it is upscaled: "image", "gif",
"animation" (APNG, animated WebP, AVIF sequence) or "video".
"""

import struct
from pathlib import Path

from srwgan.whole_files import check_file

HEAD_BYTES = 4096

# Type: the bytes at the start of its files.
IMAGE_SIGNATURES = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "ICO": (b"\0\0\1\0", b"\0\0\2\0"),
    "ICNS": (b"icns",),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "JPEG XL": (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),
    "PSD": (b"8BPS",),
    "DDS": (b"DDS ",),
    "EPS": (b"%!PS", b"\xc5\xd0\xd3\xc6"),
    "PNM": (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7", b"Pf", b"PF"),
    "PCX": (b"\x0a\x00\x01", b"\x0a\x02\x01", b"\x0a\x03\x01", b"\x0a\x04\x01", b"\x0a\x05\x01"),
    "SGI": (b"\x01\xda\x00", b"\x01\xda\x01"),
    "Sun raster": (b"\x59\xa6\x6a\x95",),
    "QOI": (b"qoif",),
    "EXR": (b"v/1\x01",),
    "HDR": (b"#?RADIANCE", b"#?RGBE"),
    "XBM": (b"#define ",),
    "XPM": (b"/* XPM */",),
    "WMF": (b"\xd7\xcd\xc6\x9a", b"\x01\x00\x00\x00"),
    "camera raw": (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM"),
}
VIDEO_SIGNATURES = {
    "Matroska": (b"\x1a\x45\xdf\xa3",),
    "FLV": (b"FLV\x01",),
    "ASF": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",),
    "MPEG": (b"\0\0\1\xba", b"\0\0\1\xb3"),
    "RealMedia": (b".RMF",),
    "IVF": (b"DKIF",),
    "YUV4MPEG2": (b"YUV4MPEG2",),
    "MXF": (b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02",),
    "H.264": (b"\0\0\0\1\x67", b"\0\0\1\x67", b"\0\0\0\1\x09"),
}
# Brands in the `ftyp` box of ISO base media files, which are videos where none of these is said.
BRANDS = {
    "AVIF": (b"avif", b"avis"),
    "HEIF": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"),
    "camera raw": (b"crx ",),
    "audio": (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "),
}
QUICKTIME_ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # of files older than `ftyp`
OGG_VIDEO = (b"\x80theora", b"OVP80", b"BBCD", b"video\0\0\0")
VIDEO_TYPES = {*VIDEO_SIGNATURES, "MP4", "QuickTime", "AVI", "MPEG-TS", "Ogg", "FLIC"}
# Endings that are taken at their word where the first bytes tell nothing.
VIDEO_SUFFIXES = {
    ".3g2", ".3gp", ".amv", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".m2ts", ".m2v", ".m4v", ".mj2", ".mkv",
    ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob",
    ".webm", ".wmv", ".y4m",
}  # fmt: skip
IMAGE_SUFFIXES = {
    ".apng", ".avif", ".bmp", ".cur", ".dds", ".dib", ".dng", ".gif", ".heic", ".heif", ".ico", ".j2k", ".jfif", ".jp2",
    ".jpe", ".jpeg", ".jpg", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".tga", ".tif", ".tiff", ".webp",
}  # fmt: skip
AUDIO_SUFFIXES = {".aac", ".flac", ".m4a", ".m4b", ".mka", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma"}


def kind_of(path) -> str:
    """The kind of the file `path`, by content; by its ending where the content tells nothing.

    Raises:
        FileNotFoundError, IsADirectoryError, ValueError: there is no such file, or it is empty.
    """
    check_file(path)
    with open(path, "rb") as file:
        found = type_of(file.read(HEAD_BYTES))
        if found == "GIF":
            return "gif"
        if found in VIDEO_TYPES:
            return "video"
        if found in ANIMATED and ANIMATED[found](file):
            return "animation"
    suffix = Path(path).suffix.lower()
    if found is None and suffix in VIDEO_SUFFIXES:
        return "video"
    return "gif" if found is None and suffix == ".gif" else "image"


def is_media(path) -> bool:
    """Whether a file found in a folder is one to upscale: its first bytes or its ending are those of some type."""
    suffix = Path(path).suffix.lower()
    if suffix in AUDIO_SUFFIXES:
        return False
    with open(path, "rb") as file:
        found = type_of(file.read(HEAD_BYTES))
    if found in WEAK_TYPES:  # two or three bytes, which a text may begin with
        found = None
    return found not in (None, "audio") or suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES


WEAK_TYPES = {"PNM", "PCX", "SGI", "XBM", "WMF", "ICO", "EPS", "JPEG XL", "BMP"}


def type_of(start: bytes) -> str | None:
    """The type of a file that starts with these bytes (`HEAD_BYTES` of them suffice), None for an unknown one."""
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if start[:4] == b"RIFF":
        return {b"WEBP": "WEBP", b"AVI ": "AVI"}.get(start[8:12])
    if start[4:8] == b"ftyp":
        return iso_type(start)
    for signatures in (IMAGE_SIGNATURES, VIDEO_SIGNATURES):
        for name, beginnings in signatures.items():
            if start.startswith(beginnings) and PLAUSIBLE.get(name, bool)(start):
                return name
    if start[4:8] in QUICKTIME_ATOMS and len(start) > 8:
        return "QuickTime"
    if start[4:6] in (b"\x11\xaf", b"\x12\xaf"):
        return "FLIC"
    if start[:4] == b"OggS":
        return "Ogg" if any(name in start for name in OGG_VIDEO) else "audio"
    if start[:3] == b"ID3" or start[:4] == b"fLaC":
        return "audio"
    for offset, size in ((0, 188), (4, 192), (0, 204)):  # MPEG-TS: a sync byte at the start of every packet
        if len(start) > offset + 2 * size and set(start[offset : offset + 3 * size : size]) == {0x47}:
            return "MPEG-TS"
    return None


# Two letters are no proof: what else such files have at their start.
PLAUSIBLE = {
    "BMP": lambda start: len(start) > 18 and int.from_bytes(start[14:18], "little") in BMP_HEADERS,
    "PNM": lambda start: start[2:3] in (b" ", b"\n", b"\r", b"\t", b"#"),
}
BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)


def iso_type(start):
    """The type of an ISO base media file, by the brands of its `ftyp` box."""
    size = min(max(struct.unpack(">I", start[:4])[0], 16), len(start))
    brands = [start[8:12], *(start[at : at + 4] for at in range(16, size, 4))]
    if brands[0] in (b"mif1", b"msf1") and any(brand in BRANDS["AVIF"] for brand in brands):
        return "AVIF"
    named = next((name for name, known in BRANDS.items() if brands[0] in known), None)
    return named or ("QuickTime" if brands[0] == b"qt  " else "MP4")


# Types that hold a still or an animation: which of them tells a file that is open.


def is_apng(file) -> bool:
    """Whether a PNG has an animation control chunk, of more than one frame, before its pixels."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"acTL":
            return length >= 4 and struct.unpack(">I", file.read(4).rjust(4, b"\0"))[0] > 1
        if name in (b"IDAT", b"IEND"):
            return False
        file.seek(length + 4, 1)
    return False


def is_animated_webp(file) -> bool:
    """Whether a WebP's extended header says that it is an animation."""
    file.seek(12)
    start = file.read(9)
    return start[:4] == b"VP8X" and bool(start[8] & 2)


def is_avif_sequence(file) -> bool:
    """Whether an AVIF names itself a sequence of pictures."""
    file.seek(0)
    start = file.read(HEAD_BYTES)
    size = struct.unpack(">I", start[:4])[0]
    return b"avis" in (start[8:12], *(start[at : at + 4] for at in range(16, min(size, len(start)), 4)))


ANIMATED = {"PNG": is_apng, "WEBP": is_animated_webp, "AVIF": is_avif_sequence}
