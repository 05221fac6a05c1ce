"""`python3 -m utils.benchmark`."""

from srwgan.commandline import run_command
from utils.benchmark.command import main

if __name__ == "__main__":
    run_command(main)
