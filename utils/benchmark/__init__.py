"""Speed and memory of this project on this machine: `python3 -m utils.benchmark`."""
