"""What is compared: the base's flags of `train_SRWGAN.py`, and the flags that each variant adds to them."""

import shlex
from pathlib import Path

from srwgan.data.photos import find_photos

EPOCHS, WARMUP_EPOCHS = 12, 10  # warm-up steps cost a fraction of adversarial ones
HELD_OUT = 8

# The gradients of an L1 loss at an image of 96x96 have a norm of 0.006, those of the critic 1, of the content loss 0.5.
# These weights bring them to 1 : 0.25 : 5, which is what `weighting-gradient` asks for by its own weights.
BASE = (
    "--reconstruction l1 --advweight 0.0015 --interpolation uniform --weighting fixed "
    "--glr 4e-4 --dlr 4e-4 --beta1 0.5 --beta2 0.9 --ema 0.99"
)
CONTENT = "--pretrained vgg16 --hyperpixel-layers 2,5,9 --content-norm unit"
CONTENT_WEIGHT = {"fixed": 0.06, "gradient": 1}

VARIANTS = {
    "degradation-gif": "--degradation gif",
    "degradation-real": "--degradation real",
    "condition-noise": "--degradation real --condition noise",
    "weighting-gradient": "--weighting gradient --rweight 0.2 --advweight 0.05",
    "weighting-self-adaptive": "--weighting self-adaptive",
    "ot-discriminator": "--otweight 0.1 --otspace discriminator",
    "ot-pixels": "--otweight 0.1 --otspace pixels",
    "upsampling-fourier": "--upsampling fourier",
    "upsampling-resize-conv": "--upsampling resize-conv",
    "attention-channel": "--attention channel",
    "attention-window": "--attention window",
    "shift-0": "--shift 0",
    "latweight": "--latweight 30",
}


def base_text(options) -> str:
    """The base's flags that say how it is trained, as --list shows them."""
    content = f"{CONTENT} --cweight {CONTENT_WEIGHT['fixed']}" if options.pretrained_weights else "--cweight 0"
    return f"{BASE} {content} {options.base}".strip()


def base_flags(options) -> list[str]:
    """All flags of the base but --seed, with absolute paths.

    Raises:
        ValueError, OSError: a --datapath that is no folder.
    """
    found = len(find_photos(options.datapath))
    held_out = min(HELD_OUT, max(1, found // 10))
    trained = max(1, found - held_out)
    crops = max(1, round(options.steps * options.batchsz / EPOCHS / trained))
    flags = {
        "datapath": str(Path(options.datapath).absolute()),
        "trainnum": trained,
        "validnum": held_out,
        "crops-per-photo": crops,
        "epochs": EPOCHS,
        "warmup-epochs": WARMUP_EPOCHS,
        "filters": options.filters,
        "blocks": options.blocks,
        "dfilters": options.filters,
        "cropsz": options.cropsz,
        "batchsz": options.batchsz,
    }
    if options.pretrained_weights:
        flags["pretrained-weights"] = str(Path(options.pretrained_weights).absolute())
    written = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    return [*written, *shlex.split(base_text(options))]


def variant_flags(name: str, options) -> list[str]:
    """What a variant adds to the base's flags. Of a flag given twice the last one counts."""
    flags = shlex.split(VARIANTS[name])
    if options.pretrained_weights and "gradient" in flags:
        flags += ["--cweight", str(CONTENT_WEIGHT["gradient"])]
    return flags
