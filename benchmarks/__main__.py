"""Runs every benchmark, one after the other; each prints its own table."""

from __future__ import annotations

from benchmarks import prediction, scheduling_overhead, training_throughput

training_throughput.main()
prediction.main()
scheduling_overhead.main()
