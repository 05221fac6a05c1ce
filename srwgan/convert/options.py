"""How results are made and stored: the options of the command line, of the page and of notebooks."""

from dataclasses import dataclass

from srwgan.media.gif.format import DITHERS
from srwgan.media.still.images import MAX_PIXELS, SUFFIXES, check_quality
from srwgan.media.video import CODECS, CONTAINERS

ANIMATION_SUFFIXES = (".apng", ".avif", ".webp")  # those that are a moving result's; .png is one where it is named
MOVING_SUFFIXES = (".gif", *ANIMATION_SUFFIXES, *CONTAINERS)
ALPHAS = ("transparency", "data")
PALETTES = ("adaptive", "frame", "global")


@dataclass(frozen=True)
class Options:
    """How results are made and stored.

    Attributes:
        scale_out: result's size : source's size, instead of the generator's own scale; by Lanczos after the generator.
        size: (width, height) of the result, exactly, instead.
        format: "png", "jpg", "webp", "avif", "heic", "bmp", "tif" for images; "gif", "webp", "apng", "avif", "mp4",
            "mov", "mkv", "webm" for GIFs, animations and videos. Files whose kind it is not for keep their own.
        quality: 1 to 100, of JPEG, WebP, AVIF and HEIC.
        alpha: "transparency", or "data" where an image's fourth channel is something else (a texture's gloss).
        deband: smooth a GIF's dither before upscaling.
        reuse: upscale only what changed since the frame before (exact, faster).
        steady: of GIFs, animations and videos: carry what was made along with the motion, so that it does not shimmer.
        palette, dither: of GIFs, see `PALETTES` and `palettes.DITHERS`.
        gifsicle: make GIFs smaller with gifsicle.
        codec, crf: of videos, see `videos.CODECS`.
        resume: go on with an interrupted video.
        max_pixels: the largest picture that is decoded.
    """

    scale_out: float | None = None
    size: tuple[int, int] | None = None
    format: str | None = None
    quality: int | None = None
    alpha: str = "transparency"
    deband: bool = False
    reuse: bool = True
    steady: bool = False
    palette: str = "adaptive"
    dither: str = "ordered"
    gifsicle: bool = True
    codec: str | None = None
    crf: int | None = None
    resume: bool = False
    max_pixels: int = MAX_PIXELS

    def __post_init__(self):
        if self.scale_out is not None and self.size is not None:
            raise ValueError("Received: scale_out and size. Expected one of them.")
        if self.scale_out is not None and not 0 < self.scale_out <= 64:
            raise ValueError(f"Received: scale_out={self.scale_out:g}. Expected more than 0, at most 64.")
        if self.size is not None and not all(1 <= side <= 100_000 for side in self.size):
            raise ValueError(f"Received: size={self.size[0]}x{self.size[1]}. Expected 1 to 100000 pixels each way.")
        check_quality(self.quality)
        check_choice("format", self.suffix and self.suffix[1:], [s[1:] for s in (*SUFFIXES, *MOVING_SUFFIXES)])
        check_choice("alpha", self.alpha, ALPHAS)
        check_choice("palette", self.palette, PALETTES)
        check_choice("dither", self.dither, DITHERS)
        check_choice("codec", self.codec, tuple(CODECS))
        most = CODECS[self.codec].max_crf if self.codec else max(codec.max_crf for codec in CODECS.values())
        if self.crf is not None and not 0 <= self.crf <= most:
            raise ValueError(f"Received: crf={self.crf}. Expected 0 (best) to {most}.")

    @property
    def suffix(self) -> str | None:
        """`format` as a file's suffix, or None."""
        return "." + self.format.lower().lstrip(".") if self.format else None

    def result_size(self, width: int, height: int, scale: int) -> tuple[int, int]:
        """(width, height) of the result of a width x height source."""
        if self.size:
            return self.size
        factor = self.scale_out or scale
        return max(1, round(width * factor)), max(1, round(height * factor))


def check_choice(name, value, choices):
    if value is not None and value not in choices:
        raise ValueError(f"Received: {name}={value}. Expected one of {', '.join(choices)}.")
