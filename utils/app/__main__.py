"""`python3 -m utils.app`."""

from srwgan.commandline import run_command
from utils.app.server import main

if __name__ == "__main__":
    run_command(main)
