"""GFLOP/s of the generator, as a share of the machine's matrix product."""

from statistics import median

import numpy as np

from utils.benchmark.beside_openvino import can_be_compared, measure_beside_openvino
from utils.benchmark.results import Section, Target
from utils.benchmark.subjects import fast_bfloat16, generator_for, model_of
from utils.benchmark.turns import best_of, median_ratio

MATRIX = 2048
MATRIX_OPERATIONS = 2 * MATRIX**3
RESULTS = {"720p": (180, 320), "1080p": (270, 480), "4K": (540, 960)}  # low-resolution sizes at a scale of 4


def measure_compute(options) -> Section:
    """The share of the matrix product is a median over rounds.

    In a round it is the ratio to the matrix products timed right before and after, both the best of two runs.

    Raises:
        ValueError: a foreign model, whose operations are not known.
    """
    from srwgan.upscaling.upscaler import Upscaler

    generator = generator_for(options)
    if generator.receptive_field is None:
        raise ValueError(f"Received: model {options.model}. Expected one of this project: its layers are counted.")
    matrix_products = {precision: matrix_product(precision) for precision in ("float32", "bfloat16")}
    upscalers = {precision: Upscaler(generator, precision=precision) for precision in matrix_products}
    sizes = {"720p": RESULTS["720p"]} if options.quick else RESULTS

    def matrix_rates():
        return {p: MATRIX_OPERATIONS / 1e9 / best_of(2, product) for p, product in matrix_products.items()}

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
            targets.append(Target(f"{size}, float32, share of the matrix product", share, least=0.85))
        else:
            gain = median_ratio(rates[size, precision], rates[size, "float32"])
            figures[f"{size} bfloat16"]["gain"] = gain
            if fast_bfloat16():
                targets.append(Target(f"{size}, bfloat16 : float32", gain, least=1.5))
    model = model_of(options)
    if can_be_compared(model):
        usable = upscalers if fast_bfloat16() else {"float32": upscalers["float32"]}
        beside = measure_beside_openvino(model, usable, repeats=4 if options.quick else 10)
        figures, lines, targets = {**figures, **beside.figures}, lines + beside.lines, targets + beside.targets
    return Section(figures, lines, targets)


def matrix_product(precision):
    """A function that multiplies two matrices, with `MATRIX_OPERATIONS` floating-point operations."""
    import tensorflow as tf

    matrix = tf.cast(tf.random.normal([MATRIX, MATRIX]), precision)
    return lambda: tf.matmul(matrix, matrix).numpy()
