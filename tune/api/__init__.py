"""Searches from Python: the driver stays a process of its own, so that nothing it meets ends a notebook's kernel."""
