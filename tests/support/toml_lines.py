"""Lines of the commented TOML files that hocket writes."""


def lines_by_key(text: str) -> dict[str, str]:
    """Every line `key = value`, in a comment or not, by dotted key."""
    found, table = {}, ""
    for line in text.splitlines():
        plain = line.removeprefix("# ")
        name, equals, _ = plain.partition(" = ")
        if plain.startswith("["):
            table = plain.strip("[]") + "."
        elif equals and name.isidentifier():
            found[table + name] = line
    return found
