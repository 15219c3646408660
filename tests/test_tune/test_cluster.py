import math

import pytest

from results.study import ResourcesSection
from tune.errors import StudyError
from tune.ray_adapter.cluster import check_address, concurrency, memory_share


def test_as_many_trials_run_as_fit_or_as_the_study_allows() -> None:
    assert concurrency(ResourcesSection(cpus_per_trial=2), 16, 0) == 8
    assert concurrency(ResourcesSection(cpus_per_trial=2, max_concurrent=3), 16, 0) == 3
    assert concurrency(ResourcesSection(cpus_per_trial=1, gpus_per_trial=0.5), 16, 2) == 4


def test_a_trial_that_does_not_fit_is_refused_with_what_there_is() -> None:
    with pytest.raises(StudyError, match="asks for 1 CPUs and 1 GPUs, there are 16 and 0; ask for less or give"):
        concurrency(ResourcesSection(gpus_per_trial=1), 16, 0)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://head:10001", "the search must run inside the cluster to keep its record; submit it there with"),
        ("head", r"HOST:PORT is expected, e\.g\. 10\.0\.0\.1:6379, or auto"),
        ("127.0.0.1:1", r"no answer \(Connection refused\); start the head with `ray start --head`"),
    ],
)
def test_an_address_that_cannot_work_is_refused_before_anything_starts(address: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        check_address(address)


def test_a_workers_share_of_memory_is_that_of_the_fullest_node() -> None:
    nodes = [{"CPU": 4.0, "memory": 8e9}, {"CPU": 16.0, "memory": 16e9}, {"memory": 1e9}]
    assert memory_share(nodes, ResourcesSection(), max_concurrent=20) == 1000
    assert memory_share(nodes, ResourcesSection(), max_concurrent=2) == 4000
    assert memory_share(nodes, ResourcesSection(cpus_per_trial=8), max_concurrent=2) == 8000
    assert memory_share(nodes, ResourcesSection(memory_mb=123.0), max_concurrent=2) == 123
    assert memory_share([], ResourcesSection(), max_concurrent=1) == math.inf
