import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from srwgan.commandline import OneLineParser, one_line_errors, quiet_start, run_command
from tests.forked import as_from_a_terminal
from tests.waiting import LIMIT, until

ROOT = Path(__file__).resolve().parents[1]
MANY_LINES = """
from srwgan.commandline import run_command
def main():
    for i in range(100_000):
        print(i)
run_command(main)
"""


@pytest.mark.parametrize("status", [0, 2])
def test_a_command_exits_with_its_status(status):
    with pytest.raises(SystemExit) as end:
        run_command(lambda: status)
    assert end.value.code == status


def test_ctrl_c_ends_a_command_with_one_line(capsys):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="130"):
        run_command(interrupted)
    assert capsys.readouterr().err == "Interrupted.\n"


def test_a_reader_that_stops_reading_ends_a_command_quietly():
    command = [sys.executable, "-c", MANY_LINES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize(
    "error", [ValueError("no\ngood"), OSError("no good"), ImportError("no good"), MemoryError("no good")]
)
def test_errors_that_inputs_cause_are_one_line(error, capsys):
    with pytest.raises(SystemExit, match="2"), one_line_errors(OneLineParser(prog="command")):
        raise error
    assert capsys.readouterr().err == "command: no good\n"


@pytest.mark.parametrize("error", [BrokenPipeError, KeyError, KeyboardInterrupt])
def test_other_errors_pass(error):
    with pytest.raises(error), one_line_errors(OneLineParser()):
        raise error


SLOW_LIBRARY = """
import os, time
open(os.environ["IMPORTING"], "w").close()
while True:
    try:
        time.sleep(60)
    except BaseException:  # as some libraries do
        pass
"""


@pytest.mark.parametrize(
    ("command", "library"),
    [
        (["train_SRWGAN.py", "--cweight", "0"], "tensorflow"),
        (["testGenerator.py"], "numpy"),
        (["testGenerator.py", "Images/sample.png", "--engine", "tensorflow", "--output", "{folder}"], "tensorflow"),
    ],
)
def test_ctrl_c_during_imports_is_one_line(command, library, tmp_path):
    (tmp_path / f"{library}.py").write_text(SLOW_LIBRARY)
    importing = tmp_path / "importing"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "IMPORTING": str(importing)}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    script, *flags = [part.format(folder=tmp_path / "out") for part in command]
    with subprocess.Popen(
        as_from_a_terminal(
            sys.executable,
            str(ROOT / script),
            *(str(ROOT / flag) if flag.startswith("Images") else flag for flag in flags),
        ),
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            until(lambda: importing.exists() or process.poll() is not None, what="the import has begun")
            assert process.poll() is None, process.stderr.read()
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=LIMIT) == (b"", b"Interrupted.\n")
        except BaseException:
            process.kill()
            raise
    assert process.returncode == 130


def test_a_quiet_start_leaves_the_handler_of_ctrl_c_as_it_was():
    before = signal.getsignal(signal.SIGINT)
    mine = lambda number, frame: None  # noqa: E731
    signal.signal(signal.SIGINT, mine)
    try:
        with quiet_start():
            assert signal.getsignal(signal.SIGINT) is not mine
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_quiet_start_searches_imports_for_no_garbage():
    """A stand-in takes TensorFlow's place, so that it is a first start here too."""
    script = """
import gc, sys, types
from srwgan.commandline import quiet_start
config = types.SimpleNamespace(list_physical_devices=lambda: None)
with quiet_start():
    assert not gc.isenabled()
    sys.modules["tensorflow"] = types.SimpleNamespace(config=config)
assert gc.isenabled() and gc.get_freeze_count() > 1000
frozen = gc.get_freeze_count()
with quiet_start():  # what was made since the first start can be garbage
    assert gc.isenabled()
assert gc.get_freeze_count() == frozen
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
