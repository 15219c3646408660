"""Runs every benchmark, one after the other; each prints its own table."""

from __future__ import annotations

from benchmarks import training_throughput

training_throughput.main()
