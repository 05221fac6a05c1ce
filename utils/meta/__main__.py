"""`python3 -m utils.meta`."""

from srwgan.commandline import run_command
from utils.meta.command import main

if __name__ == "__main__":
    run_command(main)
