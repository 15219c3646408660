import math
from collections.abc import Callable
from pathlib import Path

import pytest

from results.log.recorder import Recorder
from results.run_folder import RAY_FOLDER
from results.study import ResourcesSection
from tune.errors import StudyError
from tune.ray_adapter.cluster import check_address, concurrency, memory_share
from tune.ray_adapter.nodes import Nodes
from tune.study import load_study


def test_as_many_trials_run_as_fit_or_as_the_study_allows() -> None:
    assert concurrency(ResourcesSection(cpus_per_trial=2), [{"CPU": 16.0}]) == 8
    assert concurrency(ResourcesSection(cpus_per_trial=2, max_concurrent=3), [{"CPU": 16.0}]) == 3
    assert concurrency(ResourcesSection(cpus_per_trial=1, gpus_per_trial=0.5), [{"CPU": 16.0, "GPU": 2.0}]) == 4


def test_what_fits_is_added_up_node_by_node_and_card_by_card() -> None:
    assert concurrency(ResourcesSection(cpus_per_trial=3), [{"CPU": 4.0}, {"CPU": 8.0}, {"memory": 1e9}]) == 3
    for share, most in ((0.6, 2), (0.5, 4), (0.1, 20), (0.3, 6), (1, 2), (2, 1)):
        assert concurrency(ResourcesSection(gpus_per_trial=share), [{"CPU": 99.0, "GPU": 2.0}]) == most
    assert concurrency(ResourcesSection(gpus_per_trial=2), [{"CPU": 9.0, "GPU": 3.0}, {"CPU": 9.0, "GPU": 1.0}]) == 1


def test_a_trial_that_does_not_fit_is_refused_with_what_there_is() -> None:
    with pytest.raises(StudyError, match="asks for 1 CPUs and 1 GPUs of one node, the largest has 16 and 0; "):
        concurrency(ResourcesSection(gpus_per_trial=1), [{"CPU": 16.0}])
    with pytest.raises(StudyError, match="asks for 3 CPUs and 0 GPUs of one node, the largest has 2 and 0; "):
        concurrency(ResourcesSection(cpus_per_trial=3), [{"CPU": 2.0}, {"CPU": 2.0}])
    with pytest.raises(StudyError, match="the largest has 0 and 0"):
        concurrency(ResourcesSection(), [])


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://head:10001", "the search must run inside the cluster to keep its record; submit it there with"),
        ("head", r"HOST:PORT is expected, or auto; for instance"),
        ("head:70000", r"HOST:PORT is expected, or auto; for instance"),
        ("head:\u00b2", r"HOST:PORT is expected, or auto; for instance"),
        ("head:" + "7" * 4400, r"HOST:PORT is expected, or auto; for instance"),
        ("h" * 70 + ":1", r"no answer \(.*; start the head with"),
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


def test_a_run_folder_that_cannot_take_a_file_is_one_line(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / RAY_FOLDER).mkdir()
    (tmp_path / RAY_FOLDER / "nodes").write_text("")
    with Recorder(tmp_path) as recorder:
        nodes = Nodes(load_study(quick_study()), tmp_path, recorder)
        with pytest.raises(StudyError, match=r"nodes: cannot be written \(File exists\); free some space"):
            nodes.look_first(lambda: None)
