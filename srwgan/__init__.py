"""SRWGAN: super-resolution of images, GIFs and videos with a Wasserstein GAN."""
