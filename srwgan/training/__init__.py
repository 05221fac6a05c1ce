"""Training: the losses, the step, the run around it, and the devices that it runs on."""
