"""The one exception for a user's mistake: the command line prints its text and no traceback."""


class SureError(Exception):
    """Bad input: the message names the file, line, field or flag, and what would be right."""
