"""The notebook runs from top to bottom, as IPython runs its cells, and is kept without outputs."""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "examples" / "srwgan.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_outputs_are_stripped():
    for cell in CELLS:
        assert cell["cell_type"] == "markdown" or (cell["outputs"] == [] and cell["execution_count"] is None)
    assert len({cell["id"] for cell in CELLS}) == len(CELLS)


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """IPython without a profile of its user's or a history."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "displayhook", sys.displayhook)
    monkeypatch.chdir(NOTEBOOK.parent)
    before = set(ROOT.iterdir()) | set(NOTEBOOK.parent.iterdir())
    shell = InteractiveShell()
    yield shell
    shell.history_manager.end_session()
    plt.close("all")
    assert set(ROOT.iterdir()) | set(NOTEBOOK.parent.iterdir()) == before


@pytest.mark.slow
def test_the_notebook_upscales_a_picture_and_trains_ten_steps(shell, capsys):
    for cell in CELLS:
        if cell["cell_type"] == "code":
            shell.run_cell("".join(cell["source"])).raise_error()
    variables = shell.user_ns
    assert variables["high_res"].shape == (4 * 150, 4 * 200, 3)
    assert len(variables["history"]) == variables["steps"] == 10
    assert all(np.isfinite(list(values.values())).all() for values in variables["history"])
    assert variables["history"][-1]["reconstruction"] < variables["history"][0]["reconstruction"]
    assert len(plt.get_fignums()) == 2  # which a notebook shows, and Agg keeps
