"""File in, file out, with an upscaler that is handed over."""
