"""Adam in one pass over memory per parameter, with the course's staircase decay of the learning rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from seti_model.config import TrainingConfig

# Keras's defaults, as in the course.
BETA_1 = 0.9
BETA_2 = 0.999
EPSILON = 1e-7


class FusedAdam:
    """Adam with Keras's arithmetic, done by TensorFlow's fused kernel.

    No Keras optimiser: those make several passes over memory (about twice the time of a step of the course network)
    and their path through `tf.distribute` never releases a model (keras#20552).
    Source: doi:10.48550/arXiv.1412.6980; rate of batch b: `learning_rate * decay_rate ** (b // decay_steps)`.
    """

    def __init__(self, config: TrainingConfig, variables: Mapping[str, tf.Variable]) -> None:
        self._config = config
        self._variables = dict(variables)
        self._first = {name: _zeros_like(variable) for name, variable in self._variables.items()}
        self._second = {name: _zeros_like(variable) for name, variable in self._variables.items()}

    def learning_rate(self, step: tf.Tensor) -> tf.Tensor:
        """Return the rate, float32 scalar, of batch `step` (int64, counted from 0 over the whole training)."""
        staircase = tf.cast(step // self._config.decay_steps, tf.float32)
        return self._config.learning_rate * tf.pow(tf.constant(self._config.decay_rate, tf.float32), staircase)

    def apply(self, gradients: Sequence[tf.Tensor], step: tf.Tensor) -> None:
        """Update every variable, in the order given at the start; `step` counts batches from 0."""
        batches = tf.cast(step + 1, tf.float32)
        beta_1_power = tf.pow(tf.constant(BETA_1, tf.float32), batches)
        beta_2_power = tf.pow(tf.constant(BETA_2, tf.float32), batches)
        learning_rate = self.learning_rate(step)
        for (name, variable), gradient in zip(self._variables.items(), gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=self._first[name].handle,
                v=self._second[name].handle,
                beta1_power=beta_1_power,
                beta2_power=beta_2_power,
                lr=learning_rate,
                beta1=BETA_1,
                beta2=BETA_2,
                epsilon=EPSILON,
                grad=gradient,
            )

    def state(self) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
        """Yield copies of both moments as `adam_m/<variable>` and `adam_v/<variable>`, one by one."""
        for name, moment in self._moments().items():
            yield name, moment.numpy()

    def restore(self, state: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Set both moments from what `state` returned."""
        for name, moment in self._moments().items():
            moment.assign(state[name])

    def _moments(self) -> dict[str, Any]:
        first = {f"adam_m/{name}": moment for name, moment in self._first.items()}
        return first | {f"adam_v/{name}": moment for name, moment in self._second.items()}


def _zeros_like(variable: tf.Variable) -> tf.Variable:
    return tf.Variable(tf.zeros(variable.shape, tf.float32), trainable=False)
