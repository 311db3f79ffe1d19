"""The versions that make two partners' preparations comparable."""

CODE_VERSION = 2
"""Raised whenever the same input and settings would give another result."""

FORMAT_VERSION = 2
"""Raised whenever the files of a prepared folder change."""
