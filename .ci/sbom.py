"""Write what the program is made of as a CycloneDX document, from the lock file.

The same lock file and SOURCE_DATE_EPOCH make the same bytes on every machine: the serial number is
derived from the content, and nothing of the installed packages is read. Each component carries
the hashes of all files that the lock file accepts for it, as which of them is installed depends on
the Python and the system.
"""

# ruff: noqa: INP001, T201

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SPECIFICATION = "1.6"
PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+?))? \\$")
HASH = re.compile(r"^    --hash=sha256:(?P<hash>[0-9a-f]{64})(?: \\)?$")
VIA = re.compile(r"^    #(?: via|  ) (?P<name>[\w.-]+)(?: \(pyproject\.toml\))?$")
NOTHING_MORE = re.compile(r"^(    # via)?$|^    #(?: via|  ) -r \.ci/lock/\w+\.in$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One release in a lock file."""

    name: str
    version: str
    marker: str | None
    hashes: tuple[str, ...]
    wanted_by: tuple[str, ...]

    @property
    def reference(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version}"


def pins_of(lock: str) -> list[Pin]:
    """Read a lock file.

    Raises:
        ValueError: a line is none that the lock files have.

    """
    pins: list[Pin] = []
    for line in lock.splitlines():
        pin, hashed, via = PIN.match(line), HASH.match(line), VIA.match(line)
        if pin:
            pins.append(Pin(**pin.groupdict(), hashes=(), wanted_by=()))
        elif hashed and pins:
            pins[-1] = replace(pins[-1], hashes=(*pins[-1].hashes, hashed["hash"]))
        elif via and pins:
            pins[-1] = replace(pins[-1], wanted_by=(*pins[-1].wanted_by, via["name"]))
        elif not NOTHING_MORE.match(line):
            raise ValueError(f"not a line of a lock file: {line}")
    return pins


def component(pin: Pin) -> dict[str, object]:
    made: dict[str, object] = {
        "type": "library",
        "bom-ref": pin.reference,
        "name": pin.name,
        "version": pin.version,
        "purl": pin.reference,
        "hashes": [{"alg": "SHA-256", "content": value} for value in pin.hashes],
    }
    if pin.marker:
        made["properties"] = [{"name": "okta-keys:only-where", "value": pin.marker}]
    return made


def document(*, name: str, version: str, pins: list[Pin], epoch: int) -> dict[str, object]:
    """Return the document; `epoch` is in seconds."""
    root = f"pkg:pypi/{name}@{version}"
    needs: dict[str, list[str]] = {root: []}
    needs.update((pin.reference, []) for pin in pins)
    by_name: dict[str, list[str]] = {name: [root]}
    for pin in pins:
        by_name.setdefault(pin.name, []).append(pin.reference)
    for pin in pins:
        for parent in pin.wanted_by:
            for reference in by_name[parent]:
                needs[reference].append(pin.reference)
    made: dict[str, object] = {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPECIFICATION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z"),
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": name,
                "version": version,
                "purl": root,
            },
        },
        "components": [component(pin) for pin in pins],
        "dependencies": [
            {"ref": reference, "dependsOn": sorted(wanted)} for reference, wanted in needs.items()
        ],
    }
    content = json.dumps(made, sort_keys=True)
    return made | {"serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"}


def complain_if_invalid(text: str) -> None:
    """Check the document against CycloneDX's own schema.

    Raises:
        SystemExit: it does not hold.

    """
    # Only among the tools, which the type checker does not see.
    from cyclonedx.schema import SchemaVersion  # type: ignore[import-not-found]
    from cyclonedx.validation.json import JsonStrictValidator  # type: ignore[import-not-found]

    wrong = JsonStrictValidator(SchemaVersion.from_version(SPECIFICATION)).validate_str(text)
    if wrong:
        sys.exit(f"the SBOM is not valid CycloneDX {SPECIFICATION}: {wrong}")


def main(folder: Path, *, validate: bool) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module = (ROOT / "orchestrator" / "__init__.py").read_text()
    [version] = re.findall(r'^__version__ = "([^"]+)"$', module, re.MULTILINE)
    made = document(
        name=project["name"],
        version=version,
        pins=pins_of((ROOT / ".ci" / "lock" / "run.txt").read_text()),
        epoch=int(os.environ["SOURCE_DATE_EPOCH"]),
    )
    text = json.dumps(made, indent=1, sort_keys=True) + "\n"
    if validate:
        complain_if_invalid(text)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{project['name'].replace('-', '_')}.cdx.json"
    path.write_text(text)
    print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), validate="--validate" in sys.argv[2:])
