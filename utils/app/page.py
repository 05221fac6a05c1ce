"""The page: what is on it, and what its buttons do."""

import asyncio
import os
import re
from dataclasses import dataclass
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Gradio reads it as it is imported
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("GRADIO_HEARTBEAT_INTERVAL", "2")  # seconds until a closed page is noticed

import gradio as gr

from srwgan.commandline import one_line
from srwgan.convert.options import Options
from utils.app import view
from utils.app.jobs import BusyError, CancelledError, Device, Sessions
from utils.app.limits import Limits, safe_name
from utils.app.models import Models, stated_scale
from utils.app.results import make_result, make_zip

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REFRESH = 0.2  # seconds between two looks at the progress
SIZES = {"2 ×": 2.0, "3 ×": 3.0, "4 ×": 4.0, "8 ×": 8.0}
OWN_SIZE, EXACT_SIZE = "Model's own", "Exact"
PRECISIONS = {"Automatic": "auto", "float32": "float32", "bfloat16": "bfloat16"}
SAMPLES = {"Try an image": "Images/sample.png", "Try a GIF": "Images/sample.gif"}
TITLE = "<h1>SRWGAN</h1><p>Makes small images, GIFs and videos large and sharp.</p>"
EMPTY = '<div class="sr-empty">Before and after will appear here.</div>'
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
MONO_FONTS = ["ui-monospace", "Menlo", "Consolas", "monospace"]


@dataclass
class Service:
    """What all pages share."""

    models: Models
    limits: Limits
    device: Device
    sessions: Sessions


def theme():
    return gr.themes.Default(primary_hue="indigo", neutral_hue="slate", font=FONTS, font_mono=MONO_FONTS)


def build_page(service):
    """The Gradio Blocks of the page."""
    names, limits = list(service.models.generators), service.limits
    with gr.Blocks(title="SRWGAN", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.HTML(TITLE, elem_id="title", apply_default_css=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=300):
                files = gr.File(
                    label="Images, GIFs or short videos", file_count="multiple", height=190, elem_id="files"
                )
                with gr.Row(visible=samples_there()):
                    sample_buttons = [gr.Button(text, size="sm", min_width=100) for text in SAMPLES]
                model = gr.Dropdown(
                    model_choices(service), value=names[0], label="Model", visible=len(names) > 1, elem_id="model"
                )
                fidelity = gr.Slider(
                    0, 1, 0, step=0.1, label="Sharp (0) to faithful (1)", elem_id="fidelity",
                    visible=service.models.has_faithful_end(names[0]),
                )  # fmt: skip
                with gr.Accordion("Options", open=False):
                    size = gr.Dropdown([OWN_SIZE, *SIZES, EXACT_SIZE], value=OWN_SIZE, label="Size of the result")
                    with gr.Row(visible=False) as exact:
                        width = gr.Number(1920, label="Width", minimum=1, maximum=100_000, precision=0, min_width=80)
                        height = gr.Number(1080, label="Height", minimum=1, maximum=100_000, precision=0, min_width=80)
                    precision = gr.Dropdown(list(PRECISIONS), value="Automatic", label="Precision")
                    deband = gr.Checkbox(label="Smooth a GIF's dithering first", elem_id="deband")
                with gr.Accordion("Compare with an original", open=False):
                    original = gr.File(
                        label="The image in high resolution, for PSNR, SSIM and LPIPS", height=110, elem_id="original"
                    )
                start = gr.Button("Upscale", variant="primary", size="lg", elem_id="start")
                cancel = gr.Button("Cancel", variant="stop", size="lg", visible=False, elem_id="cancel")
                status = gr.HTML("", elem_id="status", apply_default_css=False)
                gr.HTML(f"<small>{limits_text(limits)}</small>", elem_id="limits", apply_default_css=False)
            with gr.Column(scale=5, min_width=320):
                script = (HERE / "view.js").read_text()
                results = gr.HTML(EMPTY, elem_id="results", apply_default_css=False, js_on_load=script)

        run = upscaling(service)
        inputs = [files, original, model, fidelity, size, width, height, precision, deband]
        quiet = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
        start.click(run, inputs, [status, results, start, cancel], trigger_mode="once", **quiet)
        cancel.click(cancelling(service), None, None, **quiet)
        model.change(lambda name: gr.update(visible=service.models.has_faithful_end(name)), model, fidelity, **quiet)
        size.change(lambda chosen: gr.update(visible=chosen == EXACT_SIZE), size, exact, **quiet)
        for button, path in zip(sample_buttons, SAMPLES.values(), strict=True):
            button.click(lambda path=path: [str(ROOT / path)], None, files, **quiet)
        page.unload(closing(service))
    return page


def samples_there():
    return all((ROOT / path).is_file() for path in SAMPLES.values())


def model_choices(service):
    """[(name with its scale, name)]"""
    scales = {name: stated_scale(path) for name, path in service.models.generators.items()}
    return [(f"{name} ({scale} ×)" if scale else name, name) for name, scale in scales.items()]


def limits_text(limits):
    return (
        f"Up to {limits.bytes / 2**20:.3g} MB and {limits.pixels / 1e6:g} megapixels a file, "
        f"{limits.frames:,} frames, {limits.seconds:g} seconds, {limits.files} files."
    )


# What the buttons do


def upscaling(service):
    async def upscale(files, original, model, fidelity, size, width, height, precision, deband, request: gr.Request):
        """Yields (status, results, start button, cancel button) while the files are worked on."""
        session = service.sessions.get(request.session_hash)
        try:
            options = chosen_options(service.limits, size, width, height, deband)
            if not files:
                raise ValueError("Choose a file first.")
            service.limits.check_count(len(files))
            choice = Choice(model, PRECISIONS[precision], fidelity if service.models.has_faithful_end(model) else 0.0)
            job = session.start_job()
        except ValueError as error:
            yield view.message(str(error), "error"), gr.skip(), gr.skip(), gr.skip()
            return
        try:
            yield view.bar("Starting …", ""), EMPTY, gr.update(interactive=False), gr.update(visible=True)
            finished = Finished()
            async for status in work(service, session, job, files, original, choice, options, finished):
                yield status, gr.skip(), gr.skip(), gr.skip()
            shown = view.results_html(finished.results, finished.archive) or EMPTY
            yield finished.status, shown, gr.update(interactive=True), gr.update(visible=False)
        finally:
            job.cancel()
            session.end_job()

    return upscale


@dataclass
class Choice:
    """Which generator."""

    model: str
    precision: str
    fidelity: float

    def __str__(self):
        return f"{self.model} at {self.fidelity:g}" if self.fidelity else self.model


@dataclass
class Finished:
    status: str = ""
    results: tuple = ()
    archive: Path | None = None


async def work(service, session, job, files, original, choice, options, finished):
    """Each file in its turn on the device; yields the status, leaves what came of it in `finished`."""
    folder = await asyncio.to_thread(session.new_folder)
    session.uploads |= {Path(path) for path in [*files, *([original] if original else [])]}
    results, errors, cancelled = [], [], False
    original = original and await asyncio.to_thread(adopt, original, folder / "original")
    for number, upload in enumerate(files, 1):
        source = None
        try:
            source = await asyncio.to_thread(adopt, upload, folder / f"{number}")
            arguments = service, job, choice, source, folder / "results", options, original
            task = asyncio.wrap_future(service.device.submit(job, one_file, *arguments))
            task.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may be left to ask
            while not task.done():
                yield view.progress(job, service.device.ahead_of(job), source.name, number, len(files))
                await asyncio.wait([task], timeout=REFRESH)
            results.append(task.result())
        except (CancelledError, asyncio.CancelledError):
            cancelled = True
            break
        except Exception as error:  # whatever is wrong with this file, the others are still to be done
            errors.append(sentence(error, source or Path(upload), folder))
            if isinstance(error, BusyError):
                break
    if len(results) > 1:
        finished.archive = await asyncio.to_thread(make_zip, results, folder / "results" / "SRWGAN.zip")
    for result in results:
        result.notes = [without_folder(note, folder) for note in result.notes]
    finished.results = results
    finished.status = view.messages(errors, "error") + (view.message("Cancelled.") if cancelled else "")


def one_file(service, job, choice, source, folder, options, original):
    """On the device's thread."""
    job.start("Loading the model")
    upscaler = service.models.upscaler(choice.model, choice.precision, choice.fidelity)
    folder.mkdir(exist_ok=True)
    return make_result(job, service.limits, upscaler, str(choice), source, folder, options, original)


def chosen_options(limits, size, width, height, deband):
    exact = None
    if size == EXACT_SIZE:
        if not width or not height:
            raise ValueError("Give both the width and the height of the result.")
        exact = int(width), int(height)
    return Options(scale_out=SIZES.get(size), size=exact, deband=bool(deband), max_pixels=limits.pixels)


def adopt(upload, folder):
    """The upload under a safe name in the session's folder, so that no other page's end takes it away."""
    folder.mkdir()
    path = folder / safe_name(Path(upload).name)
    try:
        os.link(upload, path)
    except FileNotFoundError:
        raise ValueError(f"{path.name}: the upload is gone. Please choose the file again.") from None
    return path


def sentence(error, source, folder):
    """An error as one line that names the file and not where it lies."""
    return without_folder(one_line(error, source), folder)


def without_folder(line, folder):
    return re.sub(re.escape(str(folder)) + r"/(?:[^/\s]+/)?", "", line)


def cancelling(service):
    def stop(request: gr.Request):
        job = service.sessions.get(request.session_hash).job
        if job:
            job.cancel()

    return stop


def closing(service):
    def close(request: gr.Request):
        service.sessions.close(request.session_hash)

    return close
