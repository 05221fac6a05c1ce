"""Animated PNG, WebP and AVIF in and out, a frame at a time, as GIFs: the names that the rest of the project uses."""

from srwgan.media.animation.apng import ApngWriter
from srwgan.media.animation.avif import AvifWriter
from srwgan.media.animation.reader import AnimationReader
from srwgan.media.animation.webp import WebpWriter

# Ending of a file: what writes an animation under it.
WRITERS = {".apng": ApngWriter, ".png": ApngWriter, ".webp": WebpWriter, ".avif": AvifWriter}

__all__ = ["WRITERS", "AnimationReader", "ApngWriter", "AvifWriter", "WebpWriter"]
