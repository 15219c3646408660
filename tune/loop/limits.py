"""Which networks a study does not train: those beyond its limits, known from what workers have measured."""

from __future__ import annotations

from collections.abc import Mapping

from results.log.records import NetworkMeasured
from results.log.state import RunState, TrialState
from results.schema import Value
from seti_model.config import Configuration
from tune.study import Study
from tune.trainable import Measure

MOST_OUTSIDE = 50  # configurations in a row; a space that holds hardly any other has no end


class Limits:
    """The limits of a study, compared with the networks in its log; a retraining has passed them."""

    def __init__(self, study: Study, state: RunState) -> None:
        self._study, self._state, self._limits = study, state, study.limits

    def shape(self, trial: TrialState) -> str:
        """Return the digest of what decides a trial's network; of a trainable of one's own that is the trial itself."""
        started = trial.started
        return started.shape or self.shape_of(started.configuration) or f"trial {started.trial}"

    def shape_of(self, configuration: Mapping[str, Value]) -> str | None:
        """Return the digest of what decides the network of a configuration; None where nothing is limited or known."""
        if not self._study.is_network or not self._limits.are_set:
            return None
        return Configuration.from_mapping(configuration).shape

    def measure(self, trial: TrialState) -> Measure:
        """Return what is to be measured before a trial begins: what is limited and not in the log."""
        if not self._limits.are_set or trial.started.repeat is not None:
            return Measure.NOTHING
        known = self._known(trial)
        if self._limits.latency_ms is not None and (known is None or known.latency_ms is None):
            return Measure.LATENCY
        return Measure.SIZE if known is None else Measure.NOTHING

    def passed(self, trial: TrialState) -> str | None:
        """Return which limits a trial's network passes, as its reason; None where it passes none or is not known."""
        if not self._limits.are_set or trial.started.repeat is not None or (known := self._known(trial)) is None:
            return None
        most, longest, words = self._limits.model_parameters, self._limits.latency_ms, []
        if most is not None and known.model_parameters > most:
            words.append(f"{known.model_parameters} parameters, more than the {most}")
        if longest is not None and known.latency_ms is not None and known.latency_ms > longest:
            words.append(f"{known.latency_ms:.3g} ms an image, more than the {longest:g}")
        return f"{' and '.join(words)} of [limits]" if words else None

    def _known(self, trial: TrialState) -> NetworkMeasured | None:
        return trial.network or self._state.networks.get(self.shape(trial))
