"""What lies in a run folder and where: every path that a run is written to or read from."""

from __future__ import annotations

from pathlib import Path

# The record, and what a search was given.
LOG_NAME = "events.jsonl"
SOURCE = "study.toml"
STUDY_FILES = "study"  # copies of the study file, its space and its modules, where a search was told to keep them
DATASET = "dataset"  # where it was simulated
INITIAL_MODEL = "init_from/model.keras"  # a copy of the one that every trial starts from
CHECKPOINTS = "checkpoints"
PREPARED = "prepared"  # images as the configurations of trials prepare them; made again where it is gone
RECEIPTS = "receipts"

# Derived from it.
LEADERBOARD, EPOCHS = "leaderboard.csv", "epochs.csv"
REPORT, HTML_REPORT = "report.md", "report.html"
SEARCH_PICTURE = "search.png"
IMPORTANCE = "importance.json"
EXPORTS = "exports"

# Of the finals: the model that is handed on, and what it said of the test split.
FINAL = "final"
MODEL, DESCRIPTION = f"{FINAL}/model.keras", f"{FINAL}/model.json"
SAVED_MODEL = f"{FINAL}/saved_model"
MODEL_CARD, MODEL_RECEIPT = f"{FINAL}/model_card.md", f"{FINAL}/receipt.json"
TEST_PREDICTIONS = f"{FINAL}/test_predictions.parquet"
VALIDATION_PREDICTIONS = f"{FINAL}/validation_predictions.parquet"
EXAMPLES = f"{FINAL}/example_images.npz"
VALIDATION_ERRORS = f"{FINAL}/validation_errors.npz"
RECALL_TABLE = f"{FINAL}/recall.csv"

# Of a search without finals, and of a single training.
BEST = "best"

# Of a single training or a retraining.
HISTORY, CURVES, CLASS_REPORT, TRAINED_MODEL = "history.json", "curves.png", "report.txt", "model.keras"
RECEIPT, ANSWER = "receipt.json", "answer.json"
LONGEST_NAME = 200  # letters of what folders are called by
RAY_FOLDER = ".ray"  # while a search runs


def is_folder_name(name: str) -> bool:
    """Return whether a text can be the name of one folder, and be shown."""
    return 0 < len(name) <= LONGEST_NAME and name.isprintable() and name not in (".", "..") and "/" not in name


def trial_name(trial: int, repeat: int | None) -> str:
    """Return `0003`, or `0003-1` for its retraining of seed index 1: as files and folders of a trial are called."""
    return f"{trial:04d}" if repeat is None else f"{trial:04d}-{repeat}"


def checkpoint_folder(run: Path, trial: int, repeat: int | None) -> Path:
    """Return the folder below which all attempts of a trial write, each into one of its own."""
    return run / CHECKPOINTS / trial_name(trial, repeat)


def receipt_path(run: Path, trial: int, repeat: int | None) -> Path:
    """Return where a run keeps the receipt of a trial."""
    return run / RECEIPTS / f"{trial_name(trial, repeat)}.json"


def predictions_path(trial: int, repeat: int) -> str:
    """Return what a retraining said of the test split, relative to the run folder."""
    return f"{FINAL}/predictions/{trial_name(trial, repeat)}.parquet"


def best_predictions_path(trial: int) -> str:
    """Return what the best trial said of the validation split where there are no finals, relative to the run folder."""
    return f"{BEST}/{trial:04d}.parquet"


def best_errors_path(trial: int) -> str:
    """Return where its surest errors are, relative to the run folder."""
    return f"{BEST}/{trial:04d}_errors.npz"
