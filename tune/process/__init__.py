"""The thin parent, the driver's process, signals."""
