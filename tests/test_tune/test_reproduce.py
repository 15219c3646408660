"""`seti-tune retrain`: a trial is repeated from its receipt, without Ray, and the answer is right."""

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import run_here
from processes import search

from results.errors import RecordError
from results.findings import Findings
from results.log.recorder import EventLog
from results.log.records import Epoch, FinalsDecided
from results.log.state import load_run
from results.receipt import read_receipt
from results.run_folder import LOG_NAME, receipt_path
from results.study import DataSection
from results.tables.leaderboard import rank_trials
from seti_model.data.dataset import Dataset
from seti_model.data.simulator import simulate_dataset
from seti_model.errors import DatasetError
from tune.cli.main import main
from tune.errors import StudyError
from tune.reproduce import find_source, open_data, retrain, setting_here
from tune.study import load_study

COUNTS = {"train": 96, "validation": 40, "test": 8}
SPACE = """
name = "rate"
description = "The rate alone."
[parameters."training.learning_rate"]
type = "float"
low = 0.0005
high = 0.01
log = true
reason = "The only one."
"""
STUDY = """
[study]
name = "net"
space = "rate.toml"
trials = 2
max_epochs = 2
[data]
simulate = "wide"
train = 96
validation = 40
test = 8
[resources]
max_concurrent = 2
[finals]
enabled = false
[fixed]
"network.filters_1" = 4
"network.filters_2" = 8
"network.kernel" = 3
"network.dense_units" = 8
"""
WITHOUT_RAY = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ray", "optuna"):
            raise AssertionError(name + " was imported")
sys.meta_path.insert(0, Blocker())
from tune.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a search of the course network by two workers, moved after it ended: the original is gone."""
    folder = tmp_path_factory.mktemp("net")
    (folder / "rate.toml").write_text(SPACE)
    (folder / "net.toml").write_text(STUDY)
    done = search(folder / "net.toml", folder / "original", timeout=300)
    assert done.returncode == 0, done.stderr
    (folder / "rate.toml").unlink()
    (folder / "net.toml").unlink()
    return Path(shutil.move(folder / "original", folder / "copy"))


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Path:
    """A copy of that run which a test may spoil."""
    return Path(shutil.copytree(searched, tmp_path / "run"))


def test_a_search_without_finals_shows_its_best_trial_on_the_validation_images(searched: Path) -> None:
    found = Findings.read(searched)
    best = found.ranked[0]
    assert found.best is not None
    assert best.best is not None
    assert found.best.trial == best.started.trial
    assert found.best.predictions.correct.mean() == best.best.validation_accuracy
    text = (searched / "report.md").read_text()
    assert "## The best trial on the validation images" in text
    for name in ("curves_best.png", "classes_best.png", "validation_errors.png"):
        assert f"](best/{name})" in text
        assert (searched / "best" / name).is_file()
    page = (searched / "report.html").read_text()
    for name in ("plot-roc-best", "plot-precision-best", "plot-classes-best", "validation image"):
        assert name in page


def in_fresh_process(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_RAY, "retrain", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=cwd)


def answer(out: Path) -> Any:
    return json.loads((out / "answer.json").read_text())["answer"]


def edit(path: Path, change: Callable[[Any], object]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_the_winner_of_two_workers_is_identical_in_a_fresh_process_without_ray(searched: Path, tmp_path: Path) -> None:
    winner = rank_trials(load_run(searched))[0][0]
    done = in_fresh_process(searched, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "\nidentical: the weights after epoch 2 and those of the best epoch are the same bit for bit\n" in done.stdout
    )
    assert re.search(r"epoch   1/2  validation accuracy (0\.\d{4})  recorded \1 \(the same\)  \d", done.stdout)
    out = tmp_path / "runs" / f"retrain-net-{winner.started.trial}"
    assert {"answer.json", "receipt.json", "model.keras", "model.json", "checkpoints"} <= {
        p.name for p in out.iterdir()
    }
    assert winner.last is not None
    assert json.loads((out / "model.json").read_text())["weights_digest"] == winner.last.best_weights_digest
    assert read_receipt(out / "receipt.json") == read_receipt(receipt_path(searched, *winner.started.key))
    assert answer(out)["differences"] == []


def test_another_number_of_threads_differs_because_of_the_threads(searched: Path, tmp_path: Path) -> None:
    done = in_fresh_process(searched, "--trial", "0", "--threads", "2", "--out", "two", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "different from the recorded trial: threads: 1 then, 2 now\nepoch" in done.stdout
    assert "\ndiffers, because threads: 1 then, 2 now\nBest validation accuracy 0." in done.stdout
    assert "cannot be said: its completed retrainings in the finals are 0, at least 2 are needed" in done.stdout


def test_an_edited_version_is_named_whether_or_not_the_weights_are_the_same(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The receipt of another machine: in truth its weights would be others too."""
    receipt = receipt_path(run, 1, None)
    edit(receipt, lambda v: v["environments"][0]["versions"].update(tensorflow="2.20.0"))
    assert main(["retrain", str(run), "--trial", "1", "--out", str(tmp_path / "a")]) == 0
    named = "tensorflow: 2.20.0 then, 2.21.0 now; environments are others in the receipt than in the log"
    assert f"bit for bit; although {named}\n" in capsys.readouterr().out
    edit(receipt, lambda v: v.update(weights_digest="0" * 64))
    assert main(["retrain", str(receipt), "--out", str(tmp_path / "b")]) == 2
    assert f"\ndiffers, because {named}; weights_digest is 000000000000… in the receipt, " in capsys.readouterr().out


def test_other_data_is_said_before_training_and_differs_because_of_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = simulate_dataset(tmp_path / "other", "wide", COUNTS, 2).digest
    arguments = ["retrain", str(run), "--trial", "0", "--data", str(tmp_path / "other"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    recorded = load_run(run).started
    assert recorded is not None
    named = f"data: {(recorded.data_digest or '')[:12]}… then, {digest[:12]}… now"
    printed = capsys.readouterr().out
    assert printed.index(f"different from the recorded trial: {named}\n") < printed.index("epoch   1/2")
    assert f"\ndiffers, because {named}\n" in printed
    assert "within tolerance cannot be said: its retrainings in the finals saw other data" in printed


def test_data_that_the_network_cannot_work_on_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    from seti_model.data.dataset import SplitData, write_dataset

    images = np.arange(64, dtype=np.uint8).reshape(8, 8, 1, 1)
    labels = np.array([0, 1] * 4, np.int8)
    splits = {"train": SplitData(images[:4], labels[:4]), "validation": SplitData(images[4:], labels[4:])}
    write_dataset(tmp_path / "tiny", splits, ["a", "b"], {})
    assert main(["retrain", str(run), "--data", str(tmp_path / "tiny"), "--out", str(tmp_path / "out")]) == 2
    assert "network.blocks=2 halves the image 2 times and needs at least" in capsys.readouterr().err
    assert main(["retrain", str(run), "--out", str(tmp_path / "out")]) == 0, "nothing had been trained there yet"


def test_missing_simulated_data_is_not_made_again_but_the_command_that_does_is_named(run: Path, tmp_path: Path) -> None:
    shutil.rmtree(run / "dataset")
    with pytest.raises(DatasetError) as refused:
        open_data(find_source(run), None)
    command = f"seti-tune data simulate {run}/dataset --preset wide --train 96 --validation 40 --test 8 --seed 1"
    assert str(refused.value) == (
        f"{run}/dataset: missing; make it again with `{command}`; its digest will be compared"
    )
    assert not (run / "dataset").exists()
    alone = shutil.copy(receipt_path(run, 0, None), tmp_path / "alone.json")
    with pytest.raises(DatasetError, match=r"data simulate data/net .*--seed 1` and give it with --data data/net; its"):
        open_data(find_source(Path(alone)), None)
    assert main(command.split()[1:]) == 0
    dataset = open_data(find_source(Path(alone)), run / "dataset")
    assert dataset is not None
    assert dataset.digest == find_source(run).receipt.data_digest


def test_data_that_was_changed_on_the_disk_is_refused(run: Path) -> None:
    import numpy as np

    labels = np.load(run / "dataset" / "train_labels.npy")
    np.save(run / "dataset" / "train_labels.npy", labels[::-1])
    with pytest.raises(DatasetError, match="its files were changed"):
        open_data(find_source(run), None)


class Interrupt:
    """Ctrl-C after as many epochs; knows which epochs were shown."""

    def __init__(self, after: int | None = None) -> None:
        self.after, self.epochs = after, list[int]()

    def __call__(self, report: Epoch) -> None:
        self.epochs.append(report.epoch)
        if len(self.epochs) == self.after:
            raise KeyboardInterrupt


def test_an_interrupted_retraining_of_the_network_goes_on_from_its_checkpoint(searched: Path, tmp_path: Path) -> None:
    source = find_source(searched)
    dataset = open_data(source, None)
    assert dataset is not None
    setting, data = setting_here(source, dataset), dataset.training_data()
    with pytest.raises(KeyboardInterrupt):
        retrain(source, setting, data, tmp_path / "out", show=Interrupt(1))
    again = Interrupt()
    assert retrain(source, setting, data, tmp_path / "out", show=again).word == "identical"
    assert again.epochs == [2]
    assert [p.name for p in (tmp_path / "out" / "checkpoints" / "0000").iterdir()] == ["1"], (
        "an old checkpoint was left"
    )
    once_more = Interrupt()
    assert retrain(source, setting, data, tmp_path / "out", show=once_more).word == "identical"
    assert once_more.epochs == []


def test_a_trial_that_started_from_an_earlier_model_is_repeated_with_the_runs_copy_of_it(
    searched: Path, tmp_path: Path
) -> None:
    assert main(["retrain", str(searched), "--out", str(tmp_path / "earlier")]) == 0
    (tmp_path / "rate.toml").write_text(SPACE)
    text = STUDY.replace("trials = 2", 'trials = 1\ninit_from = "earlier/model.keras"')
    (tmp_path / "from.toml").write_text(text.replace('simulate = "wide"', f'path = "{searched / "dataset"}"'))
    dataset = Dataset.open(searched / "dataset")
    run_here(load_study(tmp_path / "from.toml"), tmp_path / "run")
    shutil.rmtree(tmp_path / "earlier")
    source = find_source(tmp_path / "run")
    assert source.receipt.init_digest is not None
    setting = setting_here(source, dataset)
    found = retrain(source, setting, dataset.training_data(), tmp_path / "out")
    assert (found.word, found.differences) == ("identical", ())


# With the trainable of milliseconds ----------------------------------------------------------------------------


@pytest.fixture
def quick(quick_study: Callable[..., Path], tmp_path: Path) -> Path:
    run_here(load_study(quick_study(trials=9)), tmp_path / "quick")
    return tmp_path / "quick"


def again(place: Path, out: Path, *, show: Callable[[Epoch], None] = lambda epoch: None, **chosen: Any) -> Any:
    source = find_source(place, **chosen)
    return retrain(source, setting_here(source, None), None, out, show=show)


def test_a_trial_stopped_by_asha_is_repeated_to_the_epoch_where_it_was_stopped(quick: Path, tmp_path: Path) -> None:
    stopped = next(t for t in load_run(quick).search_trials() if t.status == "stopped")
    shown = Interrupt()
    found = again(quick, tmp_path / "out", trial=str(stopped.started.trial), show=shown)
    assert (found.word, found.exit_code) == ("identical", 0)
    assert shown.epochs == list(range(1, len(stopped.epochs) + 1))
    assert len(shown.epochs) < stopped.started.max_epochs


def test_the_best_is_rank_1_and_a_retraining_of_the_finals_is_chosen_by_its_number(quick: Path, tmp_path: Path) -> None:
    state = load_run(quick)
    assert find_source(quick).receipt.key == rank_trials(state)[0][0].started.key
    assert find_source(quick, trial="best").receipt == find_source(quick).receipt
    retraining = state.final_trials()[0].started
    source = find_source(quick, trial=str(retraining.trial), repeat=0)
    assert (source.receipt.seed, source.receipt.repeat) == (retraining.seed, 0)
    assert again(quick, tmp_path / "out", trial=str(retraining.trial), repeat=0).word == "identical"


def test_the_best_is_what_the_finals_delivered_once_they_have_decided(quick: Path) -> None:
    third = rank_trials(load_run(quick))[0][2].started.trial
    with EventLog(quick) as log:
        log.append(FinalsDecided(finalists=(third,), seeds=3, search_trials=9, winner=third, delivered=2))
    assert find_source(quick).receipt.key == (third, 2)
    assert find_source(quick, trial="best", repeat=1).receipt.key == (third, 1)


def test_a_run_without_receipts_and_a_receipt_without_its_run_are_enough(quick: Path, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere" / "alone" / "0000.json"
    alone.parent.mkdir(parents=True)
    shutil.copy(receipt_path(quick, 0, None), alone)
    assert again(alone, tmp_path / "a").word == "identical"
    shutil.rmtree(quick / "receipts")
    assert again(quick, tmp_path / "b", trial="0").word == "identical"
    edit(alone, lambda v: v.update(seed=1))
    found = again(alone, tmp_path / "c")
    assert (found.word, found.exit_code) == ("differs", 1), "from the receipt alone nothing shows what was edited"
    assert "the run with its finals is not here" in found.text


def test_a_trainable_without_digests_is_compared_by_its_accuracies(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    study = quick_study(trials=1, extra="[finals]\nenabled = false\n")
    module = study.with_name("plain_trainable.py")
    module.write_text(
        "from tune.trainable import EpochReport\n"
        "def train(task, data, on_epoch):\n"
        "    for epoch in range(1, task.max_epochs + 1):\n"
        "        if on_epoch(EpochReport(epoch, (task.seed % 997) / 1000 / epoch)):\n"
        "            return\n"
    )
    study.write_text(study.read_text().replace("quick_trainable:train", "plain_trainable:train"))
    run_here(load_study(study), tmp_path / "run")
    found = again(tmp_path / "run", tmp_path / "out")
    assert found.text == "identical: the validation accuracies of all 9 epochs are the same; no weights are recorded"
    edit(receipt_path(tmp_path / "run", 0, None), lambda v: v.update(seed=v["seed"] + 1))
    other = again(tmp_path / "run", tmp_path / "other", trial="0")
    assert (other.word, other.exit_code) == ("differs", 2)
    assert re.match(r"differs, because seed is \d+ in the receipt, \d+ in the log\n", other.text)


def test_an_interrupted_retraining_goes_on_and_begins_again_where_its_checkpoint_is_damaged(
    quick: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for after in (3, 2):
        with pytest.raises(KeyboardInterrupt):
            again(quick, out, show=Interrupt(after))
    rest = Interrupt(1)
    with pytest.raises(KeyboardInterrupt):
        again(quick, out, show=rest)
    assert rest.epochs == [6]
    for file in out.glob("checkpoints/*/*/*/state.json"):
        file.write_text("{")
    whole = Interrupt()
    assert again(quick, out, show=whole).word == "identical"
    assert whole.epochs == list(range(1, 10))


def test_within_the_spread_of_the_finals_is_within_tolerance(
    quick: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = rank_trials(load_run(quick))[0][0]
    edit(receipt_path(quick, *best.started.key), lambda v: v.update(seed=v["seed"] + 1))
    assert main(["retrain", str(quick), "--out", str(tmp_path / "out")]) == 0
    assert re.search(
        r"\nwithin tolerance; different: seed is \d+ in the receipt, \d+ in the log\n"
        r"Best validation accuracy 0\.\d+, recorded 0\.\d+; 95 % of retrainings are expected in \d\.\d+\.\.\d\.\d+\n",
        capsys.readouterr().out,
    )


def test_ctrl_c_names_the_command_that_goes_on(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    run_here(load_study(quick_study(trials=1, sleep=0.05)), tmp_path / "run")
    command = [sys.executable, "-m", "tune.cli.main", "retrain", "run", "--trial", "0", "--out", "my out"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("epoch   2"):
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert "interrupted; continue with: seti-tune retrain run --trial 0 --out 'my out'\n" in out
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "epoch   1/9" not in done.stdout
    assert "\nidentical: " in done.stdout


def test_a_retraining_that_diverges_or_ends_early_differs_and_says_so(quick: Path, tmp_path: Path) -> None:
    receipt = receipt_path(quick, 0, None)
    edit(receipt, lambda v: v["configuration"].update(diverges_above=0.1))
    found = again(quick, tmp_path / "out", trial="0")
    assert (found.word, found.exit_code) == ("differs", 2)
    assert "because diverges_above is 0.1 in the receipt, None in the log\n" in found.text
    assert re.search(
        r"Best validation accuracy none, recorded 0\.\d+, it diverged: loss is nan in epoch 1;", found.text
    )
    edit(receipt, lambda v: v["configuration"].update(diverges_above=2.0, raises_above=0.1))
    with pytest.raises(
        StudyError, match=r"'quick_trainable:train': ValueError: cannot train x = 0\.900 after epoch 0; corr"
    ):
        again(quick, tmp_path / "raises", trial="0")


def test_a_folder_with_something_else_is_left_alone(quick: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="quick: holds a search; name another folder with --out"):
        again(quick, quick)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        again(quick, out, trial="0", show=Interrupt(1))
    with pytest.raises(StudyError, match="out: holds the retraining of another receipt; name another folder"):
        again(quick, out, trial="1")
    source = find_source(quick, trial="0")
    with pytest.raises(StudyError, match="out: was begun with other threads; name another folder with --out"):
        retrain(source, dataclasses.replace(setting_here(source, None), threads=2), None, out)
    with (out / LOG_NAME).open("ab") as log:
        log.write(b"{\n")
    with pytest.raises(RecordError, match=r"events\.jsonl, line \d+: damaged: not JSON"):
        again(quick, out, trial="0")


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"trial": "first"}, "--trial first: the number of a trial is expected, or best"),
        ({"trial": "7" * 4400}, r"--trial 7{40}: the number of a trial is expected, or best"),
        ({"trial": "99"}, "quick: trial 99 is not in the log; see `seti-tune leaderboard`"),
        ({"trial": "0", "repeat": 7}, "quick: trial 0, seed index 7 is not in the log"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(quick: Path, chosen: dict[str, Any], message: str) -> None:
    with pytest.raises((StudyError, RecordError), match=message):
        find_source(quick, **chosen)
    receipt = receipt_path(quick, 0, None)
    with pytest.raises(StudyError, match=r"0000\.json: is the receipt of one trial; leave --trial and --repeat out"):
        find_source(receipt, **chosen)


def test_receipts_that_cannot_be_repeated_are_refused(quick: Path, tmp_path: Path) -> None:
    receipt = receipt_path(quick, 0, None)
    source = find_source(quick, trial="0")
    with pytest.raises(StudyError, match="--data somewhere: the study has no data set; leave --data out"):
        open_data(source, Path("somewhere"))
    with pytest.raises(StudyError, match="--threads 0: 1 to 1024 are expected; leave it out"):
        setting_here(source, None, 0)
    shutil.copy(receipt, receipt_path(quick, 1, None))
    with pytest.raises(RecordError, match=r"0001\.json: is the receipt of trial 0; delete it, the log has the right"):
        find_source(quick, trial="1")
    edit(receipt, lambda v: v.update(init_digest="f" * 64))
    with pytest.raises(StudyError, match=r"init_from/model\.keras: the initial weights are missing; retrain from the"):
        setting_here(find_source(quick, trial="0"), None)
    edit(receipt, lambda v: v.update(init_digest=None, epochs=0, status="failed"))
    with pytest.raises(
        StudyError, match="trial 0 of study quick: it was failed before its first epoch; choose another"
    ):
        find_source(quick, trial="0")
    with pytest.raises(RecordError, match=r"nowhere: no run folder"):
        find_source(tmp_path / "nowhere")


def test_a_run_of_which_nothing_is_completed_has_no_best(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    run_here(load_study(quick_study(trials=1, diverges_above=0.1)), tmp_path / "run")
    with pytest.raises(StudyError, match="run: no trial is completed, so none is the best; choose one with --trial N"):
        find_source(tmp_path / "run")


def test_a_moved_data_set_is_asked_for(quick: Path, tmp_path: Path) -> None:
    source = find_source(quick, trial="0")
    receipt = dataclasses.replace(source.receipt, data=DataSection(path="data"), data_digest="d" * 64)
    with pytest.raises(
        DatasetError, match=r"/data: missing; put it back, or say where it is now with --data PATH; its"
    ):
        open_data(dataclasses.replace(source, receipt=receipt), None)
