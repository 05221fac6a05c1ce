"""What a run leaves when it has ended: figures, pictures, history, and the exported networks."""

import logging
import os
from argparse import Namespace

from srwgan.networks.saving import export_discriminator, export_generator
from srwgan.training.flags import changed_flags
from srwgan.training.pictures import draw_history
from srwgan.training.run import Run

log = logging.getLogger("srwgan")


def write_results(args: Namespace, run: Run) -> None:
    """Figures, GIF, history, PSNR of the samples, and the exported networks."""
    draw_history(run.history.epochs, os.path.join(run.folder, "curves.png"))
    run.visualizer.save_gif(os.path.join(run.folder, "training.gif"))
    run.visualizer.save_gif("./generated_samples/generatedSuperRes.gif")
    run.history.write_pickle("./trainHistoryDict")
    log.info(
        "PSNR-Y of %d held-out crops: %.2f dB (bicubic %.2f dB)",
        len(run.validation[1]),
        run.history.epochs["psnr"][-1],
        run.psnr_bicubic,
    )
    if args.savemodel:
        save_networks(args, run)
    log.info(
        "Results: %s (history.json, curves.png, samples/, training.gif), ./trainHistoryDict, "
        "./generated_samples/generatedSuperRes.gif",
        run.folder,
    )


def save_networks(args: Namespace, run: Run) -> None:
    """Export the averaged generator and the discriminator; what stood there is moved aside."""
    facts = {
        "photographs": len(run.stream.photos),
        "batches": int(run.progress.numpy()),
        "batch": f"{run.images_per_step()} crops of {args.cropsz}x{args.cropsz}",
        "PSNR-Y of held-out crops": f"{run.history.epochs['psnr'][-1]:.2f} dB (bicubic {run.psnr_bicubic:.2f} dB)",
        "flags": " ".join(f"--{name.replace('_', '-')} {value}" for name, value in changed_flags(args).items()),
    }
    for kind, export in (
        ("Gen", lambda path: export_generator(run.trainer.average, path, facts)),
        ("Dis", lambda path: export_discriminator(run.trainer.discriminator, path)),
    ):
        path = f"{args.chkpt_path}_{kind}"
        aside = export(path)
        log.info("Saved %s%s", path, f" (what stood there is now {aside})" if aside else "")
