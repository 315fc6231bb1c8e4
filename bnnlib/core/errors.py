"""The base class of the errors that a user can put right."""


class BnnError(Exception):
    """Something is wrong with the input or the environment; the message says what, where, and the way out."""
