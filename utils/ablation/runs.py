"""The runs: each is a training in a process and a folder of its own."""

import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from srwgan.measuring.pairs import find_pairs
from srwgan.training.flags import build_parser
from srwgan.whole_files import read_json, write_json
from utils.ablation.report import split_document
from utils.ablation.variants import VARIANTS, base_flags, variant_flags

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        name: of the run, which is its folder's too.
        flags: of train_SRWGAN.py.
        folder: holds log.txt, run/ (see train_SRWGAN.py), model_Gen/ and what was measured.
        variant: of `VARIANTS`, None for the base.
    """

    name: str
    flags: list[str]
    folder: Path
    variant: str | None = None

    @property
    def model(self) -> Path:
        return self.folder / "model_Gen"

    @property
    def finished(self) -> bool:
        return (self.model / "config.json").exists()

    @property
    def batches(self) -> int:
        """How many were trained on up to the last checkpoint."""
        return (read_json(self.folder / "run" / "history.json") or {}).get("batches", 0)

    @property
    def planned_batches(self) -> int:
        args = build_parser().parse_known_args(self.flags)[0]
        return args.epochs * math.ceil(args.trainnum * args.crops_per_photo / args.batchsz)

    def command(self) -> list[str]:
        """The command that starts the training or, from a checkpoint, goes on with it."""
        run = self.folder / "run"
        started = (run / "checkpoints" / "checkpoint").exists()
        where = ["--resume" if started else "--run-dir", str(run)]
        outputs = ["--savemodel", "True", "--chkpt_path", str(self.folder / "model")]
        return [sys.executable, str(ROOT / "train_SRWGAN.py"), *self.flags, *where, *outputs]


def plan(options) -> list[Run]:
    """The base's runs, then the variants'; the flags of each are written to its folder.

    Raises:
        ValueError: unknown variants, no file of pretrained weights, a folder with runs of other flags, or a document
            without marks.
        OSError: inputs that are not there, or a folder that cannot be written.
    """
    for bench in options.bench:
        find_pairs(bench)
    if options.pretrained_weights and not Path(options.pretrained_weights).is_file():
        raise ValueError(f"Received: --pretrained-weights {options.pretrained_weights}. Expected a file.")
    unknown = [name for name in options.only or [] if name not in VARIANTS]
    if unknown:
        raise ValueError(f"Received: --only {' '.join(unknown)}. Expected some of {', '.join(VARIANTS)}.")
    folder, flags = Path(options.out).absolute(), base_flags(options)
    runs = [
        Run(f"base-{seed}", [*flags, "--seed", str(seed)], folder / f"base-{seed}") for seed in range(options.seeds)
    ]
    for name in options.only or VARIANTS:
        variant = [*runs[0].flags, *variant_flags(name, options)]
        runs.append(Run(name, variant, folder=folder / name, variant=name))
    for run in runs:
        keep_flags(run)
    if options.document:
        split_document(options.document)
    return runs


def keep_flags(run):
    """Writes the flags of a run, or makes sure that those there are the same.

    Raises:
        ValueError: other flags are there.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    path = run.folder / "flags.json"
    before = read_json(path)
    if before not in (None, run.flags):
        raise ValueError(
            f"Received: --out with {run.name} of other flags ({shlex.join(before)}). "
            f"Expected the same ({shlex.join(run.flags)}), or another folder."
        )
    write_json(path, run.flags)


def train_all(runs: list[Run], jobs: int) -> list[tuple[str, str]]:
    """Train in processes, `jobs` at once.

    Returns:
        [(name, reason)] of the runs that failed.

    Raises:
        KeyboardInterrupt: on SIGINT and SIGTERM, after the runs wrote their checkpoints.
    """
    waiting, running, failed = list(runs), {}, []
    total = sum(run.planned_batches for run in runs)
    with tqdm(total=total, desc="Training", unit="batch", disable=None, dynamic_ncols=True) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    run = waiting.pop(0)
                    running[run.name] = run, start(run, jobs)
                time.sleep(0.2)
                bar.set_postfix_str(", ".join(running), refresh=False)
                bar.update(min(total, sum(run.batches for run in runs)) - bar.n)
                for run, process in [pair for pair in running.values() if pair[1].poll() is not None]:
                    del running[run.name]
                    if process.returncode or not run.finished:
                        failed.append((run.name, last_line(run.folder / "log.txt")))
                        bar.write(f"{run.name} failed: {failed[-1][1]}", file=sys.stderr)
        except KeyboardInterrupt:
            for _, process in running.values():
                process.send_signal(signal.SIGINT)
            for _, process in running.values():
                process.wait()
            raise
    return failed


def start(run, jobs):
    """The run's process.

    It is in a session of its own, so that Ctrl-C reaches it once, through `train_all`. It works in the run's folder,
    which gets what a training writes to the current one.
    """
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
    with open(run.folder / "log.txt", "a") as log:
        return subprocess.Popen(
            run.command(),
            cwd=run.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def last_line(path):
    lines = [line.strip() for line in re.split(r"[\r\n]", path.read_text(errors="replace")) if line.strip()]
    return f"{lines[-1] if lines else 'no message'} (log: {path})"
