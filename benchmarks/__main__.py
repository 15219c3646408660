"""Runs the benchmarks of speed, one after the other; each prints its own table. `transfer` is run by itself."""

from __future__ import annotations

from benchmarks import first_epoch, prediction, scheduling_overhead, training_throughput

training_throughput.main()
prediction.main()
scheduling_overhead.main()
first_epoch.main()
