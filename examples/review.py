"""Review a run in Python, without Ray and Keras: `python examples/review.py runs/quickstart review.png`.

Prints how the search went, which parameters the objective follows and what the delivered model confuses; the picture
shows the objective against each parameter. Works while the search runs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

import results
from results.predictions import Predictions


def main(folder: str, picture: str = "review.png") -> None:
    """Print a review of the run in `folder` and draw its `picture`."""
    run = results.load(folder)
    board = run.leaderboard
    print(f"{run.name}: {', '.join(f'{n} {status}' for status, n in board['status'].value_counts().items())}")
    print(
        board[["rank", "trial", "objective", "objective_low", "objective_high", "tied"]].head(5).to_string(index=False)
    )

    numbers = numeric_parameters(board)
    table = numbers.assign(objective=board["objective"].astype("float64"))
    follows = table.corr(method="spearman")["objective"].drop("objective").dropna()
    if len(follows):
        print("\nRank correlation of the objective with each parameter, over all trials:")
        print(follows.sort_values(key=abs, ascending=False).round(2).to_string())

    last = run.epochs.dropna(subset=["train_accuracy"]).groupby("trial").tail(1)
    gap = (last["train_accuracy"] - last["validation_accuracy"]).median()
    print(f"\nMedian gap between training and validation accuracy at the last epoch: {gap:+.3f}")
    if run.finals is not None:
        best = run.finals.standings[0]
        print(f"Winner of the finals: trial {best.trial}, {best.mean:.4f} on validation")
        if run.finals.evaluated:
            print_confusions(run.predictions())
    draw(board, numbers, Path(picture))


def numeric_parameters(board: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of the leaderboard that are parameters with numbers for values."""
    first, last = board.columns.get_loc("epochs"), board.columns.get_loc("model_parameters")
    values = board.iloc[:, first + 1 : last].apply(pd.to_numeric, errors="coerce").astype("float64")
    return values.loc[:, values.nunique() > 1]


def print_confusions(predictions: Predictions) -> None:
    """Print the share of each true class that the delivered model took for each class of the test split."""
    names = list(predictions.class_names)
    true = pd.Categorical.from_codes(predictions.y_true, names)
    said = pd.Categorical.from_codes(predictions.y_prob.argmax(axis=1), names)
    print("\nDelivered model on the test split, rows are true classes:")
    print(pd.crosstab(true, said, rownames=["is"], colnames=["taken for"], normalize="index").round(2).to_string())


def draw(board: pd.DataFrame, numbers: pd.DataFrame, picture: Path) -> None:
    """Draw the objective against each parameter, trials that were not completed hollow."""
    figure, panels = plt.subplots(
        1, max(1, numbers.shape[1]), figsize=(3 * max(1, numbers.shape[1]), 3), sharey=True, squeeze=False
    )
    completed = board["status"] == "completed"
    for panel, name in zip(panels[0], numbers, strict=False):
        for chosen, face in ((completed, "tab:blue"), (~completed, "none")):
            panel.scatter(numbers.loc[chosen, name], board.loc[chosen, "objective"].astype("float64"),
                          facecolors=face, edgecolors="tab:blue")  # fmt: skip
        panel.set_xlabel(name)
    panels[0][0].set_ylabel("objective")
    figure.tight_layout()
    figure.savefig(picture)
    plt.close(figure)


if __name__ == "__main__":
    main(*sys.argv[1:])
