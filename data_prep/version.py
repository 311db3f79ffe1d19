"""Versions of the preparation; partners with equal versions get comparable results."""

CODE_VERSION = 3
"""Incremented when the same input and settings would give another result."""

FORMAT_VERSION = 3
"""Incremented when the layout of a prepared folder changes."""
