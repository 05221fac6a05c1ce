"""A policy that steers the training of the GAN, trained over many short runs: `python3 -m utils.meta`."""
