"""The optimisers, with Keras's arithmetic and a falling rate: one pass over memory per parameter.

No Keras optimiser: those make several passes over memory (about twice the time of a step of the course network) and
their path through `tf.distribute` never releases a model (keras#20552).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from seti_model.config import ADAM, COSINE, RMSPROP, TrainingConfig

# Keras's defaults, as in the course.
BETA_1 = 0.9
BETA_2 = 0.999
RHO = 0.9
EPSILON = 1e-7


class FusedOptimizer(ABC):
    """Rate, clipping and state, around one of TensorFlow's fused kernels; `TrainingConfig` says how the rate falls."""

    kept: ClassVar[tuple[str, ...]]  # what is known of each variable from step to step, as checkpoints call it

    def __init__(self, config: TrainingConfig, variables: Mapping[str, tf.Variable], *, batches: int) -> None:
        self._config, self._batches = config, batches
        self._variables = dict(variables)
        self._state = {f"{kind}/{name}": _zeros_like(one) for kind in self.kept for name, one in variables.items()}

    def learning_rate(self, step: tf.Tensor) -> tf.Tensor:
        """Return the rate, float32 scalar, of batch `step` (int64, counted from 0 over the whole training)."""
        if self._config.schedule == COSINE:
            turn = np.pi * tf.cast(step, tf.float32) / self._batches
            return self._config.learning_rate * (1.0 + tf.cos(turn)) / 2.0
        staircase = tf.cast(step // self._config.decay_steps, tf.float32)
        return self._config.learning_rate * tf.pow(tf.constant(self._config.decay_rate, tf.float32), staircase)

    def apply(self, gradients: Sequence[tf.Tensor], step: tf.Tensor) -> None:
        """Update every variable, in the order given at the start; `step` counts batches from 0."""
        if self._config.clip_norm > 0:
            gradients, _ = tf.clip_by_global_norm(gradients, self._config.clip_norm)
        common = self._common(step)
        for (name, variable), gradient in zip(self._variables.items(), gradients, strict=True):
            self._update(variable, name, gradient, common)

    def state(self) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
        """Yield copies of what is kept as `<kind>/<variable>`, one by one."""
        for name, value in self._state.items():
            yield name, value.numpy()

    def restore(self, state: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Set what is kept from what `state` returned."""
        for name, value in self._state.items():
            value.assign(state[name])

    @abstractmethod
    def _common(self, step: tf.Tensor) -> dict[str, Any]:
        """Return what the updates of all variables have in common."""

    @abstractmethod
    def _update(self, variable: tf.Variable, name: str, gradient: tf.Tensor, common: dict[str, Any]) -> None:
        """Update one variable."""


class FusedAdam(FusedOptimizer):
    """Adam. Source: doi:10.48550/arXiv.1412.6980."""

    kept = ("adam_m", "adam_v")

    def _common(self, step: tf.Tensor) -> dict[str, Any]:
        batches = tf.cast(step + 1, tf.float32)
        return {
            "beta1_power": tf.pow(tf.constant(BETA_1, tf.float32), batches),
            "beta2_power": tf.pow(tf.constant(BETA_2, tf.float32), batches),
            "lr": self.learning_rate(step),
        }

    def _update(self, variable: tf.Variable, name: str, gradient: tf.Tensor, common: dict[str, Any]) -> None:
        first, second = (self._state[f"{kind}/{name}"].handle for kind in self.kept)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=first,
            v=second,
            beta1=BETA_1,
            beta2=BETA_2,
            epsilon=EPSILON,
            grad=gradient,
            **common,
        )


class FusedRMSprop(FusedOptimizer):
    """RMSprop without momentum: a step is rate * gradient / sqrt(mean square + epsilon), as in Keras 3.

    The kernel wants a place for the momentum, which it writes over at each step; no checkpoint needs it.
    Source: T. Tieleman and G. Hinton, Lecture 6.5, COURSERA 2012; epsilon stands within the root in the kernel
    (`tf.raw_ops.ResourceApplyRMSProp`) and in `keras.optimizers.RMSprop` alike.
    """

    kept = ("rmsprop_v",)

    def __init__(self, config: TrainingConfig, variables: Mapping[str, tf.Variable], *, batches: int) -> None:
        super().__init__(config, variables, batches=batches)
        self._momentum = {name: _zeros_like(variable) for name, variable in variables.items()}

    def _common(self, step: tf.Tensor) -> dict[str, Any]:
        return {"lr": self.learning_rate(step)}

    def _update(self, variable: tf.Variable, name: str, gradient: tf.Tensor, common: dict[str, Any]) -> None:
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable.handle,
            ms=self._state[f"{self.kept[0]}/{name}"].handle,
            mom=self._momentum[name].handle,
            rho=RHO,
            momentum=0.0,
            epsilon=EPSILON,
            grad=gradient,
            **common,
        )


OPTIMIZERS: Mapping[str, type[FusedOptimizer]] = {ADAM: FusedAdam, RMSPROP: FusedRMSprop}


def _zeros_like(variable: tf.Variable) -> tf.Variable:
    return tf.Variable(tf.zeros(variable.shape, tf.float32), trainable=False)
