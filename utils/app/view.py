"""The HTML of results, progress and messages."""

import os
from html import escape
from urllib.parse import quote

INFINITE = float("inf")
TAGS = (
    '<span class="sr-tag sr-left" aria-hidden="true">Before</span>'
    '<span class="sr-tag sr-right" aria-hidden="true">After</span>'
)


def file_url(path):
    """Relative, so that it holds behind a proxy with a path of its own too."""
    return "gradio_api/file=" + quote(os.fspath(path))


def message(text, kind="info"):
    role = "alert" if kind == "error" else "status"
    return f'<p class="sr-note sr-message sr-{kind}" role="{role}">{escape(text)}</p>'


def messages(lines, kind="info"):
    return "".join(message(line, kind) for line in lines)


def progress(job, ahead, name, number, count):
    """A bar that counts tiles or frames; without a count it only moves."""
    place = f"{escape(name)} ({number} of {count})" if count > 1 else escape(name)
    if ahead is not None:
        return bar("Waiting: you are next" if ahead <= 1 else f"Waiting: {ahead} before you", place)
    if not job.total:
        return bar(f"{job.step}{' ' + str(job.done) if job.done else ''} …", place)
    unit = f"{job.step}: tile" if job.step == "Upscaling" else job.step
    return bar(f"{unit} {job.done} of {job.total}", place, job.done, job.total)


def bar(text, name, done=None, total=None):
    value = f' value="{done}" max="{total}"' if total else ""
    return (
        f'<div class="sr-note sr-progress"><div><span>{escape(text)}</span><span class="sr-file">{name}</span></div>'
        f'<progress{value} aria-label="{escape(text)}"></progress></div>'
    )


def results_html(results, archive=None):
    """Before and after of each result, a strip of thumbnails to choose by where there are several."""
    if not results:
        return ""
    strip = ""
    if len(results) > 1:
        buttons = "".join(thumbnail(number, result) for number, result in enumerate(results))
        strip = f'<div class="sr-strip" role="group" aria-label="Results">{buttons}</div>'
    items = "".join(item(number, result) for number, result in enumerate(results))
    everything = f'<a class="sr-button" href="{file_url(archive)}" download>Download all (ZIP)</a>' if archive else ""
    return f'<section class="sr-results">{strip}{items}{everything}</section>'


def thumbnail(number, result):
    name = escape(result.path.name)
    return (
        f'<button type="button" data-show="{number}" aria-pressed="{str(number == 0).lower()}" title="{name}">'
        f'<img src="{file_url(result.thumbnail)}" alt="{name}"></button>'
    )


def item(number, result):
    hidden = " hidden" if number else ""
    shown = slider(result) if result.preview == "picture" else player(result)
    name = escape(result.path.name)
    download = f'<a class="sr-button sr-primary" href="{file_url(result.path)}" download="{name}">Download {name}</a>'
    parts = shown + numbers(result) + scores(result) + messages(result.notes) + download
    return f'<article class="sr-item" data-item="{number}"{hidden}>{parts}</article>'


def slider(result):
    width, height = result.result_size
    name = escape(result.name)
    return f"""<div class="sr-compare" data-width="{width}" data-height="{height}">
<div class="sr-stage" tabindex="0" role="group" aria-label="{name}, before and after; plus and minus zoom">
<div class="sr-canvas">
<img class="sr-after" src="{file_url(result.after)}" alt="{name} after upscaling" draggable="false">
<img class="sr-before" src="{file_url(result.before)}" alt="{name} before upscaling" draggable="false">
</div></div>
<div class="sr-handle" aria-hidden="true"></div>
{TAGS}
</div>
<div class="sr-tools">
<input type="range" min="0" max="1000" value="500" aria-label="Where before ends and after begins">
<div class="sr-zoom" role="group" aria-label="Zoom">
<button type="button" data-zoom="fit" aria-pressed="true">Fit</button>
<button type="button" data-zoom="1" aria-pressed="false">100%</button>
<button type="button" data-zoom="4" aria-pressed="false">400%</button>
</div></div>"""


def player(result):
    return f"""<div class="sr-clip">
<video src="{file_url(result.after)}" controls loop muted autoplay playsinline
 aria-label="{escape(result.name)}, before on the left and after on the right"></video>
{TAGS}
</div>"""


def numbers(result):
    cells = {
        "Size": f"{dimensions(result.size)} → {dimensions(result.result_size)}",
        "Time": f"{result.seconds:.1f} s",
        "Model": f"{result.model}, {result.precision}",
        "File": file_size(result.path),
    }
    rows = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in cells.items())
    return f'<dl class="sr-numbers">{rows}</dl>'


def dimensions(size):
    return f"{size[0]} × {size[1]}"


def file_size(path):
    size = os.path.getsize(path)
    return f"{size / 2**20:.1f} MB" if size >= 2**20 else f"{size / 2**10:.0f} KB"


def scores(result):
    if not result.scores:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(method)}</th>' + "".join(f"<td>{cell(n, v)}</td>" for n, v in values.items())
        for method, values in result.scores.items()
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Against the original", "PSNR ↑", "SSIM ↑", "LPIPS ↓"))
    return f"""<table class="sr-scores"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>
<figure class="sr-error"><img src="{file_url(result.error_map)}" alt="Error map">
<figcaption>Error map: black is equal to the original, yellow far from it.</figcaption></figure>"""


def cell(name, value):
    if name == "PSNR":
        return "∞" if value == INFINITE else f"{value:.2f} dB"
    return f"{value:.4f}"
