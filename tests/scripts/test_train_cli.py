import json
import logging
import os
import pickle
import signal
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import train_SRWGAN
from srwgan.data.splits import split
from srwgan.networks.discriminator import Discriminator
from srwgan.networks.generator import Generator
from srwgan.networks.saving import DISCRIMINATOR_FILE, export_generator, load_discriminator, load_generator
from srwgan.training import setup
from srwgan.training.flags import build_parser
from srwgan.training.optimizers import OPTIMIZERS

DEFAULTS = {
    "pretrained": "resnet50",
    "datapath": "./Datasets",
    "trainnum": 20,
    "epochs": 2,
    "batchsz": 4,
    "dstep": 1,
    "gstep": 1,
    "gpweight": 10.0,
    "cweight": 1e-3,
    "savemodel": False,
    "chkpt_path": "./SRWGAN",
}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Everything the script writes goes to a folder of the test's; its settings of the process are undone."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    logger = logging.getLogger("srwgan")
    level = logger.level
    yield folder
    logger.setLevel(level)


@pytest.fixture
def tiny(photo_folder, tmp_path):
    """Flags of a training that takes seconds."""
    return [
        "--datapath",
        str(photo_folder),
        "--cache",
        str(tmp_path / "cache"),
        "--filters",
        "4",
        "--blocks",
        "1",
        "--dfilters",
        "4",
        "--cropsz",
        "64",
        "--trainnum",
        "4",
        "--validnum",
        "2",
        "--batchsz",
        "2",
        "--cweight",
        "0",
        "--precision",
        "float32",
        "--strategy",
        "one",
    ]


def parse(*argv):
    return vars(build_parser().parse_args(argv))


def refused(argv, capsys):
    """The one line on stderr of a command that must end with status 2."""
    with pytest.raises(SystemExit) as error:
        train_SRWGAN.main(argv)
    assert error.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train_SRWGAN.py: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("train_SRWGAN.py: ")


def test_the_defaults_that_users_know():
    flags = parse()
    assert {name: flags[name] for name in DEFAULTS} == DEFAULTS


def test_the_command_in_users_notes():
    flags = parse(*"--trainnum 600 --epochs 40 --batchsz 4 --gpweight 16.0 --cweight 4 --savemodel True".split())
    expected = {**DEFAULTS, "trainnum": 600, "epochs": 40, "gpweight": 16.0, "cweight": 4.0, "savemodel": True}
    assert {name: flags[name] for name in DEFAULTS} == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("True", True),
        ("yes", True),
        ("1", True),
        ("true", True),
        ("False", False),
        ("no", False),
        ("0", False),
        ("FALSE", False),
    ],
)
def test_savemodel_means_what_it_says(text, value):
    assert parse("--savemodel", text)["savemodel"] is value


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--batchsz", "0"], "argument --batchsz: Received: 0. Expected a whole number of 1 or more."),
        (["--scale", "5"], "argument --scale: invalid choice: 5 (choose from 2, 3, 4, 8)"),
        (["--epochs", "many"], "argument --epochs: Received: many. Expected a whole number of 1 or more."),
        (["--glr", "fast"], "argument --glr: Received: fast. Expected a number above 0."),
        (["--glr", "0"], "argument --glr: Received: 0. Expected a number above 0."),
        (["--gpweight", "nan"], "argument --gpweight: Received: nan."),
        (["--savemodel", "maybe"], "Received: maybe. Expected True or False (yes, no, 1, 0)."),
        (["--cropsz", "66"], "Received: --cropsz 66 with --scale 4. Expected a multiple of it."),
        (["--warmup-epochs", "2", "--critic-warmup", "5"], "Expected fewer warm-up epochs than --epochs 2."),
        (["--cweight", "0", "--rweight", "0", "--advweight", "0"], "Expected one of them to be positive."),
        (["--repeat-edges", "-1"], "Expected a whole number of 0 or more."),
        (
            ["--mirror-edges", "4", "--repeat-edges", "2"],
            "--mirror-edges 4 with --repeat-edges 2. Expected one of them.",
        ),
        (["--luma", "1.5"], "Expected a number from 0 to 1."),
        (["--grain", "-1"], "argument --grain: Received: -1."),
        (["--degradation", "webp"], "argument --degradation: invalid choice: "),
        (["--condition", "noise"], "Received: --condition noise with --degradation bicubic"),
        (["--upsampling", "nearest"], "argument --upsampling: invalid choice: "),
        (["--attention", "full"], "argument --attention: invalid choice: "),
        (["--weighting", "adaptive"], "invalid choice: 'adaptive' (choose from"),
        (["--otspace", "pixels"], "Received: --otspace pixels with --otweight 0. Expected an --otweight above 0."),
        (["--otweight", "1", "--advweight", "0"], "Expected --otspace pixels, or an --advweight above 0."),
        (
            ["--dsemantics", "8", "--cweight", "0"],
            "--dsemantics 8 with --cweight 0 --advweight 1. Expected both",
        ),
        (["--dsemantics", "8", "--advweight", "0"], "--advweight 0. Expected both above 0: the discriminator looks at"),
        (["--dblocks", "-1"], "argument --dblocks: Received: -1."),
        (["--otweight", "-1"], "argument --otweight: Received: -1."),
        (["--steadyweight", "1", "--degradation", "gif"], "Received: --steadyweight with --degradation gif"),
        (["--steadyweight", "1", "--cropsz", "16"], "Received: --cropsz 16 with --steadyweight. Expected 32 or more."),
        (["--weighting", "self-adaptive", "--warmup-epochs", "2"], "Expected more --epochs than --warmup-epochs."),
        (["--both-sizes"], "Received: --both-sizes without --halve-below. Expected the megapixels"),
        (
            ["--content-channels", "lpips.npz"],
            "Received: --content-channels with --content-norm energy. Expected unit.",
        ),
        (["--datapath", "missing"], "missing, which does not exist. Expected a folder of photographs."),
        (["--datapath", "file"], "file, a file. Expected a folder of photographs."),
        (["--datapath", "empty"], "empty, without a readable photograph of 256x256 or more."),
        (["--chkpt_path", "file/SRWGAN"], "cannot be written. Expected a writable folder."),
        (["--run-dir", "file/run"], "cannot be written. Expected a writable folder."),
        (
            ["--resume", "empty"],
            "Received: --resume empty, without a readable flags.json. Expected the folder of a run.",
        ),
        (["--unknown"], "unrecognized arguments: --unknown"),
    ],
)
def test_wrong_flags_end_in_one_line_and_leave_nothing(argv, message, own_folder, tmp_path, capsys):
    (own_folder / "file").write_text("text")
    (own_folder / "empty").mkdir()
    assert message in refused([*argv, "--cache", str(tmp_path / "cache")], capsys)
    assert sorted(os.listdir(own_folder)) == ["empty", "file"]


def test_faults_found_late_leave_nothing_either(tiny, own_folder, tmp_path, capsys):
    torn = tmp_path / "torn.weights.h5"
    torn.write_bytes(b"HDF?")
    for argv, message in [
        (["--init", "missing"], "Received: model missing_Gen. Expected a folder"),
        (["--cweight", "1", "--pretrained", "vgg16", "--pretrained-weights", str(torn)], "not weights of vgg16"),
        (["--cweight", "1", "--pretrained", "alexnet"], "Received: pretrained=alexnet. Expected"),
    ]:
        assert message in refused([*tiny, *argv], capsys)
    assert os.listdir(own_folder) == []


def test_help_groups_and_explains(capsys):
    with pytest.raises(SystemExit) as end:
        train_SRWGAN.main(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    for group in "data:", "networks:", "losses:", "schedule:", "machine:", "results:":
        assert f"\n{group}\n" in text
    for action in build_parser()._actions:
        assert action.help and action.option_strings[-1] in text


def test_held_out_photographs_are_not_trained_on():
    for total, trainnum, validnum, expected in [
        (10, 8, 4, (8, 2)),
        (24, 20, 4, (20, 4)),
        (8, 20, 16, (7, 1)),
        (30, 40, 2, (28, 2)),
        (2, 20, 16, (1, 1)),
        (40, 20, 4, (36, 4)),
    ]:
        training, held_out = split(list(range(total)), trainnum, validnum)
        assert (len(training), len(held_out)) == expected
        assert not set(training) & set(held_out)
    assert split([7], 20, 16) == ([7], [7])


@pytest.mark.parametrize(
    "small, training, held_out",
    [
        ((), "0123", "45"),
        ((0, 2), "136", "45"),  # the seventh takes a place; as before, the fifth and sixth are held out
        ((4,), "0123", "5"),
        ((0, 1, 2, 3, 6), "4", "5"),  # none is left to train on
        ((4, 5), "012", "3"),  # none is left to be held out
    ],
)
def test_photographs_passed_over_move_none_across(small, training, held_out, tmp_path, make_photo):
    for number in range(7):
        side = 40 if number in small else 64
        Image.fromarray(make_photo(side, side, number)).save(tmp_path / f"{number}.png")
    argv = ["--datapath", str(tmp_path), "--cropsz", "64", "--trainnum", "4", "--validnum", "2"]
    args = build_parser().parse_args([*argv, "--cache", str(tmp_path / "cache")])
    sides = setup.load_photos(args)
    assert ["".join(os.path.basename(path)[0] for path in side.paths) for side in sides] == [training, held_out]


def test_nothing_at_the_default_datapath_takes_the_bundled_photographs(monkeypatch, photo_folder, tmp_path, caplog):
    caplog.set_level(logging.INFO, "srwgan")
    monkeypatch.setattr(setup, "BUNDLED_PHOTOS", str(photo_folder))
    args = build_parser().parse_args(["--cropsz", "64", "--cache", str(tmp_path / "cache")])
    training, held_out = setup.load_photos(args)
    assert (len(training), len(held_out)) == (5, 1)
    assert f"Nothing at ./Datasets: training on the bundled photographs in {photo_folder}" in caplog.text
    assert "asked for 20 photographs (--trainnum), training on the 5" in caplog.text


def test_photographs_to_train_on_alone_are_there_at_both_sizes(photo_folder, tmp_path):
    argv = [
        "--datapath",
        str(photo_folder),
        "--cache",
        str(tmp_path / "cache"),
        "--cropsz",
        "32",
        "--trainnum",
        "4",
        "--halve-below",
        "1",
        "--both-sizes",
    ]
    training, held_out = setup.load_photos(build_parser().parse_args(argv))
    names = [os.path.basename(path) for path in training.paths + held_out.paths]
    assert names == ["0.png", "0.png", "1.png", "1.png", "2.png", "2.png", "3.png", "3.png", "4.png", "5.png"]
    assert training.halved == [True, False] * 4 and held_out.halved == [True] * 2


def test_div2ks_own_validation_photographs_are_held_out(photo_folder, tmp_path, make_photo):
    valid = photo_folder / "DIV2K_valid_HR"
    valid.mkdir()
    (photo_folder / "DIV2K_train_HR").mkdir()
    Image.fromarray(make_photo(64, 64, 50)).save(photo_folder / "DIV2K_train_HR" / "0001.png")
    Image.fromarray(make_photo(64, 64, 51)).save(valid / "0801.png")
    argv = ["--datapath", str(photo_folder), "--cropsz", "64", "--trainnum", "1", "--cache", str(tmp_path / "cache")]
    training, held_out = setup.load_photos(build_parser().parse_args(argv))
    assert [os.path.basename(path) for path in training.paths + held_out.paths] == ["0001.png", "0801.png"]


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_from_photographs_to_exported_networks_and_on_from_them(tiny, own_folder, caplog):
    caplog.set_level(logging.INFO, "srwgan")
    assert train_SRWGAN.main([*tiny, "--savemodel", "True", "--run-dir", "run"]) == 0

    run = own_folder / "run"
    results = {"flags.json", "history.json", "curves.png", "training.gif", "samples", "checkpoints"}
    assert results <= set(os.listdir(run))
    assert sorted(os.listdir(run / "samples")) == ["epoch_0001.png", "epoch_0002.png"]
    with open("trainHistoryDict", "rb") as file:
        history = pickle.load(file)
    assert len(history["psnr"]) == 2 and np.isfinite(history["gradient_penaty"]).all()
    with Image.open("generated_samples/generatedSuperRes.gif") as gif:
        assert gif.n_frames == 2
    flags = json.loads((run / "flags.json").read_text())
    assert flags["flags"]["batchsz"] == 2 and flags["versions"]["tensorflow"] == tf.__version__
    assert f"PSNR-Y of 2 held-out crops: {history['psnr'][-1]:.2f} dB (bicubic" in caplog.text
    assert not [name for _, _, names in os.walk(own_folder) for name in names if name.endswith(".part")]

    first = load_generator("SRWGAN_Gen")
    assert (first.filters, first.blocks, first.scale) == (4, 1, 4)
    assert load_discriminator("SRWGAN_Dis").filters == 4
    assert os.path.isfile("SRWGAN_Gen/generator.tflite")
    model = tf.saved_model.load("SRWGAN_Gen")
    assert model.serve(tf.zeros((1, 5, 6, 3)))["output"].shape == (1, 20, 24, 3)
    assert "| photographs | 4 |" in (own_folder / "SRWGAN_Gen" / "README.md").read_text()

    caplog.clear()  # on from the exported networks; what they stood in is moved aside
    assert (
        train_SRWGAN.main(
            [*tiny, "--epochs", "1", "--glr", "1e-9", "--dlr", "1e-9", "--init", "SRWGAN", "--savemodel", "yes"]
        )
        == 0
    )
    (aside,) = [name for name in os.listdir() if name.startswith("SRWGAN_Gen.")]
    assert "and its discriminator" in caplog.text and aside in caplog.text
    for made, before, moved in zip(
        load_generator("SRWGAN_Gen").get_weights(),
        first.get_weights(),
        load_generator(aside).get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(moved, before)
        np.testing.assert_allclose(made, before, atol=1e-6)


@pytest.mark.parametrize(("flags", "filters"), [([], 8), (["--dfilters", "8"], 8), (["--dfilters", "4"], 4)])
def test_a_generators_folder_may_hold_its_discriminator(flags, filters, own_folder, caplog):
    """As SRWGAN_Gen/ does; one of other filters is left aside."""
    caplog.set_level(logging.INFO, "srwgan")
    export_generator(Generator(4, 1, 4), "start", served=False)
    critic = Discriminator(8)
    critic.save(own_folder / "start" / DISCRIMINATOR_FILE)
    _, found, _ = setup.build_networks(build_parser().parse_args(["--init", "start", "--precision", "float32", *flags]))
    assert found.filters == filters
    assert ("and its discriminator" if filters == 8 else "with a new discriminator") in caplog.text
    if filters == 8:
        for made, before in zip(found.get_weights(), critic.get_weights(), strict=True):
            np.testing.assert_array_equal(made, before)


@pytest.mark.parametrize(("flags", "blocks"), [([], 1), (["--dblocks", "3"], 3)])
def test_a_discriminator_grows_by_blocks(flags, blocks, own_folder, caplog):
    caplog.set_level(logging.INFO, "srwgan")
    export_generator(Generator(4, 1, 4), "start", served=False)
    critic = Discriminator(4, 1)
    critic.save(own_folder / "start" / DISCRIMINATOR_FILE)
    _, found, _ = setup.build_networks(build_parser().parse_args(["--init", "start", "--precision", "float32", *flags]))
    assert (found.filters, found.blocks) == (4, blocks) and "and its discriminator" in caplog.text
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(found(images), critic(images), rtol=1e-6)


@pytest.fixture
def classifier(own_folder):
    """Flags of a content loss with a tiny classifier whose last map has 5 channels."""
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, 2, name="first")(image)
    keras.Model(image, keras.layers.Conv2D(5, 3, 2, name="last")(x)).save(own_folder / "classifier.keras")
    return ["--cweight", "0.1", "--pretrained", "classifier.keras", "--hyperpixel-layers", "first,last"]


def test_a_discriminator_is_told_what_the_original_shows(classifier, tiny, own_folder, capsys, eagerly):
    """From one that was not told, exported with its second input, and taken up again."""
    export_generator(Generator(4, 1, 4), "start", served=False)
    Discriminator(4).save(own_folder / "start" / DISCRIMINATOR_FILE)
    short = ["--cropsz", "32", "--epochs", "1", "--savemodel", "True"]
    argv = [*tiny, *classifier, *short, "--init", "start", "--dsemantics", "6", "--run-dir", "run"]
    assert train_SRWGAN.main(argv) == 0
    critic = load_discriminator("SRWGAN_Dis")
    assert (critic.semantics, critic.semantic_channels) == (6, 5)
    assert np.any(critic.get_layer("semantics_projection").get_weights())
    images, semantics = (np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, n)).astype(np.float32) for n in (3, 5))
    model = tf.saved_model.load("SRWGAN_Dis")
    served = model.serve(tf.constant(images), tf.constant(semantics))["output"]
    np.testing.assert_allclose(served, critic([images, semantics]), rtol=1e-4, atol=1e-5)
    assert json.loads((own_folder / "run" / "flags.json").read_text())["flags"]["dsemantics"] == 6
    assert (own_folder / "run" / "samples" / "epoch_0001.png").is_file()

    args = build_parser().parse_args([*tiny, *classifier, "--init", "SRWGAN"])  # as it was exported
    _, again, _ = setup.build_networks(args)
    assert (again.semantics, again.semantic_channels) == (6, 5)
    flags = [*tiny, *short, "--init", "SRWGAN"]
    other = [*classifier[:-1], "first"]
    for more, message in (
        (["--cweight", "0"], "Received: --cweight 0 with a discriminator (of --init SRWGAN) that looks at a map of 5"),
        (other, "of 5 channels, and --hyperpixel-layers whose last one has 4. Expected the --pretrained"),
        ([*classifier, "--resume", "run", "--dsemantics", "8"], "--dsemantics 8 with --resume run"),
    ):
        assert message in refused([*flags, *more], capsys)


def test_flags_that_are_newer_than_a_run_keep_their_defaults(own_folder, capsys):
    (own_folder / "run").mkdir()
    (own_folder / "run" / "flags.json").write_text('{"flags": {"seed": 3}}')
    message = refused(["--resume", "run", "--dblocks", "2"], capsys)
    assert "--dblocks 2 with --resume run, which was started with --dblocks 0. Expected the same." in message


@pytest.mark.parametrize(
    "flags",
    [
        ["--filters", "8"],
        ["--blocks", "2"],
        ["--activation", "prelu"],
        ["--upsampling", "fourier"],
        ["--attention", "window"],
    ],
)
def test_an_exported_generator_of_another_shape_is_refused(flags, tiny, own_folder, capsys):
    export_generator(Generator(4, 1, 4), "start_Gen")
    message = refused([*tiny, "--init", "start", *flags], capsys)
    assert f"Received: {' '.join(flags)} with --init start_Gen" in message and "Expected the same" in message


@pytest.mark.usefixtures("eagerly")
def test_a_resumed_run_takes_its_flags_and_refuses_others(tiny, own_folder, capsys, monkeypatch):
    def stopped_at_batch_2(schedule, batch, _):
        if batch == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return "warmup"

    with monkeypatch.context() as patch:
        patch.setattr("srwgan.training.schedule.Schedule.phase", stopped_at_batch_2)
        assert train_SRWGAN.main([*tiny, "--run-dir", "run"]) == 128 + signal.SIGTERM
    assert not (own_folder / "trainHistoryDict").exists()
    assert "which was started with --seed 0. Expected the same." in refused(["--resume", "run", "--seed", "1"], capsys)
    assert "not empty. Expected a new folder, or --resume run." in refused([*tiny, "--run-dir", "run"], capsys)
    assert train_SRWGAN.main(["--resume", "run"]) == 0
    with open("trainHistoryDict", "rb") as file:
        assert len(pickle.load(file)["psnr"]) == 2


RESEARCH = [
    "--degradation gif --grain 5 --weighting self-adaptive --otweight 0.1 --otspace pixels --upsampling fourier "
    "--attention channel",
    "--degradation real --condition noise --weighting gradient --otweight 0.1 --upsampling resize-conv "
    "--attention window",
]


@pytest.mark.slow
@pytest.mark.parametrize("flags", RESEARCH)
def test_research_options_train_and_export(flags, tiny, own_folder):
    argv = [*tiny, "--cropsz", "32", "--epochs", "1", "--savemodel", "True", "--run-dir", "run", *flags.split()]
    train_SRWGAN.main(argv)
    history = json.loads((own_folder / "run" / "history.json").read_text())["epochs"]
    assert np.isfinite(history["psnr"]).all() and history["transport"][0] > 0
    assert ("adaptive_transport" in history) == ("self-adaptive" in flags)
    generator = load_generator("SRWGAN_Gen")
    assert f"--upsampling {generator.upsampling} --attention {generator.attention}" in flags
    assert generator.condition == ("noise" if "--condition noise" in flags else "none")
    if generator.condition == "noise":
        with pytest.raises(SystemExit):
            train_SRWGAN.main([*tiny, "--init", "SRWGAN_Gen"])  # without --condition noise


@pytest.mark.parametrize("kinds", [("adam", "muon"), ("muon", "adam")])
def test_each_network_has_the_optimizer_asked_for(kinds):
    flags = ["--cweight", "0", "--goptimizer", kinds[0], "--doptimizer", kinds[1], "--filters", "4", "--blocks", "1"]
    args = build_parser().parse_args(flags)
    trainer = setup.build_trainer(args, setup.build_networks(args), updates=10)
    assert type(trainer.generator_optimizer) is OPTIMIZERS[kinds[0]]
    assert type(trainer.discriminator_optimizer) is OPTIMIZERS[kinds[1]]


@pytest.mark.parametrize(("flag", "mode"), [("--mirror-edges", "symmetric"), ("--repeat-edges", "edge")])
def test_crops_get_edges_as_wide_as_asked_for(flag, mode):
    flags = ["--cweight", "0", flag, "2", "--accumulate", "4", "--filters", "4", "--blocks", "1"]
    args = build_parser().parse_args(flags)
    trainer = setup.build_trainer(args, setup.build_networks(args), updates=10)
    low_res = np.random.default_rng(0).uniform(-1, 1, (1, 5, 6, 3)).astype(np.float32)
    padded = np.pad(low_res, [(0, 0), (2, 2), (2, 2), (0, 0)], mode=mode)
    for network, generate in ((trainer.generator, trainer.generate), (trainer.average, trainer.generate_average)):
        np.testing.assert_allclose(generate(low_res), network(padded)[:, 8:-8, 8:-8], atol=1e-5)
    assert trainer.options.accumulate == 4
