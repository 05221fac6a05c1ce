"""The figure of an ablation."""

import os

from srwgan.whole_files import written_whole
from utils.ablation.measuring import METRICS

FIGURE_TEXT = "Differences of each variant from the base's mean, the base's band in gray, its seeds as crosses"
COLORS = {"none": "tab:gray", "better": "tab:green", "worse": "tab:red"}


def draw(variants, rows, *, bands, path):
    """Save a PNG with a panel for each kind of input and each figure.

    Args:
        variants: {kind of input: the variants' rows that its panels show}.
        rows: all rows, those of the base among them.
        bands: see `report.bands_of`.
    """
    import matplotlib

    if "MPLBACKEND" not in os.environ:
        matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    heights = [len(shown) + 2 for shown in variants.values()]
    figure, axes = plt.subplots(
        len(variants),
        len(METRICS),
        figsize=(11, 1.2 + 0.3 * sum(heights)),
        layout="constrained",
        height_ratios=heights,
        squeeze=False,
    )
    bases = [row for row in rows if not row["variant"]]
    for (kind, shown), row_of_axes in zip(variants.items(), axes, strict=True):
        names = ["base", *(row["variant"] for row in shown)]
        for axis, (name, (heading, _, more)) in zip(row_of_axes, METRICS.items(), strict=True):
            draw_panel(axis, [bases, shown], kind=kind, name=name, band=bands[kind][name])
            axis.set_yticks(range(len(names)), names if axis is row_of_axes[0] else [""] * len(names), fontsize=8)
            axis.set_ylim(len(names) - 0.5, -0.5)
            axis.tick_params(axis="x", labelsize=8)
            axis.locator_params(axis="x", nbins=5)  # more labels would overlap
            axis.set_title(f"{heading}, {kind} ({'more' if more else 'less'} is better)", fontsize=9)
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
    plt.close(figure)


def draw_panel(axis, rows, *, kind, name, band):
    """The band as a gray area, the base's seeds as crosses in line 0, each variant as a dot in a line of its own."""
    (center, half), (bases, shown) = band, rows
    axis.axvspan(-half, half, color="0.9")
    axis.axvline(0, color="0.6", linewidth=1)
    axis.plot([row["figures"][kind][name] - center for row in bases], [0] * len(bases), "kx", markersize=5)
    for line, row in enumerate(shown, 1):
        color = COLORS[row["verdicts"][kind][name]]
        axis.plot(row["figures"][kind][name] - center, line, "o", color=color, markersize=5)
