"""Jinja's templates in transfer/results/templates: text is escaped, an unknown name is an error."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment(**layout: bool) -> Environment:
    """Return the engine. `layout` says what becomes of white space, by Jinja's own options."""
    return Environment(loader=PackageLoader("transfer.results"), autoescape=True, undefined=StrictUndefined, **layout)  # type: ignore[arg-type]
