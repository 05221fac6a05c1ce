"""Tables, figure and CSV of what was measured."""

import csv
import math
import shlex
from pathlib import Path
from statistics import mean, median, stdev

from srwgan.training.flags import build_parser
from srwgan.whole_files import read_json, write_json, write_text, written_whole
from utils.ablation.figure import FIGURE_TEXT, draw
from utils.ablation.measuring import INPUTS, METRICS
from utils.ablation.variants import VARIANTS

STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # seeds -> 97.5% quantile of Student's t, seeds - 1 degrees
BEGIN, END = "<!-- written by utils.ablation -->", "<!-- end -->"


def report(runs, options):
    """Write and print tables and figure of what is finished, which has at least two runs of the base.

    --out gets ablation.md, .csv, .json and .png. The marked part of --document, where it is given, becomes the tables.
    """
    measured = [(run, read_json(run.folder / "evaluation.json")) for run in runs]
    measured = [(run, evaluation) for run, evaluation in measured if evaluation]
    rows = [row_of(run, evaluation) for run, evaluation in measured]
    bicubic = means(read_json(Path(options.out) / "bicubic.json")["pictures"])
    bands = bands_of(rows)
    judge(rows, bands)
    text = f"{caption(measured, options)}\n\n{tables(rows, bands, bicubic)}"
    out = Path(options.out)
    write_text(out / "ablation.md", f"{text}\n\n![{FIGURE_TEXT}](ablation.png)\n")
    write_json(out / "ablation.json", {"bands": bands, "bicubic": bicubic, "runs": rows})
    write_csv(out / "ablation.csv", rows)
    panels = {kind: variants_of(rows, kind) for kind in shown_inputs(rows)}
    draw(panels, rows, bands=bands, path=out / "ablation.png")
    if options.document:
        document = Path(options.document)
        before, after = split_document(document)
        picture = document.with_suffix(".png")
        draw(panels, rows, bands=bands, path=picture)
        write_text(document, f"{before}{BEGIN}\n{text}\n\n![{FIGURE_TEXT}]({picture.name})\n{END}{after}")
    print(tables(rows, bands, bicubic))


def row_of(run, evaluation) -> dict:
    """What is known of a run; `judge` adds the verdicts."""
    timing = read_json(run.folder / "timing.json") or {}
    return {
        "run": run.name,
        "variant": run.variant,
        "flags": VARIANTS.get(run.variant, ""),
        "parameters": evaluation["parameters"],
        "base_seconds": timing.get("base"),
        "step_ratio": timing.get("ratio"),
        "figures": means(evaluation["pictures"]),
    }


def means(pictures) -> dict:
    """{kind of input: {figure: mean over all pictures of all folders}}."""
    kinds = dict.fromkeys(picture["condition"] for picture in pictures)
    return {
        kind: {name: mean(picture[name] for picture in pictures if picture["condition"] == kind) for name in METRICS}
        for kind in kinds
    }


def bands_of(rows) -> dict:
    """{kind of input: {figure: `band` of the base's runs}}."""
    bases = [row["figures"] for row in rows if not row["variant"]]
    return {kind: {name: band([base[kind][name] for base in bases]) for name in METRICS} for kind in INPUTS}


def band(values) -> tuple[float, float]:
    """(mean, half width) of the 95% prediction interval, which one more seed leaves one time in twenty.

    The half width is t s sqrt(1 + 1/n): s is the sample standard deviation of n seeds, t is of Student's distribution.
    """
    n = len(values)
    return mean(values), STUDENT[n] * stdev(values) * math.sqrt(1 + 1 / n)


def verdict(value, band, *, more_is_better) -> str:
    """ "none" inside of the base's band, else "better" or "worse"."""
    difference = value - band[0]
    if abs(difference) <= band[1]:
        return "none"
    return "better" if (difference > 0) == more_is_better else "worse"


def judge(rows, bands):
    """Give the variants' rows their verdicts, {kind of input: {figure: verdict}}."""
    for row in rows:
        if row["variant"]:
            row["verdicts"] = {
                kind: {
                    name: verdict(figures[name], bands[kind][name], more_is_better=more_is_better)
                    for name, (_, _, more_is_better) in METRICS.items()
                }
                for kind, figures in row["figures"].items()
            }


def caption(measured, options):
    """The paragraph above the tables: what was trained and measured, and how to read it."""
    bases = [run for run, _ in measured if not run.variant]
    args = build_parser().parse_known_args(bases[0].flags)[0]
    steps = bases[0].batches
    adversarial = steps * (args.epochs - args.warmup_epochs) // args.epochs
    pictures = sum(picture["condition"] == "clean" for picture in measured[0][1]["pictures"])
    names = ", ".join(Path(folder).absolute().name for folder in options.bench)
    flags = shlex.join(without_paths(bases[0].flags))
    return (
        f"{args.filters} filters, {args.blocks} blocks, {args.trainnum} photographs, {steps:,} batches of "
        f"{args.batchsz} crops of {args.cropsz}x{args.cropsz}, the last {adversarial:,} of them adversarial. Means "
        f"over {pictures} pictures ({names}). The base is {len(bases)} runs of different seeds (`{flags}`): mean ± "
        "half the 95% prediction interval, which one more seed would leave one time in twenty "
        f"(t s √(1 + 1/n), n = {len(bases)}). A variant is one run of the first seed; its difference from the "
        "base's mean is called none inside of that interval. Step: the ratio of an adversarial step's time to the "
        "base's, taken in turns, the batch at hand."
    )


def without_paths(flags):
    """The flags without those that another machine or another seed has otherwise."""
    kept = list(flags)
    for name in ("--datapath", "--pretrained-weights", "--seed"):
        if name in kept:
            at = kept.index(name)
            del kept[at : at + 2]
    return kept


def tables(rows, bands, bicubic):
    """Markdown, a table for each kind of input."""
    return "\n\n".join(table(rows, kind, bands=bands[kind], bicubic=bicubic[kind]) for kind in shown_inputs(rows))


def shown_inputs(rows):
    """The kinds of input that a table is written for."""
    return [kind for kind in INPUTS if kind == "clean" or variants_of(rows, kind)]


def variants_of(rows, kind):
    """The variants that were measured on this kind of input."""
    return [row for row in rows if row["variant"] and kind in row["figures"]]


def table(rows, kind, *, bands, bicubic):
    """Markdown: a line of bicubic interpolation, one of the base, one of each variant."""
    headings = [heading for heading, *_ in METRICS.values()]
    lines = [
        ["", "flags", *headings, "step", "parameters"],
        ["---"] * (len(headings) + 4),
        ["bicubic", "", *(format(bicubic[name], form) for name, (_, form, _) in METRICS.items()), "", ""],
    ]
    base = next(row for row in rows if not row["variant"])
    spread = [f"{bands[name][0]:{form}} ± {bands[name][1]:{form}}" for name, (_, form, _) in METRICS.items()]
    known = [row["base_seconds"] for row in rows if row["base_seconds"]]
    seconds = f"{median(known):.2f} s" if known else "-"
    lines.append(["base", "", *spread, seconds, f"{base['parameters']:,}"])
    for row in variants_of(rows, kind):
        figures, verdicts = row["figures"][kind], row["verdicts"][kind]
        cells = [
            cell(figures[name], base=bands[name][0], judged=verdicts[name], form=form)
            for name, (_, form, _) in METRICS.items()
        ]
        ratio = f"x {row['step_ratio']:.2f}" if row["step_ratio"] else "-"
        lines.append([row["variant"], f"`{row['flags']}`", *cells, ratio, f"{row['parameters']:,}"])
    title = f"Low resolution {INPUTS[kind]}:"
    return "\n".join([title, "", *(f"| {' | '.join(cells)} |" for cells in lines)])


def cell(value, *, base, judged, form):
    judged = judged if judged == "none" else f"**{judged}**"
    return f"{value:{form}} ({value - base:+{form}}, {judged})"


def write_csv(path, rows):
    """A line for each run and kind of input."""
    lines = [
        {
            "condition": kind,
            "run": row["run"],
            "flags": row["flags"],
            **figures,
            **{f"{name}_verdict": row.get("verdicts", {}).get(kind, {}).get(name, "") for name in METRICS},
            "base_seconds_per_step": row["base_seconds"],
            "step_ratio": row["step_ratio"],
            "parameters": row["parameters"],
        }
        for row in rows
        for kind, figures in row["figures"].items()
    ]
    with written_whole(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def split_document(path) -> tuple[str, str]:
    """The text before and after the marked part.

    Raises:
        ValueError: there are no marks.
        OSError: the document cannot be read.
    """
    text = Path(path).read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"Received: --document {path} without {BEGIN} and {END}. Expected both, for the tables.")
    return before, after
