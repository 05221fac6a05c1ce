#!/usr/bin/env python3
"""Train SRWGAN, for example:

python3 train_SRWGAN.py --trainnum 600 --epochs 40 --batchsz 4 --gpweight 16.0 --cweight 4 --savemodel True
"""

import argparse
import importlib.util
import json
import logging
import os
import sys
import time
import warnings

from srwgan.commandline import OneLineParser, quiet_start, real, whole

FLAGS_FILE = "flags.json"
MAY_CHANGE = (
    "resume",
    "run_dir",
    "cache",
    "cache_limit",
    "savemodel",
    "chkpt_path",
    "strategy",
    "steps_per_call",
    "tensorboard",
    "jit",
    "download",
)  # on resuming: what does not change the result
BUNDLED_PHOTOS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Images", "train")
log = logging.getLogger("srwgan")


def main(argv=None):
    parser = build_parser()
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    logging.getLogger("absl").setLevel(logging.ERROR)
    warnings.showwarning = lambda message, *rest: log.warning("Warning: %s", message)
    try:
        if args.resume:
            args = flags_of_run(args.resume, parser, argv)
        check(args)
        return train(args)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def train(args):
    """Build what the flags ask for, train, and write the results; returns the exit status."""
    if args.jit:  # read when TensorFlow starts; clusters of operations are compiled by XLA, on the CPU too
        os.environ["TF_XLA_FLAGS"] = "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"
    with quiet_start():
        import tensorflow as tf

        from srwgan.training.devices import build_strategy, is_chief, worker_position

    strategy = build_strategy(args.strategy)  # first of all, see there
    workers = worker_position(strategy)[1]
    if workers > 1 and not (args.run_dir or args.resume):
        raise ValueError("Received: several workers without --run-dir. Expected a folder that all of them share.")
    chief = is_chief(strategy)
    log.setLevel(logging.INFO if chief else logging.WARNING)
    try:
        return train_and_report(args, build(args, strategy, chief))
    except tf.errors.OpError as error:
        if workers == 1 or isinstance(error, tf.errors.ResourceExhaustedError):
            return failed_operation(error)
        return lost_worker(args, error)


def build(args, strategy, chief):
    """The `Run`, restored where it is to be resumed."""
    if args.download and chief:
        download(args.download, args.datapath)
    photos, held_out = load_photos(args)
    stream = build_stream(args, photos)
    with strategy.scope():
        generator, discriminator, average = build_networks(args)
        trainer = build_trainer(args, generator, discriminator, average, stream)
    folder = run_folder(args, chief)
    run = build_run(args, trainer, stream, build_validation(args, held_out), folder, chief)
    if args.resume:
        log.info("Going on after %d of %d batches", run.restore(), args.epochs * run.steps)
    log.info(
        "Run folder: %s (%d photographs, %d batches of %d an epoch on %d replica(s), %s)",
        folder,
        len(photos),
        run.steps,
        run.images_per_step(),
        run.replicas,
        generator.get_layer("first").dtype_policy.name,
    )
    return run


def train_and_report(args, run):
    from srwgan.training.run import Diverged, Stopped

    try:
        run.train()
    except Stopped as stopped:
        return stopped.exit_status
    except Diverged as diverged:
        return failed(diverged)
    if run.chief:
        write_results(args, run)
    run.meet()
    return 0


def failed_operation(error):
    import tensorflow as tf

    from srwgan.training.run import one_line

    if not isinstance(error, tf.errors.ResourceExhaustedError):
        raise error
    return failed(f"out of memory ({one_line(error)}). Expected a smaller --batchsz or --cropsz, or --accumulate.")


def lost_worker(args, error):
    import tensorflow as tf

    folder = args.resume or args.run_dir
    checkpoint = tf.train.latest_checkpoint(os.path.join(folder, "checkpoints"))
    failed(
        f"another worker is gone ({type(error).__name__}). Start all workers again"
        + (f" with --resume {folder}, last checkpoint: {checkpoint}" if checkpoint else ", no checkpoint yet")
    )
    os._exit(1)  # the normal exit waits for the lost worker


def failed(reason):
    log.error("train_SRWGAN.py: %s", reason)
    return 1


def build_networks(args):
    """The generator, its averaged twin and the discriminator, new or as exported to --init."""
    import keras

    from srwgan.networks.discriminator import Discriminator
    from srwgan.networks.generator import Generator, with_precision
    from srwgan.networks.precision import choose_policy
    from srwgan.networks.saving import load_discriminator, load_generator

    keras.utils.set_random_seed(args.seed)
    policy = choose_policy(args.precision)
    if not args.init:
        generator = Generator(
            args.filters,
            args.blocks,
            args.scale,
            args.activation,
            args.upsampling,
            args.attention,
            args.condition,
            dtype=policy,
        )
        return generator, Discriminator(args.dfilters, dtype=policy), with_precision(generator, policy)
    folder = args.init if os.path.exists(args.init) else f"{args.init}_Gen"
    start = load_generator(folder)
    if not isinstance(start, Generator):
        raise ValueError(f"Received: --init {folder}, a SavedModel without generator.keras. Expected one with it.")
    if start.scale != args.scale:
        raise ValueError(
            f"Received: --scale {args.scale} with --init {folder}, of scale {start.scale}. Expected the same."
        )
    if start.condition != args.condition:
        raise ValueError(
            f"Received: --condition {args.condition} with --init {folder}, of condition "
            f"{start.condition}. Expected the same."
        )
    for name in ("filters", "blocks", "activation", "upsampling", "attention"):
        if getattr(args, name) not in (parser_default(name), getattr(start, name)):
            raise ValueError(
                f"Received: --{name} {getattr(args, name)} with --init {folder}, of {name} "
                f"{getattr(start, name)}. Expected the same, or none."
            )
    critic = load_discriminator(folder) or load_discriminator(f"{folder.rstrip('/').removesuffix('_Gen')}_Dis")
    log.info("Starting from %s, %s", folder, "and its discriminator" if critic else "with a new discriminator")
    critic = with_precision(critic, policy) if critic else Discriminator(args.dfilters, dtype=policy)
    return with_precision(start, policy), critic, with_precision(start, policy)


def load_photos(args):
    """Photographs to train on and held-out ones for validation."""
    from srwgan.data.photos import DEFAULT_CACHE, VALID_FOLDERS, find_photos, open_photos

    datapath = args.datapath
    if not os.path.exists(datapath) and datapath == parser_default("datapath"):
        log.info("Nothing at %s: training on the bundled photographs in %s", datapath, BUNDLED_PHOTOS)
        datapath = BUNDLED_PHOTOS
    paths = find_photos(datapath)
    options = {
        "smallest": args.cropsz,
        "cache": args.cache or DEFAULT_CACHE,
        "cache_limit": int(args.cache_limit * 2**30),
        "halve_below": args.halve_below,
    }
    valid_paths = next((found for name in VALID_FOLDERS if (found := find_valid(datapath, name))), None)
    if not valid_paths:
        paths, valid_paths = split(paths, args.trainnum, args.validnum)
    photos = open_photos(paths, number=args.trainnum, **options)
    held_out = open_photos(valid_paths, number=args.validnum, **options)
    if not len(photos) or not len(held_out):  # a side without any usable one gets some of the other
        photos, held_out = shared(photos if len(photos) else held_out, args.trainnum, args.validnum)
    if not len(photos):
        raise ValueError(
            f"Received: datapath {datapath}, without a readable photograph of {args.cropsz}x{args.cropsz} "
            "or more. Expected a folder of photographs, or --download div2k, or a smaller --cropsz."
        )
    found = len(photos)
    if args.both_sizes:  # of those to train on: held-out photographs must not be there at another size
        photos = open_photos(photos.paths, number=found, both_sizes=True, **options)
    if found < args.trainnum:
        log.warning(
            "Warning: asked for %d photographs (--trainnum), training on the %d that %s has beside %d held out",
            args.trainnum,
            found,
            datapath,
            len(held_out),
        )
    return photos, held_out


def find_valid(datapath, name):
    from srwgan.data.photos import find_photos

    folder = os.path.join(datapath, name)
    return find_photos(folder, ()) if os.path.isdir(folder) else []


def split(paths, trainnum, validnum):
    """(to train on, held out): what follows the first `trainnum` is held out, where nothing does a tenth.

    It goes by paths, before any is passed over: a photograph too small for this --cropsz must not move another one
    across, so that runs with other crops, started from each other, hold out the same. What follows the held-out ones
    takes the place of those passed over. A single photograph is both.
    """
    total = min(len(paths), trainnum + validnum)
    held = total - trainnum if total > trainnum else min(validnum, max(1, total // 10), total - 1)
    return paths[: total - held] + paths[total:], paths[total - held : total] if held else paths[:total]


def shared(photos, trainnum, validnum):
    """Photographs of one side of `split` as both of its sides."""
    return [photos.subset(numbers) for numbers in split(list(range(len(photos))), trainnum, validnum)]


def build_stream(args, photos):
    from srwgan.data.crops import CropStream

    return CropStream(
        photos,
        args.cropsz,
        args.scale,
        args.batchsz,
        args.seed,
        args.crops_per_photo,
        args.sampling,
        args.dstep,
        args.interpolation,
        args.degradation,
        args.condition,
        args.grain,
    )


def build_validation(args, held_out):
    from srwgan.data.crops import held_out_crops

    return held_out_crops(held_out, args.cropsz, args.scale, args.validnum, args.degradation, args.condition)


def build_trainer(args, generator, discriminator, average, stream):
    import tensorflow as tf

    from srwgan.networks.hyperpixels import build_hyperpixels, read_channel_weights
    from srwgan.training.optimizers import build_optimizer
    from srwgan.training.step import Objective, Trainer

    objective = Objective(
        args.gpweight,
        args.cweight,
        args.advweight,
        args.rweight,
        args.latweight,
        args.reconstruction,
        args.luma,
        args.content_norm,
        args.weighting,
        args.otweight,
        args.otspace or "discriminator",
    )
    policy = generator.get_layer("first").dtype_policy.name
    hyperpixels = None
    if args.cweight and args.warmup_epochs < args.epochs:
        layers = args.hyperpixel_layers.split(",") if args.hyperpixel_layers else None
        hyperpixels = build_hyperpixels(args.pretrained, layers, args.pretrained_weights, policy)
        if args.content_channels:
            hyperpixels.channel_weights = read_channel_weights(args.content_channels, hyperpixels)
    updates = stream.steps(tf.distribute.get_strategy().num_replicas_in_sync) * args.epochs
    rates = {"schedule": args.lr_schedule, "warmup_steps": args.lr_warmup, "beta_1": args.beta1, "beta_2": args.beta2}
    return Trainer(
        generator,
        discriminator,
        hyperpixels,
        objective,
        build_optimizer(args.glr, total_steps=updates * args.gstep, kind=args.goptimizer, **rates),
        build_optimizer(args.dlr, total_steps=updates * args.dstep, kind=args.doptimizer, **rates),
        average,
        args.dstep,
        args.gstep,
        args.ema,
        args.clip,
        args.scale if args.shift is None else args.shift,
        args.repeat_edges,
        args.accumulate,
        policy == "mixed_float16",
    )


def build_run(args, trainer, stream, validation, folder, chief):
    import tensorflow as tf

    from srwgan.training.pictures import EpochVisualizer
    from srwgan.training.run import Run

    visualizer = None
    if chief:
        low_res, high_res = tf.nest.map_structure(lambda x: x[:4], validation)
        visualizer = EpochVisualizer(
            trainer.generate_average, trainer.discriminator, low_res, high_res, os.path.join(folder, "samples")
        )
    return Run(
        trainer,
        stream,
        validation,
        folder,
        args.epochs,
        visualizer,
        args.warmup_epochs,
        args.critic_warmup,
        args.steps_per_call,
        args.tensorboard and chief,
    )


def write_results(args, run):
    """Figures, GIF, history, PSNR of the samples, and the exported networks."""
    from srwgan.training.pictures import draw_history

    draw_history(run.history, os.path.join(run.folder, "curves.png"))
    run.visualizer.save_gif(os.path.join(run.folder, "training.gif"))
    run.visualizer.save_gif("./generated_samples/generatedSuperRes.gif")
    run.write_pickle("./trainHistoryDict")
    log.info(
        "PSNR-Y of %d held-out crops: %.2f dB (bicubic %.2f dB)",
        len(run.validation[1]),
        run.history["psnr"][-1],
        run.psnr_bicubic,
    )
    if args.savemodel:
        save_networks(args, run)
    log.info(
        "Results: %s (history.json, curves.png, samples/, training.gif), ./trainHistoryDict, "
        "./generated_samples/generatedSuperRes.gif",
        run.folder,
    )


def save_networks(args, run):
    from srwgan.networks.saving import export_discriminator, export_generator

    facts = {
        "photographs": len(run.stream.photos),
        "batches": int(run.progress.numpy()),
        "batch": f"{run.images_per_step()} crops of {args.cropsz}x{args.cropsz}",
        "PSNR-Y of held-out crops": f"{run.history['psnr'][-1]:.2f} dB (bicubic {run.psnr_bicubic:.2f} dB)",
        "flags": " ".join(f"--{name.replace('_', '-')} {value}" for name, value in changed_flags(args).items()),
    }
    for kind, export in (
        ("Gen", lambda path: export_generator(run.trainer.average, path, facts)),
        ("Dis", lambda path: export_discriminator(run.trainer.discriminator, path)),
    ):
        path = f"{args.chkpt_path}_{kind}"
        aside = export(path)
        log.info("Saved %s%s", path, f" (what stood there is now {aside})" if aside else "")


def changed_flags(args):
    return {
        name: value
        for name, value in vars(args).items()
        if value != parser_default(name) and name not in (*MAY_CHANGE, "datapath", "init", "pretrained_weights")
    }


def run_folder(args, chief):
    """A new folder for this run with its flags in it, or the one to go on with."""
    folder = args.resume or args.run_dir or os.path.join("runs", time.strftime("%Y%m%d-%H%M%S"))
    if not args.resume and chief:
        if os.path.isdir(folder) and not never_saved(folder):
            raise ValueError(f"Received: --run-dir {folder}, not empty. Expected a new folder, or --resume {folder}.")
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"Received: --run-dir {folder}, which cannot be made ({error.strerror}). "
                "Expected a folder that can be written."
            ) from error
        write_flags(args, folder)
    return folder


def never_saved(folder):
    """Whether it is empty, or a run was killed in it before its first checkpoint and may be started again."""
    ours = {FLAGS_FILE, "history.json", "samples", "tensorboard", "checkpoints", "best"}
    return set(os.listdir(folder)) <= ours and not os.path.exists(os.path.join(folder, "checkpoints", "checkpoint"))


def write_flags(args, folder):
    from srwgan.training.run import versions, write_json

    write_json(os.path.join(folder, FLAGS_FILE), {"flags": vars(args), "versions": versions()})


def flags_of_run(folder, parser, argv):
    """The flags that a run was started with; those on the command line may repeat them, not change them."""
    try:
        with open(os.path.join(folder, FLAGS_FILE)) as file:
            saved = json.load(file)["flags"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"Received: --resume {folder}, without a readable {FLAGS_FILE}. Expected the folder of a run."
        ) from error
    parser.set_defaults(**saved)
    args = parser.parse_args(argv)
    for name, value in saved.items():
        if getattr(args, name) != value and name not in MAY_CHANGE:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"Received: {flag} {getattr(args, name)} with --resume {folder}, which was started with "
                f"{flag} {value}. Expected the same."
            )
    args.resume = folder
    return args


def download(name, datapath):
    from srwgan.data.div2k import download_div2k

    log.info("DIV2K is in %s", download_div2k(datapath))


def check(args):
    """What no single flag's type can tell."""
    from srwgan.data.degradations import check_degradation

    if args.cropsz % args.scale:
        raise ValueError(f"Received: --cropsz {args.cropsz} with --scale {args.scale}. Expected a multiple of it.")
    if args.warmup_epochs >= args.epochs and args.critic_warmup:
        raise ValueError(
            f"Received: --critic-warmup {args.critic_warmup} with no epoch after --warmup-epochs "
            f"{args.warmup_epochs}. Expected fewer warm-up epochs than --epochs {args.epochs}."
        )
    if args.both_sizes and not args.halve_below:
        raise ValueError(
            "Received: --both-sizes without --halve-below. Expected the megapixels below which "
            "photographs are there at half their size too."
        )
    if args.batchsz % args.accumulate:
        raise ValueError(
            f"Received: --batchsz {args.batchsz} with --accumulate {args.accumulate}. Expected a multiple of it."
        )
    check_degradation(args.degradation, args.condition)
    if args.content_channels and args.content_norm != "unit":
        raise ValueError(f"Received: --content-channels with --content-norm {args.content_norm}. Expected unit.")
    if not (args.advweight or args.rweight or args.cweight):
        raise ValueError("Received: --advweight 0 --rweight 0 --cweight 0. Expected one of them to be positive.")
    if args.otspace and not args.otweight:
        raise ValueError(f"Received: --otspace {args.otspace} with --otweight 0. Expected an --otweight above 0.")
    if args.otweight and args.otspace != "pixels" and not args.advweight:
        raise ValueError(
            "Received: --otweight with --advweight 0, which trains no discriminator. "
            "Expected --otspace pixels, or an --advweight above 0."
        )
    if args.otspace == "pixels" and args.cropsz < 16:
        raise ValueError(f"Received: --cropsz {args.cropsz} with --otspace pixels. Expected 16 or more.")
    if args.weighting == "self-adaptive" and args.epochs <= args.warmup_epochs:
        raise ValueError(
            "Received: --weighting self-adaptive with warm-up epochs alone, where one loss is trained. "
            "Expected more --epochs than --warmup-epochs."
        )
    if args.tensorboard and not importlib.util.find_spec("tensorboard"):  # newer TensorFlow comes without
        raise ValueError("Received: --tensorboard without that package. Expected: pip install tensorboard")
    for path in [f"{args.chkpt_path}_Gen", "trainHistoryDict", "generated_samples/x", args.run_dir or "runs/x"]:
        check_writable(os.path.dirname(os.path.abspath(path)))


def check_writable(folder):
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise ValueError(f"Received: an output in {folder}, which cannot be written. Expected a writable folder.")


def parser_default(name):
    return build_parser().get_default(name)


def boolean(text):
    known = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    if text.lower() not in known:
        raise argparse.ArgumentTypeError(f"Received: {text}. Expected True or False (yes, no, 1, 0).")
    return known[text.lower()]


def build_parser():
    parser = OneLineParser(
        description="Train a super-resolution Wasserstein GAN with gradient penalty.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        prog="train_SRWGAN.py",
    )
    count, positive, weight = whole(1), real(0, above=True), real(0)

    group = parser.add_argument_group("data")
    add = group.add_argument
    add("--datapath", default="./Datasets", help="folder of photographs, searched recursively (DIV2K's too)")
    add("--download", choices=["div2k"], help="fetch DIV2K's training photographs (3.5 GB) into --datapath first")
    add("--trainnum", type=count, default=20, help="photographs to train on")
    add("--validnum", type=count, default=16, help="held-out crops that the PSNR is measured on")
    add("--cropsz", type=whole(16), default=256, help="side of the high-resolution crops in pixels")
    add("--crops-per-photo", type=count, default=1, help="crops of each photograph in an epoch")
    add("--sampling", choices=["each", "area"], default="each", help="photographs equally often, or by their pixels")
    add(
        "--halve-below",
        type=weight,
        default=0.0,
        metavar="MEGAPIXELS",
        help="take smaller photographs at half their height and width, where their compression no longer shows",
    )
    add("--both-sizes", action="store_true", help="with --halve-below: at their own size too, as further photographs")
    add(
        "--grain",
        type=weight,
        default=0.0,
        metavar="LEVELS",
        help="half of the high-resolution crops get noise with a standard deviation up to this, of 255, so that grain "
        "is learnt",
    )
    add(
        "--repeat-edges",
        type=whole(0),
        default=0,
        metavar="PIXELS",
        help="low-resolution pixels by which edges of crops are repeated before the generator, as those of a picture "
        "to upscale are by its receptive field; 0: it sees zeros there",
    )
    add(
        "--degradation",
        choices=["bicubic", "gif", "real", "mixed"],
        default="bicubic",
        help="what low-resolution partners suffer: nothing more, a GIF's palette and dither, blur, noise and JPEG, or "
        "any of the three",
    )
    add("--cache", default=None, help="folder of the cache of decoded photographs (default: ~/.cache/srwgan)")
    add("--cache-limit", type=positive, default=16.0, help="GB that the cache may take")

    group = parser.add_argument_group("networks")
    add = group.add_argument
    add("--scale", type=int, choices=[2, 3, 4, 8], default=4, help="how many times larger the result is")
    add("--filters", type=whole(4), default=64, help="channels of the generator's residual blocks")
    add("--blocks", type=count, default=8, help="residual blocks of the generator")
    add("--dfilters", type=whole(4), default=64, help="channels of the discriminator's first convolution")
    add("--activation", choices=["leaky_relu", "prelu"], default="leaky_relu", help="of the generator")
    add(
        "--upsampling",
        choices=["pixelshuffle", "fourier", "resize-conv"],
        default="pixelshuffle",
        help="how the generator enlarges its features",
    )
    add("--attention", choices=["none", "channel", "window"], default="none", help="in the generator's blocks")
    add(
        "--condition",
        choices=["none", "noise"],
        default="none",
        help="noise: the generator is told the strength of the degradation",
    )
    add("--init", metavar="DIR", help="go on from an exported generator, and its discriminator where one is there")
    add(
        "--pretrained",
        default="resnet50",
        metavar="NAME",
        help="classifier of the content loss: resnet50, resnet101, vgg16, vgg19, or a .keras file",
    )
    add("--pretrained-weights", metavar="FILE", help="its weights without top layers, instead of a download")
    add("--hyperpixel-layers", metavar="L,L", help="its layers, positions in model.layers or names (default: its own)")

    group = parser.add_argument_group("losses")
    add = group.add_argument
    add("--gpweight", type=weight, default=10.0, help="weight of the gradient penalty")
    add("--cweight", type=weight, default=1e-3, help="weight of the content loss; 0 needs no pretrained classifier")
    add("--advweight", type=weight, default=1.0, help="weight of the adversarial loss")
    add("--rweight", type=weight, default=1.0, help="weight of the reconstruction loss")
    add("--latweight", type=weight, default=0.0, help="weight of the lattice loss, against grids in the result")
    add(
        "--reconstruction",
        choices=["mse", "l1", "psnr"],
        default="mse",
        help="form of the reconstruction loss: mean squared or absolute error of a crop, or the first one's logarithm",
    )
    add(
        "--luma",
        type=real(0, 1),
        default=0.0,
        metavar="SHARE",
        help="share of the reconstruction loss that is of the luma alone, 0 to 1",
    )
    add(
        "--content-norm",
        choices=["energy", "unit"],
        default="energy",
        help="feature maps divided by their mean square, or pixels' feature vectors of unit length",
    )
    add(
        "--content-channels",
        metavar="FILE",
        help="with --content-norm unit: .npz of a weight per channel for each hyperpixel layer, such as LPIPS's",
    )
    add(
        "--weighting",
        choices=["fixed", "gradient", "self-adaptive"],
        default="fixed",
        help="weights as they are, on gradients divided by a running mean of their norm, or each times a factor of 0.1 "
        "to 10 that is trained against the networks",
    )
    add(
        "--otweight",
        type=real(0),
        default=0.0,
        help="weight of an optimal transport between generated and real patches of a replica's batch",
    )
    add(
        "--otspace",
        choices=["discriminator", "pixels"],
        help="what the patches are compared by (default: discriminator)",
    )
    add(
        "--shift",
        type=whole(0),
        metavar="PIXELS",
        help="discriminator and hyperpixels see the images from a changing offset below this, against grids in the "
        "result; 0: none (default: the scale)",
    )
    add(
        "--interpolation",
        choices=["gaussian", "uniform"],
        default="gaussian",
        help="penalty at real + e (fake - real), e from N(0, 1) or U(0, 1)",
    )

    group = parser.add_argument_group("schedule")
    add = group.add_argument
    add("--epochs", type=count, default=2, help="epochs in all")
    add("--batchsz", type=count, default=4, help="crops in a batch")
    add("--dstep", type=count, default=1, help="discriminator steps for each batch")
    add("--gstep", type=count, default=1, help="generator steps for each batch")
    add("--warmup-epochs", type=whole(0), default=0, help="first epochs, on the reconstruction loss alone")
    add("--critic-warmup", type=whole(0), default=0, help="steps after those on the discriminator alone")
    add(
        "--goptimizer",
        choices=["adam", "muon"],
        default="adam",
        help="the generator's; muon: steps of hidden convolutions are orthogonalised, better in as many steps",
    )
    add("--doptimizer", choices=["adam", "muon"], default="adam", help="the discriminator's")
    add("--glr", type=positive, default=2e-4, help="the generator's learning rate")
    add("--dlr", type=positive, default=2e-4, help="the discriminator's learning rate")
    add("--lr-schedule", choices=["constant", "cosine"], default="constant", help="cosine falls to a hundredth")
    add("--lr-warmup", type=whole(0), default=0, help="steps over which the rates rise")
    add("--beta1", type=weight, default=0.5, help="Adam's decay of the first moment")
    add("--beta2", type=weight, default=0.9, help="Adam's decay of the second moment")
    add("--ema", type=weight, default=0.998, help="decay of the generator's averaged weights")
    add("--clip", type=weight, default=0.0, help="largest norm of a network's gradient; 0: none")
    add("--seed", type=whole(0), default=0, help="of weights, crops and penalty positions")

    group = parser.add_argument_group("machine")
    add = group.add_argument
    add(
        "--precision",
        choices=["auto", "float32", "mixed_bfloat16", "mixed_float16"],
        default="auto",
        help="of the convolutions; auto: bfloat16 where the machine is fast at it",
    )
    add(
        "--strategy",
        choices=["auto", "one", "mirrored", "multiworker"],
        default="auto",
        help="one device, all of this machine, or many machines (TF_CONFIG or SLURM); --batchsz is for each replica",
    )
    add("--accumulate", type=count, default=1, help="parts that a batch is computed in, against lack of memory")
    add("--steps-per-call", type=count, default=1, help="batches in one call of the compiled step")
    add("--jit", action="store_true", help="compile with XLA")

    group = parser.add_argument_group("results")
    add = group.add_argument
    add("--savemodel", type=boolean, default=False, metavar="True|False", help="export the networks at the end")
    add("--chkpt_path", default="./SRWGAN", help="they go to CHKPT_PATH_Gen and CHKPT_PATH_Dis")
    add("--run-dir", help="folder of this run (default: runs/DATE-TIME)")
    add("--resume", metavar="RUN_DIR", help="go on from the newest checkpoint of a run, with its flags")
    add("--tensorboard", action="store_true", help="scalars and pictures for TensorBoard too, in RUN_DIR/tensorboard")
    return parser


if __name__ == "__main__":
    sys.exit(main())
