"""The page that `dvc plots show` fills, with its drawing library inside: python -m transfer.results.plots_page

By itself DVC 3.67 writes a page that loads Vega from a CDN. With `plots.html_template` in .dvc/config it fills this
one, which needs no network: Vega, Vega-Lite and Vega-Embed come out of the pinned package vl-convert-python. The page
is made where git does not see it, whenever make installs packages.
"""

import re
from pathlib import Path

import vl_convert

from transfer.core.errors import run
from transfer.core.files import write_text

TEMPLATE = Path(__file__).parent / "templates/plots_page.html"
PAGE = Path(".report/plots_template.html")
VEGA_LITE = "5.21"  # of the versions in vl-convert, the newest for the schema (v5) that DVC's plot templates name
PLACEHOLDERS = ("{refresh_tag}", "{scripts}", "{plot_divs}")
"""What DVC replaces in the page, wherever it stands: the library must hold none of it."""


def vega() -> str:
    """Return a script that defines vegaEmbed, as DVC's plots call it, fit to stand inside an HTML page.

    Raises:
        RuntimeError: the library holds what DVC would replace.
    """
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
    found = [placeholder for placeholder in PLACEHOLDERS if placeholder in script]
    if found:
        raise RuntimeError(f"vl-convert's script holds {found}, which DVC would replace")
    return re.sub(r"</(?=script)", r"<\\/", script, flags=re.IGNORECASE).replace("<!--", r"<\!--")


def plots_page() -> str:
    """Return the page, with DVC's placeholders for a refresh and the plots."""
    return TEMPLATE.read_text(encoding="utf-8").replace("{vega}", vega())


def main() -> None:
    """Write the page."""
    write_text(plots_page(), PAGE)
    print(f"wrote  {PAGE}: dvc plots show needs no network now")


if __name__ == "__main__":
    run(main)
