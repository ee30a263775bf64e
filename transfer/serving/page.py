"""The page that a classifier can be tried on: one document that loads nothing else."""

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from transfer.export.contract import Contract
from transfer.serving.limits import Limits
from transfer.serving.uploads import FIELD, TYPES


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def render(contract: Contract, limits: Limits) -> tuple[str, str]:
    """Make the page of a classifier.

    The other string is the Content-Security-Policy that it needs: its own script and style, by their hashes, no others.
    """
    folder = files("transfer.serving") / "templates"
    style, script = ((folder / f"serving.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    text = (
        Environment(loader=PackageLoader("transfer.serving"), autoescape=True, undefined=StrictUndefined)
        .get_template("serving.html.j2")
        .render(
            contract=contract,
            megabytes=limits.max_bytes / (1 << 20),
            field=FIELD,
            types=TYPES,
            style=Markup(style),  # noqa: S704 (files of the project)
            script=Markup(script),  # noqa: S704
        )
    )
    allowed = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "img-src": "blob: data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return text, "; ".join(f"{name} {value}" for name, value in allowed.items())
