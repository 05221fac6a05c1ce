"""From a folder of photographs to batches of low- and high-resolution crops."""
