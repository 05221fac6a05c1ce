"""SRWGAN: super-resolution of images, GIFs and videos with a Wasserstein GAN.

The public names are imported when they are first used (PEP 562), so that `import srwgan` starts no TensorFlow.

Examples:
    >>> import srwgan
    >>> upscaler = srwgan.Upscaler(srwgan.load_generator("SRWGAN_Gen"))
    >>> high_res = upscaler.image(low_res)  # (H, W, 3) uint8 -> (4 H, 4 W, 3) uint8
"""

from srwgan.lazy import lazily

PUBLIC = {  # name -> the module that it is in
    "DiffusionGenerator": "srwgan.networks.diffusion",
    "Discriminator": "srwgan.networks.discriminator",
    "Generator": "srwgan.networks.generator",
    "LPIPS": "srwgan.measuring.lpips",
    "Objective": "srwgan.training.objective",
    "Sampling": "srwgan.networks.sampling",
    "Trainer": "srwgan.training.step",
    "Upscaler": "srwgan.upscaling.upscaler",
    "load_at_fidelity": "srwgan.networks.mixing",
    "load_discriminator": "srwgan.networks.saving",
    "load_generator": "srwgan.networks.saving",
    "psnr": "srwgan.measuring.metrics",
    "ssim": "srwgan.measuring.metrics",
}
__all__ = sorted(PUBLIC)
__getattr__, __dir__ = lazily(__name__, PUBLIC)
