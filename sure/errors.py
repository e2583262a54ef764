"""The one exception for a user's mistake, of which the command line prints the text and no traceback; others' words."""


class SureError(Exception):
    """Bad input: the message names the file, line, field or flag, and what would be right."""


def first_line(error: Exception) -> str:
    """What another library's error says in its first line, without the full stop."""
    return str(error).strip().partition("\n")[0].rstrip(".")
