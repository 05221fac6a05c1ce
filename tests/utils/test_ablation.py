import csv
import io
import json
import shutil
import signal
import statistics
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from srwgan.measuring.pairs import degraded
from srwgan.networks.generator import Generator
from srwgan.networks.saving import export_generator
from srwgan.upscaling.upscaler import Upscaler
from srwgan.whole_files import write_json
from utils.ablation import command, measuring, report, runs

TINY = ["--filters", "8", "--blocks", "1", "--cropsz", "32", "--batchsz", "2", "--steps", "1"]


def runs_in(folder, *names):
    """Runs whose command is not train_SRWGAN.py's, which tests replace."""
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
    return [
        runs.Run(
            name,
            ["--epochs", "1", "--trainnum", "2", "--batchsz", "2"],
            folder / name,
            None if name.startswith("base") else name,
        )
        for name in names
    ]


def finish(run, psnr=30.0, conditions=("clean",)):
    """What a finished and measured run leaves."""
    run.model.mkdir(parents=True)
    (run.model / "config.json").write_text("{}")
    pictures = [
        {"condition": condition, "data": "bench", "name": name, "psnr_y": psnr + shift, "ssim": psnr / 40, "lpips": 0.3}
        for condition in conditions
        for name, shift in (("a", -1), ("b", 1))
    ]
    write_json(run.folder / "evaluation.json", {"bench": [], "parameters": 1234, "pictures": pictures})


def commands(monkeypatch, code):
    """Let every run do this Python code, in which `folder` is its folder."""
    monkeypatch.setattr(
        runs.Run,
        "command",
        lambda run: [sys.executable, "-c", f"import pathlib, sys; folder = pathlib.Path({str(run.folder)!r})\n{code}"],
    )


def test_the_band_is_the_prediction_interval_of_one_more_seed():
    centre, half = report.band([30.0, 30.1, 30.2])
    assert centre == pytest.approx(30.1)
    assert half == pytest.approx(4.303 * 0.1 * (4 / 3) ** 0.5)  # s = 0.1, t of two degrees of freedom


def test_one_in_twenty_seeds_leaves_the_band():
    draws = np.random.default_rng(0).standard_normal((4000, 4))
    outside = 0
    for *seeds, new in draws:
        centre, half = report.band(seeds)
        outside += abs(new - centre) > half
        assert abs(max(seeds) - centre) <= half and statistics.stdev(seeds) < half
    assert outside / len(draws) == pytest.approx(0.05, abs=0.01)


def test_verdicts():
    band = 30.0, 0.5
    assert [report.verdict(value, band, more_is_better=True) for value in (29.4, 29.5, 30.0, 30.5, 30.6)] == [
        "worse",
        "none",
        "none",
        "none",
        "better",
    ]
    assert [report.verdict(value, band, more_is_better=False) for value in (29.4, 30.6)] == ["better", "worse"]


def test_tables_figure_and_csv_of_known_figures(tmp_path, capsys):
    made = runs_in(tmp_path, "base-0", "base-1", "base-2", "shift-0", "degradation-gif", "latweight")
    for run, psnr in zip(made, (30.0, 30.1, 30.2, 30.2, 32.0), strict=False):  # latweight's failed
        finish(run, psnr, ("clean", "gif", "jpeg") if run.name != "shift-0" else ("clean",))
    write_json(made[3].folder / "timing.json", {"base": 0.5, "ratio": 1.25})
    pictures = json.loads((made[0].folder / "evaluation.json").read_text())["pictures"]
    write_json(tmp_path / "bicubic.json", {"pictures": pictures})
    document = tmp_path / "page.md"
    document.write_text(f"above\n{report.BEGIN}\nold\n{report.END}\nbelow\n")
    report.report(made, command.parse_arguments(["--out", str(tmp_path), "--document", str(document)]))

    printed = capsys.readouterr().out
    assert "| base |  | 30.10 ± 0.50 | 0.7525 ± 0.0124 | 0.3000 ± 0.0000 | 0.50 s | 1,234 |" in printed
    shift, gif, *more = [line for line in printed.splitlines() if line.startswith(("| shift", "| degradation"))]
    assert shift == (
        "| shift-0 | `--shift 0` | 30.20 (+0.10, none) | 0.7550 (+0.0025, none) | 0.3000 (+0.0000, none) "
        "| x 1.25 | 1,234 |"
    )
    assert "| 32.00 (+1.90, **better**) |" in gif and len(more) == 2  # the GIF's and the JPEG's tables
    assert "latweight" not in printed
    text = document.read_text()
    assert text.startswith("above\n") and text.endswith("below\n") and printed.strip() in text and "old" not in text
    assert Image.open(tmp_path / "page.png").width > 500 and Image.open(tmp_path / "ablation.png").width > 500
    with open(tmp_path / "ablation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["psnr_y_verdict"]) for row in rows if row["condition"] == "clean"] == [
        ("base-0", ""),
        ("base-1", ""),
        ("base-2", ""),
        ("shift-0", "none"),
        ("degradation-gif", "better"),
    ]


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path, monkeypatch):
    commands(
        monkeypatch,
        "print('first line'); print('no good'); sys.exit(3) if folder.name == 'shift-0' else None\n"
        "(folder / 'model_Gen').mkdir(); (folder / 'model_Gen' / 'config.json').touch()",
    )
    made = runs_in(tmp_path, "base-0", "shift-0", "latweight")
    ((name, reason),) = runs.train_all(made, jobs=2)
    assert name == "shift-0" and reason.startswith("no good") and "log.txt" in reason
    assert [run.finished for run in made] == [True, False, True]


def test_sigint_lets_the_runs_write_their_checkpoints(tmp_path, monkeypatch):
    # A shell's background jobs, and so perhaps these tests, start with SIGINT ignored: a training sets its own handler.
    commands(
        monkeypatch,
        "import signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "try:\n    (folder / 'started').touch(); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    (folder / 'saved').touch()",
    )

    def interrupt_once_started(seconds):
        if (tmp_path / "base-0" / "started").exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(runs.time, "sleep", interrupt_once_started)
    with pytest.raises(KeyboardInterrupt):
        runs.train_all(runs_in(tmp_path, "base-0", "shift-0"), jobs=1)
    assert (tmp_path / "base-0" / "saved").exists() and not (tmp_path / "shift-0" / "started").exists()


def test_a_run_with_a_checkpoint_is_resumed(tmp_path):
    (run,) = runs_in(tmp_path, "base-0")
    assert "--run-dir" in run.command()
    (run.folder / "run" / "checkpoints").mkdir(parents=True)
    (run.folder / "run" / "checkpoints" / "checkpoint").touch()
    assert run.command()[run.command().index("--resume") + 1] == str(run.folder / "run")


def test_other_flags_in_the_same_folder_are_refused(tmp_path, photo_folder, capsys):
    same = [*TINY, "--datapath", str(photo_folder), "--out", str(tmp_path / "out"), "--bench", str(photo_folder)]
    runs.plan(command.parse_arguments(same))
    assert command.main([*same, "--batchsz", "4"]) == 2
    assert "base-0 of other flags" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, named",
    [
        (["--only", "nonsense"], "upsampling-fourier"),
        (["--bench", "nowhere"], "nowhere"),
        (["--datapath", "nowhere"], "nowhere"),
        (["--pretrained-weights", "nothing.h5"], "nothing.h5"),
    ],
)
def test_bad_inputs_are_refused_before_the_training(flags, named, tmp_path, capsys):
    assert command.main(["--out", str(tmp_path / "out"), *flags]) == 2
    assert named in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_degraded_pictures_are_as_the_tables_say(make_photo):
    pixels = make_photo(40, 56)
    colors = np.unique(degraded(pixels, "gif").reshape(-1, 3), axis=0)
    assert 16 < len(colors) <= 32
    Image.fromarray(pixels).save(file := io.BytesIO(), "JPEG", quality=65)
    assert np.array_equal(degraded(pixels, "jpeg"), np.asarray(Image.open(file)))


def test_a_conditional_generator_is_told_the_strength_of_each_input(tmp_path, make_photo):
    assert measuring.STRENGTHS["gif"] == pytest.approx(3 / 7)  # 32 of 2 ** 1 to 2 ** 8 colors
    (run,) = runs_in(tmp_path, "base-0")
    generator = Generator(filters=4, blocks=1, scale=4, condition="noise")
    random = np.random.default_rng(0)
    generator.set_weights([weights + random.normal(0, 0.1, weights.shape) for weights in generator.get_weights()])
    export_generator(generator, run.model, served=False)
    pixels, methods = make_photo(16, 16), measuring.load_methods(run)
    results = []
    for kind, strength in measuring.STRENGTHS.items():
        results.append(methods[kind].upscale(pixels))
        np.testing.assert_array_equal(results[-1], Upscaler(generator, "float32", strength=strength).image(pixels))
    assert len({result.tobytes() for result in results}) == 3


def test_the_list_of_variants_may_be_piped_into_head():
    command = f"{sys.executable} -m utils.ablation --list | head -1; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], cwd=runs.ROOT, capture_output=True, text=True)
    assert result.stdout.startswith("base ") and result.stdout.count("\n") == 1 and not result.stderr
    assert result.returncode in (0, 141)  # 0 where head had not gone yet


@pytest.mark.slow
def test_two_runs_end_to_end(tmp_path, photo_folder, monkeypatch, capsys, eagerly):
    """Two subprocesses; the base's second seed is a copy of the first."""
    out, train_all = tmp_path / "out", runs.train_all

    def train_two(planned, jobs):
        failed = train_all([run for run in planned if run.name != "base-1"], jobs)
        shutil.copytree(out / "base-0" / "model_Gen", out / "base-1" / "model_Gen", dirs_exist_ok=True)
        return failed

    monkeypatch.setattr(command, "train_all", train_two)
    handler = signal.getsignal(signal.SIGTERM)
    base = f"--epochs 2 --warmup-epochs 1 --precision float32 --strategy one --cache {tmp_path / 'cache'}"
    arguments = [
        *TINY,
        "--datapath",
        str(photo_folder),
        "--bench",
        str(photo_folder),
        "--out",
        str(out),
        "--base",
        base,
        "--seeds",
        "2",
        "--only",
        "shift-0",
        "--jobs",
        "2",
        "--timing",
        "1",
    ]
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "| shift-0 | `--shift 0` |" in printed
    shift = json.loads((out / "ablation.json").read_text())["runs"][2]
    assert shift["run"] == "shift-0" and shift["step_ratio"] > 0 and set(shift["figures"]) == {"clean"}

    logs = {path: path.read_bytes() for path in out.glob("*/log.txt")}
    assert command.main(arguments) == 0  # passes over all that is finished
    assert capsys.readouterr().out == printed and logs == {path: path.read_bytes() for path in out.glob("*/log.txt")}
    assert signal.getsignal(signal.SIGTERM) is handler
