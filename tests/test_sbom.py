"""The licence list is made from the CycloneDX file, a row for each package, none left out."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BOM = {
    "bomFormat": "CycloneDX",
    "components": [
        {"name": "zeta", "version": "2", "licenses": [{"license": {"id": "MIT"}}]},
        {"name": "Alpha", "version": "1", "licenses": [{"expression": "Apache-2.0 OR BSD-2-Clause"}]},
        {"name": "beta", "version": "0.1"},
        {
            "name": "gamma",
            "version": "3",
            "licenses": [
                {"license": {"name": "License :: OSI Approved :: BSD License"}},
                {"license": {"id": "MIT"}},
                {"license": {"id": "MIT"}},
                {"license": {"name": "Own licence\nin many\nlines"}},
            ],
        },
    ],
}


def test_each_package_has_its_licence(tmp_path: Path) -> None:
    """By name; identifiers, expressions, classifiers and texts; and whose metadata say nothing."""
    (tmp_path / "sbom.json").write_text(json.dumps(BOM))
    command = [sys.executable, str(ROOT / ".ci" / "licences.py"), "sbom.json", "licences.csv"]
    subprocess.run(command, cwd=tmp_path, check=True)
    with (tmp_path / "licences.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["package", "version", "licence"],
            ["Alpha", "1", "Apache-2.0 OR BSD-2-Clause"],
            ["beta", "0.1", "not stated in its metadata"],
            ["gamma", "3", "BSD License; MIT; Own licence"],
            ["zeta", "2", "MIT"],
        ]


def test_the_tool_has_one_version() -> None:
    """So that the same environment gives the same list."""
    assert re.search(r"cyclonedx-bom==\d+\.\d+\.\d+\n", (ROOT / ".ci" / "sbom").read_text())
