"""The flags of train_SRWGAN.py: the parser, what no single flag's type can check, and the flags of a resumed run.

Nothing here imports TensorFlow, so that `--help` and a wrong flag take no seconds.
"""

import argparse
import importlib.util
import os
import shlex
from argparse import Namespace

from srwgan.commandline import OneLineParser, real, whole
from srwgan.networks.sampling import MOST_STEPS
from srwgan.whole_files import can_be_made, read_json, write_json

FLAGS_FILE, PHOTOGRAPHS_FILE = "flags.json", "photographs.json"  # in the folder of a run
MAY_CHANGE = (  # when a run is resumed: what does not change its result
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
    "export_step",
    "packed_limit",
    "import_state",
)
PATHS = (
    "datapath",
    "cache",
    "init",
    "student",
    "teacher",
    "pretrained_weights",
    "content_channels",
    "chkpt_path",
    "controller",
)  # and see `is_path`
GAN_ALONE = (
    "dsemantics",
    "upsampling",
    "attention",
    "condition",
    "otweight",
    "otspace",
    "steadyweight",
    "teacher",
    "teacher_share",
    "controller",
)
ADVERSARIAL = (  # flags of what a GAN and a student are trained by, and a diffusion model alone is not
    "dfilters",
    "dblocks",
    "pretrained",
    "pretrained_weights",
    "hyperpixel_layers",
    "gpweight",
    "cweight",
    "advweight",
    "rweight",
    "latweight",
    "reconstruction",
    "luma",
    "content_norm",
    "content_channels",
    "weighting",
    "shift",
    "interpolation",
    "dstep",
    "gstep",
    "critic_warmup",
    "doptimizer",
    "dlr",
)
SMALLEST_CONTROLLED = 32  # pixels of a held-out crop that LPIPS can see
STUDENTS_OWN = {"cweight": 0.0, "advweight": 0.0}  # defaults of a student: it needs neither classifier nor critic
COUNT, POSITIVE, WEIGHT = whole(1), real(0, above=True), real(0)


def build_parser() -> argparse.ArgumentParser:
    """The parser of train_SRWGAN.py; a wrong flag ends the process with one line and status 2."""
    parser = RecipeParser(
        description="Train a super-resolution Wasserstein GAN with gradient penalty, or a diffusion model.",
        epilog="@FILE stands for the flags in a file, such as @recipes/sharp.txt; later flags go before its own.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        fromfile_prefix_chars="@",
        prog="train_SRWGAN.py",
    )
    groups = {
        "data": add_data,
        "networks": add_networks,
        "losses": add_losses,
        "schedule": add_schedule,
        "machine": add_machine,
        "results": add_results,
    }
    for title, add_flags in groups.items():
        add_flags(parser.add_argument_group(title).add_argument)
    return parser


class Usual(float):
    """A default for which a student has another one of its own: a value that was given is a plain float."""


class RecipeParser(OneLineParser):
    """A parser whose @FILE is written as on a command line: several flags on a line, quotes, and `#` for comments.

    A student has some defaults of its own.
    """

    def parse_args(self, args=None, namespace=None):
        parsed = super().parse_args(args, namespace)
        for name, value in STUDENTS_OWN.items():
            if parsed.student and isinstance(getattr(parsed, name), Usual):
                setattr(parsed, name, value)
        return parsed

    def convert_arg_line_to_args(self, line):
        try:
            return shlex.split(line, comments=True)
        except ValueError as error:  # a quote that is not closed
            self.error(f"Received: {line.strip()} in a file of flags ({error}). Expected flags as on a command line.")


def add_data(add):
    add("--datapath", default="./Datasets", help="folder of photographs, searched recursively (DIV2K's too)")
    add("--download", choices=["div2k"], help="fetch DIV2K's training photographs (3.5 GB) into --datapath first")
    add("--trainnum", type=COUNT, default=20, help="photographs to train on")
    add("--validnum", type=COUNT, default=16, help="held-out crops that the PSNR is measured on")
    add("--cropsz", type=whole(16), default=256, help="side of the high-resolution crops in pixels")
    add("--crops-per-photo", type=COUNT, default=1, help="crops of each photograph in an epoch")
    add(
        "--sampling",
        choices=["each", "side", "area"],
        default="each",
        help="photographs equally often, by the square root of their pixels, or by their pixels",
    )
    add(
        "--halve-below",
        type=WEIGHT,
        default=0.0,
        metavar="MEGAPIXELS",
        help="take smaller photographs at half their height and width, where their compression no longer shows",
    )
    add("--both-sizes", action="store_true", help="with --halve-below: at their own size too, as further photographs")
    add(
        "--grain",
        type=WEIGHT,
        default=0.0,
        metavar="LEVELS",
        help="half of the high-resolution crops get noise with a standard deviation up to this, of 255 levels, so that "
        "the generator learns grain",
    )
    add(
        "--mirror-edges",
        type=whole(0),
        default=0,
        metavar="PIXELS",
        help="low-resolution pixels by which crops are mirrored at their edges before the generator, as a picture to "
        "upscale is by 4; 0: it sees zeros there",
    )
    add(
        "--repeat-edges",
        type=whole(0),
        default=0,
        metavar="PIXELS",
        help="the same with the edges' pixels repeated, as pictures to upscale had it up to version 1.0",
    )
    add(
        "--degradation",
        choices=["bicubic", "gif", "jpeg", "real", "mixed"],
        default="bicubic",
        help="what low-resolution partners suffer: nothing more, a GIF's palette and dither, one or two JPEGs, blur, "
        "noise and JPEGs twice over, or any of the four",
    )
    add("--cache", default=None, help="folder of the cache of decoded photographs (default: ~/.cache/srwgan)")
    add("--cache-limit", type=POSITIVE, default=16.0, help="GB that the cache may take")


def add_networks(add):
    add(
        "--family",
        choices=["gan", "diffusion"],
        default="gan",
        help="gan: a generator against a discriminator; diffusion: a generator that is run several times, from noise",
    )
    add(
        "--student",
        metavar="DIR",
        help="with --family diffusion: distill the exported diffusion model in DIR into one of a single step, by the "
        "GAN's losses against its samples",
    )
    add(
        "--sampler-steps",
        type=whole(1, MOST_STEPS),
        default=None,
        metavar="N",
        help=f"with --family diffusion: steps that its pictures are drawn in by default, up to {MOST_STEPS} "
        "(default: 4, a student's 1)",
    )
    add("--scale", type=int, choices=[2, 3, 4, 8], default=4, help="how many times larger the result is")
    add("--filters", type=whole(4), default=64, help="channels of the generator's residual blocks")
    add("--blocks", type=COUNT, default=8, help="residual blocks of the generator")
    add("--dfilters", type=whole(4), default=64, help="channels of the discriminator's first convolution")
    add(
        "--dblocks",
        type=whole(0),
        default=0,
        metavar="N",
        help="residual blocks of the discriminator, each of which widens the patches that it scores by 32 pixels from "
        "56; they begin without effect, so that --init gives them to one with fewer",
    )
    add(
        "--dsemantics",
        type=whole(0),
        default=0,
        metavar="N",
        help="the discriminator is told what the original shows, by the last of --hyperpixel-layers in N channels; it "
        "begins without effect, as --dblocks does (0: not told; 64 is a good number)",
    )
    add("--activation", choices=["leaky_relu", "prelu"], default="leaky_relu", help="of the generator")
    add(
        "--upsampling",
        choices=["pixelshuffle", "pixelshuffledirect", "fourier", "resize-conv"],
        default="pixelshuffle",
        help="how the generator enlarges its features; pixelshuffledirect: by its last convolution alone, for fewer "
        "operations",
    )
    add("--attention", choices=["none", "channel", "window"], default="none", help="in the generator's blocks")
    add(
        "--condition",
        choices=["none", "noise"],
        default="none",
        help="noise: the strength of the degradation is a second input of the generator",
    )
    add(
        "--init",
        metavar="DIR",
        help="go on from an exported generator, and its discriminator where one is there; with --student: from that "
        "discriminator alone",
    )
    add(
        "--teacher",
        nargs="+",
        metavar="DIR",
        help="other generators, exported, or any SavedModels of images: the losses compare with the mean of their "
        "results, beside the photographs",
    )
    add(
        "--teacher-share",
        type=real(0, 1),
        default=0.9,
        metavar="SHARE",
        help="of the teachers' results in what the losses compare with, 0 to 1; the rest is the photographs'",
    )
    add(
        "--pretrained",
        default="resnet50",
        metavar="NAME",
        help="classifier of the content loss: resnet50, resnet101, vgg16, vgg19, or a .keras file",
    )
    add("--pretrained-weights", metavar="FILE", help="its weights without top layers, instead of a download")
    add("--hyperpixel-layers", metavar="L,L", help="its layers, positions in model.layers or names (default: its own)")


def add_losses(add):
    add("--gpweight", type=WEIGHT, default=10.0, help="weight of the gradient penalty")
    add(
        "--cweight",
        type=WEIGHT,
        default=Usual(1e-3),
        help="weight of the content loss; 0, a student's default, needs no pretrained classifier",
    )
    add("--advweight", type=WEIGHT, default=Usual(1.0), help="weight of the adversarial loss; a student's default: 0")
    add("--rweight", type=WEIGHT, default=1.0, help="weight of the reconstruction loss")
    add("--latweight", type=WEIGHT, default=0.0, help="weight of the lattice loss, against grids in the result")
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
        "--steadyweight",
        type=WEIGHT,
        default=0.0,
        help="weight of the difference between the results of a crop and of the same crop moved by less than a "
        "low-resolution pixel, against flicker",
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


def add_schedule(add):
    add("--epochs", type=COUNT, default=2, help="epochs in all")
    add("--batchsz", type=COUNT, default=4, help="crops in a batch")
    add("--dstep", type=COUNT, default=1, help="discriminator steps for each batch")
    add("--gstep", type=COUNT, default=1, help="generator steps for each batch")
    add("--warmup-epochs", type=whole(0), default=0, help="first epochs, on the reconstruction loss alone")
    add("--critic-warmup", type=whole(0), default=0, help="steps after those on the discriminator alone")
    add(
        "--goptimizer",
        choices=["adam", "muon"],
        default="adam",
        help="the generator's; muon: steps of hidden convolutions are orthogonalized, better in as many steps",
    )
    add("--doptimizer", choices=["adam", "muon"], default="adam", help="the discriminator's")
    add("--glr", type=POSITIVE, default=2e-4, help="the generator's learning rate")
    add("--dlr", type=POSITIVE, default=2e-4, help="the discriminator's learning rate")
    add("--lr-schedule", choices=["constant", "cosine"], default="constant", help="cosine falls to a hundredth")
    add("--lr-warmup", type=whole(0), default=0, help="steps over which the rates rise")
    add("--beta1", type=WEIGHT, default=0.5, help="Adam's decay of the first moment")
    add("--beta2", type=WEIGHT, default=0.9, help="Adam's decay of the second moment")
    add("--ema", type=WEIGHT, default=0.998, help="decay of the generator's averaged weights")
    add("--clip", type=WEIGHT, default=0.0, help="largest norm of a network's gradient; 0: none")
    add("--seed", type=whole(0), default=0, help="of weights, crops and penalty positions")
    add(
        "--controller",
        metavar="POLICY",
        help="a policy of python3 -m utils.meta train, which moves the weights of the losses, the learning rates and "
        "--dstep while the run trains, from what they are here",
    )


def add_machine(add):
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
    add("--accumulate", type=COUNT, default=1, help="parts that a batch is computed in, against lack of memory")
    add("--steps-per-call", type=COUNT, default=1, help="batches in one call of the compiled step")
    add("--jit", action="store_true", help="compile with XLA")
    add(
        "--export-step",
        metavar="FOLDER",
        help="do not train here: write what utils/portable_run.py trains with on any accelerator that JAX drives",
    )
    add(
        "--packed-limit",
        type=POSITIVE,
        default=1000.0,
        metavar="MB",
        help="with --export-step: size of the photographs' pixels, for which the largest are made smaller",
    )


def add_results(add):
    add("--savemodel", type=boolean, default=False, metavar="True|False", help="export the networks at the end")
    add("--chkpt_path", default="./SRWGAN", help="they go to CHKPT_PATH_Gen and CHKPT_PATH_Dis")
    add("--run-dir", help="folder of this run (default: runs/DATE-TIME)")
    add("--resume", metavar="RUN_DIR", help="go on from the newest checkpoint of a run, with its flags")
    add(
        "--import-state",
        metavar="OUT",
        help="bring back what utils/portable_run.py wrote: a run folder with its state as the newest checkpoint",
    )
    add("--tensorboard", action="store_true", help="scalars and pictures for TensorBoard too, in RUN_DIR/tensorboard")


def boolean(text: str) -> bool:
    """An argparse type: True or False as people write them."""
    known = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    if text.lower() not in known:
        raise argparse.ArgumentTypeError(f"Received: {text}. Expected True or False (yes, no, 1, 0).")
    return known[text.lower()]


def default_of(name: str):
    """The default of the flag whose name in a `Namespace` is `name`."""
    return build_parser().get_default(name)


def flag_of(name: str) -> str:
    """The flag whose name in a `Namespace` is `name`."""
    return f"--{name.replace('_', '-')}"


def changed_flags(args: Namespace) -> str:
    """The flags that differ from their defaults and change the result, as on a command line; of files their names."""
    left_out, words = (*MAY_CHANGE, "datapath", "init", "pretrained_weights"), []
    for name, value in vars(args).items():
        if value != default_of(name) and name not in left_out:
            words.append(flag_of(name))
            if value is not True:
                words += [os.path.basename(each) if is_path(name, each) else str(each) for each in as_list(value)]
    return shlex.join(words)


def is_path(name: str, value) -> bool:
    """Whether the value of a flag is that of a file or folder, or of several."""
    return bool(value) and (name in PATHS or (name == "pretrained" and value.endswith(".keras")))


def as_list(value) -> list:
    """The values of a flag that takes several, or the one of another flag."""
    return value if isinstance(value, list) else [value]


def shown(value) -> str:
    """A flag's value as on a command line."""
    return " ".join(str(each) for each in as_list(value))


def paths_from(folder: str, value: str | list) -> str | list:
    """The path, or all paths, of a flag's value, as they are from this folder."""
    paths = [os.path.normpath(os.path.join(folder, each)) for each in as_list(value)]
    return paths if isinstance(value, list) else paths[0]


def write_flags(args: Namespace, folder: str, versions: dict) -> None:
    """Keep the flags of a new run in its folder, with the folder that relative paths start from, and the `versions`.

    Raises:
        OSError: they cannot be written.
    """
    write_json(os.path.join(folder, FLAGS_FILE), {"flags": vars(args), "started_in": os.getcwd(), "versions": versions})


def flags_of_run(folder: str, parser: argparse.ArgumentParser, argv: list | None) -> Namespace:
    """The flags that a run was started with; those on the command line may repeat them, not change them.

    Relative paths among them mean what they meant when the run was started, wherever it is resumed. The folder of the
    photographs is the one that they were found in; --datapath may name another with the same photographs.

    Raises:
        ValueError: `folder` is not that of a run, or a flag on the command line differs.
    """
    content = read_json(os.path.join(folder, FLAGS_FILE))
    if not isinstance(content, dict) or "flags" not in content:
        raise ValueError(f"Received: --resume {folder}, without a readable {FLAGS_FILE}. Expected the folder of a run.")
    # A flag that is newer than the run has had its default there.
    saved, may_change = {**vars(parser.parse_args([])), **content["flags"]}, set(MAY_CHANGE)
    if content.get("started_in", os.getcwd()) != os.getcwd():
        saved = {
            name: paths_from(content["started_in"], value) if is_path(name, value) else value
            for name, value in saved.items()
        }
    photographs = read_json(os.path.join(folder, PHOTOGRAPHS_FILE))
    if photographs:
        may_change.add("datapath")
    parser.set_defaults(**saved)
    args = parser.parse_args(argv)
    for name, value in saved.items():
        received = getattr(args, name)
        here = os.getcwd()
        same = received == value or (is_path(name, value) and paths_from(here, received) == paths_from(here, value))
        if not same and name not in may_change:
            flag = flag_of(name)
            raise ValueError(
                f"Received: {flag} {shown(received)} with --resume {folder}, which was started with "
                f"{flag} {shown(value)}. Expected the same."
            )
    if photographs and args.datapath == saved["datapath"]:
        args.datapath = photographs["folder"]
    args.resume = folder
    return args


def check_family(args: Namespace) -> None:
    """Raises ValueError for flags of the other family."""
    if args.family == "gan":
        for name in ("student", "sampler_steps"):
            if getattr(args, name):
                raise ValueError(f"Received: {flag_of(name)} with --family gan. Expected --family diffusion.")
        return
    for name in (*GAN_ALONE, *(() if args.student else ADVERSARIAL)):
        if getattr(args, name) != default_of(name):
            what = "a student" if args.student else "--family diffusion"
            raise ValueError(
                f"Received: {flag_of(name)} {shown(getattr(args, name))} with {what}, which has no such thing. "
                "Expected none."
            )
    if args.student and args.warmup_epochs:
        raise ValueError("Received: --student with --warmup-epochs. Expected none: its teacher is trained already.")
    if args.student and not args.advweight and (args.init or args.critic_warmup):
        name = "init" if args.init else "critic_warmup"
        raise ValueError(
            f"Received: {flag_of(name)} {getattr(args, name)} with --student and --advweight 0, which has no critic. "
            "Expected an --advweight above 0, or none of it: a student begins as its teacher."
        )


def check(args: Namespace) -> None:
    """Refuse flags that do not go together, and outputs that cannot be written.

    Raises:
        ValueError: the first such flag.
    """
    from srwgan.data.degradations import check_degradation  # here, since its libraries would slow --help down

    check_family(args)
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
    if args.mirror_edges and args.repeat_edges:
        raise ValueError(
            f"Received: --mirror-edges {args.mirror_edges} with --repeat-edges {args.repeat_edges}. "
            "Expected one of them."
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
    if args.dsemantics and not (args.cweight and args.advweight):
        raise ValueError(
            f"Received: --dsemantics {args.dsemantics} with --cweight {args.cweight:g} --advweight "
            f"{args.advweight:g}. Expected both above 0: the discriminator looks at the content loss's classifier."
        )
    if args.otspace and not args.otweight:
        raise ValueError(f"Received: --otspace {args.otspace} with --otweight 0. Expected an --otweight above 0.")
    if args.otweight and args.otspace != "pixels" and not args.advweight:
        raise ValueError(
            "Received: --otweight with --advweight 0, which trains no discriminator. "
            "Expected --otspace pixels, or an --advweight above 0."
        )
    if args.otspace == "pixels" and args.cropsz < 16:
        raise ValueError(f"Received: --cropsz {args.cropsz} with --otspace pixels. Expected 16 or more.")
    if args.steadyweight and (args.degradation != "bicubic" or args.condition != "none"):
        raise ValueError(
            f"Received: --steadyweight with --degradation {args.degradation} --condition {args.condition}. "
            "Expected bicubic and none: the moved crop's low resolution is made in the step."
        )
    if args.teacher and args.steadyweight:
        raise ValueError(
            f"Received: --teacher with --steadyweight {args.steadyweight:g}. Expected one of them: the moved crop's "
            "low resolution is made of the photograph."
        )
    if args.teacher_share != default_of("teacher_share") and not args.teacher:
        raise ValueError(f"Received: --teacher-share {args.teacher_share:g} without --teacher. Expected both.")
    if args.steadyweight and args.cropsz < 8 * args.scale:
        raise ValueError(f"Received: --cropsz {args.cropsz} with --steadyweight. Expected {8 * args.scale} or more.")
    if args.weighting == "self-adaptive" and args.epochs <= args.warmup_epochs:
        raise ValueError(
            "Received: --weighting self-adaptive with warm-up epochs alone, where one loss is trained. "
            "Expected more --epochs than --warmup-epochs."
        )
    if args.controller:
        check_controlled(args)
    if args.import_state and (args.resume or args.export_step):
        raise ValueError("Received: --import-state with --resume or --export-step. Expected one of them.")
    if args.tensorboard and not importlib.util.find_spec("tensorboard"):  # newer TensorFlow comes without
        raise ValueError("Received: --tensorboard without that package. Expected: pip install tensorboard")
    for path in [f"{args.chkpt_path}_Gen", "trainHistoryDict", "generated_samples/x", args.run_dir or "runs/x"]:
        folder = os.path.dirname(os.path.abspath(path))
        if not can_be_made(folder):
            raise ValueError(f"Received: an output in {folder}, which cannot be written. Expected a writable folder.")


def check_controlled(args: Namespace) -> None:
    """Refuse what does not go with a controller.

    Raises:
        ValueError: the first such flag.
    """
    if args.export_step or args.import_state:
        raise ValueError("Received: --controller with --export-step or --import-state. Expected a run on this machine.")
    if args.cropsz < SMALLEST_CONTROLLED:
        raise ValueError(
            f"Received: --controller with --cropsz {args.cropsz}. Expected {SMALLEST_CONTROLLED} or more, for LPIPS."
        )
    if args.epochs <= args.warmup_epochs:
        raise ValueError(
            "Received: --controller with warm-up epochs alone. Expected more --epochs than --warmup-epochs."
        )
