"""recipes/portable_round.sh, its commands only: a stand-in for Python notes them and leaves what they leave."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from srwgan.training.flags import build_parser, check

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "recipes" / "portable_round.sh"
LIMIT = 600  # seconds, of a command that takes one

PYTHON = r"""#!/bin/bash
echo "$(printf '%s ' "$(basename "$PWD")" "${@@Q}")" >> "$CALLS"  # in one write, since trainings run side by side
if [[ $* == *portable_pairs* && ${NO_PAIRS:-} ]]; then
  mkdir -p ../pairs
  if [ "$NO_PAIRS" = known ]; then touch ../pairs/photographs.json; fi
  exit 1
fi
while [ $# -gt 0 ]; do
  case $1 in
    --export-step)
      mkdir -p "$2"
      echo weights > "$2/classifier.npz"
      touch "$2/meta.json" "$2/photographs.bin" ;;
    --chkpt_path) mkdir -p "$2_Gen" ;;
    --output) mkdir -p "$2"; touch "$2/state.npz" "$2/average.npz" "$2/photographs.json" "$2/photographs.bin" ;;
  esac
  shift
done
"""


@pytest.fixture
def script(tmp_path):
    """(arguments, **environment) -> (the finished script, its calls of Python as lists of arguments)."""
    code, calls = tmp_path / "code", tmp_path / "calls"
    (code / "utils").mkdir(parents=True)
    for name in ("portable_run.py", "portable_pairs.py"):
        shutil.copy(ROOT / "utils" / name, code / "utils")
    shutil.copytree(ROOT / "recipes", code / "recipes")
    (code / "srwgan").mkdir()
    for name in ("robust", "fast"):
        (code / "SRWGAN_Gen" / name).mkdir(parents=True)
        (code / "SRWGAN_Gen" / name / "generator.keras").touch()
    (code / "SRWGAN_Gen" / "discriminator.keras").write_text("the sharp end's")
    (tmp_path / "photos").mkdir()
    for name in ("vgg16.h5", "lpips.npz"):
        (tmp_path / name).touch()
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def run(*arguments, script="code/recipes/portable_round.sh", **environment):
        calls.write_text("")
        result = subprocess.run(
            ["bash", script, *arguments],
            cwd=tmp_path,
            text=True,
            capture_output=True,
            timeout=LIMIT,
            env={
                **os.environ,
                "PYTHON": str(python),
                "CALLS": str(calls),
                "ROUND": str(tmp_path / "round"),
                **environment,
            },
        )
        return result, [shlex.split(line) for line in calls.read_text().splitlines()]

    return run


EXPORT = "export", "photos", "vgg16.h5", "lpips.npz"


def test_the_script_is_sound():
    subprocess.run(["bash", "-n", SCRIPT], check=True, timeout=LIMIT)
    if shutil.which("shellcheck"):
        result = subprocess.run(["shellcheck", SCRIPT], capture_output=True, text=True, timeout=LIMIT)
        assert result.returncode == 0, result.stdout


def test_there_and_back(script, tmp_path):
    result, made = script(*EXPORT)
    assert result.returncode == 0, result.stderr
    exports = {Path(call[call.index("--export-step") + 1]).name: call[2:] for call in made if "--export-step" in call}
    assert list(exports) == ["sharp", "robust", "diffusion", "student"]
    for name, flags in exports.items():  # the recipes and flags are such as train_SRWGAN.py takes
        args = build_parser().parse_args([flag.replace("@recipes", f"@{ROOT}/recipes") for flag in flags])
        check(args)
        assert (args.sampling, args.halve_below, args.mirror_edges, args.both_sizes) == ("side", 4, 4, True)
        assert args.degradation == ("mixed" if name == "robust" else "bicubic")
    round_ = tmp_path / "round"
    assert not list(round_.glob("*/photographs.bin"))
    files = [round_ / name / "classifier.npz" for name in exports]
    assert len({file.stat().st_ino for file in files}) == 1  # one file, four names
    again, made = script(*EXPORT)
    assert again.returncode == 0 and made == []  # what is finished is passed over

    result, made = script("train", "photos", "60", script="round/portable_round.sh")
    assert result.returncode == 0, result.stderr
    by_name = {call[2]: call for call in made if call[1].endswith("portable_run.py")}
    assert set(by_name) == {"sharp", "robust", "diffusion", "student"}
    assert by_name["student"][-2:] == ["--teacher", "out/diffusion"]
    order = [call[2] for call in made]
    assert order.index("diffusion") < order.index("student")
    pairs = next(call for call in made if "utils.portable_pairs" in call)
    assert pairs[0] == "code" and "../robust" in pairs
    assert "pairs/photographs.bin" in by_name["robust"] and "--resume" not in by_name["robust"]
    assert by_name["robust"][-2:] == ["--wait", "pairs/ready"]  # it compiles meanwhile
    assert (round_ / "pairs" / "ready").read_text() == ""  # no other number of seconds
    _, made = script("train", "photos", "60", script="round/portable_round.sh")
    assert all("--resume" in call and "--wait" not in call for call in made)
    assert len(made) == 4  # pairs are not made again

    result, made = script("import")
    assert result.returncode == 0 and sorted(Path(call[3]).name for call in made) == sorted(by_name)


def test_the_faithful_end_and_its_teachers(script, tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    result, (call,) = script(*EXPORT, TRAININGS="faithful", TEACHERS="one other")
    assert result.returncode == 0, result.stderr
    args = build_parser().parse_args([flag.replace("@recipes", f"@{ROOT}/recipes") for flag in call[2:]])
    check(args)
    assert args.teacher == [str(tmp_path / "one"), str(tmp_path / "other")] and args.warmup_epochs == args.epochs
    _, (call,) = script("train", "photos", "60", script="round/portable_round.sh", TRAININGS="faithful")
    assert call[2] == "faithful" and "--texture" not in call
    result, made = script(*EXPORT, TRAININGS="faithful", TEACHERS="nowhere", ROUND=str(tmp_path / "second"))
    assert result.returncode == 2 and not made
    assert result.stderr == "portable_round.sh: Received: TEACHERS=nowhere. Expected folders.\n"


@pytest.mark.parametrize("known", [True, False])
def test_pairs_that_cannot_be_made_end_the_wait(script, tmp_path, known):
    """Whether the command that makes them fails after it has said what there will be, or before."""
    script(*EXPORT, TRAININGS="robust")
    environment = {"TRAININGS": "robust", "NO_PAIRS": "known" if known else "unknown"}
    result, made = script("train", "photos", "60", script="round/portable_round.sh", **environment)
    trained = [call for call in made if call[1].endswith("portable_run.py")]
    assert len(trained) == known
    assert (tmp_path / "round" / "pairs" / "ready").read_text() == "0\n"
    assert ("robust has no pairs to train on: see above" in result.stderr) is not known


def test_a_round_starts_with_its_own_discriminator_where_it_was_kept(script, tmp_path):
    (tmp_path / "code" / "SRWGAN_Gen" / "robust" / "discriminator.keras").write_text("its own")
    script(*EXPORT, TRAININGS="robust fast")
    critics = [tmp_path / "round" / "start" / name / "discriminator.keras" for name in ("robust", "fast")]
    assert [critic.read_text() for critic in critics] == ["its own", "the sharp end's"]


def test_one_training_alone(script):
    _, made = script(*EXPORT, TRAININGS="fast")
    assert len(made) == 1 and "@recipes/fast.txt" in made[0]


def test_what_it_cannot_use(script):
    for arguments, environment, line in (
        ((), {}, "Received: none. Expected export, train or import."),
        (EXPORT[:3], {}, "Received: 2 arguments. Expected PHOTOS VGG16_WEIGHTS CHANNEL_WEIGHTS."),
        (("export", "nowhere", *EXPORT[2:]), {}, "Received: photographs nowhere. Expected a folder."),
        (
            EXPORT,
            {"TRAININGS": "blurred"},
            "Received: TRAININGS=blurred. Expected some of sharp faithful robust fast diffusion.",
        ),
        (("train", "photos", "soon"), {}, "Received: soon seconds. Expected a whole number."),
    ):
        result, made = script(*arguments, **environment)
        assert (result.returncode, made) == (2, []) and result.stderr == f"portable_round.sh: {line}\n"
