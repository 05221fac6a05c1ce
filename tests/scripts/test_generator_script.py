"""train_generator.sh, its commands only: a stand-in for Python notes them and leaves what a training leaves."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from srwgan.training.flags import build_parser, check

ROOT = str(Path(__file__).resolve().parents[2])
SCRIPT = os.path.join(ROOT, "train_generator.sh")
PYTHON = f"""#!{sys.executable}
import os, sys
with open("calls", "a") as file:
    file.write("\\n".join(sys.argv[2:]) + "\\n--\\n")
if sys.argv[2] == "utils.mean_generator":
    out, *generators = sys.argv[3:]
    os.makedirs(out)
    for name in "generator.keras", "config.json":
        with open(f"{{out}}/{{name}}", "w") as file:
            file.write("+".join(open(f"{{generator}}/{{name}}").read() for generator in generators))
    sys.exit()
path = sys.argv[sys.argv.index("--chkpt_path") + 1]
status = os.environ.get("STOPPED_" + os.path.basename(path))
if status:
    os.makedirs(path + "/checkpoints")
    open(path + "/checkpoints/checkpoint", "w").close()
    sys.exit(int(status))
for kind, name in ("Gen", "generator.keras"), ("Gen", "config.json"), ("Dis", "discriminator.keras"):
    os.makedirs(f"{{path}}_{{kind}}", exist_ok=True)
    with open(f"{{path}}_{{kind}}/{{name}}", "w") as file:
        file.write(os.path.basename(path))
"""


@pytest.fixture
def script(tmp_path):
    """(arguments, **environment) -> the finished script; its folder has photographs and two weights files."""
    for folder, number in (("photos of mine", 50), ("clean", 45)):
        (tmp_path / folder).mkdir()
        for i in range(number):
            (tmp_path / folder / f"{i}.png").touch()
    for name in "vgg16.h5", "lpips.npz":
        (tmp_path / name).touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text(PYTHON)
    (tmp_path / "bin" / "python3").chmod(0o755)
    (tmp_path / "code").mkdir()
    shutil.copy(SCRIPT, tmp_path / "code")
    shutil.copytree(os.path.join(ROOT, "recipes"), tmp_path / "code" / "recipes")

    def run(*arguments, **environment):
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "code/train_generator.sh", *arguments],
            cwd=tmp_path,
            text=True,
            capture_output=True,
            env={**os.environ, "PATH": path, **environment},
        )

    return run


FILES = "photos of mine", "vgg16.h5", "lpips.npz"


def trainings(made, tmp_path):
    """The flags of the trainings among the calls, as train_SRWGAN.py understands and accepts them."""
    phases = []
    for call in made:
        if "--run-dir" in call:
            call = [argument.replace("@code", f"@{tmp_path}/code") for argument in call]
            phases.append(build_parser().parse_args(call))
            check(phases[-1])
    return phases


def calls(tmp_path):
    text = (tmp_path / "calls").read_text()
    (tmp_path / "calls").unlink()
    return [call.splitlines() for call in text.split("--\n")[:-1]] if "\n--\n" in text else []


def test_the_script_is_sound():
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    if shutil.which("shellcheck"):
        result = subprocess.run(["shellcheck", SCRIPT], capture_output=True, text=True)
        assert result.returncode == 0, result.stdout


ONE_ROUND = {"WARMUP_ROUNDS": "1", "ADVERSARIAL_ROUNDS": "1"}


def test_a_dry_run_prints_the_commands_and_leaves_nothing(script, tmp_path):
    before = sorted(path.name for path in tmp_path.iterdir())
    result = script(*FILES, "--seed", "7", DRY_RUN="1", **ONE_ROUND)
    assert result.returncode == 0 and not result.stderr
    warmup, adversarial, robust, end = result.stdout.splitlines()
    assert "--run-dir runs/generator/warmup " in warmup and "--init runs/generator/warmup_Gen" in adversarial
    assert "--init runs/generator/sharp_Gen" in robust and "@code/recipes/robust.txt" in robust
    assert all(command.endswith("--seed 7 ") for command in (warmup, adversarial, robust))
    assert "photos\\ of\\ mine" in warmup and "runs/generator/SRWGAN_Gen" in end
    assert len(script(*FILES, DRY_RUN="1").stdout.splitlines()) == 3 + 3 + 1 + 2 * 2 * 2 + 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_train_srwgan_takes_the_commands(script, tmp_path):
    result = script(
        *FILES,
        "--precision",
        "float32",
        SHARP_PHOTOS="clean",
        WARMUP_EPOCHS="3",
        ADVERSARIAL_EPOCHS="4",
        ROBUST_EPOCHS="2",
        HALVE_BELOW="0.5",
        **ONE_ROUND,
    )
    assert result.returncode == 0, result.stderr
    phases = warmup, adversarial, robust = trainings(calls(tmp_path), tmp_path)
    for phase in phases:
        assert phase.precision == "float32" and phase.savemodel
    assert [(phase.epochs, phase.warmup_epochs) for phase in phases] == [(3, 3), (4, 0), (2, 0)]
    assert (warmup.datapath, warmup.trainnum, warmup.halve_below) == ("photos of mine", 30, 0)
    for phase in (adversarial, robust):
        assert (phase.datapath, phase.trainnum, phase.halve_below) == ("clean", 25, 0.5)
        assert (phase.pretrained_weights, phase.content_channels) == ("vgg16.h5", "lpips.npz")
    assert [phase.degradation for phase in phases] == ["bicubic", "bicubic", "mixed"]


def test_rounds_start_from_the_mean_so_far(script, tmp_path):
    assert script(*FILES, WORK="work", WARMUP_ROUNDS="1", ADVERSARIAL_ROUNDS="3").returncode == 0
    made = calls(tmp_path)
    starts = [call[len(call) - 1 - call[::-1].index("--init") + 1] for call in made if "--init" in call]
    assert starts == [f"work/{name}_Gen" for name in ("warmup", "sharp", "sharp_mean2", "sharp_mean3")]
    phases = trainings(made, tmp_path)
    assert [phase.both_sizes for phase in phases] == [False, False, False, True, False]
    assert [phase.grain for phase in phases] == [0, 0, 0, 5, 0]
    assert [phase.epochs for phase in phases] == [40, 40, 40, 40, 10]
    means = [call[1:] for call in made if call[0] == "utils.mean_generator"]
    assert means == [
        [f"work/{name}_Gen" for name in names]
        for names in (("sharp_mean2", "sharp", "sharp2"), ("sharp_mean3", "sharp_mean2", "sharp3"))
    ]
    assert (tmp_path / "work" / "SRWGAN_Gen" / "generator.keras").read_text() == "sharp+sharp2+sharp3"
    assert (tmp_path / "work" / "sharp_mean3_Dis" / "discriminator.keras").read_text() == "sharp3"


def test_the_last_warm_up_round_is_for_psnr(script, tmp_path):
    assert script(*FILES, WARMUP_ROUNDS="3", ADVERSARIAL_ROUNDS="1").returncode == 0
    rounds = trainings(calls(tmp_path), tmp_path)[:3]
    assert [(phase.reconstruction, phase.luma, phase.cropsz, phase.mirror_edges) for phase in rounds] == [
        ("l1", 0, 192, 0),
        ("l1", 0, 192, 0),
        ("psnr", 0.8, 288, 4),
    ]


@pytest.mark.parametrize("none", ["0", "0.0"])
def test_photographs_that_are_not_halved_are_there_at_one_size(script, tmp_path, none):
    result = script(*FILES, DRY_RUN="1", HALVE_BELOW=none)
    assert result.returncode == 0 and "sharp_last" not in result.stdout and "--grain 5" in result.stdout


def test_both_ends_and_the_robust_generator_are_there_at_the_end(script, tmp_path):
    assert script(*FILES, WORK="work", **ONE_ROUND).returncode == 0
    assert (tmp_path / "work" / "SRWGAN_Gen" / "generator.keras").read_text() == "sharp"
    for folder, phase in (("faithful", "warmup"), ("robust", "robust")):
        folder = tmp_path / "work" / "SRWGAN_Gen" / folder
        assert {path.name: path.read_text() for path in folder.iterdir()} == {
            "config.json": phase,
            "generator.keras": phase,
        }


def test_what_is_finished_is_passed_over_and_an_interrupted_round_resumed(script, tmp_path):
    rounds = {"WARMUP_ROUNDS": "1", "ADVERSARIAL_ROUNDS": "2"}

    def places():
        return [call[:2] for call in calls(tmp_path)]

    assert script(*FILES, STOPPED_warmup="143", **rounds).returncode == 143
    assert places() == [["--run-dir", "runs/generator/warmup"]]
    assert script(*FILES, STOPPED_sharp2="130", **rounds).returncode == 130
    assert places() == [
        ["--resume", "runs/generator/warmup"],
        ["--run-dir", "runs/generator/sharp"],
        ["--run-dir", "runs/generator/sharp2"],
    ]
    assert script(*FILES, **rounds).returncode == 0
    assert places() == [
        ["--resume", "runs/generator/sharp2"],
        ["utils.mean_generator", "runs/generator/sharp_mean2_Gen"],
        ["--run-dir", "runs/generator/robust"],
    ]
    assert script(*FILES, **rounds).returncode == 0
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (FILES[:2], "2 arguments"),
        (("nowhere", *FILES[1:]), "nowhere"),
        ((FILES[0], "none.h5", FILES[2]), "none.h5"),
        ((*FILES[:2], "none.npz"), "none.npz"),
    ],
)
def test_errors_are_one_line(script, tmp_path, arguments, said):
    result = script(*arguments)
    assert result.returncode == 2 and said in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()
