"""A store for clusters without shared storage: checkpoints, models and the log of a run at an address."""
