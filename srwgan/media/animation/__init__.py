"""Animated PNG, WebP and AVIF in and out, a frame at a time, as GIFs.

The names that the rest of the project uses, imported when they are first used.
"""

from srwgan.lazy import lazily

SUFFIXES = (".apng", ".png", ".webp", ".avif")  # of the files that `WRITERS` write
PUBLIC = {  # name -> the module that it is in
    "AnimationReader": "srwgan.media.animation.reader",
    "ApngWriter": "srwgan.media.animation.apng",
    "AvifWriter": "srwgan.media.animation.avif",
    "WRITERS": "srwgan.media.animation.writers",
    "WebpWriter": "srwgan.media.animation.webp",
}
__all__ = ["SUFFIXES", *sorted(PUBLIC)]
__getattr__, __dir__ = lazily(__name__, PUBLIC)
