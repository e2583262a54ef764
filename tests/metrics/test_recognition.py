"""Word, character and phoneme error rate against the textbook's Levenshtein distance, on degenerate input too."""

import numpy as np
import pytest
from torchaudio.functional import edit_distance

from sure import registry

UNITS = {
    "word_error_rate": str.split,
    "character_error_rate": lambda text: list(" ".join(text.split())),
    "phoneme_error_rate": str.split,
}


def distance(reference: list[str], prediction: list[str]) -> int:
    """Wagner and Fischer 1974, one row of the table at a time."""
    before = np.arange(len(prediction) + 1)
    for number, unit in enumerate(reference, start=1):
        now = np.empty_like(before)
        now[0] = number
        for column, other in enumerate(prediction, start=1):
            now[column] = min(now[column - 1] + 1, before[column] + 1, before[column - 1] + (unit != other))
        before = now
    return int(before[-1])


def texts(rows: int, longest: int, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    words = ["a", "b", "aa", "ab", "ba", "ß", "été", "日本", "don't"]
    return [" ".join(generator.choice(words, size=generator.integers(longest + 1))) for _ in range(rows)]


# (predictions, references)
CASES = {
    "random": (texts(60, 8, seed=0), texts(60, 8, seed=1)),
    "all right": (["one two", "three"], ["one two", "three"]),
    "empty hypothesis": (["", "two"], ["one two three", "two"]),
    "empty reference among others": (["one two", "three"], ["", "three four"]),
    "both empty": (["", "a"], ["", "a"]),
    "repeated words": (["no no no yes", "yes yes"], ["no yes", "yes yes yes yes"]),
    "unicode": (["ÉTÉ à paris", "東京 都"], ["été à paris", "東京都"]),
    "more insertions than words": (["a b c d e f"], ["b"]),
    "much whitespace": (["  one   two\t three "], ["one two three"]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", UNITS)
def test_it_is_all_errors_over_all_units_of_the_references(name, case):
    predictions, references = CASES[case]
    pairs = [(UNITS[name](reference), UNITS[name](text)) for text, reference in zip(*CASES[case], strict=True)]
    expected = sum(distance(*pair) for pair in pairs) / sum(len(reference) for reference, _ in pairs)
    metric = registry.get("metric", name)()
    assert metric.score(*metric.prepare(np.array(predictions), np.array(references))) == pytest.approx(expected)
    assert metric.compute(predictions=predictions, references=references) == {name: pytest.approx(expected)}
    assert not metric.higher_is_better


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", UNITS)
def test_errors_are_those_that_torchaudio_counts(name, case):
    predictions, references = (np.array(texts, dtype=object) for texts in CASES[case])
    errors, _ = registry.get("metric", name)().prepare(predictions, references)
    split = UNITS[name]
    pairs = zip(references, predictions, strict=True)
    assert errors.tolist() == [edit_distance(split(reference), split(text)) for reference, text in pairs]


@pytest.mark.parametrize("name", UNITS)
def test_rows_are_counted_one_by_one(name):
    metric = registry.get("metric", name)()
    errors, units = metric.prepare(np.array(["a b", "", "a"], dtype=object), np.array(["b", "a b", ""], dtype=object))
    assert errors.tolist() == ([2, 3, 1] if name == "character_error_rate" else [1, 2, 1])
    assert units.tolist() == ([1, 3, 0] if name == "character_error_rate" else [1, 2, 0])
    # A bootstrap may draw any of them, any number of times.
    drawn = [0, 0, 1]
    assert metric.score(errors[drawn], units[drawn]) == errors[drawn].sum() / units[drawn].sum()


@pytest.mark.parametrize("name", UNITS)
def test_without_any_reference_unit_it_is_the_number_of_insertions(name):
    metric = registry.get("metric", name)()
    assert metric.compute(predictions=["", ""], references=["", ""]) == {name: 0.0}
    assert metric.compute(predictions=["a", "b"], references=["", ""]) == {name: 2.0}


def test_words_are_not_characters():
    predictions, references = ["five eight"], ["nine eight"]
    rates = [registry.get("metric", name)().compute(predictions=predictions, references=references) for name in UNITS]
    assert rates == [
        {"word_error_rate": 0.5},
        {"character_error_rate": pytest.approx(2 / 10)},
        {"phoneme_error_rate": 0.5},
    ]
