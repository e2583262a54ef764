"""F1 per label, for the two ways of averaging it."""

import numpy as np


def f1_per_label(predictions: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F1 and number of references of every label that is predicted or right somewhere: 2 TP / (2 TP + FP + FN).

    The same as scikit-learn's, which checks its input anew on each of a bootstrap's thousand calls.
    """
    _, ids = np.unique(np.concatenate([predictions, references]), return_inverse=True)
    predicted, right = np.split(ids, 2)
    labels = ids.max() + 1
    found = np.bincount(right[predicted == right], minlength=labels)
    support = np.bincount(right, minlength=labels)
    return 2 * found / (np.bincount(predicted, minlength=labels) + support), support
