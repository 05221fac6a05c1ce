"""The figures of `utils.studies.diffusion`."""

import os
from pathlib import Path

from srwgan.whole_files import written_whole

COLORS = {"gan": "tab:orange", "diffusion": "tab:blue", "student": "tab:green", "faithful": "tab:gray", "bicubic": "k"}
OTHERS = ("tab:red", "tab:purple", "tab:brown", "tab:pink", "tab:olive")  # of the models that are measured beside


def draw(results: dict, folder: Path) -> None:
    """Write plane.png and curves.png into `folder`."""
    import matplotlib

    if "MPLBACKEND" not in os.environ:
        matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (plane, steps) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    draw_plane(plane, results["models"])
    draw_steps(steps, results["models"])
    save(figure, folder / "plane.png", plt)
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, points in results["curves"].items():
        kind = name.rpartition("-")[0]
        label = kind if is_first(name) else None
        axis.plot(*zip(*points, strict=True), ".-", color=COLORS.get(kind), label=label, markersize=4)
    axis.set_xlabel("seconds of steps")
    axis.set_ylabel("PSNR-Y of held-out crops (dB)")
    axis.legend(fontsize=8)
    save(figure, folder / "curves.png", plt)


def kinds_of(models: dict) -> dict[str, tuple[str, str]]:
    """{name of a model: (its kind, or its name where it is one by itself, color)}."""
    found, others = {}, iter(OTHERS * len(models))
    for name in models:
        kind = name.rpartition("-")[0] if name.rpartition("-")[0] in COLORS else name
        found[name] = kind, COLORS[kind] if kind in COLORS else next(others)
    return found


def draw_plane(axis, models: dict) -> None:
    """LPIPS against PSNR-Y: a line for each model and sampler; lower and further to the right is better."""
    kinds = kinds_of(models)
    for name, model in models.items():
        kind, color = kinds[name]
        for sampler, style in (("deterministic", "o-"), ("stochastic", "x--")):
            points = [point for point in model["points"] if point.get("sampler", "deterministic") == sampler]
            if points:
                label = f"{kind}{', stochastic' if style[0] == 'x' else ''}" if is_first(name) else None
                xs, ys = zip(*((point["psnr_y"], point["lpips"]) for point in points), strict=True)
                axis.plot(xs, ys, style, color=color, label=label, markersize=4)
                for point in points if is_first(name) else []:
                    text = str(point.get("steps", point.get("fidelity", "")))
                    axis.annotate(
                        text, (point["psnr_y"], point["lpips"]), fontsize=7, xytext=(3, 3), textcoords="offset points"
                    )
    axis.set_xlabel("PSNR-Y (dB), more is better")
    axis.set_ylabel("LPIPS, less is better")
    axis.legend(fontsize=7)
    axis.set_title("Perception and distortion", fontsize=10)


def is_first(name: str) -> bool:
    """Whether it is the first seed's, or a model by itself: the one of a kind that gets a label."""
    seed = name.rpartition("-")[2]
    return not seed.isdecimal() or seed == "0"


def draw_steps(axis, models: dict) -> None:
    """LPIPS against the seconds that a megapixel takes, from few steps to many."""
    kinds = kinds_of(models)
    for name, model in models.items():
        kind, color = kinds[name]
        points = [point for point in model["points"] if point.get("sampler", "deterministic") == "deterministic"]
        points = points if "steps" in points[0] else points[:1]
        label = kind if is_first(name) else None
        xs, ys = zip(*((max(point["seconds"], 1e-3), point["lpips"]) for point in points), strict=True)
        axis.plot(xs, ys, "o-", color=color, label=label, markersize=4)
    axis.set_xscale("log")
    axis.set_xlabel("seconds for a megapixel of low resolution")
    axis.set_ylabel("LPIPS")
    axis.legend(fontsize=7)
    axis.set_title("What steps cost and give", fontsize=10)


def save(figure, path, plt) -> None:
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
    plt.close(figure)
