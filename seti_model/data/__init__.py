"""Data sets: import, simulation, splits."""
