"""The comparison with stock software: what it counts, what it computes from its records, and that each way runs."""

import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.search import __main__ as bench
from benchmarks.search import measures, record, spent, tables
from benchmarks.search.job import ROOT, Job
from benchmarks.search.setting import DATA, SETTINGS, first_parameters, space
from benchmarks.search.ways import OURS, RANDOM, WAYS, judge
from search_spaces.space import load_space
from seti_model.config import Configuration
from seti_model.data.dataset import Dataset
from seti_model.data.simulator import simulate

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"


def searched(way: str, seed: int, accuracies: list[float], each_s: float) -> record.Searched:
    """A search whose epochs each take so many processor seconds and half as many by the clock."""
    epochs = [
        record.Epoch(0, n, value, n * each_s / 2, n * each_s, images=640) for n, value in enumerate(accuracies, start=1)
    ]
    return record.Searched(
        way=way,
        seed=seed,
        setting=dataclasses.asdict(SETTINGS["quick"]),
        machine={"cores": 2, "processor": "x86_64", "instruction_sets": ["avx2"], "memory_gb": 8},
        versions={},
        load_before=0.5,
        wall_s=epochs[-1].wall_s + 1,
        cpu_s=epochs[-1].cpu_s + 2,
        winner=record.Winner(0, max(accuracies), 0.5),
        epochs=tuple(epochs),
    )


# What is counted


def test_processor_time_of_children_that_have_ended_and_of_orphans_is_counted(tmp_path: Path) -> None:
    burn = BURN.format(seconds=0.8)
    orphan = f"{burn}\nopen({str(tmp_path / 'done')!r}, 'w')"
    (tmp_path / "between.py").write_text(
        f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {orphan!r}], start_new_session=True)\n"
        "time.sleep(1.5)\n"
    )
    (tmp_path / "parent.py").write_text(
        f"import pathlib, subprocess, sys, time\nsubprocess.run([sys.executable, '-c', {burn!r}])\n"
        f"subprocess.run([sys.executable, {str(tmp_path / 'between.py')!r}])\n"
        f"while not pathlib.Path({str(tmp_path / 'done')!r}).exists(): time.sleep(0.1)\n"
    )
    used = spent.run([sys.executable, str(tmp_path / "parent.py")], tmp_path / "log", environment={})
    assert 1.2 < used.cpu_s[-1] < 2.6
    assert used.by(used.began) == 0.0
    assert used.by(used.at[-1] + 1) == used.cpu_s[-1]
    assert used.cpu_s == sorted(used.cpu_s)


def test_between_two_samples_processor_time_rises_evenly() -> None:
    used = spent.Spent(began=100.0, at=[101.0, 103.0], cpu_s=[1.0, 5.0])
    assert [used.by(moment) for moment in (100.5, 101.0, 102.0, 103.0, 110.0)] == [0.5, 1.0, 3.0, 5.0, 5.0]


def test_what_a_command_leaves_running_is_ended(tmp_path: Path) -> None:
    parent = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\ntime.sleep(1)\n"
    )
    spent.run([sys.executable, "-c", parent], tmp_path / "log", environment={})
    pid = int((tmp_path / "log").read_text())
    state = Path(f"/proc/{pid}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_a_command_that_fails_is_named_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(spent.CommandError, match=r"-c .* exit code 3 \(no luck\); .*log has all that it said"):
        spent.run([sys.executable, "-c", "import sys; print('no luck'); sys.exit(3)"], tmp_path / "log", environment={})


# What is computed


def test_the_target_is_what_random_search_ends_with() -> None:
    random = [searched(RANDOM, seed, [0.3, best, 0.2], 1.0) for seed, best in enumerate((0.7, 0.5, 0.9), start=1)]
    assert measures.target_of(random) == 0.7


def test_the_expected_time_counts_seeds_that_never_had_the_target_with_all_they_spent() -> None:
    had, never = searched("ray", 1, [0.4, 0.7, 0.8], 10.0), searched("ray", 2, [0.4, 0.5], 10.0)
    assert measures.cpu_to(had, 0.7) == (20.0, True)
    assert measures.wall_to(had, 0.7) == (10.0, True)
    assert measures.cpu_to(never, 0.7) == (22.0, False)
    assert measures.expected([had, never], 0.7, measures.cpu_to) == (42.0, True)
    assert measures.expected([had, never], 0.7, measures.epochs_to) == (4.0, True)
    assert measures.expected([never], 0.7, measures.cpu_to) == (22.0, False)


def test_a_ratio_is_of_common_seeds_and_bounded_below_where_the_other_never_had_the_target() -> None:
    ours = [searched(OURS, seed, [0.5, 0.8], 5.0) for seed in (1, 2, 3, 4)]
    slow = [searched("ray", seed, [0.1, 0.2, 0.3, 0.8], 10.0) for seed in (1, 2, 3)]
    found = measures.ratio(ours, slow, 0.8, measures.cpu_to)
    assert found == measures.Ratio(4.0, 4.0, 4.0, is_bound=False)
    never = [searched("ray", seed, [0.1, 0.2], 9.0) for seed in (1, 2, 3)]
    found = measures.ratio(ours, never, 0.8, measures.cpu_to)
    assert found == measures.Ratio(6.0, 6.0, None, is_bound=True)  # 3 x 20 s without success over 10 s
    assert measures.ratio(ours[:2], slow, 0.8, measures.cpu_to) == measures.Ratio(4.0, None, None, is_bound=False)
    assert measures.ratio(never, slow, 0.8, measures.cpu_to) is None
    assert measures.ratio(ours, [], 0.8, measures.cpu_to) is None


def test_an_interval_is_wide_where_seeds_differ() -> None:
    ours = [searched(OURS, seed, [0.8], 10.0) for seed in (1, 2, 3)]
    other = [searched("ray", seed, [0.1] * n + [0.8], 10.0) for seed, n in ((1, 0), (2, 3), (3, 7))]
    found = measures.ratio(ours, other, 0.8, measures.epochs_to)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.value == pytest.approx(13 / 3)
    assert 1.0 <= found.low < found.value < found.high <= 8.0


def test_the_table_and_the_picture_are_made_of_records_alone(tmp_path: Path) -> None:
    some = [
        searched(OURS, 1, [0.5, 0.75], 5.0),
        searched("ray", 1, [0.25, 0.25, 0.25], 8.0),
        searched(RANDOM, 1, [0.5, 0.5, 0.5, 0.75], 5.0),
    ]
    for one in some:
        record.write(tmp_path, one)
    assert record.read(tmp_path) == tuple(sorted(some, key=lambda one: one.way))
    bench.conclude(tmp_path)
    text = (tmp_path / bench.TABLE).read_text()
    assert "Target: 0.7500 of the 48 validation images" in text
    assert "2 cores (x86_64: avx2), 8 GB" in text
    assert "| Ray Tune, OptunaSearch, ASHA, Keras | 0 of 1 | > 26 | > 13 | > 3 | > 2.60x |" in text
    assert "| random search with our trainer, nothing stopped | 1 of 1 | 20 | 10 | 4 | 2.00x | 2.00x | 2.00x |" in text
    assert (tmp_path / bench.PICTURE).stat().st_size > 10_000
    assert "full" not in text
    record.write(tmp_path, searched("ours-full", 1, [0.5, 0.9], 5.0))
    bench.conclude(tmp_path)
    assert "The same at 0.6875, a standard error" in text  # sqrt(0.75 * 0.25 / 48) is 0.0625
    first, second = (tmp_path / bench.TABLE).read_text().split("Another space")
    assert "preparation and families" not in first
    assert "| seti-tune, space with preparation and families | 1 of 1 |" in second


def test_without_a_random_search_there_is_no_target_and_no_table() -> None:
    assert tables.table([searched(OURS, 1, [0.5], 1.0)]).startswith("No table yet: it needs")


@pytest.mark.parametrize("setting", ["quickstart", "wide"])
def test_the_committed_table_and_the_page_are_what_the_committed_records_say(setting: str) -> None:
    results = bench.RESULTS / setting
    text = tables.table(record.read(results))
    assert (results / bench.TABLE).read_text() == f"{text}\n", "run: python -m benchmarks.search --only-tables"
    assert text in (ROOT / "docs" / "search-benchmark.md").read_text()


def test_the_readme_holds_the_short_table_of_the_committed_records() -> None:
    assert tables.short(record.read(bench.RESULTS / "quickstart")) in (ROOT / "README.md").read_text()


def test_the_short_table_has_both_targets_and_no_ratio_of_ours() -> None:
    some = [
        searched(OURS, 1, [0.5, 0.75], 5.0),
        searched("ray", 1, [0.25, 0.25, 0.25], 8.0),
        searched(RANDOM, 1, [0.5, 0.5, 0.5, 0.75], 5.0),
    ]
    head, _, ours, ray, random = tables.short(some).splitlines()
    assert "| processor s until 0.7500 | ours is faster | processor s until 0.6875 | ours is faster |" in head
    assert ours == "| seti-tune | 0.750 | 0.500 | 10 |  | 10 |  |"
    assert ray.endswith("| 0.250 | 0.500 | > 26 | > 2.60x | > 26 | > 2.60x |")
    assert random.endswith("| 0.750 | 0.500 | 20 | 2.00x | 20 | 2.00x |")


# What is compared


def test_a_second_call_does_only_what_is_missing(tmp_path: Path) -> None:
    names = [OURS, "ray"]
    assert [(way.name, seed) for way, seed in bench.missing(tmp_path, names, 2)] == [
        (OURS, 1),
        ("ray", 1),
        ("ray", 2),
        (OURS, 2),
    ]
    record.write(tmp_path, searched("ray", 1, [0.5], 1.0))
    (tmp_path / "ours-1.part").write_text("of a call that was interrupted")
    assert [(way.name, seed) for way, seed in bench.missing(tmp_path, names, 1)] == [(OURS, 1)]


def test_of_wide_there_are_the_ways_that_differ_there_and_others_are_refused() -> None:
    assert bench.ways_of(SETTINGS["wide"]) == [OURS, "ray", "optuna", RANDOM]
    assert bench.ways_of(SETTINGS["quick"]) == list(WAYS)
    with pytest.raises(SystemExit, match=r"^--ways ours-full: not in the setting wide; choose from ours, ray, optuna,"):
        bench.main(["--setting", "wide", "--ways", OURS, "ours-full"])


def test_the_space_is_what_quickstart_varies_of_the_course_network() -> None:
    whole = {parameter.name: parameter for parameter in load_space("quickstart").parameters}
    setting = SETTINGS["quickstart"]
    for parameter in space(setting).parameters:
        of_quickstart = whole.pop(parameter.name).to_mapping()
        mine = parameter.to_mapping()
        for values in (of_quickstart, mine):
            values.pop("when", None)
            values.pop("reason")
        assert mine == of_quickstart
    left = {name for name in whole if not name.startswith(("small.", "drift."))}
    assert left == {"network.family", "prepare.steps", "network.standardise"}
    assert space(setting).restrict(Configuration().to_mapping()) == first_parameters(setting)


def test_the_stock_network_has_the_layers_of_ours() -> None:
    from seti_model.runtime import prepare_process

    prepare_process(1)
    from benchmarks.search import stock_network
    from seti_model.network import PixelScale, build_network

    setting = SETTINGS["quick"]
    values = first_parameters(setting) | {"network.filters_1": 8, "network.filters_2": 16}
    ours = build_network(
        Configuration.from_mapping(values | setting.fixed),
        (64, 128, 1),
        4,
        seed=1,
        pixels=PixelScale(),
    )
    data = {"train_images": np.zeros((3, 64, 128, 1), np.uint8), "train_labels": np.zeros(3, np.int8)}
    stock = stock_network.build(values | setting.fixed, data, epochs=2, momentum=0.99, seed=1)
    assert [type(layer) for layer in stock.layers] == [type(layer) for layer in ours.layers][
        :-1
    ]  # its softmax is apart
    assert stock.count_params() == ours.count_params()
    for mine, theirs in zip(ours.layers, stock.layers, strict=False):
        for name in ("rate", "momentum", "epsilon", "kernel_size", "filters", "scale"):
            assert getattr(mine, name, None) == getattr(theirs, name, None)
    rate = stock.optimizer._learning_rate
    assert (rate.initial_learning_rate, rate.decay_rate, rate.decay_steps, rate.staircase) == (0.005, 0.96, 5, True)


@pytest.mark.parametrize("family", ["small", "drift"])
def test_stock_software_trains_the_fast_families_by_the_point_it_is_given(family: str) -> None:
    from seti_model.runtime import prepare_process

    prepare_process(1)
    import keras

    from benchmarks.search import stock_network
    from benchmarks.search.stock import prepared

    setting = dataclasses.replace(SETTINGS["wide"], first={"network.family": family})
    values = first_parameters(setting) | {"training.schedule": "cosine", "training.clip_norm": 1.0}
    values |= {"training.batch_size": 16, "augment.flip_time": True}
    values.pop("training.decay_rate", None)
    point = setting.fixed | values
    images, labels = simulate("wide", 48, 1).images, np.arange(48) % 4
    data = {"train_images": images, "validation_images": images, "train_labels": labels, "validation_labels": labels}
    data = prepared(data, setting)[family]
    assert data["train_images"].shape[1:] == (64, 25, {"small": 1, "drift": 2}[family])
    keras.utils.set_random_seed(1)
    network = stock_network.build(point, data, epochs=12, momentum=0.99, seed=1)
    norms = [one for one in network._flatten_layers() if isinstance(one, keras.layers.BatchNormalization)]
    assert {one.momentum for one in norms} == {0.9}, "the graph's own was not kept"
    assert network.optimizer.global_clipnorm == 1.0
    assert network.optimizer._learning_rate.decay_steps == 12 * 3
    done = stock_network.fit(network, data, 1, [], point)
    assert network.optimizer.iterations.numpy() == 3
    assert 0 <= done.history["val_accuracy"][0] <= 1


def test_optuna_alone_trains_reports_and_delivers(tmp_path: Path) -> None:
    job = Job(WAYS["optuna"], 3, SETTINGS["tiny"], tmp_path)
    used = job.run()
    done = job.recorded(used, record.Winner(**judge(job.folder, job.way, job.setting)), load=0.0)
    assert (done.way, done.seed, len(done.epochs)) == ("optuna", 3, 1)
    [epoch] = done.epochs
    assert (epoch.trial, epoch.epoch, epoch.images) == (0, 1, 32)
    assert epoch.validation_accuracy == done.winner.validation_accuracy
    assert done.winner.validation_accuracy * 16 % 1 == 0
    assert done.winner.test_accuracy * 16 % 1 == 0
    assert 0 < epoch.cpu_s <= done.cpu_s
    assert 0 < epoch.wall_s <= done.wall_s
    assert done.machine["cores"] >= 1
    assert Dataset.open(tmp_path / "tiny" / DATA).splits == ("train", "validation")
    record.write(tmp_path / "out", done)
    assert record.read(tmp_path / "out") == (done,)


def test_a_winner_that_cannot_be_judged_is_named(tmp_path: Path) -> None:
    with pytest.raises(spent.CommandError, match=r"ray-1 ray tiny: exit code 1; it said:\n[\s\S]*No such file"):
        Job(WAYS["ray"], 1, SETTINGS["tiny"], tmp_path).winner()


def test_a_call_that_is_told_to_end_ends_what_it_runs_and_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.search", "--quick", "--ways", "optuna", "--work", str(tmp_path)]
    call = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "quick" / "optuna-1" / "journal.log"
    while not journal.exists():
        assert call.poll() is None
        time.sleep(0.05)
    started = psutil.Process(call.pid).children(recursive=True)
    call.terminate()
    _, said = call.communicate(timeout=60)
    assert (call.returncode, said) == (1, "interrupted; finished searches are kept, the same command goes on\n")
    assert started
    assert not [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert list((tmp_path / "records").rglob("*.json")) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_ways_run_and_a_second_call_searches_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.search", "--quick", "--out", tmp_path / "out", "--work", tmp_path]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert first.stdout.count(", seed 1: ") == len(WAYS)
    records = record.read(tmp_path / "out" / "quick")
    assert {one.way for one in records} == set(WAYS)
    for one in records:
        assert {epoch.trial for epoch in one.epochs} == {0, 1, 2}
        assert max(epoch.epoch for epoch in one.epochs) == SETTINGS["quick"].max_epochs
        assert one.epochs[-1].cpu_s <= one.cpu_s
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ", seed 1: " not in second.stdout
    assert "| seti-tune |" in second.stdout
