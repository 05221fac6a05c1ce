#!/usr/bin/env python3
"""Train SRWGAN, for example:

python3 train_SRWGAN.py --trainnum 600 --epochs 40 --batchsz 4 --gpweight 16.0 --cweight 4 --savemodel True

The flags and their meaning are in srwgan/training/flags.py; srwgan/training/setup.py builds what they ask for,
srwgan/training/run.py is the run, and srwgan/training/step.py the step that trains the networks.
"""

from srwgan.commandline import exit_at_interrupt, run_command


def main(argv=None):
    from srwgan.training.launch import launch

    return launch(argv)


if __name__ == "__main__":
    exit_at_interrupt()  # during the imports, which take seconds
    run_command(main)
