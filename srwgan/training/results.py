"""What a run leaves when it has ended: figures, the GIF of its pictures, its history, and the exported networks."""

import logging
from argparse import Namespace
from pathlib import Path

from srwgan.networks.saving import export_discriminator, export_generator
from srwgan.training.flags import changed_flags
from srwgan.training.pictures import draw_history
from srwgan.training.run import Run
from srwgan.upscaling.litert import add_litert

log = logging.getLogger("srwgan")

# Users' notebooks read these two, which are beside the run's own files: the history as a pickled dict, and the GIF.
PICKLE, LAST_GIF = "./trainHistoryDict", "./generated_samples/generatedSuperRes.gif"


def write_results(args: Namespace, run: Run) -> None:
    """Write all that a finished run leaves, and say where it is.

    Raises:
        OSError: something cannot be written.
    """
    draw_history(run.history.epochs, Path(run.folder, "curves.png"))
    run.visualizer.save_gif(Path(run.folder, "training.gif"))
    run.visualizer.save_gif(LAST_GIF)
    run.history.write_pickle(PICKLE)
    log.info(
        "PSNR-Y of %d held-out crops: %.2f dB (bicubic %.2f dB)",
        len(run.validation[1]),
        run.history.epochs["psnr"][-1],
        run.psnr_bicubic,
    )
    if args.savemodel:
        save_networks(args, run)
    results = f"{run.folder} (history.json, curves.png, samples/, training.gif), {PICKLE}, {LAST_GIF}"
    log.info("Results: %s", results)


def save_networks(args: Namespace, run: Run) -> None:
    """Export the averaged generator and, of a GAN, the discriminator; what stood there is moved aside."""
    psnr = run.history.epochs["psnr"][-1]
    facts = {
        "photographs": len(run.stream.photos),
        "batches": int(run.progress.numpy()),
        "batch": f"{run.images_per_step()} crops of {args.cropsz}x{args.cropsz}",
        "PSNR-Y of held-out crops": f"{psnr:.2f} dB (bicubic {run.psnr_bicubic:.2f} dB)",
        "flags": changed_flags(args),
    }
    generator, discriminator = f"{args.chkpt_path}_Gen", f"{args.chkpt_path}_Dis"
    say_saved(generator, export_generator(run.trainer.average, generator, facts, more=add_litert))
    if run.trainer.discriminator:
        say_saved(discriminator, export_discriminator(run.trainer.discriminator, discriminator))


def say_saved(path: str, aside: str | None) -> None:
    log.info("Saved %s%s", path, f" (what stood there is now {aside})" if aside else "")
