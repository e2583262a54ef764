"""The result record: read back as written, refused with a reason, and never half there."""

import hashlib
import json

import pytest

from sure.errors import SureError
from sure.files import write_atomically
from sure.record import PredictionsFile, Result, Score, read_predictions, write_predictions
from tests.leaderboard.test_leaderboard import write_record


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return write_record(tmp_path_factory.mktemp("run"), failed=True)


def test_a_record_reads_back_as_written(record, tmp_path):
    result = Result.read(record)
    result.write(tmp_path / "again.json")
    assert Result.read(tmp_path / "again.json") == result
    assert (tmp_path / "again.json").read_bytes() == record.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"note": 1}, "note: Extra inputs"),
        ({"schema_version": 2}, "schema_version"),
        ({"status": "fine"}, "status"),
        ({"scores": {"test": {"accuracy": {"value": 1}}}}, r"scores\.test\.accuracy\.low"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(record, tmp_path, change, message):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(json.loads(record.read_text()) | change))
    with pytest.raises(SureError, match=message) as error:
        Result.read(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (0.512, 0.43, 0.59, "0.512 [0.430, 0.590]"),
        (0.00667, 0.006, 0.0123, "0.0067 [0.0060, 0.0123]"),
        (0.0004, 0.0001, 0.001, "0.00040 [0.00010, 0.00100]"),
        (0.0, 0.0, 0.002, "0.000 [0.000, 0.002]"),
        (12.3456, 12.0, 13.0, "12.346 [12.000, 13.000]"),
    ],
)
def test_a_small_score_is_said_with_two_digits(value, low, high, said):
    assert str(Score(value=value, low=low, high=high, unit="share", higher_is_better=False)) == said


def test_half_a_record_and_no_record_are_named(tmp_path, record):
    (tmp_path / "half.json").write_text(record.read_text()[:100])
    with pytest.raises(SureError, match=r"half\.json is not a result record"):
        Result.read(tmp_path / "half.json")
    with pytest.raises(SureError, match=r"none\.json: no such result record"):
        Result.read(tmp_path / "none.json")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new, then a lone surrogate: \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_predictions_read_back_as_written(tmp_path):
    rows = [{"id": "ä", "prediction": "line\nbreak"}, {"id": "語", "prediction": 1}]
    file = write_predictions(tmp_path / "test.jsonl", rows)
    assert read_predictions(tmp_path, file) == rows


def test_predictions_nested_too_deeply_are_refused(tmp_path):
    text = "[" * 100_000
    (tmp_path / "test.jsonl").write_text(text)
    with pytest.raises(SureError, match=r"test\.jsonl, line 1: not JSON"):
        read_predictions(tmp_path, PredictionsFile(path="test.jsonl", sha256=hashlib.sha256(text.encode()).hexdigest()))


def test_changed_missing_and_distant_predictions_are_refused(tmp_path):
    file = write_predictions(tmp_path / "test.jsonl", [{"id": "a"}])
    with (tmp_path / "test.jsonl").open("a") as stream:
        stream.write(" ")
    with pytest.raises(SureError, match=r"test\.jsonl: its SHA-256"):
        read_predictions(tmp_path, file)
    with pytest.raises(SureError, match="no such predictions file"):
        read_predictions(tmp_path, PredictionsFile(path="none.jsonl", sha256="0" * 64))
    with pytest.raises(SureError, match="must lie beside its record"):
        read_predictions(tmp_path, PredictionsFile(path="../test.jsonl", sha256=file.sha256))
