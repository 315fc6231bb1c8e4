"""The one base class of faults that a user can mend."""


class BnnError(Exception):
    """A fault in what the user supplied or in the surroundings; the message says what, where, and the way out."""
