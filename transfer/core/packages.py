"""Files that installed Python packages carry, found and checked."""

import base64
import importlib.metadata
from pathlib import Path

from transfer.core.errors import UserError
from transfer.core.files import sha256_of


def find(package: str, version: str) -> importlib.metadata.Distribution:
    """Return an installed package.

    Raises:
        UserError: it is not installed, or in another version.
    """
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"the Python package {package} {version} is not installed: pip install {package}=={version}"
        ) from None
    if distribution.version != version:
        raise UserError(
            f"the Python package {package} is installed in version {distribution.version}: "
            f"pip install {package}=={version}"
        )
    return distribution


def file_in(distribution: importlib.metadata.Distribution, name: str) -> Path:
    """Return the path of a package's file or folder.

    Raises:
        UserError: the package has no such file or folder.
    """
    path = Path(str(distribution.locate_file(name)))
    if not path.exists():
        raise UserError(
            f"the Python package {distribution.name} {distribution.version} has no {name}; correct the name"
        )
    return path


def recorded_sha256(distribution: importlib.metadata.Distribution) -> dict[str, str]:
    """Return the SHA-256 (hexadecimal) of each file of a package, by name, as its RECORD gives them (PEP 376)."""
    recorded = {}
    for file in distribution.files or []:
        if file.hash is not None and file.hash.mode == "sha256":
            padded = file.hash.value + "=" * (-len(file.hash.value) % 4)
            recorded[str(file)] = base64.urlsafe_b64decode(padded).hex()
    return recorded


def require_sha256(path: Path, expected: str) -> None:
    """Check a file against its SHA-256 (hexadecimal).

    Raises:
        UserError: it differs.
    """
    if (received := sha256_of(path)) != expected:
        raise UserError(f"{path}: expected a file with SHA-256 {expected}, received one with {received}")
