"""Text as it is trained on and scored."""

import unicodedata

SEPARATOR = " "


# What SURE's release deletes. Other punctuation separates words.
_DELETED = frozenset(',?.!-;:"')
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\uff07\u00b4`", "'") | {"\u0149": "'n"})


def normalise(text: str) -> str:
    """Text as it is trained on and scored, in any language.

    NFKC, lower case; `, ? . ! - ; : "` and invisible format characters are deleted (the former as in SURE), all other
    punctuation, symbols and controls become spaces. Letters, combining marks, digits, and apostrophes inside words
    stay. Single spaces between words, none around.
    """
    text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).lower()
    words = "".join(map(_kept, text)).split()
    return SEPARATOR.join(filter(None, (word.strip("'") for word in words)))


def _kept(character: str) -> str:
    category = unicodedata.category(character)
    # Letters, marks, numbers. Python's \w knows no marks, without which Hindi and Thai fall apart.
    if category[0] in "LMN" or character == "'":
        return character
    return "" if character in _DELETED or category == "Cf" else SEPARATOR
