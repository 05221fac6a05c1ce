"""Sinkhorn's algorithm and divergence, under the name that users know: see `srwgan.training.sinkhorn`."""

from srwgan.training.sinkhorn import log_scalings, log_sinkhorn, sinkhorn_divergence

__all__ = ["log_scalings", "log_sinkhorn", "sinkhorn_divergence"]
