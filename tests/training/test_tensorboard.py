import pytest
import tensorflow as tf

import train_SRWGAN

FLAGS = [
    "--cropsz",
    "64",
    "--trainnum",
    "4",
    "--validnum",
    "2",
    "--batchsz",
    "2",
    "--epochs",
    "2",
    "--tensorboard",
    "--warmup-epochs",
    "2",
    "--filters",
    "4",
    "--blocks",
    "1",
    "--dfilters",
    "4",
    "--cweight",
    "0",
    "--run-dir",
    "run",
]


def test_scalars_and_a_picture_of_each_epoch(eagerly, photo_folder, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    flags = ["--datapath", str(photo_folder), "--cache", str(tmp_path / "cache"), *FLAGS]
    assert train_SRWGAN.main(flags) == 0
    (path,) = (tmp_path / "run" / "tensorboard").iterdir()
    seen = {}
    for record in tf.data.TFRecordDataset(str(path)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            seen.setdefault(value.tag, []).append((event.step, value.tensor))
    assert {"psnr", "reconstruction", "images_per_second", "samples"} <= set(seen)
    for values in seen.values():
        assert [step for step, _ in values] == [2, 4]  # batches done
    width, height, first = seen["samples"][1][1].string_val
    picture = tf.image.decode_png(first)
    assert picture.shape == (int(height), int(width), 3) and (tmp_path / "run/samples/epoch_0002.png").exists()


def test_without_the_package(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as error:
        train_SRWGAN.main(FLAGS)
    assert error.value.code == 2
    assert "--tensorboard without that package. Expected: pip install tensorboard" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
