"""Pictures of the training: what the generator makes of the same samples after every epoch."""

import os
from pathlib import Path

import imageio.v3 as iio
import keras
import matplotlib
import numpy as np

from srwgan.data.crops import images_of
from srwgan.pixels import range_to_unit, upscale_bicubic
from srwgan.whole_files import written_whole

if "MPLBACKEND" not in os.environ and not os.environ.get("DISPLAY"):
    matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (after the choice of a backend)


class EpochVisualizer(keras.callbacks.Callback):
    """A Keras callback that draws what the generator makes of the same samples after each epoch.

    A picture has the samples in low, super and high resolution, with the discriminator's scores under them.

    Args:
        generator: low resolution -> (N, s h, s w, 3) in [-1, 1].
        discriminator: (N, s h, s w, 3) -> (N, 1); None leaves the scores out.
        low_res: samples (N, h, w, 3) in [-1, 1], with a condition (images, strength (N,)).
        high_res: the same samples, (N, s h, s w, 3) in [-1, 1].
        folder: for `epoch_0001.png` and so on; it is made where it is not there.
    """

    def __init__(self, generator, discriminator, low_res, high_res, folder="./generated_samples"):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.low_res, self.high_res, self.folder = low_res, high_res, Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def on_epoch_end(self, epoch: int, logs=None) -> Path:
        """Save the picture of an epoch, counted from 0, and show it in a notebook; returns its path."""
        path = self.folder / f"epoch_{epoch + 1:04d}.png"
        low_res = images_of(self.low_res)
        scale = self.high_res.shape[1] // low_res.shape[1]
        super_res = np.clip(self.generator(self.low_res, training=False), -1, 1)
        rows = {
            "low resolution (bicubic)": upscale_bicubic(low_res, scale),
            "super resolution": super_res,
            "high resolution": self.high_res,
        }
        figure = draw_rows(rows, self.scores(super_res), f"epoch {epoch + 1}")
        save_figure(figure, path, dpi=80)
        show_inline(path)
        return path

    def scores(self, super_res) -> dict[str, np.ndarray]:
        """The discriminator's scores of the super and the high resolution, (N,) each; none without a discriminator."""
        if self.discriminator is None:
            return {}
        score = {"super resolution": super_res, "high resolution": self.high_res}
        return {name: np.ravel(self.discriminator(images, training=False)) for name, images in score.items()}

    def save_gif(self, path, seconds: float = 0.5):
        """Gather the pictures of all epochs so far into a GIF that loops.

        Args:
            path: of the GIF; its folder is made where it is not there.
            seconds: for which each picture is shown.

        Returns:
            `path`, or None where there is no picture.

        Raises:
            OSError: it cannot be written.
        """
        pictures = sorted(self.folder.glob("epoch_*.png"))
        if not pictures:
            return None
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        frames = [iio.imread(picture)[..., :3] for picture in pictures]
        frames = [frame for frame in frames if frame.shape == frames[-1].shape]
        with written_whole(path) as temporary:
            iio.imwrite(temporary, frames, extension=".gif", duration=int(seconds * 1000), loop=0)
        return path


def draw_rows(rows, scores, title):
    """A figure with a row of pictures for each name, and the discriminator's scores under them.

    Args:
        rows: {name: (N, H, W, 3) in [-1, 1]}.
        scores: {name: (N,)} for some of the rows.
        title: of the figure.
    """
    columns = len(next(iter(rows.values())))
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(2.2 * columns, 2.4 * len(rows) + 0.4), squeeze=False, layout="constrained"
    )
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        for i, axis in enumerate(row):
            axis.imshow(range_to_unit(np.asarray(images[i])), interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            if name in scores:
                axis.set_xlabel(f"D = {scores[name][i]:.2f}", fontsize=8)
        row[0].set_ylabel(name, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def show_inline(path) -> None:
    """Show a picture in a notebook; do nothing elsewhere."""
    try:
        from IPython import get_ipython
        from IPython.display import Image, display
    except ImportError:
        return
    shell = get_ipython()
    if shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell":
        display(Image(filename=str(path)))


def draw_history(history, path):
    """Draw the curves of a training history as a PNG.

    Args:
        history: {name: a value for each epoch}, None where an epoch has none.
        path: of the PNG.

    Raises:
        OSError: it cannot be written.
    """
    panels = {
        "discriminator": ("d_loss", "wasserstein", "gradient_penalty"),
        "generator": ("g_loss", "g_loss_total"),
        "other losses": ("reconstruction_loss", "content_loss", "transport"),
        "PSNR of held-out crops (dB)": ("psnr", "psnr_bicubic"),
        "gradient norms": ("critic_norm", "adversarial_norm", "reconstruction_norm", "content_norm"),
        "images per second": ("images_per_second",),
    }
    adaptive = tuple(name for name in history if name.startswith("adaptive_"))
    if adaptive:
        panels["self-adaptive weights"] = adaptive
    controls = tuple(name for name in history if name.startswith("control_"))
    if controls:
        panels["controller: factors"] = controls
    columns = -(-len(panels) // 2)
    figure, axes = plt.subplots(2, columns, figsize=(4.3 * columns, 6.5), layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (title, names) in zip(axes.flat, panels.items(), strict=False):
        for name in names:
            values = np.array(history.get(name, []), float)
            if np.isfinite(values).any():
                axis.plot(np.arange(1, len(values) + 1), values, ".-", label=name, markersize=4)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epoch")
        axis.ticklabel_format(axis="y", useOffset=False)
        axis.legend(fontsize=8) if axis.lines else axis.set_visible(False)
    save_figure(figure, path, dpi=100)


def save_figure(figure, path, *, dpi: int) -> None:
    """Write a figure as a PNG and close it."""
    try:
        with written_whole(path) as temporary:
            figure.savefig(temporary, format="png", dpi=dpi)
    finally:
        plt.close(figure)
