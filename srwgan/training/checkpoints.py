"""The checkpoints of a run: the last three and the one of the best PSNR."""

import errno
import logging
import os
import re
import shutil
from pathlib import Path

import tensorflow as tf

log = logging.getLogger("srwgan")

KEPT = 3
NO_SPACE = {os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT)}
SYSTEM_REASONS = {os.strerror(number) for number in errno.errorcode}


class Checkpoints:
    """Writes a tf.train.Checkpoint to `folder`/checkpoints and, the best one, to `folder`/best, and reads them back."""

    def __init__(self, checkpoint: tf.train.Checkpoint, folder: str):
        self.checkpoint = checkpoint
        self.newest = tf.train.CheckpointManager(checkpoint, str(Path(folder, "checkpoints")), max_to_keep=KEPT)
        self.best = tf.train.CheckpointManager(checkpoint, str(Path(folder, "best")), max_to_keep=1)

    def save(self, number: int, *, best: bool) -> None:
        """Write the checkpoint ckpt-`number`, and where it is the `best` so far, once more.

        Raises:
            OSError: it could not be written. The ones before are whole, and nothing unfinished is left.
        """
        try:
            for manager in [self.newest, self.best] if best else [self.newest]:
                manager.save(checkpoint_number=number)
        except (OSError, tf.errors.OpError) as error:
            self.remove_unfinished()
            raise OSError(self.why_not_written(error)) from error

    def why_not_written(self, error: Exception) -> str:
        reason, before = operation_reason(error), self.latest()
        if not before or not reason.startswith(tuple(NO_SPACE)):
            return reason
        needed = sum(path.stat().st_size for path in Path(before).parent.glob(f"{Path(before).name}.*"))
        free = shutil.disk_usage(Path(before).parent).free
        return f"{reason}; a checkpoint takes {needed / 1e6:.1f} MB, {free / 1e6:.1f} MB are free"

    def restore(self) -> str | None:
        """Read the newest checkpoint that is whole; returns its path, None where none is."""
        for path in self.newest.checkpoints[::-1]:
            try:
                self.checkpoint.restore(path).assert_consumed()
                return path
            except (tf.errors.OpError, RuntimeError, IndexError) as error:  # by what is torn, and where
                reason = operation_reason(error)
                log.warning("Warning: %s is torn, going on from the checkpoint before it (%s)", path, reason)
        return None

    def latest(self) -> str | None:
        """The path of the newest checkpoint, read anew, since the chief alone writes; None without one."""
        return tf.train.latest_checkpoint(self.newest.directory)

    def remove_unfinished(self) -> None:
        """Remove what writing a checkpoint left when it failed or the process was killed."""
        for manager in (self.newest, self.best):
            for path in unfinished(Path(manager.directory)):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def unfinished(folder: Path) -> list[Path]:
    """What is in a folder of checkpoints but belongs to none of those that its state file `checkpoint` names."""
    state = tf.train.get_checkpoint_state(str(folder))
    if state is None and (folder / "checkpoint").exists():  # an unreadable state tells nothing
        return []
    known = {Path(path).name for path in state.all_model_checkpoint_paths} if state else set()
    temporary = [*folder.glob("ckpt-*_temp"), *folder.glob("checkpoint.tmp*")]
    return temporary + [path for path in folder.glob("ckpt-*.*") if path.name.partition(".")[0] not in known]


def operation_reason(error: Exception) -> str:
    """Why an operation failed, in one line: what the system said first, without TensorFlow's names of nodes."""
    text = re.sub(r"\{\{.*?\}\}|\[Op:\w+\]", "", str(getattr(error, "message", error)))
    text = " ".join(text.split())
    file, _, reason = text.rpartition("; ")
    return f"{reason}: {file}" if reason in SYSTEM_REASONS else text[:200]
