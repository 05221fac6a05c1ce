"""From flags to a run: photographs, crops, networks, trainer, and the folder of the run."""

import logging
import os
import platform
import time
from argparse import Namespace
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from srwgan.data.crops import CropOptions, CropStream, held_out_crops
from srwgan.data.div2k import download_div2k
from srwgan.data.photos import DEFAULT_CACHE, Photos
from srwgan.data.splits import BUNDLED_PHOTOS, open_split
from srwgan.networks.diffusion import DiffusionGenerator, from_generator
from srwgan.networks.discriminator import Discriminator, grown
from srwgan.networks.generator import Generator, with_precision
from srwgan.networks.hyperpixels import build_hyperpixels, channels_of_last_map, read_channel_weights
from srwgan.networks.precision import choose_policy
from srwgan.networks.saving import load_discriminator, load_generator
from srwgan.training.control.controller import POLICY_FILE, Controller, policy_of_run
from srwgan.training.control.controls import Controls, most_critic_steps
from srwgan.training.control.observation import HeldOut
from srwgan.training.diffusion import DiffusionTrainer
from srwgan.training.distillation import StudentTrainer
from srwgan.training.flags import FLAGS_FILE, PHOTOGRAPHS_FILE, default_of, write_flags
from srwgan.training.history import HISTORY_FILE
from srwgan.training.objective import Objective
from srwgan.training.optimizers import build_optimizer
from srwgan.training.photographs import check_folder, check_same, read_record, record_of, write_record
from srwgan.training.pictures import EpochVisualizer
from srwgan.training.run import Run
from srwgan.training.schedule import Schedule
from srwgan.training.step import StepOptions, Trainer
from srwgan.training.teaching import load_teacher

log = logging.getLogger("srwgan")

PICTURED = 4  # held-out crops that the picture of an epoch shows


def build(args: Namespace, strategy, chief: bool) -> Run:
    """The run that the flags ask for, restored where it is to be resumed.

    Raises:
        ValueError, OSError: what the flags name is not there or does not fit.
    """
    if args.download and chief:
        log.info("DIV2K is in %s", download_div2k(args.datapath))
    folder = args.resume or args.run_dir or os.path.join("runs", time.strftime("%Y%m%d-%H%M%S"))
    record = read_record(args.resume) if args.resume else None
    if record:
        check_folder(args.resume, record, args.datapath)
    policy = policy_of_run(args.controller, folder, resumed=bool(args.resume)) if args.controller else None
    photos, held_out = load_photos(args)
    found = record_of(photo_folder(args), photos, held_out)
    if record:
        check_same(args.resume, record, found)
    stream = CropStream(photos, crop_options(args))
    validation = held_out_crops(held_out, args.validnum, stream.options)
    with strategy.scope():
        updates = stream.steps(strategy.num_replicas_in_sync) * args.epochs
        trainer = build_trainer(args, build_networks(args), updates=updates)
    controller = None
    if policy:
        controller = Controller(
            policy,
            trainer.controls,
            schedule=schedule(args),
            steps=stream.steps(strategy.num_replicas_in_sync),
            held_out=HeldOut(*validation, args.scale),
            strategy=strategy,
        )
    if chief and not args.resume:
        start_folder(args, folder)
        if policy:
            policy.save(os.path.join(folder, POLICY_FILE))
    run = build_run(args, trainer, stream, validation=validation, folder=folder, chief=chief, controller=controller)
    if args.resume:
        log.info("Going on after %d of %d batches", run.restore(), args.epochs * run.steps)
    if chief and not record:  # of a new run, or of one from before there were records
        write_record(folder, found)
    log.info(
        "Run folder: %s (%d photographs, %d batches of %d an epoch on %d replica(s), %s)",
        folder,
        len(photos),
        run.steps,
        run.images_per_step(),
        run.replicas,
        trainer.generator.get_layer("first").dtype_policy.name,
    )
    return run


def load_photos(args: Namespace) -> tuple[Photos, Photos]:
    """Photographs to train on, and held-out ones for validation.

    Raises:
        FileNotFoundError, ValueError: there is no such folder, or no usable photograph in it.
    """
    folder = photo_folder(args)
    if folder != args.datapath:
        log.info("Nothing at %s: training on the bundled photographs in %s", args.datapath, folder)
    return open_split(
        folder,
        trainnum=args.trainnum,
        validnum=args.validnum,
        smallest=args.cropsz,
        both_sizes=args.both_sizes,
        halve_below=args.halve_below,
        cache=args.cache or DEFAULT_CACHE,
        cache_limit=int(args.cache_limit * 2**30),
    )


def photo_folder(args: Namespace) -> str:
    """--datapath, or the bundled photographs where nothing is at its default."""
    bundled = args.datapath == default_of("datapath") and not os.path.exists(args.datapath)
    return BUNDLED_PHOTOS if bundled else args.datapath


def crop_options(args: Namespace) -> CropOptions:
    """What the flags say of crops."""
    return CropOptions(
        crop=args.cropsz,
        scale=args.scale,
        batch_size=args.batchsz,
        seed=args.seed,
        crops_per_photo=args.crops_per_photo,
        sampling=args.sampling,
        draws=most_critic_steps(args.dstep) if args.controller else args.dstep,
        interpolation=args.interpolation,
        degradation=args.degradation,
        condition=args.condition,
        grain=args.grain,
    )


class Networks(NamedTuple):
    """What is trained: the generator, the discriminator where there is one, and the generator's averaged twin."""

    generator: Generator | DiffusionGenerator
    discriminator: Discriminator | None
    average: Generator | DiffusionGenerator


def build_networks(args: Namespace) -> Networks:
    """Networks as the flags describe them, or as exported to --init, in the precision that the machine is fast at.

    Raises:
        FileNotFoundError, ValueError: --init is no generator, or one of another shape than the flags ask for.
    """
    keras.utils.set_random_seed(args.seed)
    policy = choose_policy(args.precision)
    if args.family == "diffusion":
        generator = with_precision(diffusion_generator(args), policy)
        discriminator = initial_critic(args) if has_critic(args) else None
    elif args.init:
        generator, discriminator = initial_networks(args)
        generator = with_precision(generator, policy)
    else:
        generator, discriminator = new_generator(args, policy), None
    if discriminator:
        discriminator = with_precision(discriminator, policy)
    elif has_critic(args):
        discriminator = Discriminator(args.dfilters, args.dblocks, **semantics_asked_for(args), dtype=policy)
    return Networks(generator, discriminator, average=with_precision(generator, policy))


def has_critic(args: Namespace) -> bool:
    """Whether there is a discriminator: a GAN always has one, a student for its adversarial loss."""
    return args.family == "gan" or bool(args.student and args.advweight)


def new_generator(args: Namespace, policy) -> Generator:
    return Generator(
        filters=args.filters,
        blocks=args.blocks,
        scale=args.scale,
        activation=args.activation,
        upsampling=args.upsampling,
        attention=args.attention,
        condition=args.condition,
        dtype=policy,
    )


def diffusion_generator(args: Namespace) -> DiffusionGenerator:
    """A new diffusion generator, a student that begins as its teacher, or what --init names.

    --init may name a GAN's plain generator too, best a faithful one: at level 1 the two do the same.

    Raises:
        FileNotFoundError, ValueError: no such model, or one of another shape than the flags ask for.
    """
    steps = args.sampler_steps or (1 if args.student else 4)
    name, folder = ("student", args.student) if args.student else ("init", args.init)
    if not folder:
        return DiffusionGenerator(
            filters=args.filters, blocks=args.blocks, scale=args.scale, activation=args.activation, steps=steps
        )
    start = load_generator(folder if args.student or os.path.exists(folder) else f"{folder}_Gen")
    check_same_shape(args, start, name=name, folder=folder)
    if isinstance(start, DiffusionGenerator):
        network = DiffusionGenerator(**{**start.get_config(), "steps": steps})
        network.set_weights(start.get_weights())
    elif isinstance(start, Generator) and not args.student:
        network = from_generator(start, steps=steps)
    else:
        raise ValueError(f"Received: --{name} {folder}, no diffusion model. Expected one that --savemodel exported.")
    log.info("Starting from %s", folder)
    return network


def check_same_shape(args: Namespace, found, *, name: str, folder: str, given: tuple[str, ...] = ("scale",)) -> None:
    """Raises ValueError where a flag asks for another shape than a loaded network's.

    Args:
        given: flags that have to be given, since crops differ by them; the others are as exported by default.
    """
    for size in (*given, "filters", "blocks", "activation", "upsampling", "attention"):
        asked, has, must_be_given = getattr(args, size), getattr(found, size, None), size in given
        if has is not None and asked != has and (must_be_given or asked != default_of(size)):
            expected = "the same" if must_be_given else "the same, or none"
            raise ValueError(
                f"Received: --{size} {asked} with --{name} {folder}, of {size} {has}. Expected {expected}."
            )


def initial_networks(args: Namespace) -> tuple[Generator, Discriminator | None]:
    """The generator of --init, and the discriminator beside it where there is one and the flags ask for no other.

    --init names an exported folder, or what --chkpt_path named when it was exported. A discriminator is looked for in
    the generator's folder, and then in the folder NAME_Dis beside NAME_Gen. It is taken where it has as many filters as
    the flags ask for and no more blocks; blocks and semantics that it lacks are added without effect.
    """
    folder = args.init if os.path.exists(args.init) else f"{args.init}_Gen"
    generator = load_generator(folder)
    if isinstance(generator, DiffusionGenerator):
        raise ValueError(f"Received: --init {folder}, a diffusion model. Expected --family diffusion, or a generator.")
    if not isinstance(generator, Generator):
        raise ValueError(f"Received: --init {folder}, a SavedModel without generator.keras. Expected one with it.")
    check_same_shape(args, generator, name="init", folder=folder, given=("scale", "condition"))
    discriminator = discriminator_of(args, folder)
    log.info("Starting from %s, %s", folder, "and its discriminator" if discriminator else "with a new discriminator")
    return generator, discriminator


def initial_critic(args: Namespace) -> Discriminator | None:
    """The discriminator that a student begins with: that of --init or, without it, of the teacher's folder; or None.

    Raises:
        ValueError: --init has none that the flags ask for.
    """
    folder = args.init or args.student
    folder = folder if os.path.exists(folder) else f"{folder}_Gen"
    discriminator = discriminator_of(args, folder)
    if discriminator and discriminator.semantics:  # those of the teacher's sample are not the photograph's
        discriminator = None
    if args.init and not discriminator:
        raise ValueError(
            f"Received: --init {args.init} with --student, without a discriminator that the flags ask for. "
            "Expected a folder with discriminator.keras, trained without --dsemantics."
        )
    log.info("The critic is %s", f"that of {folder}" if discriminator else "a new one")
    return discriminator


def discriminator_of(args: Namespace, folder: str) -> Discriminator | None:
    """The discriminator in a generator's folder NAME_Gen or in NAME_Dis beside it, if the flags ask for no other."""
    beside = f"{folder.rstrip('/').removesuffix('_Gen')}_Dis"
    discriminator = load_discriminator(folder) or load_discriminator(beside)
    return discriminator and discriminator_asked_for(args, discriminator)


def discriminator_asked_for(args: Namespace, found: Discriminator) -> Discriminator | None:
    """A discriminator that was found, grown where the flags ask for more; None where they ask for another."""
    other_semantics = args.dsemantics and found.semantics not in (0, args.dsemantics)
    other_filters = args.dfilters not in (default_of("dfilters"), found.filters)
    if other_filters or 0 < args.dblocks < found.blocks or other_semantics:
        return None
    more = {"blocks": args.dblocks} if args.dblocks > found.blocks else {}
    if args.dsemantics and not found.semantics:
        more |= semantics_asked_for(args)
    return grown(found, **more) if more else found


def semantics_asked_for(args: Namespace) -> dict:
    """The arguments of a `Discriminator` that is told what the original shows; none where the flags ask for no such."""
    if not args.dsemantics:
        return {}
    channels = channels_of_last_map(args.pretrained, hyperpixel_layers(args))
    return {"semantics": args.dsemantics, "semantic_channels": channels}


def rates_of(args: Namespace) -> dict:
    """What all optimizers of a run share, see `build_optimizer`."""
    return {"schedule": args.lr_schedule, "warmup_steps": args.lr_warmup, "beta_1": args.beta1, "beta_2": args.beta2}


def build_trainer(args: Namespace, networks: Networks, *, updates: int) -> Trainer:
    """The trainer of these networks, with new optimizers and, where they are needed, hyperpixels.

    Args:
        updates: batches of the whole run, over which learning rates fall.
    """
    generator, discriminator, average = networks
    policy = generator.get_layer("first").dtype_policy.name
    rates = rates_of(args)
    controls, generator_control, discriminator_control = None, {}, {}
    if args.controller:
        controls = Controls(args.dstep)
        generator_control = {"factor": lambda: controls.factor("glr")}
        discriminator_control = {
            "factor": lambda: controls.factor("dlr"),
            "step": lambda: controls.batches * args.dstep,  # its own steps would come at a changing pace
        }
    common = {
        "average": average,
        "generator_optimizer": build_optimizer(
            args.glr, kind=args.goptimizer, total_steps=updates * args.gstep, **rates, **generator_control
        ),
        "options": StepOptions(
            dstep=args.dstep,
            gstep=args.gstep,
            ema=args.ema,
            clip=args.clip,
            shift=args.scale if args.shift is None else args.shift,
            margin=args.mirror_edges or args.repeat_edges,
            edges="repeated" if args.repeat_edges else "mirrored",
            accumulate=args.accumulate,
            loss_scaling=policy == "mixed_float16",
        ),
    }
    if args.family == "diffusion" and not args.student:
        return DiffusionTrainer(generator, **common)
    hyperpixels = find_hyperpixels(args, policy)
    check_semantics(args, discriminator, hyperpixels)
    kind, more = Trainer, {"controls": controls}
    if args.teacher:
        more["taught_by"] = load_teacher(args.teacher, args.teacher_share, scale=args.scale)
    if args.student:
        kind, more = StudentTrainer, {"teacher": with_precision(load_generator(args.student), policy)}
    if discriminator:
        more["discriminator_optimizer"] = build_optimizer(
            args.dlr, kind=args.doptimizer, total_steps=updates * args.dstep, **rates, **discriminator_control
        )
    return kind(
        generator,
        discriminator,
        hyperpixels=hyperpixels,
        objective=objective_of(args),
        **common,
        **more,
    )


def objective_of(args: Namespace) -> Objective:
    """The losses that the flags ask for."""
    return Objective(
        gpweight=args.gpweight,
        cweight=args.cweight,
        advweight=args.advweight,
        rweight=args.rweight,
        latweight=args.latweight,
        reconstruction=args.reconstruction,
        luma=args.luma,
        content_norm=args.content_norm,
        weighting=args.weighting,
        otweight=args.otweight,
        otspace=args.otspace or "discriminator",
        steadyweight=args.steadyweight,
    )


def hyperpixel_layers(args: Namespace) -> list[str] | None:
    return args.hyperpixel_layers.split(",") if args.hyperpixel_layers else None


def check_semantics(args: Namespace, discriminator: Discriminator, hyperpixels) -> None:
    """Raises ValueError where a discriminator that is to be trained looks at features that the flags do not give."""
    if not discriminator or not discriminator.semantics or not args.advweight or args.warmup_epochs >= args.epochs:
        return
    wants = f"a discriminator (of --init {args.init}) that looks at a map of {discriminator.semantic_channels} channels"
    if hyperpixels is None:
        raise ValueError(f"Received: --cweight 0 with {wants}. Expected a --cweight above 0, for its classifier.")
    has = hyperpixels.features.outputs[-1].shape[-1]
    if has != discriminator.semantic_channels:
        raise ValueError(
            f"Received: {wants}, and --hyperpixel-layers whose last one has {has}. Expected the --pretrained "
            "classifier and last layer that it was trained with."
        )


def find_hyperpixels(args: Namespace, policy: str):
    """The hyperpixels of the content loss, or None where no epoch has one."""
    if not args.cweight or args.warmup_epochs >= args.epochs:
        return None
    hyperpixels = build_hyperpixels(args.pretrained, hyperpixel_layers(args), args.pretrained_weights, policy)
    if args.content_channels:
        hyperpixels.channel_weights = read_channel_weights(args.content_channels, hyperpixels)
    return hyperpixels


def build_run(
    args: Namespace, trainer: Trainer, stream: CropStream, *, validation, folder: str, chief: bool, controller=None
) -> Run:
    """The run in `folder`; the chief draws its pictures and writes for TensorBoard."""
    visualizer = None
    if chief:
        low_res, high_res = tf.nest.map_structure(lambda x: x[:PICTURED], validation)
        samples = os.path.join(folder, "samples")
        visualizer = EpochVisualizer(
            trainer.generate_average, shown_critic(trainer, high_res), low_res, high_res, samples
        )
    return Run(
        trainer,
        stream,
        validation=validation,
        folder=folder,
        schedule=schedule(args),
        visualizer=visualizer,
        steps_per_call=args.steps_per_call,
        tensorboard=args.tensorboard and chief,
        controller=controller,
    )


def shown_critic(trainer: Trainer, high_res):
    """What scores the pictures of an epoch; None for none: a diffusion model's, or where no classifier is loaded."""
    if not trainer.has_semantics:
        return trainer.discriminator
    return trainer.critic_of(trainer.maps_of(high_res)) if trainer.hyperpixels else None


def schedule(args: Namespace) -> Schedule:
    """The epochs and phases that the flags ask for."""
    return Schedule(epochs=args.epochs, warmup_epochs=args.warmup_epochs, critic_warmup=args.critic_warmup)


def never_saved(folder: str) -> bool:
    """Whether it is empty, or a run was killed in it before its first checkpoint and may be started again."""
    ours = {
        FLAGS_FILE,
        PHOTOGRAPHS_FILE,
        HISTORY_FILE,
        POLICY_FILE,
        "samples",
        "tensorboard",
        "checkpoints",
        "best",
        "teacher",
    }
    names = {name for name in os.listdir(folder) if not name.startswith(".")}  # hidden ones are unfinished files
    return names <= ours and not os.path.exists(os.path.join(folder, "checkpoints", "checkpoint"))


def start_folder(args: Namespace, folder: str) -> None:
    """Make the folder of a new run, with its flags in it.

    Raises:
        ValueError: there is a run in it, or something else, or it cannot be made.
        OSError: the flags cannot be written.
    """
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


def versions() -> dict[str, str]:
    """What a run runs on, to be kept with its flags."""
    modules = {"tensorflow": tf, "keras": keras, "numpy": np}
    return {"python": platform.python_version(), **{name: module.__version__ for name, module in modules.items()}}
