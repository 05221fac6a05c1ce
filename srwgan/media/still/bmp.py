"""BMPs: bit fields that neither Pillow nor FFmpeg knows, and whether run-length codes are whole.

    header (14) | DIB header (40 or more) | masks of red, green, blue, alpha | pixels, rows of 4-byte multiples

Source: Windows GDI, BITMAPV4HEADER.
"""

import struct

import numpy as np

BIT_FIELDS, BIT_FIELDS_ALPHA = 3, 6  # compressions
RLE8, RLE4 = 1, 2
BYTES = {16: "<u2", 32: "<u4"}


def has_bit_fields(data: bytes) -> bool:
    """Whether this is a BMP of 16 or 32 bits a pixel with masks."""
    if data[:2] != b"BM" or len(data) < 54:
        return False
    header, bits, compression = *struct.unpack_from("<I", data, 14), *struct.unpack_from("<HI", data, 28)
    return header >= 40 and bits in BYTES and compression in (BIT_FIELDS, BIT_FIELDS_ALPHA)


def decode_bit_fields(data: bytes) -> np.ndarray | None:
    """(H, W, 3 or 4) uint8 pixels of such a BMP, None where it is cut off or its masks overlap."""
    (start,) = struct.unpack_from("<I", data, 10)
    header, width, height, _, bits, compression = struct.unpack_from("<IiiHHI", data, 14)
    count = 4 if header >= 56 or compression == BIT_FIELDS_ALPHA else 3
    masks = [mask for mask in struct.unpack_from(f"<{count}I", data, 54)][: 4 if count == 4 else 3]
    stride = -(-width * bits // 32) * 4
    if width <= 0 or not height or len(data) < start + stride * abs(height) or not all(masks[:3]):
        return None
    stored = np.frombuffer(data, np.uint8, stride * abs(height), start).reshape(abs(height), stride)
    packed = np.ascontiguousarray(stored[:, : width * bits // 8]).view(BYTES[bits]).astype(np.uint32)
    planes = [sample(packed, mask) for mask in masks if mask]
    pixels = np.stack(planes, axis=-1)
    return pixels[::-1] if height > 0 else pixels


def run_length(data: bytes) -> int:
    """The run-length compression of a BMP, `RLE8` or `RLE4`; 0 for another kind."""
    if data[:2] != b"BM" or len(data) < 54 or int.from_bytes(data[14:18], "little") < 40:
        return 0
    compression = int.from_bytes(data[30:34], "little")
    return compression if compression in (RLE8, RLE4) else 0


def runs_are_whole(data: bytes) -> bool:
    """Whether run-length codes go on to the end of the bitmap, or of its last row.

    5 c         five pixels of the color c          0 n ...     n pixels, each with its own, and a byte to even
    0 0         end of the row                      0 2 x y     x pixels to the right and y rows up
    0 1         end of the bitmap
    """
    (at,) = struct.unpack_from("<I", data, 10)
    width, height = struct.unpack_from("<ii", data, 18)
    column, row, per_byte = 0, 0, 2 if run_length(data) == RLE4 else 1
    while at + 2 <= len(data):
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            column += count
        elif value == 0:
            column, row = 0, row + 1
        elif value == 1:
            return True
        elif value == 2:
            if at + 2 > len(data):
                return False
            column, row = column + data[at], row + data[at + 1]
            at += 2
        else:
            stored = -(-value // per_byte)
            at += stored + stored % 2
            column += value
        if row >= abs(height) or (row == abs(height) - 1 and column >= width):
            return True
    return False


def sample(packed, mask):
    """The bits of one mask as levels 0..255."""
    shift = (mask & -mask).bit_length() - 1
    most = mask >> shift
    values = (packed & np.uint32(mask)) >> np.uint32(shift)
    return ((values.astype(np.uint64) * 255 + most // 2) // most).astype(np.uint8)
