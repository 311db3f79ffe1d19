"""Write the licences in a CycloneDX file as a table: one row for each installed package, by name.

python .ci/licences.py sbom.cdx.json licences.csv
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

NOT_STATED = "not stated in its metadata"


def rows(bom: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, version and licence of each component; several licences are separated by semicolons."""
    components = sorted(bom["components"], key=lambda component: component["name"].casefold())
    return [(each["name"], each.get("version", ""), _licence(each.get("licenses", []))) for each in components]


def _licence(licences: list[dict[str, Any]]) -> str:
    texts = [each.get("expression") or _name(each.get("license", {})) for each in licences]
    return "; ".join(dict.fromkeys(text for text in texts if text)) or NOT_STATED


def _name(licence: dict[str, Any]) -> str:
    """The SPDX identifier, or the first line of a licence that has none."""
    name = str(licence.get("id") or licence.get("name") or "")
    return name.strip().split("\n")[0].removeprefix("License :: ").removeprefix("OSI Approved :: ")


def main() -> None:
    """Read the first file, write the second."""
    source, target = map(Path, sys.argv[1:])
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("package", "version", "licence"))
        writer.writerows(rows(json.loads(source.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
