"""How much of each of several trainings a generator should have: `python3 -m utils.fit_shares OUT GENERATOR ...`.

    python3 -m utils.fit_shares OUT GENERATOR --change S19 S20 --change S19 S23 --data crops/texture crops/structure

A change is what a training did to the weights, TO less FROM. OUT is GENERATOR plus a share of each change, which may be
below 0, and is another one for each part of the network. The shares are found by gradient descent on pictures: LPIPS
beside GENERATOR's own, and PSNR-Y. They are few numbers, (changes) x (parts), where a training has all weights.

Adding changes of weights is task arithmetic (Ilharco et al. 2023, arXiv:2212.04089), and shares for each layer that are
learnt on pictures are those of AdaMerging (Yang et al. 2024, arXiv:2310.02575).

Every second picture of a folder is fitted on. The others tell what that is worth elsewhere: LPIPS, and how many
decibels of PSNR-Y were gained, at the start, every ten steps and at the end. The shares are in OUT's model card and
config.json.
"""

import argparse
import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from srwgan.commandline import OneLineParser, one_line_errors, quiet_start, real, run_command, whole
from srwgan.measuring.pairs import FIXED_DEGRADATIONS

RATE = 0.25  # of the first step, in units: a share that changes results by one level of 255
BETAS = (0.8, 0.95)  # of Adam, for some tens of steps
REPORT_EVERY = 10
PROBE = 0.01  # of a change, how much it does to results is measured with
PROBED = 8  # pictures


def main(argv=None):
    args = (parser := build_parser()).parse_args(argv)
    with one_line_errors(parser):
        with quiet_start():
            from srwgan.networks.saving import export_generator, load_generator

        generator, load = load_generator(args.generator), functools.cache(load_generator)  # FROM is often the same
        check_generator(generator, args.generator)
        changes = [change_of(load(start), load(end), generator) for start, end in args.change]
        fitted, checked = read_examples(args, generator.scale)
        shares = fit(generator, changes, fitted, checked, args)
        training = {
            "shares of changes": {
                f"{end} - {start}": share.tolist() for (start, end), share in zip(args.change, shares, strict=True)
            },
            "added to": args.generator,
            "fitted on": args.data,
            "wear": args.wear,
            "psnr": args.psnr,
        }
        moved = export_generator(generator, args.out, training)
    for (start, end), share in zip(args.change, shares, strict=True):
        print(f"{start} -> {end}: {' '.join(f'{value:+.3f}' for value in share)}")
    print(f"{args.out}: the sum", f"(what was there: {moved})" if moved else "")
    return 0


def build_parser():
    parser = OneLineParser(
        description=__doc__, prog="python3 -m utils.fit_shares", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="folder of the result")
    add("generator", metavar="GENERATOR", help="what the changes are added to")
    add(
        "--change",
        nargs=2,
        action="append",
        required=True,
        metavar=("FROM", "TO"),
        help="generators before and after a training; again for each",
    )
    add("--data", nargs="+", required=True, metavar="DIR", help="folders of NAME_LR and NAME_HR, or of originals")
    add(
        "--weights",
        nargs="+",
        type=real(0),
        metavar="W",
        help="how much each folder counts, whatever its number of pictures (default: all alike)",
    )
    add(
        "--wear",
        nargs="+",
        choices=("none", *FIXED_DEGRADATIONS),
        default=["none"],
        metavar="KIND",
        help="how low resolutions are damaged first, as in utils.evaluate; of several, every picture is in each (none)",
    )
    add(
        "--psnr",
        type=real(0),
        default=0.05,
        metavar="W",
        help="what a decibel is worth, as a share of LPIPS (%(default)s)",
    )
    add("--parts", type=whole(1), default=4, metavar="N", help="of the network, first to last layer (%(default)s)")
    add("--steps", type=whole(1), default=40, metavar="N", help="(%(default)s)")
    add("--batch", type=whole(1), default=40, metavar="N", help="pictures in a step (%(default)s)")
    add("--crops", type=whole(1), default=1, metavar="N", help="of a larger picture, at random places (%(default)s)")
    add("--size", type=whole(64), default=256, metavar="PIXELS", help="of a crop, in high resolution (%(default)s)")
    add("--seed", type=whole(0), default=0, help="of crops' places and order (%(default)s)")
    return parser


def check_generator(generator, path):
    """Raises ValueError for a model whose weights are not those of a generator that takes images alone."""
    from srwgan.networks.generator import Generator

    if not isinstance(generator, Generator) or generator.condition != "none":
        raise ValueError(
            f"Received: GENERATOR {path}. Expected a generator with generator.keras that takes images alone."
        )


def change_of(start, end, generator):
    """What a training changed, an array for each trainable weight.

    Raises:
        ValueError: generators of different architecture.
    """
    from srwgan.networks.mixing import check_same_architecture

    check_same_architecture([generator, start, end])
    pairs = zip(start.trainable_variables, end.trainable_variables, strict=True)
    return [after.numpy() - before.numpy() for before, after in pairs]


@dataclass
class Example:
    """A picture to fit or to check on.

    Attributes:
        low_res, original: (1, H, W, 3) and (1, scale H, scale W, 3), RGB in [-1, 1].
        group: its folder and its wear, by which figures are averaged.
    """

    low_res: np.ndarray
    original: np.ndarray
    group: tuple[str, str]


def read_examples(args, scale):
    """The first, third, ... picture of every folder, to fit on, and the second, fourth, ..., to check on.

    Raises:
        ValueError: a folder of fewer than two pictures, or weights that are not one for each folder.
    """
    from srwgan.measuring.pairs import degraded, find_pairs, read_pair
    from srwgan.pixels import to_range

    if args.weights is not None and (len(args.weights) != len(args.data) or not sum(args.weights)):
        raise ValueError(f"Received: --weights {args.weights} for {len(args.data)} folders. Expected one for each.")
    halves = [], []
    for number, folder in enumerate(args.data):
        pairs = find_pairs(folder)
        if len(pairs) < 2:
            raise ValueError(f"Received: --data {folder} with one picture. Expected two or more, to check on half.")
        for place, (_, *paths) in enumerate(pairs):
            low_res, original = read_pair(*paths, scale=scale)
            side = min(args.size // scale, *low_res.shape[:2])
            random = np.random.default_rng([args.seed, number, place])
            corners = random.integers(np.array(low_res.shape[:2]) - side + 1, size=(args.crops, 2))
            for wear in args.wear:  # of the whole picture: a crop's palette would be richer
                worn = low_res if wear == "none" else degraded(low_res, wear)
                for corner in corners:
                    crops = cut(worn, corner, side), cut(original, corner * scale, side * scale)
                    halves[place % 2].append(Example(*(to_range(crop[None]) for crop in crops), (folder, wear)))
    return halves


def cut(picture, corner, side):
    """The square of a picture whose top left pixel is at `corner`."""
    return picture[corner[0] : corner[0] + side, corner[1] : corner[1] + side]


class Sum:
    """A generator plus shares of changes.

    Args:
        generator: what they are added to.
        changes: for each, an array for each trainable weight.
        parts: how many parts of the network have shares of their own.

    Attributes:
        shape: (changes, parts), that of the shares.
    """

    def __init__(self, generator, changes, parts):
        import tensorflow as tf

        self.generator, self.shape = generator, (len(changes), parts)
        self.base = [tf.constant(variable) for variable in generator.trainable_variables]
        self.changes = [tf.constant(np.stack(each)) for each in zip(*changes, strict=True)]
        layers = [layer for layer in generator.layers if layer.trainable_variables]
        part_of = {
            variable.path: place * parts // len(layers)
            for place, layer in enumerate(layers)
            for variable in layer.trainable_variables
        }
        self.parts = [part_of[variable.path] for variable in generator.trainable_variables]

    def weights(self, shares):
        """The trainable weights with shares (changes, parts)."""
        import tensorflow as tf

        each = zip(self.base, self.changes, self.parts, strict=True)
        return [base + tf.tensordot(shares[:, part], changes, 1) for base, changes, part in each]

    def upscale(self, weights, low_res):
        """(1, H, W, 3) -> (1, scale H, scale W, 3) in [-1, 1], edges as the upscaler has them."""
        import tensorflow as tf

        from srwgan.networks.edges import margin_of, with_edges

        def network(images, training):
            others = self.generator.non_trainable_variables
            return self.generator.stateless_call(weights, others, images, training=training)[0]

        network.scale = self.generator.scale
        return tf.clip_by_value(with_edges(network, margin_of(self.generator))(low_res), -1, 1)


def fit(generator, changes, fitted, checked, args):
    """Give the generator the weights of the best sum; returns the shares (changes, parts)."""
    import keras
    import tensorflow as tf

    from srwgan.measuring.lpips import LPIPS
    from srwgan.training.losses import reconstruction_loss

    network, distance = Sum(generator, changes, args.parts), LPIPS()

    def measure(weights, low_res, original):
        result = tf.ensure_shape(network.upscale(weights, low_res), original.shape)
        decibels = 10 * reconstruction_loss(original, result, kind="psnr", luma=1.0)[0]
        return distance(result, original)[0], decibels  # what falls where PSNR-Y rises

    measured = tf.function(lambda shares, low_res, original: measure(network.weights(shares), low_res, original))

    def means(examples, shares):
        """{group: [LPIPS, decibels lost]}, means over its examples."""
        groups = {}
        for each in examples:
            groups.setdefault(each.group, []).append(measured(shares, each.low_res, each.original))
        return {group: np.mean(figures, axis=0) for group, figures in groups.items()}

    @tf.function
    def gradient(shares, low_res, original, weights):
        with tf.GradientTape() as tape:
            tape.watch(shares)
            loss = tf.tensordot(tf.stack(measure(network.weights(shares), low_res, original)), weights, 1)
        return loss, tape.gradient(loss, shares)

    units = tf.constant(units_of(network, fitted[:: math.ceil(len(fitted) / PROBED)]), tf.float32)[:, None]
    steps = keras.Variable(np.zeros(network.shape, np.float32))  # in units
    at_start = means(fitted, units * steps)
    terms = loss_terms(fitted, at_start, args)
    rates = keras.optimizers.schedules.PolynomialDecay(RATE, args.steps, 0.0)
    optimizer = keras.optimizers.Adam(rates, *BETAS)
    random, batch = np.random.default_rng(args.seed), min(args.batch, len(fitted))
    before = means(checked, units * steps)
    report("start", before, before)
    with tqdm(range(1, args.steps + 1), desc="fitting", unit="step") as progress:
        for step in progress:
            chosen = random.permutation(len(fitted))[:batch]
            results = [
                gradient(units * steps, fitted[i].low_res, fitted[i].original, terms[i] * len(fitted) / batch)
                for i in chosen
            ]
            optimizer.apply_gradients([(units * tf.add_n([slope for _, slope in results]), steps)])
            progress.set_postfix(loss=f"{sum(float(loss) for loss, _ in results):.4f}")
            if step % REPORT_EVERY == 0 or step == args.steps:
                report(f"step {step}", means(checked, units * steps), before)
    shares = units * steps
    for variable, value in zip(generator.trainable_variables, network.weights(shares), strict=True):
        variable.assign(value)
    return shares.numpy()


def units_of(network, examples):
    """The share of each change that changes the examples' results by one level of 255, root mean square: (changes,)."""
    import tensorflow as tf

    from srwgan.pixels import range_to_levels

    results = tf.function(lambda shares, low_res: range_to_levels(network.upscale(network.weights(shares), low_res)))
    before = [results(np.zeros(network.shape, np.float32), each.low_res) for each in examples]
    units = []
    for place in range(network.shape[0]):
        shares = np.zeros(network.shape, np.float32)
        shares[place] = PROBE
        squares = [
            tf.reduce_mean((results(shares, each.low_res) - was) ** 2)
            for each, was in zip(examples, before, strict=True)
        ]
        change = float(np.sqrt(np.mean(squares)))
        units.append(PROBE / change if change else 0.0)  # 0: a change of nothing gets no share
    return np.array(units)


def loss_terms(examples, at_start, args):
    """(examples, 2) float32: what LPIPS and a decibel of each are worth; together, LPIPS is worth 1 at the start."""
    given = dict(zip(args.data, args.weights or [1.0] * len(args.data), strict=True))
    total = sum(given.values()) * len(args.wear)
    numbers = {group: sum(each.group == group for each in examples) for group in at_start}
    worth = [given[each.group[0]] / total / numbers[each.group] for each in examples]
    terms = [(1 / at_start[each.group][0], args.psnr) for each in examples]
    return np.float32(np.array(worth)[:, None] * terms)


def report(when, figures, before):
    """A line of LPIPS and of the decibels gained since the start, for each folder and wear."""
    cells = [
        f"{Path(folder).name} {wear} {lpips:.4f} {before[folder, wear][1] - lost:+.2f} dB"
        for (folder, wear), (lpips, lost) in figures.items()
    ]
    tqdm.write(f"{when}: {', '.join(cells)}")


if __name__ == "__main__":
    run_command(main)
