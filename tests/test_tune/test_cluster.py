import pytest

from tune.cluster import check_address, concurrency
from tune.study import ResourcesSection, StudyError


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
        ("127.0.0.1:1", r"nobody answers \(Connection refused\); start the head with `ray start --head`"),
    ],
)
def test_an_address_that_cannot_work_is_refused_before_anything_starts(address: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        check_address(address)
