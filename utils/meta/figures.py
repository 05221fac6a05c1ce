"""The figures of a comparison."""

import os

import numpy as np

from srwgan.training.control.controls import CONTROLS
from srwgan.whole_files import written_whole

TICKS = (0.12, 0.17, 0.25, 0.35, 0.5, 0.7, 1, 1.2, 1.4, 2, 2.8, 4, 5.6, 8)  # of factors


def plots():
    import matplotlib

    if "MPLBACKEND" not in os.environ:
        matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def save(plt, figure, path) -> None:
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
    plt.close(figure)


def draw_learning(log: list[dict], found: dict, watched: dict, path) -> None:
    """The gain of each update's episodes over the episodes so far, beside the best that the searches had by then."""
    plt = plots()
    figure, axis = plt.subplots(figsize=(7.5, 5.2), layout="constrained")
    ends = np.cumsum([len(row["gains"]) for row in log])
    means = np.array([row["gain"] for row in log])
    axis.plot(
        np.repeat(ends, [len(row["gains"]) for row in log]),
        [gain for row in log for gain in row["gains"]],
        ".",
        color="0.75",
        label="policy, each episode, as it explores",
    )
    axis.plot(ends, means, color="tab:blue", label="policy, mean of an update's episodes")
    for (name, each), color in zip(found.items(), ("tab:orange", "tab:green"), strict=True):
        episodes, best = zip(*each.curve, strict=True)
        axis.step(episodes, best, where="post", color=color, label=f"{name}, luckiest episode so far")
    axis.axhline(watched["policy"], color="tab:blue", linestyle=":", label="the trained policy's mean action")
    axis.axhline(watched["recipe"], color="black", linestyle=":", label="the recipe")
    axis.set_xlabel("episodes so far")
    axis.set_ylabel("gain of the score in an episode")
    axis.set_title("Training: gains on the photographs of the reward. Each update plays another episode", fontsize=10)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    save(plt, figure, path)


def draw_methods(gains: dict[str, list[float]], path) -> None:
    """A line for each method, a dot for each seed, a bar at their mean."""
    plt = plots()
    figure, axis = plt.subplots(figsize=(7.5, 0.9 + 0.36 * len(gains)), layout="constrained")
    for line, values in enumerate(gains.values()):
        axis.plot(values, [line] * len(values), "o", color="tab:blue", alpha=0.6, markersize=5)
        axis.plot(np.mean(values), line, "|", color="black", markersize=16)
    axis.set_yticks(range(len(gains)), list(gains), fontsize=8)
    axis.invert_yaxis()
    axis.grid(axis="x", color="0.9")
    axis.set_xlabel("gain of the score in the final test: a dot for each seed, a bar at the mean", fontsize=9)
    save(plt, figure, path)


def draw_actions(done: dict, seeds: int, population: np.ndarray, path) -> None:
    """A panel for each control: its factor at each decision, by the policy in each test, and by two schedules."""
    plt = plots()
    figure, axes = plt.subplots(2, 3, figsize=(9.5, 5.2), layout="constrained", sharex=True)
    schedule = np.asarray(done["watched"]["levels"])
    for i, (name, axis) in enumerate(zip(CONTROLS, axes.flat, strict=True)):
        numbers = np.arange(1, len(schedule) + 1)
        for seed in range(seeds):
            levels = np.asarray(done["tests"]["policy"][str(seed)]["levels"])
            axis.plot(numbers, np.exp(levels[:, i]), ".-", color="tab:blue", label="policy, each test" * (seed == 0))
        axis.plot(numbers, np.exp(schedule[:, i]), "--", color="black", label="read off the policy")
        axis.plot(numbers, np.exp(population[:, i]), ":", color="tab:green", label="population-based")
        axis.axhline(1, color="0.8", zorder=0)
        axis.set_yscale("log")
        low, high = axis.get_ylim()
        axis.set_yticks([tick for tick in TICKS if low <= tick <= high], minor=False)
        axis.set_yticks([], minor=True)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_title(f"{name} x", fontsize=10)
    for axis in axes[1]:
        axis.set_xlabel("decision")
    axes.flat[0].legend(fontsize=7)
    save(plt, figure, path)
