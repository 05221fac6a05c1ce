"""The networks: generator, discriminator and hyperpixels, how they compute and how they are stored."""
