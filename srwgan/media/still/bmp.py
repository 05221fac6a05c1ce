"""BMPs whose samples lie in bit fields that neither Pillow nor FFmpeg knows.

    header (14) | DIB header (40 or more) | masks of red, green, blue, alpha | pixels, rows of 4-byte multiples

Source: Windows GDI, BITMAPV4HEADER.
"""

import struct

import numpy as np

BIT_FIELDS, BIT_FIELDS_ALPHA = 3, 6  # compressions
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


def sample(packed, mask):
    """The bits of one mask as levels 0..255."""
    shift = (mask & -mask).bit_length() - 1
    most = mask >> shift
    values = (packed & np.uint32(mask)) >> np.uint32(shift)
    return ((values.astype(np.uint64) * 255 + most // 2) // most).astype(np.uint8)
