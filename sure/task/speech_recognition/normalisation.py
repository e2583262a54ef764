"""Text as it is trained on and scored."""

import unicodedata
from collections.abc import Callable
from functools import cache

SEPARATOR = " "
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# What SURE's release deletes. Other punctuation separates words.
_DELETED = frozenset(',?.!-;:"')
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\uff07\u00b4`", "'") | {"\u0149": "'n"})


def normalise(text: str) -> str:
    """Text as it is trained on and scored, in any language.

    NFKC, lower case; `, ? . ! - ; : "` and invisible format characters are deleted (the former as in SURE), all other
    punctuation, symbols and controls become spaces. Letters, combining marks, digits, and apostrophes inside words
    stay. Single spaces between words, none around.
    """
    return SEPARATOR.join(filter(None, (word.strip("'") for word in words(text))))


def words(text: str) -> list[str]:
    """The words of a text as `normalise` has them, but with the apostrophes around them, as in 'tis."""
    text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).lower()
    return "".join(map(_kept, text)).split()


def _kept(character: str) -> str:
    category = unicodedata.category(character)
    # Letters, marks, numbers. Python's \w knows no marks, without which Hindi and Thai fall apart.
    if category[0] in "LMN" or character == "'":
        return character
    return "" if character in _DELETED or category == "Cf" else SEPARATOR


@cache
def _whisper_english() -> Callable[[str], str]:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    # Its table of British spellings comes with checkpoints, and would make scores depend on them.
    return EnglishTextNormalizer({})


def _spelled_digits(text: str) -> str:
    spelled = (f" {_DIGITS[int(letter)]} " if letter in "0123456789" else letter for letter in text)
    return SEPARATOR.join("".join(spelled).split())


# By name, what is made of a normalised text before errors are counted: models write numbers in more than one way.
SCORED: dict[str, Callable[[str], str]] = {
    "as_written": lambda text: text,
    "whisper_english": lambda text: _whisper_english()(text),
    "spelled_digits": _spelled_digits,
}
