"""Simulated against genuine strips of the course set: the same statistics, and no classifier tells them apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from seti_model.data.simulator import simulate

SQUIGGLE, NARROWBANDDRD, NARROWBAND, NOISE = range(4)


@pytest.fixture(scope="module")
def course():
    return simulate("course", 900, seed=5)


@pytest.fixture(scope="module")
def strips(real_data):
    with np.load(real_data / "course_strips_378x8x128.npz") as archive:
        return archive["x"], archive["y"]


def lag1(x, axis):
    a, b = (np.delete(x, end, axis).reshape(len(x), -1) for end in (0, -1))
    a, b = (part - part.mean(axis=1, keepdims=True) for part in (a, b))
    return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))


def statistics_of(images):
    x = images.astype(float)
    flat = x.reshape(len(x), -1)
    return {
        "mean": flat.mean(axis=1),
        "median": np.median(flat, axis=1),
        "deviation": flat.std(axis=1),
        "minimum": flat.min(axis=1),
        "maximum": flat.max(axis=1),
        "lag-1 in time": lag1(x, 1),
        "lag-1 in frequency": lag1(x, 2),
    }


@pytest.mark.parametrize("label", [SQUIGGLE, NARROWBAND, NOISE])
def test_simulated_strips_have_the_statistics_of_genuine_ones(course, strips, label):
    x, y = strips
    genuine = statistics_of(x[y == label])
    simulated = statistics_of(course.images[course.labels == label, :8, :, 0])
    p = {name: stats.ks_2samp(genuine[name], simulated[name]).pvalue for name in genuine}
    assert min(p.values()) > 0.003, p


def test_boosted_trees_cannot_tell_genuine_from_simulated_strips(course, strips):
    x, y = strips
    parts = []
    for label in (SQUIGGLE, NARROWBAND, NOISE):
        genuine = x[y == label]
        parts += [(genuine, 1), (course.images[course.labels == label][: len(genuine), :8, :, 0], 0)]
    images = np.concatenate([images for images, _ in parts])
    is_genuine = np.concatenate([np.full(len(images), truth) for images, truth in parts])
    features = np.column_stack([images.reshape(len(images), -1), *statistics_of(images).values()])
    with threadpool_limits(1):  # its threads wait for each other busily, which takes minutes beside other work
        probability = cross_val_predict(
            HistGradientBoostingClassifier(max_iter=30, random_state=0),
            features,
            is_genuine,
            cv=StratifiedKFold(4, shuffle=True, random_state=0),
            method="predict_proba",
        )[:, 1]
    assert 0.40 <= roc_auc_score(is_genuine, probability) <= 0.60


def test_trees_trained_on_simulated_strips_label_the_genuine_ones(course, strips):
    """Class 1 has no genuine strip and looks like class 2 in eight rows, so it is left out."""
    x, y = strips
    train = course.labels != NARROWBANDDRD
    features = [
        np.column_stack([*statistics_of(images).values(), np.sort(images.min(axis=1).astype(float))[:, ::16]])
        for images in (course.images[train, :8, :, 0], x)
    ]
    with threadpool_limits(1):
        trees = HistGradientBoostingClassifier(max_iter=50, random_state=0).fit(features[0], course.labels[train])
        assert np.mean(trees.predict(features[1]) == y) > 0.99
