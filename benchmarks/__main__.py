"""Runs the benchmarks of speed, one after the other; each prints its own table.

`transfer`, `pace` and `concurrency` are run by themselves.
"""

from __future__ import annotations

from benchmarks import first_epoch, prediction, scheduling_overhead, training_throughput

training_throughput.main()
prediction.main()
scheduling_overhead.main()
first_epoch.main()
