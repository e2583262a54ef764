"""What is read from a user's text files."""

import json

import pytest

from sure.files import is_number


@pytest.mark.parametrize("text", ["0", "-1", "0.5", "1e308", "1" + "0" * 300])
def test_a_number_that_a_float_can_hold_is_one(text):
    assert is_number(json.loads(text))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1" + "0" * 400, "true", "null", '"1"', "[1]"])
def test_anything_else_is_none(text):
    assert not is_number(json.loads(text))
