"""Peak resident memory of the command line, for a short and a long GIF."""

import tempfile
import time
from pathlib import Path

from utils.benchmark.results import Section, Target
from utils.benchmark.subjects import ROOT, command_line, make_clip, model_folder


def measure_memory(options) -> Section:
    """The resident memory of the command line and its child processes together, sampled every 20 ms."""
    short, long = (20, 200) if options.quick else (100, 2000)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        model = model_folder(options, folder)
        for count in (short, long):
            source = make_clip(Path(folder), f"tenth of {count}", count=count, share=0.1).gif
            figures[f"{count} frames, MB"] = peak_memory(command_line(source, folder=folder, model=model)) / 1e6
    lines = [f"{name[:-4]}: {value:.0f} MB" for name, value in figures.items()]
    growth = figures[f"{long} frames, MB"] / figures[f"{short} frames, MB"]
    return Section(figures, lines, [Target(f"memory of {long} frames : {short} frames", growth, most=1.1)])


def peak_memory(command):
    """The most bytes that were resident at one time in a command's process and its children.

    Raises:
        OSError: the command failed; the message has what it said.
    """
    import psutil

    with tempfile.TemporaryFile() as output:
        process = psutil.Popen(command, cwd=ROOT, stdout=output, stderr=output)
        peak = 0
        while process.poll() is None:
            peak = max(peak, resident(process))
            time.sleep(0.02)
        if process.returncode:
            output.seek(0)
            raise OSError(f"{' '.join(command)} failed: {output.read().decode().strip()}")
    return peak


def resident(process):
    import psutil

    total = 0
    try:
        for each in [process, *process.children(recursive=True)]:
            total += each.memory_info().rss
    except psutil.NoSuchProcess:  # ended just now: the next sample will do
        pass
    return total
