"""Intervals, metrics, seeds, calibration, detection."""
