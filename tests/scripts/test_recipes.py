"""recipes/*.txt, and how train_SRWGAN.py reads them."""

import json
from pathlib import Path

import pytest

from srwgan.training.flags import build_parser, check

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
AFTER = {  # the recipe to give before it
    "faithful_last": "faithful",
    "sharp_last": "sharp",
    "robust_first": "faithful",
    "robust": "sharp",
    "fast": "sharp",
    "sharp_gpu_next": "sharp_gpu",
    "robust_gpu": "sharp_gpu",
}
MORE = {"diffusion_student_gpu": ["--student", "TEACHER_Gen"]}  # what it cannot be without


def flags_of(*names, more=()):
    return build_parser().parse_args([*[f"@{RECIPES / name}.txt" for name in names], *more])


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.txt")), ids=lambda path: path.stem)
def test_every_recipe_is_accepted_explained_and_listed(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = [AFTER[path.stem]] if path.stem in AFTER else []
    args = flags_of(*before, path.stem, more=MORE.get(path.stem, ()))
    check(args)
    assert args.validnum == 20 and not (args.pretrained_weights or args.content_channels or args.init)
    assert path.read_text().startswith("# ")
    assert f"`{path.name}`" in (RECIPES / "README.md").read_text()


@pytest.mark.parametrize("phase", ["faithful", "sharp"])
def test_the_fast_generators_recipe_is_of_the_network_that_is_here(phase):
    made = json.loads((RECIPES.parent / "SRWGAN_Gen" / "fast" / "config.json").read_text())
    args = flags_of(phase, "fast")
    for name in ("filters", "blocks", "upsampling"):
        assert getattr(args, name) == made[name]


def test_flags_and_values_stand_on_a_line_as_on_a_command_line(tmp_path):
    recipe = tmp_path / "mine.txt"
    recipe.write_text("# Mine\n\n--epochs 7 --batchsz 3  # small\n--datapath 'my photos'\n  --tensorboard\n")
    args = build_parser().parse_args([f"@{recipe}"])
    assert (args.epochs, args.batchsz, args.datapath, args.tensorboard) == (7, 3, "my photos", True)


def test_what_follows_a_recipe_goes_before_it():
    assert flags_of("sharp").epochs == 40 and flags_of("sharp", more=["--epochs", "3"]).epochs == 3
    assert flags_of("sharp", "robust").epochs == 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--epochs '3", "in a file of flags (No closing quotation). Expected flags as on a command line."),
        ("--epoch_s 3", "unrecognized arguments: --epoch_s 3"),
        (None, "No such file"),
    ],
)
def test_a_wrong_file_of_flags_ends_in_one_line(tmp_path, capsys, text, said):
    recipe = tmp_path / "wrong.txt"
    if text:
        recipe.write_text(text)
    with pytest.raises(SystemExit) as end:
        build_parser().parse_args([f"@{recipe}"])
    error = capsys.readouterr().err
    assert end.value.code == 2 and said in error and error.count("\n") == 1
