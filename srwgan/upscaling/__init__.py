"""Upscaling: a generator run on pictures and animations of any size, in bounded memory, with exact results."""
