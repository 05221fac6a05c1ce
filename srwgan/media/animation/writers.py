"""What writes which kind of animation."""

from srwgan.media.animation.apng import ApngWriter
from srwgan.media.animation.avif import AvifWriter
from srwgan.media.animation.webp import WebpWriter

# Ending of a file: what writes an animation under it.
WRITERS = {".apng": ApngWriter, ".png": ApngWriter, ".webp": WebpWriter, ".avif": AvifWriter}
