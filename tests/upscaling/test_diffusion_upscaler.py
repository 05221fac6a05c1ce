"""Pictures of any size through a diffusion model: tiles equal the whole, for every kind of pixels."""

import numpy as np
import pytest
import tensorflow as tf

from srwgan.networks.diffusion import diffusion_image_operator
from srwgan.networks.generator import Generator
from srwgan.networks.sampling import Sampling
from srwgan.upscaling.diffusion_upscaler import DiffusionUpscaler
from srwgan.upscaling.upscaler import Upscaler
from tests.networks.test_diffusion import shaken

STOCHASTIC = Sampling(steps=3, seed=7, stochasticity=1.0)


@pytest.fixture(scope="module")
def network():
    return shaken()


@pytest.fixture(scope="module")
def upscaler(network):
    return Upscaler(network, "float32", sampling=STOCHASTIC)


def random_pixels(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def test_an_upscaler_of_a_diffusion_model(network, upscaler):
    assert isinstance(upscaler, DiffusionUpscaler) and upscaler.scale == 2
    with pytest.raises(ValueError, match="Expected a diffusion model"):
        Upscaler(Generator(filters=4, blocks=1, scale=2), sampling=Sampling(steps=2))
    with pytest.raises(ValueError, match="takes none"):
        Upscaler(network, strength=0.5)


def test_the_whole_is_the_image_operator(network, upscaler):
    low_res = np.random.default_rng(0).uniform(-1, 1, (2, 11, 8, 3)).astype(np.float32)
    wanted = np.clip(diffusion_image_operator(network, tf.constant(low_res), STOCHASTIC), -1, 1)
    np.testing.assert_allclose(upscaler.tensor(low_res), wanted, atol=1e-5)


@pytest.mark.parametrize("shape", [(13, 17, 3), (5, 40, 3), (1, 1, 3), (12, 9, 1)])
def test_tiles_equal_the_whole(network, upscaler, shape):
    pixels = random_pixels(*shape)
    whole = upscaler.image(pixels)
    for tile in (4, 7):
        tiled = Upscaler(network, "float32", tile=tile, sampling=STOCHASTIC).image(pixels)
        different = np.abs(whole.astype(int) - tiled)
        assert different.max() <= 1 and np.mean(different > 0) < 0.01  # levels that lie between two integers


def test_every_kind_of_pixels(upscaler):
    for channels, dtype in [(1, np.uint8), (2, np.uint8), (3, np.uint16), (4, np.uint16)]:
        pixels = random_pixels(6, 5, channels, dtype=dtype)
        result = upscaler.image(pixels)
        assert result.shape == (12, 10, channels) and result.dtype == dtype
    flat = random_pixels(6, 5, 4)
    flat[..., 3] = 77
    assert (upscaler.image(flat)[..., 3] == 77).all()


def test_transparency_is_not_drawn(network):
    """It is the same for every seed, where the colors differ."""
    pixels = random_pixels(8, 9, 4)
    made = [Upscaler(network, "float32", sampling=Sampling(steps=3, seed=seed)).image(pixels) for seed in (0, 1)]
    assert (made[0][..., :3] != made[1][..., :3]).any()


def test_frames_get_the_noise_of_their_place(upscaler):
    frames = [random_pixels(6, 7, 3, seed=seed) for seed in (0, 0, 1)]
    for reuse in (True, False):
        made = list(upscaler.frames(iter(frames), reuse=reuse))
        assert len(made) == 3
        for frame, pixels in zip(made, frames, strict=True):
            np.testing.assert_array_equal(frame, upscaler.image(pixels))


def test_progress_counts_steps_and_tiles(network):
    seen = []
    upscaler = Upscaler(network, "float32", tile=5, sampling=Sampling(steps=3))
    upscaler.image(random_pixels(9, 5, 3), progress=lambda *done: seen.append(done))
    assert seen == [(i + 1, 6) for i in range(6)]


def test_the_models_own_sampling(network):
    pixels = random_pixels(6, 6, 3)
    network.sampling = Sampling(steps=2, seed=3)
    try:
        mine = Upscaler(network, "float32").image(pixels)
    finally:
        del network.sampling
    np.testing.assert_array_equal(mine, Upscaler(network, "float32", sampling=Sampling(steps=2, seed=3)).image(pixels))
