"""Y'CbCr and RGB: which matrix and range a video frame has, and the conversions both ways.

FFmpeg's scaler takes BT.601 and limited range for what it is not told. So matrix and range are always given for both
ends.
"""

from srwgan.media.video.pyav import import_av

# Numbers of ITU-T H.273, as FFmpeg has them.
BT709, UNSPECIFIED, FCC, BT470BG, SMPTE170M, SMPTE240M, BT2020, BT2020_CONSTANT = 1, 2, 4, 5, 6, 7, 9, 10
RESERVED = (0, 3)
LIMITED, FULL = 1, 2
PQ, HLG = 16, 18  # transfer characteristics of high dynamic range
SCALER_MATRIX = {
    BT709: 1, FCC: 4, BT470BG: 5, SMPTE170M: 5, SMPTE240M: 7, BT2020: 9, BT2020_CONSTANT: 9,
}  # H.273 matrix -> the scaler's own number for it  # fmt: skip
# Full-resolution chroma and exact rounding: without them each pixel takes its nearest chroma sample.
INTERPOLATION = 2 | 0x2000 | 0x4000 | 0x40000  # BILINEAR | FULL_CHR_H_INT | FULL_CHR_H_INP | ACCURATE_RND


def guessed_matrix(width: int, height: int) -> int:
    """The H.273 matrix of a video that names none, by the players' rule: BT.709 for HD, BT.601 below."""
    return BT709 if width >= 1280 or height >= 720 else SMPTE170M


def frame_matrix(frame) -> int:
    """The H.273 matrix of a decoded frame. It is guessed from the size where the frame names none."""
    return frame.colorspace if frame.colorspace in SCALER_MATRIX else guessed_matrix(frame.width, frame.height)


def frame_range(frame) -> int:
    """LIMITED (luma 16 to 235) or FULL (0 to 255), of a decoded frame. Y'CbCr that does not say is limited."""
    if frame.color_range in (LIMITED, FULL):
        return frame.color_range
    return FULL if frame.format.is_rgb or frame.format.name.startswith("yuvj") else LIMITED


class RgbConverter:
    """Decoded frames -> (H, W, 3) RGB, full range, at one `size` (width, height): uint8, or uint16 with `deep`."""

    def __init__(self, size, deep: bool = False):
        import_av()
        from av.video.reformatter import VideoReformatter

        self._size, self._format, self._scaler = size, "rgb48le" if deep else "rgb24", VideoReformatter()

    def __call__(self, frame):
        matrix = SCALER_MATRIX[frame_matrix(frame)]
        rgb = self._scaler.reformat(
            frame, *self._size, self._format, src_colorspace=matrix, dst_colorspace=matrix,
            src_color_range=frame_range(frame), dst_color_range=FULL, interpolation=INTERPOLATION,
        )  # fmt: skip
        return rgb.to_ndarray()


class YuvConverter:
    """(H, W, 3) RGB, full range -> 4:2:0 frames, limited range, of the H.273 `matrix` given.

    uint8 becomes 8 bits a sample, uint16 10 bits with `deep`.
    """

    def __init__(self, matrix, deep: bool = False):
        self._av = import_av()
        from av.video.reformatter import VideoReformatter

        self._matrix, self._scaler = SCALER_MATRIX[matrix], VideoReformatter()
        self._formats = ("rgb48le", "yuv420p10le") if deep else ("rgb24", "yuv420p")

    def __call__(self, rgb):
        height, width = rgb.shape[:2]
        return self._scaler.reformat(
            self._av.VideoFrame.from_ndarray(rgb, format=self._formats[0]), width, height, self._formats[1],
            src_colorspace=self._matrix, dst_colorspace=self._matrix,
            src_color_range=FULL, dst_color_range=LIMITED, interpolation=INTERPOLATION,
        )  # fmt: skip
