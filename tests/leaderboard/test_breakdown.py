"""What goes wrong in predictions, counted by hand."""

from collections import Counter

import pytest
from sklearn.metrics import confusion_matrix

from sure.leaderboard.breakdown import at_equal_errors, confusions, counted, error_breakdown, kind
from sure.task import make_task
from tests.leaderboard.test_leaderboard import LABELS, ThreeEmotions, prediction_rows


def test_confusions_are_those_of_scikit_learn_and_of_each_column():
    rows = prediction_rows("test", 0.7)
    (confusion,) = confusions(ThreeEmotions(), rows)
    both = [[row[key] for row in rows] for key in ("reference", "prediction")]
    assert (confusion.counts == confusion_matrix(*both, labels=LABELS)).all()
    assert sum(times for *_, times in confusion.most_frequent()) == 18
    said, taken, times = confusion.most_frequent()[0]
    assert times == max(confusion.counts[0, 1], confusion.counts[1, 2], confusion.counts[2, 0])
    assert confusion.counts[LABELS.index(said), LABELS.index(taken)] == times
    # An intent has three labels, which are confused each by itself.
    columns = {"action": ["off", "on"], "object": ["lamp", "music"], "location": ["here", "none"]}
    task = make_task("fluent_speech_commands", {"labels": columns})
    on, off = ({"action": action, "object": "lamp", "location": "here"} for action in ("on", "off"))
    action, thing, _ = confusions(task, [{"id": "a", "reference": on, "prediction": off}])
    assert (kind(task), action.most_frequent(), thing.most_frequent()) == ("labels", [("on", "off", 1)], [])


def test_errors_of_texts_are_counted_by_kind_in_the_unit_that_ranks():
    rows = [
        {"id": "1", "reference": "THE CAT SAT", "prediction": "THE HAT SAT DOWN"},
        {"id": "2", "reference": "THE CAT", "prediction": "CAT"},
        {"id": "3", "reference": "", "prediction": "DOWN"},
    ]
    task = make_task("asr_esd", {"language": "english"})
    found = error_breakdown(task, rows)
    assert found == ("words", 5, Counter({("CAT", "HAT"): 1}), Counter({"THE": 1}), Counter({"DOWN": 2}))
    assert found.shares() == {"substitutions": (1, 0.2), "deletions": (1, 0.2), "insertions": (2, 0.4)}
    assert sum(share for _, share in found.shares().values()) == pytest.approx(task.score(rows)["word_error_rate"])
    assert [counted(make_task(name, {}))[0] for name in ("asr_fleurs", "pr_manifest", "sf_snips")] == [
        "words",
        "phonemes",
        "words",
    ]
    assert kind(make_task("sf_snips", {})) == "texts"


def test_trials_are_parted_where_both_errors_are_equal():
    scores = {1: [0.9, 0.7, 0.6, 0.3], 0: [0.8, 0.4, 0.2, 0.1]}
    rows = [
        {"id": f"{reference} {score}", "reference": reference, "prediction": score}
        for reference, of in scores.items()
        for score in of
    ]
    task = make_task("sv_voxceleb1", {})
    threshold, found, targets = at_equal_errors(task, rows)
    # One of four targets is below, one of four others is not.
    assert (kind(task), threshold, list(found[targets])) == ("trials", 0.6, scores[1])
    assert task.score(rows)["equal_error_rate"] == pytest.approx(0.25)
    spoofs = [
        {"id": row["id"], "reference": ("spoof", "bonafide")[row["reference"]], "score": row["prediction"]}
        for row in rows
    ]
    assert at_equal_errors(make_task("asvspoof", {}), spoofs)[0] == 0.6
