import subprocess
import sys
from pathlib import Path

import pytest

from srwgan.commandline import OneLineParser, one_line_errors, run_command

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
