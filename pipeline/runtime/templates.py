"""Fill in templates, which are text files of a package: pages, descriptions, instructions.

A template is plain text; `{{ name }}` stands for a value, `{% for %}` repeats (https://jinja.palletsprojects.com).
"""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def filled(package: str, template: str, **values: object) -> str:
    """The text of a package's template with its values; in HTML, markup in a value is escaped.

    Raises jinja2.UndefinedError if a value is missing.
    """
    return _templates(package).get_template(template).render(**values)


@cache
def _templates(package: str) -> Environment:
    return Environment(
        loader=PackageLoader(package, ""),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
