"""The one error that means: what you gave cannot be used, and this sentence says why."""

__all__ = ["InputError"]


class InputError(ValueError):
    """A user's input that cannot be used.

    The message says what was expected, what was found and what to do.

    Command lines turn it, and nothing else, into exit status 2.
    """
