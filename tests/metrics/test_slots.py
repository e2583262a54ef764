"""Slot-type F1 and slot-value CER on cases computed by hand from SUPERB's definitions, degenerate ones included."""

import numpy as np
import pytest

from sure import registry
from sure.metric.slots import slots

PLAY = "PLAY B-song YELLOW E-song BY B-artist DIANA ROSS E-artist"

# Prediction, reference, F1, character errors, characters.
CASES = {
    "all right": (PLAY, PLAY, 1, 0, 16),
    "what is not in slots costs nothing": (f"OH NO {PLAY} NOW", PLAY, 1, 0, 16),
    "a wrong value": (PLAY.replace("YELLOW", "MELLOW"), PLAY, 1, 1, 16),
    "a slot too few": ("B-song YELLOW E-song", PLAY, 2 / 3, 10, 16),
    "a slot too many": (PLAY, "B-artist DIANA ROSS E-artist", 2 / 3, 0, 10),
    "another type": ("B-album YELLOW E-album", "B-song YELLOW E-song", 0, 6, 6),
    "none predicted": ("PLAY YELLOW", PLAY, 0, 16, 16),
    "none in the reference": (PLAY, "PLAY", 0, 0, 0),
    "none in both": ("STOP", "STOP IT", 1, 0, 0),
    "nothing at all": ("", "", 1, 0, 0),
    # A type counts once, and each value of the reference is compared with the nearest of its type.
    "repeated in the reference": ("B-x AB E-x", "B-x AB E-x AND B-x ABCD E-x", 1, 2, 6),
    "repeated in the prediction": ("B-x QQ E-x B-x ABC E-x", "B-x AB E-x", 1, 1, 2),
    "nothing between the tags": ("B-x E-x", "B-x AB E-x", 0, 2, 2),
    "only spaces between the tags": ("B-x   E-x", "B-x AB E-x", 0, 2, 2),
    "not closed": ("B-x AB", "B-x AB E-x", 0, 2, 2),
    "closed before it begins": ("E-x AB B-x", "B-x AB E-x", 0, 2, 2),
    "tags inside a slot are not of its value": ("B-x A B-y B E-y C E-x", "B-x A B C E-x", 1, 0, 5),
    "a longer type closes too": ("B-x AB E-xyz", "B-x AB E-x", 1, 0, 2),
    "far too long": (f"B-x {'Q' * 300} E-x", "B-x AB E-x", 1, 2, 2),
}


@pytest.mark.parametrize("case", CASES)
def test_a_row_counts_as_computed_by_hand(case):
    prediction, reference, f1, errors, characters = CASES[case]
    rows = np.array([prediction], dtype=object), np.array([reference], dtype=object)
    of_types, of_values = (registry.get("metric", name)() for name in ("slot_type_f1", "slot_value_cer"))
    assert [part.tolist() for part in of_types.prepare(*rows)] == [[pytest.approx(f1)], [1]]
    assert [part.tolist() for part in of_values.prepare(*rows)] == [[errors], [characters]]


def test_f1_is_averaged_over_utterances_and_cer_over_characters_of_any_draw():
    predictions, references = (np.array([case[part] for case in CASES.values()], dtype=object) for part in (0, 1))
    draws = np.random.default_rng(0).integers(3, size=(5, len(CASES)))
    # A draw without any slot: nothing to be wrong in.
    draws[4] = [reference in ("PLAY", "", "STOP IT") for reference in references]
    f1, errors, characters = (np.array([case[part] for case in CASES.values()]) for part in (2, 3, 4))
    of_types, of_values = (registry.get("metric", name)() for name in ("slot_type_f1", "slot_value_cer"))
    scores = of_types.score_draws(*of_types.prepare(predictions, references), draws)
    assert scores == pytest.approx(draws @ f1 / draws.sum(axis=1))
    rates = of_values.score_draws(*of_values.prepare(predictions, references), draws)
    assert rates == pytest.approx([*(draws[:4] @ errors / (draws[:4] @ characters)), 0])
    assert of_types.compute(predictions=predictions.tolist(), references=references.tolist()) == {
        "slot_type_f1": pytest.approx(f1.mean())
    }
    assert of_types.higher_is_better
    assert not of_values.higher_is_better


def test_values_are_in_the_order_of_the_text():
    assert slots("B-x A E-x B-y B E-y B-x C D E-x") == {"x": ["A", "C D"], "y": ["B"]}
