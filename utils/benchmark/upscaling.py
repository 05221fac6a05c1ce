"""The upscaling half of `utils.benchmark`: each `measure_...` takes its options and gives what its SECTIONS say."""

import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
RESULTS = {"720p": (180, 320), "1080p": (270, 480), "4K": (540, 960)}  # low-resolution sizes at a scale of 4
CLIP_SIZE = 120, 160
MATRIX = 2048
LEVELS = np.array([0, 51, 102, 153, 204, 255], np.uint8)  # of each colour: 216 in all, which a GIF can hold


def measure_compute(options):
    """Share of the matrix product = median over rounds of the ratio to the products timed right before and after.

    Both are the best of as many runs, which other work on the machine disturbed least.
    """
    import tensorflow as tf

    from srwgan.upscaling.upscaler import Upscaler

    generator = generator_for(options)
    if generator.receptive_field is None:
        raise ValueError(f"Received: model {options.model}. Expected one of this project: its layers are counted.")
    matrix_products = {}
    for precision in ("float32", "bfloat16"):
        matrix = tf.cast(tf.random.normal([MATRIX, MATRIX]), precision)
        matrix_products[precision] = lambda matrix=matrix: tf.matmul(matrix, matrix).numpy()
    upscalers = {precision: Upscaler(generator, precision) for precision in matrix_products}
    sizes = {"720p": RESULTS["720p"]} if options.quick else RESULTS

    def matrix_rates():
        return {p: 2 * MATRIX**3 / 1e9 / best_of(2, product) for p, product in matrix_products.items()}

    rates, shares, products = {}, {}, []
    for repeat in range(4 if options.quick else 6):
        products.append(matrix_rates())
        for size, (height, width) in sizes.items():
            pixels = np.random.default_rng(repeat).integers(0, 256, (height, width, 3), np.uint8)
            for precision, upscaler in upscalers.items():
                useful = 2 * upscaler.network.multiply_adds_per_pixel() * height * width / 1e9
                rate = useful / best_of(2, lambda u=upscaler, p=pixels: u.image(p))
                products.append(matrix_rates())
                if repeat:  # the first is for warming up
                    around = [p["float32"] for p in products[-2:]]
                    rates.setdefault((size, precision), []).append(rate)
                    shares.setdefault((size, precision), []).append(rate / (sum(around) / 2))
    figures = {f"matrix product {p}": median(product[p] for product in products) for p in matrix_products}
    lines = [f"{name}: {rate:.0f} GFLOP/s" for name, rate in figures.items()]
    targets = []
    for size, precision in rates:
        rate, share = median(rates[size, precision]), median(shares[size, precision])
        figures[f"{size} {precision}"] = {"useful GFLOP/s": rate, "share of float32 matrix product": share}
        lines.append(f"{size} {precision}: {rate:.0f} useful GFLOP/s, {share:.0%} of the float32 matrix product")
        if precision == "float32":
            targets.append((f"{size}, float32, share of the matrix product", share, 0.85, None))
        else:
            pairs = zip(rates[size, precision], rates[size, "float32"], strict=True)
            gain = median(fast / exact for fast, exact in pairs)
            figures[f"{size} bfloat16"]["gain"] = gain
            if fast_bfloat16():
                targets.append((f"{size}, bfloat16 : float32", gain, 1.5, None))
    return figures, lines, targets


def measure_animation(options):
    """Frames a second, each way of running a clip in turn with the others."""
    from srwgan.upscaling.upscaler import Upscaler

    generator = generator_for(options)
    count, repeats = (30, 2) if options.quick else (200, 3)
    figures, lines, targets = {}, [], []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        clips, first_frames = ([clip(folder, f"{kind} of {n}", n) for kind in ("moving", "tenth")] for n in (count, 10))
        for precision in ("float32", "bfloat16") if fast_bfloat16() else ("float32",):
            upscaler = Upscaler(generator, precision)
            warming = animation_tasks(upscaler, *first_frames, folder)
            seconds = in_turns(animation_tasks(upscaler, *clips, folder), repeats, warming)
            figures[precision] = {name: count / median(times) for name, times in seconds.items()}
            lines += [f"{precision}, {name}: {rate:.1f} frames/s" for name, rate in figures[precision].items()]
            share = median_ratio(seconds["moving: model"], seconds["moving: GIF"])
            least = 0.85 if precision == "float32" else 0.75
            targets.append((f"GIF, all moving, {precision}, share of the model's speed", share, least, None))
            for kind in ("model", "GIF"):
                gain = median_ratio(seconds[f"tenth: {kind}, no reuse"], seconds[f"tenth: {kind}"])
                targets.append((f"reuse, a tenth moving, {precision}, {kind}", gain, 3, None))
    return figures, lines, targets


def animation_tasks(upscaler, moving, tenth, folder):
    from srwgan.convert.files import upscale_file
    from srwgan.convert.options import Options

    def model(clip, **how):
        for _ in upscaler.frames(clip["frames"](), **how):
            pass

    def files(source, target, gifsicle=False, **how):
        upscale_file(upscaler, source, target, options=Options(gifsicle=gifsicle, **how))

    gif, video = folder / "result.gif", folder / "result.mp4"
    return {
        "moving: model": lambda: model(moving, reuse=False),
        "moving: model, reuse": lambda: model(moving),
        "moving: GIF": lambda: files(moving["gif"], gif),
        "moving: GIF, gifsicle": lambda: files(moving["gif"], gif, gifsicle=True),
        "moving: video": lambda: files(moving["video"], video),
        "tenth: model, no reuse": lambda: model(tenth, reuse=False),
        "tenth: model": lambda: model(tenth),
        "tenth: GIF, no reuse": lambda: files(tenth["gif"], gif, reuse=False),
        "tenth: GIF": lambda: files(tenth["gif"], gif),
        "tenth: GIF, gifsicle": lambda: files(tenth["gif"], gif, gifsicle=True),
        "tenth: video": lambda: files(tenth["video"], video),
    }


def measure_memory(options):
    """Peak of the resident memory of the command line and its children together, sampled every 20 ms."""
    short, long = (20, 200) if options.quick else (100, 2000)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        model = model_folder(options, folder)
        for count in (short, long):
            source = clip(Path(folder), f"tenth of {count}", count)["gif"]
            figures[f"{count} frames, MB"] = peak_memory(command_line(source, folder, model)) / 1e6
    lines = [f"{name[:-4]}: {value:.0f} MB" for name, value in figures.items()]
    growth = figures[f"{long} frames, MB"] / figures[f"{short} frames, MB"]
    return figures, lines, [(f"memory of {long} frames : {short} frames", growth, None, 1.1)]


def measure_startup(options):
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        Image.fromarray(textured(16, 16, 0)).save(picture)
        command = command_line(picture, folder, model_folder(options, folder))
        tasks = {
            "--help": lambda: run([sys.executable, "testGenerator.py", "--help"]),
            "import tensorflow": lambda: run([sys.executable, "-c", "import tensorflow"]),
            "a 16x16 picture": lambda: run([*command, "--overwrite"]),
        }
        figures = {name: median(times) for name, times in in_turns(tasks, 2 if options.quick else 5).items()}
    return figures, [f"{name}: {seconds:.2f} s" for name, seconds in figures.items()], []


# What is measured


def generator_for(options):
    """The exported generator, or an untrained one whose residual is not zero; speed does not depend on the weights."""
    from srwgan.networks.generator import Generator
    from srwgan.networks.saving import load_generator

    if Path(options.model).exists():
        return load_generator(options.model)
    generator = Generator()
    last = generator.get_layer("last").kernel
    last.assign(np.random.default_rng(0).normal(0, 0.05, last.shape))
    return generator


def model_folder(options, folder):
    from srwgan.networks.saving import export_generator

    if Path(options.model).exists():
        return Path(options.model).resolve()
    model = Path(folder) / "model"
    if not model.exists():
        export_generator(generator_for(options), model)
    return model


def fast_bfloat16():
    from srwgan.networks.precision import has_fast_bfloat16

    return has_fast_bfloat16()


def clip(folder, name, count):
    """A clip as GIF, video and frames: a textured picture of which all, or a tenth, moves."""
    from srwgan.media.gif import GifWriter

    height, width = CLIP_SIZE
    share = 1 if name.startswith("moving") else 0.1
    rows, columns = round(height * share**0.5), round(width * share**0.5)
    top, left = (height - rows) // 3, (width - columns) // 2
    scene, still = textured(height, width + 3 * 64, 1), textured(height, width, 0)

    def frames():
        for i in range(count):
            frame, pan = still.copy(), 3 * (i % 64)
            frame[top : top + rows, left : left + columns] = scene[:rows, pan : pan + columns]
            yield frame

    palette = np.array([[r, g, b] for r in LEVELS for g in LEVELS for b in LEVELS], np.uint8)
    gif, video = folder / f"{name}.gif", folder / f"{name}.mp4"
    with GifWriter(gif, (width, height), palette=palette, dither="none") as writer:
        for frame in frames():
            writer.write(frame, 40)
    write_video(video, frames())
    return {"gif": gif, "video": video, "frames": frames}


def textured(height, width, seed):
    """Smooth shapes in the colours of `LEVELS`, so that a GIF of them is what they are."""
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(seed)
    waves = [np.sin(x / rng.uniform(3, 25) + y / rng.uniform(3, 25) + rng.uniform(0, 6)) for _ in range(9)]
    values = np.stack([sum(waves[i::3]) for i in range(3)], -1) / 6 + 0.5
    return LEVELS[(values * (len(LEVELS) - 1)).round().astype(int).clip(0, len(LEVELS) - 1)]


def write_video(path, frames):
    from srwgan.media.video import VideoWriter

    height, width = CLIP_SIZE
    with VideoWriter(path, (width, height), frame_rate=25) as writer:
        for i, frame in enumerate(frames):
            writer.write(frame, Fraction(i, 25), Fraction(1, 25))


def command_line(source, folder, model):
    output = Path(folder) / "results"
    return [sys.executable, "testGenerator.py", str(source), "--output", str(output), "--model", str(model)]


# How


def in_turns(tasks, repeats, warming=None):
    """{name: [seconds]} of functions without arguments, each run `repeats` times in turn.

    Before that each is run once, or each of `warming`, shorter ones of the same kind.
    """
    for task in (warming or tasks).values():
        task()
    seconds = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            seconds[name].append(timed(task))
    return seconds


def timed(task):
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def best_of(count, task):
    return min(timed(task) for _ in range(count))


def median_ratio(numerators, denominators):
    return median(a / b for a, b in zip(numerators, denominators, strict=True))


def run(command):
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        raise OSError(f"{' '.join(command)} failed: {result.stderr.strip()}")


def peak_memory(command):
    """Bytes resident in a command's process and its children together, at their most."""
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
