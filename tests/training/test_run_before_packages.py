"""A run that was interrupted by the code before `srwgan/` had packages goes on with today's.

`run_before_packages/` is the run's folder as commit 727f9ea left it after two of three epochs, without its pictures:

    python3 train_SRWGAN.py --datapath photos --trainnum 4 --validnum 2 --cropsz 32 --batchsz 2 --epochs 3 --filters 4 \
        --blocks 1 --dfilters 4 --cweight 0 --goptimizer muon --weighting gradient --precision float32 --cache cache \
        --run-dir run
"""

import json
import shutil
from pathlib import Path

import pytest

import train_SRWGAN

BEFORE = Path(__file__).parent / "run_before_packages"
THIRD_EPOCH = {"psnr": 30.302, "d_loss": 6.0498, "g_loss_total": 2.9520, "gradient_penalty": 0.60453}  # that code's


def test_it_goes_on_as_that_code_did(tmp_path, photo_folder, monkeypatch):
    shutil.copytree(BEFORE, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert photo_folder == tmp_path / "photos"
    assert train_SRWGAN.main(["--resume", "run"]) == 0
    history = json.loads(Path("run", "history.json").read_text())["epochs"]
    before = json.loads((BEFORE / "history.json").read_text())["epochs"]
    for name, value in THIRD_EPOCH.items():
        assert history[name][:2] == before[name]
        assert history[name][2] == pytest.approx(value, rel=1e-3), name
