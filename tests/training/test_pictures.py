import os

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from utils.CallBack import EpochVisualizer, draw_history, draw_rows


def doubled(images, training=None):
    return np.repeat(np.repeat(images, 2, 1), 2, 2) * 1.5  # beyond [-1, 1] in places


def critic(images, training=None):
    return np.mean(images, axis=(1, 2, 3))[:, None]


@pytest.fixture
def samples():
    random = np.random.default_rng(0)
    return tuple(random.uniform(-1, 1, (3, size, size, 3)).astype(np.float32) for size in (8, 16))


def test_a_picture_after_each_epoch_and_all_as_a_gif(tmp_path, samples):
    visualizer = EpochVisualizer(doubled, critic, *samples, folder=str(tmp_path / "samples"))
    assert visualizer.save_gif(str(tmp_path / "none.gif")) is None
    paths = [visualizer.on_epoch_end(epoch) for epoch in range(3)]
    assert [os.path.basename(path) for path in paths] == ["epoch_0001.png", "epoch_0002.png", "epoch_0003.png"]
    for path in paths:
        Image.open(path).verify()
    path = str(tmp_path / "deep" / "training.gif")
    assert visualizer.save_gif(path, seconds=0.25) == path
    with Image.open(path) as gif:
        assert gif.n_frames == 3 and gif.info["loop"] == 0 and gif.info["duration"] == 250
        assert gif.size == Image.open(paths[0]).size
    assert os.listdir(tmp_path / "deep") == ["training.gif"]
    assert not plt.get_fignums()


def test_the_discriminators_scores_stand_under_the_pictures(tmp_path, samples):
    low_res, high_res = samples
    visualizer = EpochVisualizer(doubled, critic, low_res, high_res, folder=str(tmp_path))
    scores = visualizer.scores(high_res)
    np.testing.assert_allclose(scores["high resolution"], high_res.mean(axis=(1, 2, 3)), rtol=1e-5)
    figure = draw_rows({"high resolution": high_res}, scores, "epoch 1")
    labels = [axis.get_xlabel() for axis in figure.axes]
    assert labels == [f"D = {score:.2f}" for score in high_res.mean(axis=(1, 2, 3))]
    shown = figure.axes[1].images[0].get_array()
    np.testing.assert_allclose(shown, (high_res[1] + 1) / 2, atol=1e-6)
    plt.close(figure)


def test_without_a_discriminator(tmp_path, samples):
    visualizer = EpochVisualizer(doubled, None, *samples, folder=str(tmp_path))
    assert visualizer.scores(samples[1]) == {}
    assert os.path.isfile(visualizer.on_epoch_end(0))


def test_curves_of_a_history_with_gaps(tmp_path):
    history = {
        "psnr": [24.0, 25.5, 26.0],
        "psnr_bicubic": [24.5] * 3,
        "d_loss": [None, None, -1.5],
        "gp_weight": [10.0] * 3,
        "reconstruction_loss": [0.1, 0.05, float("nan")],
    }
    draw_history(history, str(tmp_path / "curves.png"))
    with Image.open(tmp_path / "curves.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5
    assert os.listdir(tmp_path) == ["curves.png"] and not plt.get_fignums()
