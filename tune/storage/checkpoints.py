"""Where the checkpoints of a run are: in its folder, or in a store to which its workers bring them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from results.files import inside, remove_inside
from results.run_folder import CHECKPOINTS
from tune.storage.store import store_at

STATE = "state.npz"  # of a checkpoint of our networks: what only continuing needs


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of the run in the folder `run`; without an address they lie in it. Paths are relative to it."""

    run: Path
    uri: str | None = None

    def exists(self, path: str) -> bool:
        """Return whether a checkpoint is still there.

        Raises:
            StorageError: The store does not answer.
            RecordError: A link leads to it.
        """
        return inside(self.run, path).exists() if self.uri is None else store_at(self.uri).exists(path)

    def here(self, path: str) -> Path:
        """Return where the weights of a checkpoint can be read, fetched if need be; nothing is there if they are gone.

        Raises:
            StorageError: The store does not answer.
        """
        place = inside(self.run, path)
        if self.uri is not None and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            store_at(self.uri).fetch(path, place, without=(STATE,))
        return place

    def drop_training_state(self, kept: Mapping[str, str]) -> None:
        """Delete what only continuing needs: checkpoints before the last, and the optimiser's state in that one.

        Only for our own networks, whose checkpoints have a known form. The best weights and the validation
        probabilities stay.

        Args:
            kept: The last checkpoint of each trial that has ended, by the folder of all its checkpoints.

        Raises:
            StorageError: The store does not answer.
        """
        if self.uri is not None:
            store = store_at(self.uri)
            stored = store.files(next(iter(kept)) if len(kept) == 1 else CHECKPOINTS)
            store.remove(*(key for key in stored if _is_superfluous(key, kept)))
            return
        for trial, last in kept.items():
            superfluous = [folder for folder in inside(self.run, trial).glob("*/*") if folder != self.run / last]
            for path in [*superfluous, self.run / last / STATE]:
                with contextlib.suppress(OSError):  # it takes space, it harms nothing else
                    remove_inside(self.run, path.relative_to(self.run))


def _is_superfluous(key: str, kept: Mapping[str, str]) -> bool:
    last = kept.get("/".join(key.split("/")[:2]))
    return last is not None and (not key.startswith(f"{last}/") or key == f"{last}/{STATE}")
