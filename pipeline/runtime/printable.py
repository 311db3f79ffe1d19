"""Texts for a terminal: ids, names and messages of others may hold characters that command a terminal."""

_BREAKS = "\n\t"


def printable(text: str, keep: str = _BREAKS) -> str:
    r"""The text with every character that is not printable as an escape such as \x1b, but for those to keep."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in keep else ascii(sign)[1:-1] for sign in text)
