"""For MkDocs: pictures of benchmarks/results in the documentation, which names them as one does in the repository."""

from pathlib import Path
from typing import Any

RESULTS = Path("benchmarks/results")
FROM_A_PAGE = f"../../{RESULTS.as_posix()}/"
"""How a page of docs/benchmarks names the folder, which lies outside of what MkDocs reads."""


def on_files(files: Any, config: Any) -> Any:
    """Add the pictures to the files of the site."""
    from mkdocs.structure.files import File

    root = Path(config.config_file_path).parent
    for path in sorted((root / RESULTS).glob("*.png")):
        files.append(File.generated(config, f"benchmarks/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Name the pictures by where they lie in the site: beside the page."""
    return markdown.replace(FROM_A_PAGE, "")
