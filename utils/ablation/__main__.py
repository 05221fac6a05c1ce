"""`python3 -m utils.ablation`."""

from srwgan.commandline import run_command
from utils.ablation.command import main

if __name__ == "__main__":
    run_command(main)
