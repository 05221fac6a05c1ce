"""TIFF and what is laid out like one: samples that Pillow reduces or turns round, and cameras' raw files.

A raw file (DNG, NEF, CR2, ARW, ...) is a TIFF whose first directory often holds a thumbnail alone; its picture lies in
a sub-directory:

    IFD 0  48 x 32, NewSubfileType 1 (reduced)  --SubIFDs-->  240 x 160, NewSubfileType 0 (the picture)

Sources: TIFF 6.0, Adobe 1992; Digital Negative Specification 1.7, Adobe 2023.
"""

import io
import os
import re
import tempfile
import threading
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from srwgan.media.still.errors import Damaged, ReadError, Unsupported, unsupported
from srwgan.media.still.second_decoder import decode_by_ffmpeg

DNG_VERSION = 50706
CFA, LINEAR_RAW = 32803, 34892  # photometric interpretations of what a sensor saw
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
REDUCED = 1  # the bit of NewSubfileType
CAMERA_SUFFIXES = (
    ".arw",
    ".cr2",
    ".dng",
    ".erf",
    ".iiq",
    ".kdc",
    ".nef",
    ".nrw",
    ".pef",
    ".rwl",
    ".sr2",
    ".srf",
    ".srw",
)


class TiffPage(NamedTuple):
    """What the directory that holds the picture says of it.

    Attributes:
        width, height: in pixels.
        bits: of a sample; 0 where they differ.
        signed, floating: whether samples are.
        samples: channels, extra ones included.
        photometric: the tag's number.
        nested: whether it lies in a sub-directory or a later page, past a thumbnail.
        number: of the page among those that `all_pages` gives.
    """

    width: int
    height: int
    bits: int
    signed: bool
    floating: bool
    samples: int
    photometric: int
    nested: bool
    number: int


def import_tifffile(path):
    try:
        import tifffile  # here, since only TIFF needs it
    except ImportError:
        raise ReadError(f"{path}: TIFF needs: pip install tifffile") from None
    return tifffile


def picture_page(file, path) -> TiffPage | None:
    """The `TiffPage` of the picture in an open TIFF, past the thumbnail of a raw file; None where tifffile cannot tell.

    Raises:
        Unsupported: a raw file, of which there is no picture but what the sensor saw.
    """
    tifffile = import_tifffile(path)
    file.seek(0)
    is_cr2 = file.read(10)[8:] == b"CR"
    file.seek(0)
    try:
        with tifffile.TiffFile(file, _multifile=False) as tiff:
            pages = all_pages(tiff)
            facts = [page_facts(page, number) for number, page in enumerate(pages)]
            is_dng = DNG_VERSION in pages[0].tags
            reduced = [bool(int(page.subfiletype) & REDUCED) for page in pages]
    except Exception:  # a broken TIFF raises all kinds; Pillow says what is wrong with it
        return None
    finally:
        file.seek(0)
    first = facts[0]
    sensor = is_cr2 or any(page.photometric in (CFA, LINEAR_RAW) for page in facts)
    if sensor:
        raise raw_file(path, first if reduced[0] or first.photometric not in (CFA, LINEAR_RAW) else None)
    if not reduced[0] or not (is_dng or str(path).lower().endswith(CAMERA_SUFFIXES) or len(facts) > 1):
        return first
    whole = [page for page, small in zip(facts, reduced, strict=True) if not small]
    larger = max(whole, key=lambda page: page.width * page.height, default=first)
    return larger if larger.width * larger.height > first.width * first.height else first


def all_pages(tiff):
    """The pages of a TIFF with their sub-directories, in order, a first page's before the second page."""
    pages = []
    for page in list(tiff.pages)[:64]:
        page = page.aspage()
        pages += [page, *(sub.aspage() for sub in page.pages or ())]
    return pages


def page_facts(page, number):
    sample_format = int(page.sampleformat or 1)
    bits = page.bitspersample
    return TiffPage(
        width=int(page.imagewidth),
        height=int(page.imagelength),
        bits=int(bits) if isinstance(bits, int) else (int(bits[0]) if len(set(bits)) == 1 else 0),
        signed=sample_format == 2,
        floating=sample_format == 3,
        samples=int(page.samplesperpixel),
        photometric=int(page.photometric),
        nested=number > 0,
        number=number,
    )


def raw_file(path, thumbnail=None):
    only = f"; only its thumbnail of {thumbnail.width}x{thumbnail.height} can be read" if thumbnail else ""
    return Unsupported(f"{path}: a camera's raw file{only}. Expected the picture that a raw converter makes of it.")


def needs_tifffile(page: TiffPage) -> bool:
    """Whether tifffile reads the samples as they are, and Pillow does not: 16 bits of colors, a nested picture."""
    plain = page.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB) and not page.signed and not page.floating
    pillow_reads = page.photometric == BLACK_IS_ZERO and page.samples == 1
    return plain and (page.nested or (page.bits == 16 and not pillow_reads))


def check_samples(page: TiffPage, path):
    """Raises `Unsupported` for samples that are no shares of white: signed ones, floating point, 32 bits."""
    if page.floating:
        raise unsupported(path, "TIFF", f"floating-point samples of {page.bits} bits")
    if page.signed and page.bits > 8:
        raise unsupported(path, "TIFF", f"signed samples of {page.bits} bits", "unsigned samples of 8 or 16 bits")
    if page.bits > 16 or page.bits in (10, 14) or (page.bits == 12 and page.samples > 1):
        raise unsupported(path, "TIFF", f"{page.bits} bits a sample", "8 or 16 bits a sample")


def decode_by_tifffile(data: bytes, page: TiffPage, path) -> np.ndarray:
    """(H, W, C) uint8 or uint16 pixels of one page, before its orientation."""
    tifffile = import_tifffile(path)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        stored = all_pages(tiff)[page.number]
        try:
            pixels = stored.asarray()
        except (ValueError, KeyError, ImportError) as error:
            if "imagecodecs" not in str(error):
                raise
            name = stored.compression.name
            if page.number == 0 and name in ("LZW", "PACKBITS") and page.photometric == RGB:
                return decode_by_ffmpeg(data, path, f"a TIFF of {page.bits} bits with {name} compression")
            needed = f"a TIFF of {page.bits} bits with {name} compression needs: pip install imagecodecs"
            raise ReadError(f"{path}: {needed}") from None
        if stored.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        extra = stored.extrasamples
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if page.photometric == WHITE_IS_ZERO:
        colors = pixels.shape[-1] - bool(extra)
        pixels = np.concatenate([np.iinfo(pixels.dtype).max - pixels[..., :colors], pixels[..., colors:]], axis=-1)
    colors = 3 if page.photometric == RGB else 1
    if not extra or pixels.shape[-1] == colors:
        return pixels[..., :colors]
    if extra[0] == tifffile.EXTRASAMPLE.ASSOCALPHA:
        return straight_alpha(pixels[..., : colors + 1])
    return pixels[..., : colors + (extra[0] == tifffile.EXTRASAMPLE.UNASSALPHA)]


def straight_alpha(pixels):
    """Colors divided by their alpha, of premultiplied (H, W, 2 or 4) uint8 or uint16 pixels."""
    most = np.iinfo(pixels.dtype).max
    alpha = np.maximum(pixels[..., -1:].astype(np.float32), 1)
    colors = np.minimum(pixels[..., :-1] * (most / alpha) + 0.5, most)
    return np.concatenate([colors.astype(pixels.dtype), pixels[..., -1:]], axis=-1)


STDERR = threading.Lock()  # the process has one


@contextmanager
def libtiff_speaks(path):
    """Takes libtiff's own lines off stderr, and raises `Damaged` where they tell of an error that Pillow passed over.

    libtiff prints to the process's stderr without a file name. What other threads print meanwhile is handed on.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # a process without one
        yield
        return
    with STDERR, tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            lines = held.read().decode(errors="replace").splitlines(keepends=True)
            told = [line for line in lines if is_libtiff(line)]
            for line in lines:
                if line not in told:
                    os.write(2, line.encode())
        if any("Warning" not in line for line in told):
            raise Damaged(f"{path}: damaged: the TIFF's pixels cannot be decoded.")


def is_libtiff(line):
    return re.match(r"tempfile\.tif|_?TIFF\w*:|(LZW|ZIP|Fax3|Pixar|JPEG|LogL|PackBits|OJPEG|ThunderDecode)\w*:", line)
