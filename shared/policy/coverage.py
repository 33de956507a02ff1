"""The ``coverage`` section of a version: who is eligible, where, for which benefit."""

from shared.policy.figure import Strict


class Coverage(Strict):
    """Who may claim what, where."""
