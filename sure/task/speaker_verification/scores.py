"""Scores of trials from speaker embeddings, and their normalisation."""

import numpy as np

# The cohort speakers nearest to an utterance, whose scores normalise its own (Peng et al. 2023).
_NEAREST = 300


# Trials or utterances in one matrix product.
_AT_A_TIME = 16_384


def cosine(one: list[float], other: list[float]) -> float:
    """Of two embeddings of any length, to six digits; 0 where one is 0."""
    product = np.dot(one, other) / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-12)
    return round(float(product), 6)


def cosines(embeddings: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Of unit embeddings (utterances, size) and the two indices of each trial (trials, 2): scores (trials,)."""
    parts = [sides[start : start + _AT_A_TIME].T for start in range(0, len(sides), _AT_A_TIME)]
    return np.concatenate([np.einsum("td,td->t", embeddings[enrolment], embeddings[test]) for enrolment, test in parts])


def nearest_scores(embeddings: np.ndarray, cohort: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, both (utterances,), of each utterance's highest 300 scores with the cohort."""
    nearest = min(_NEAREST, len(cohort))
    means, deviations = [], []
    for start in range(0, len(embeddings), _AT_A_TIME):
        scores = embeddings[start : start + _AT_A_TIME] @ cohort.T
        scores = np.partition(scores, -nearest, axis=1)[:, -nearest:]
        means.append(scores.mean(axis=1))
        deviations.append(scores.std(axis=1))
    return np.concatenate(means), np.concatenate(deviations)


def normalised(scores: np.ndarray, sides: np.ndarray, means: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Adaptive symmetric score normalisation (AS-norm1, Matejka et al. 2017): a trial's standard score among those of
    its enrolment utterance with their nearest cohort speakers, and among those of its test utterance, averaged."""
    # A cohort all alike, such as a single speaker, has no deviation to divide by.
    standard = (scores[:, np.newaxis] - means[sides]) / np.maximum(deviations[sides], 1e-6)
    return standard.mean(axis=1)


def unit(embeddings: np.ndarray) -> np.ndarray:
    embeddings = np.asarray(embeddings, dtype=np.float64)
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=-1, keepdims=True), 1e-12)
