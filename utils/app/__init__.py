"""The page for upscaling in the browser: `python3 -m utils.app`."""
