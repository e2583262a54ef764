"""Classification metrics against scikit-learn, on random and degenerate input."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from sure import registry

REFERENCES = {
    "accuracy": accuracy_score,
    "weighted_f1": lambda y, p: f1_score(y, p, average="weighted", zero_division=0),
    "macro_f1": lambda y, p: f1_score(y, p, average="macro", zero_division=0),
    "unweighted_average_recall": balanced_accuracy_score,
}

generator = np.random.default_rng(0)
CASES = {
    "random": (generator.integers(6, size=200), generator.integers(6, size=200)),
    "one label never predicted": (np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2])),
    "one label never right": (np.array([0, 3, 1, 3]), np.array([0, 1, 1, 0])),
    "all wrong": (np.array([0, 0, 1]), np.array([1, 1, 0])),
    "all right": (np.array([2, 0, 1]), np.array([2, 0, 1])),
    "one utterance": (np.array([4]), np.array([4])),
}


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", REFERENCES)
def test_it_is_what_scikit_learn_computes(name, case):
    predictions, references = CASES[case]
    metric = registry.get("metric", name)()
    assert metric.score(*metric.prepare(predictions, references)) == pytest.approx(
        REFERENCES[name](references, predictions)
    )
    assert metric.higher_is_better


def test_the_interface_of_evaluate_works_with_labels_and_no_network():
    metric = registry.get("metric", "weighted_f1")()
    scores = metric.compute(predictions=["sad", "sad", "happy"], references=["sad", "happy", "happy"])
    assert scores == {"weighted_f1": pytest.approx(2 / 3)}
