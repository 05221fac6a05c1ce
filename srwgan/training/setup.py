"""From flags to a run: photographs, crops, networks, trainer, and the folder of the run."""

import logging
import os
import time
from argparse import Namespace

import keras
import tensorflow as tf

from srwgan.data.crops import CropStream, held_out_crops
from srwgan.data.div2k import download_div2k
from srwgan.data.photos import DEFAULT_CACHE, Photos
from srwgan.data.splits import BUNDLED_PHOTOS, open_split
from srwgan.networks.discriminator import Discriminator
from srwgan.networks.generator import Generator, with_precision
from srwgan.networks.hyperpixels import build_hyperpixels, read_channel_weights
from srwgan.networks.precision import choose_policy
from srwgan.networks.saving import load_discriminator, load_generator
from srwgan.training.flags import FLAGS_FILE, default_of, write_flags
from srwgan.training.optimizers import build_optimizer
from srwgan.training.pictures import EpochVisualizer
from srwgan.training.run import Run, versions
from srwgan.training.step import Objective, Trainer

log = logging.getLogger("srwgan")


def build(args: Namespace, strategy, chief: bool) -> Run:
    """The run that the flags ask for, restored where it is to be resumed.

    Raises:
        ValueError, OSError: what the flags name is not there or does not fit.
    """
    if args.download and chief:
        log.info("DIV2K is in %s", download_div2k(args.datapath))
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


def load_photos(args: Namespace) -> tuple[Photos, Photos]:
    """Photographs to train on, and held-out ones for validation.

    Raises:
        FileNotFoundError, ValueError: there is no such folder, or no usable photograph in it.
    """
    datapath = args.datapath
    if not os.path.exists(datapath) and datapath == default_of("datapath"):
        log.info("Nothing at %s: training on the bundled photographs in %s", datapath, BUNDLED_PHOTOS)
        datapath = BUNDLED_PHOTOS
    return open_split(
        datapath,
        trainnum=args.trainnum,
        validnum=args.validnum,
        smallest=args.cropsz,
        both_sizes=args.both_sizes,
        halve_below=args.halve_below,
        cache=args.cache or DEFAULT_CACHE,
        cache_limit=int(args.cache_limit * 2**30),
    )


def build_stream(args: Namespace, photos: Photos) -> CropStream:
    """The stream of training crops."""
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


def build_validation(args: Namespace, held_out: Photos):
    """(low_res, high_res) of the held-out crops, as `Run` takes them."""
    return held_out_crops(held_out, args.cropsz, args.scale, args.validnum, args.degradation, args.condition)


def build_networks(args: Namespace):
    """The generator, the discriminator and the generator's averaged twin, new or as exported to --init.

    Raises:
        FileNotFoundError, ValueError: --init is no generator, or one of another shape than the flags ask for.
    """
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
        if getattr(args, name) not in (default_of(name), getattr(start, name)):
            raise ValueError(
                f"Received: --{name} {getattr(args, name)} with --init {folder}, of {name} "
                f"{getattr(start, name)}. Expected the same, or none."
            )
    critic = load_discriminator(folder) or load_discriminator(f"{folder.rstrip('/').removesuffix('_Gen')}_Dis")
    if critic and args.dfilters not in (default_of("dfilters"), critic.filters):
        critic = None  # another one was asked for
    log.info("Starting from %s, %s", folder, "and its discriminator" if critic else "with a new discriminator")
    critic = with_precision(critic, policy) if critic else Discriminator(args.dfilters, dtype=policy)
    return with_precision(start, policy), critic, with_precision(start, policy)


def build_trainer(args: Namespace, generator, discriminator, average, stream) -> Trainer:
    """The trainer of these networks, with new optimizers and, where they are needed, hyperpixels."""
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


def build_run(args: Namespace, trainer: Trainer, stream, validation, folder: str, chief: bool) -> Run:
    """The run in `folder`; the chief draws its pictures and writes for TensorBoard."""
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


def run_folder(args: Namespace, chief: bool) -> str:
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
        write_flags(args, folder, versions())
    return folder


def never_saved(folder: str) -> bool:
    """Whether it is empty, or a run was killed in it before its first checkpoint and may be started again."""
    ours = {FLAGS_FILE, "history.json", "samples", "tensorboard", "checkpoints", "best"}
    return set(os.listdir(folder)) <= ours and not os.path.exists(os.path.join(folder, "checkpoints", "checkpoint"))
