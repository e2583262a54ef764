"""Splits by rule, for corpora that come with none."""

from collections.abc import Iterable


def by_last_speakers(speakers: Iterable[str]) -> dict[str, str]:
    """The split of each speaker: sorted, the last fifth (at least one) tests, the fifth before validates, others train.

    No speaker is in two splits.
    """
    ordered = sorted(set(speakers))
    fifth = max(1, len(ordered) // 5)
    splits = dict.fromkeys(ordered, "train")
    return splits | dict.fromkeys(ordered[-2 * fifth :], "validation") | dict.fromkeys(ordered[-fifth:], "test")
