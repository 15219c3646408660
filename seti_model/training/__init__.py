"""One training: steps, kernels, checkpoints."""
