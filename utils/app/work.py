"""What a job does: each of its files in its turn on the device, and every result told at once."""

import asyncio
import errno
import os
import re
import shutil
import time
from pathlib import Path

from srwgan.commandline import one_line
from utils.app.jobs import BusyError, CancelledError
from utils.app.results import described, make_result
from utils.app.sessions import Session, folder_bytes
from utils.app.wishes import Wish, planned

KEPT_FREE = 1 << 30  # bytes of disk
DISK_FULL = "The server's disk is full (no space left on device). Please try again later."


async def run_job(service, session: Session, job, *, wish: Wish, folders: list[Path]):
    """Upscales the files of a wish; tells the page of each result, of each file that failed, and of the end.

    Args:
        folders: one for each file, from `adopt_all`.
    """
    cancelled, failed = False, 0
    try:
        plans = [planned(wish, upload, service) for upload in wish.files]
        for number, (upload, folder, plan) in enumerate(zip(wish.files, folders, plans, strict=True), 1):
            source = folder / "source" / upload.path.name
            session.place = source.name, number, len(wish.files)
            session.later = sum(later.seconds for later in plans[number:])
            try:
                await check_room(service, session)
                result, seconds = await in_turn(service, job, wish, plan, source)
            except (CancelledError, asyncio.CancelledError):
                cancelled = True
                break
            except Exception as error:  # whatever is wrong with this file, the others are still to be done
                failed += 1
                remove_folder(folder)
                session.tell("failed", name=source.name, text=sentence(error, source, session.folder))
                if isinstance(error, BusyError):
                    break
                continue
            service.pace.learn(plan.key, plan.megapixels, seconds)
            result.notes = [without_folder(note, session.folder) for note in result.notes]
            session.results[folder.name] = folder
            title = service.models.title(plan.model)
            choice = {"model": title, "fidelity": wish.choice.fidelity}
            session.tell("result", id=folder.name, **described(result, session.publish), **choice)
    finally:
        job.cancel()
        for folder in folders:
            if folder.name not in session.results:
                remove_folder(folder)
        session.acted()
        session.end_job()
        session.tell("end", cancelled=cancelled, failed=failed, count=len(wish.files))


async def in_turn(service, job, wish, plan, source):
    """(the `Result` of one file, the seconds it took), once it had its turn on the device."""
    job.expect(plan.seconds)
    future = service.device.submit(job, one_file, service, job, wish, plan, source)
    task = asyncio.wrap_future(future)
    task.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may be left to ask
    return await task


def one_file(service, job, wish, plan, source):
    """On the device's thread."""
    job.start("Loading the generator")
    fidelity = wish.choice.fidelity if service.models.has_faithful_end(plan.model) else 0.0
    upscaler = service.models.upscaler(plan.model, wish.choice.precision, fidelity, source=source, check=job.check)
    folder = source.parent.parent
    original = next((folder / "original").glob("*"), None)
    started = time.perf_counter()
    result = make_result(
        job, source, folder, limits=service.limits, upscaler=upscaler, options=wish.options, original=original
    )
    return result, time.perf_counter() - started


def adopt_all(session: Session, wish: Wish) -> list[Path]:
    """A folder for the result of each file of a wish, see `adopt`."""
    original = wish.original.path if wish.original and wish.original.facts.kind == "image" else None
    return [adopt(session, upload.path, original) for upload in wish.files]


def adopt(session, upload: Path, original: Path | None) -> Path:
    """A folder for one result, with its source and the original linked into it.

    So neither goes when the page removes the upload.
    """
    folder = session.new_folder("results")
    for name, path in (("source", upload), ("original", original)):
        if path:
            (folder / name).mkdir()
            os.link(path, folder / name / path.name)
    return folder


async def check_room(service, session):
    """Raises OSError where a result may find no room, ValueError where the page has had its share."""
    if shutil.disk_usage(service.sessions.root).free < KEPT_FREE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    used = await asyncio.to_thread(folder_bytes, session.folder)
    if used > service.limits.page_bytes:
        most = service.limits.page_bytes
        raise ValueError(
            f"This page's files take {used / 2**20:,.0f} MB. Expected at most {most / 2**20:,.0f} MB: "
            "please remove some results first."
        )


def remove_folder(folder):
    shutil.rmtree(folder, ignore_errors=True)


def sentence(error: Exception, source: Path, folder: Path) -> str:
    """An error as one line that names the file, and neither where it lies nor, of a full disk, what else was tried."""
    if is_disk_full(error):
        return f"{source.name}: {DISK_FULL}"
    return without_folder(one_line(error, source), folder)


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, says that no space is left: TensorFlow says so in words only."""
    while error is not None:
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def without_folder(line: str, folder: Path) -> str:
    """A line without the server's folders in it."""
    return re.sub(re.escape(str(folder)) + r"/(?:[\w-]+/)*", "", line)
