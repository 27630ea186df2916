"""The one exception that a user is meant to see."""


class UserError(Exception):
    """A user's mistake in one sentence: what is allowed, what was given, what to do.

    The entry points (`python -m stages`, `python -m tools.…`) print the sentence and exit with
    status 1. Every other exception is a bug of ours and keeps its traceback.
    """
