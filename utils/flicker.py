"""The report of `python3 -m utils.evaluate --flicker`: how steady each method's frames are."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from srwgan.measuring.flicker import (
    MARGIN,
    MOTIONS,
    SMALLEST,
    ClipMeter,
    aligned_frames,
    column_over_time,
    measure_flicker,
    of_one_clip,
)
from srwgan.measuring.lpips import LPIPS
from srwgan.measuring.pairs import find_pairs, read_measured
from srwgan.media.gif import GifReader
from srwgan.media.video import VideoReader
from srwgan.pixels import BICUBIC, resize
from utils.comparison import comparison

COLUMN_FRAMES, COLUMN_HEIGHT = 48, 96
HEADINGS = {  # motion -> how it is said above the table
    "pan": "a pan of 3 pixels right and 1 down a frame",
    "zoom": "a zoom of 1% a frame",
    "turn": "a turn of half a degree a frame",
    "noisy pan": "the pan with noise of a deviation of 2 of 255 on the low resolution",
}


def flicker_report(methods, options):
    """Measure, and give what is to be printed, written as JSON, and drawn.

    Args:
        methods: `Method`s of one scale.
        options: data and clips, lists of paths; column, a file or None.

    Returns:
        (text, a JSON-ready dict, a picture or None).

    Raises:
        ValueError: a still too small, or a clip of a single frame.
    """
    distance, scale = LPIPS(), methods[0].scale
    upscalers = {method.name: method.upscale for method in methods}
    parts, content, picture = [], {"scale": scale}, None
    if options.data:
        stills = {pair.name: read_measured(pair.high_res) for folder in options.data for pair in find_pairs(folder)}
        rows = measure_flicker(upscalers, stills, scale=scale, distance=distance)
        parts.append(motion_table(rows))
        content["stills"] = [
            {"model": row["model"], **{motion.name: asdict(row[motion.name]) for motion in MOTIONS}} for row in rows
        ]
        if options.column:
            picture = column_picture(upscalers, next(iter(stills.values())), scale)
    if options.clips:
        clips = {Path(path).name: clip_rows(upscalers, path, scale=scale, distance=distance) for path in options.clips}
        parts.append(clip_table(clips))
        content["clips"] = {
            name: {model: asdict(figures) for model, figures in rows.items()} for name, rows in clips.items()
        }
    return "\n\n".join(parts), content, picture


def motion_table(rows):
    """The three figures under every motion, a row for each method and for the original moved alike."""
    width = max(len(row["model"]) for row in rows)
    lines = [
        "Variation of a place's luma over time, of 255 / LPIPS between neighboring frames / LPIPS to the original:",
        *(f"  {name}: {meaning}" for name, meaning in HEADINGS.items()),
        "model".ljust(width) + "".join(f"  {motion.name:>21}" for motion in MOTIONS),
    ]
    for row in rows:
        figures = (row[motion.name] for motion in MOTIONS)
        cells = (f"{figure.variation:.2f} / {figure.lpips:.4f} / {figure.to_original:.3f}" for figure in figures)
        lines.append(row["model"].ljust(width) + "".join(f"  {cell:>21}" for cell in cells))
    return "\n".join(lines)


def clip_table(clips):
    width = max(len(name) for name in [*clips, *(model for rows in clips.values() for model in rows)])
    lines = ["clip".ljust(width) + "  " + "model".ljust(width) + "     tOF     tLP   LPIPS"]
    for name, rows in clips.items():
        for model, figures in rows.items():
            cells = f"{figures.tof:8.3f}{figures.tlp:8.3f}{figures.lpips:8.4f}"
            lines.append(f"{name.ljust(width)}  {model.ljust(width)}{cells}")
    return "\n".join(lines)


def clip_rows(upscalers, path, *, scale, distance):
    """{method: `ClipFigures`} of a clip, whose frames are the originals."""
    meters, upscalers = {name: ClipMeter(distance) for name in upscalers}, in_one_clip(upscalers)
    for frame in tqdm(frames_of(path), desc=Path(path).name, leave=False, disable=None):
        height, width = (size - size % scale for size in frame.shape[:2])
        original = np.ascontiguousarray(frame[:height, :width, :3])
        low_res = resize(original, (width // scale, height // scale), BICUBIC)
        for name, upscale in upscalers.items():
            meters[name].add(upscale(low_res), original)
    return {name: meter.figures() for name, meter in meters.items()}


def in_one_clip(upscalers):
    return {name: of_one_clip(upscale) for name, upscale in upscalers.items()}


def frames_of(path):
    """Yield the frames of a GIF or video, uint8 (H, W, 3 or 4)."""
    is_gif = Path(path).suffix.lower() == ".gif"
    with GifReader(path) if is_gif else VideoReader(path) as reader:
        for frame, _ in reader:
            yield frame


def column_picture(upscalers, still, scale):
    """For each method one column of pixels over the frames of the pan, put back: level stripes where it is steady."""
    cells = []
    room = (
        still.shape[1] - 2 * MARGIN * scale - SMALLEST
    ) // 2  # a pan takes its way off the window and off the result
    count = max(2, min(COLUMN_FRAMES, 1 + room // MOTIONS[0].pan[0]))
    for name, upscale in [*upscalers.items(), ("original", None)]:
        frames = list(aligned_frames(still, upscale, MOTIONS[0], scale=scale, frames=count))
        column = column_over_time(frames, frames[0].shape[1] // 2)
        top = max(column.shape[0] - COLUMN_HEIGHT, 0) // 2
        cells.append((name, (column[top : top + COLUMN_HEIGHT], "over time")))
    return comparison([name for name, _ in cells], [[cell for _, cell in cells]])
