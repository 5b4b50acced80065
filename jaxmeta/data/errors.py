"""The one error of this room."""


class DataError(ValueError):
    """Data that cannot be used: one line with what, what was found, what is wanted."""
