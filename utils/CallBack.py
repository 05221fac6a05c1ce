"""Pictures of the training, under the name that users know: see `srwgan.training.pictures`."""

from srwgan.training.pictures import EpochVisualizer, draw_history, draw_rows

__all__ = ["EpochVisualizer", "draw_history", "draw_rows"]
