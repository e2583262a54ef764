"""What is looked at as a whole is refused as if each value had been looked at."""

import json

import pytest

from sure.errors import SureError
from sure.record.untrusted import odd_in, odd_values, rows


def nested(times):
    value = 1
    for _ in range(times):
        value = [value]
    return value


@pytest.mark.parametrize("escaped", [True, False])
def test_a_record_is_odd_where_any_value_is(escaped):
    plain = ["a\\.b", "3e50", "é", "a\nb", 0.1, -(2**62), True, None, nested(60), {}]
    odd = ["\b", "\f", "\0", "\x7f", "\u202e", 2**63, -1e19, 1e300, nested(64), nested(500), {"\u2066": 1}]
    for value in (*plain, *odd):
        record = {"field": [value, 1]}
        text = json.dumps(record, ensure_ascii=escaped)
        assert list(odd_in(text)) == list(odd_values(record))
        assert bool(list(odd_in(text))) == (value in odd)


@pytest.mark.parametrize(
    "again", ['"a": 2', '"a" : 2', '"a"\n:2', '"b": {"c": "\\":", "c": 2}', '"\\u0061": 2', '"b": NaN']
)
def test_a_record_that_says_a_key_twice_or_no_number_is_refused(again):
    with pytest.raises(ValueError):
        list(odd_in(f'{{"a": 1, {again}}}'))


def test_a_text_may_hold_what_looks_like_a_key():
    assert not list(odd_in(json.dumps({"a": '"b": 1', 'b": ': 2, "c": '" :'})))


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "a\\b"}',
        '{"id": 1e400}',
        '{"id": -1E+20}',
        f'{{"id": {"[" * 65 + "]" * 65}}}',
        '{"id": NaN}',
        '{"id": 1},{"id": 2}',
        '{"id": 1, "id" : 2}',
        '{"a": {"b": 1, "b": 2}}',
        "",
    ],
)
def test_a_line_of_predictions_is_named_whatever_lines_are_beside_it(tmp_path, line):
    good = '{"id": "é", "text": "a\\nb"}\n'
    assert rows(tmp_path, good.encode() * 2) == [{"id": "é", "text": "a\nb"}] * 2
    for before in (good, '{"id": 3}\n'):
        with pytest.raises(SureError, match="line 2"):
            rows(tmp_path, f"{before}{line}\n{before}".encode())
