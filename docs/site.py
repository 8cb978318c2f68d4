"""What mkdocs needs here: notebooks become pages, docstrings are read as they are written."""

import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

_NOTEBOOKS = Path(__file__).parent / "notebooks"


def on_files(files: Files, config: Any) -> Files:
    """Adds a page, and its pictures, for each notebook, as `make notebooks` has stored it."""
    for path in sorted(_NOTEBOOKS.glob("*.ipynb")):
        names = {"unique_key": path.stem, "output_files_dir": f"{path.stem}_files"}
        text, resources = MarkdownExporter().from_filename(str(path), resources=names)
        text = text.replace('<table border="1" class="dataframe">', "<table>")  # so that the theme gives it its look
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, content in resources.get("outputs", {}).items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leaves the words of links that go from a page to source code, which is no part of the site."""
    return markdown if "/" in page.file.src_uri else re.sub(r"\[([^]]+)\]\(\.\./[^)]+\)", r"\1", markdown)


class Docstrings(griffe.Extension):
    """Reads `Example:` as the section that it is, and references as code."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Changes the docstring of an object before it is taken apart."""
        if obj.docstring:
            text = re.sub(r"^(\s*)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r":\w+:(?=`)", "", text)
