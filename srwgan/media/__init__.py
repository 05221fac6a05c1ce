"""Media files: still images, GIFs and videos to pixels and back. Nothing here knows of networks."""
