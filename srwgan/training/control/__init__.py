"""A trained policy at the controls of a run: `train_SRWGAN.py --controller POLICY`."""
