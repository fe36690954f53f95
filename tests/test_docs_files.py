"""docs/architecture.md and CONTRIBUTING.md name files and names in them: all are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "vistadpo_plugin"
PAGES = ("docs/architecture.md", "CONTRIBUTING.md")
PICTURE = re.compile(r"```mermaid\n(.*?)```", re.DOTALL)


def text_of(page: str) -> str:
    """A page without its pictures."""
    return PICTURE.sub("", (ROOT / page).read_text())


def drawn_files() -> Iterator[str]:
    """Files in the boxes of the picture, below the package; a bare name lies beside the file before it."""
    (picture,) = PICTURE.findall((ROOT / "docs/architecture.md").read_text())
    for label in re.findall(r'\["(.+?)"\]', picture):
        folder = ""
        for name in re.findall(r"[\w/*]+(?:\.py\b|/(?=:))", label):
            folder = name.rpartition("/")[0] if "/" in name.rstrip("/") else folder
            yield name if name.startswith(folder) and "/" in name.rstrip("/") else f"{folder}/{name}".lstrip("/")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", text_of(page))
    assert len(links) > 8
    assert [link for link in links if not ((ROOT / page).parent / link).is_file()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_path_in_code_marks_is_there(page: str) -> None:
    """NAME stands for a new one, whose folder has to be there; folders are the repository's or the package's."""
    paths = [path for path in re.findall(r"`([\w./]+)`", text_of(page)) if "/" in path and not path.startswith("..")]
    assert paths
    wanted = [path.rpartition("/")[0] if "NAME" in path else path for path in paths]
    assert [path for path in wanted if not ((ROOT / path).exists() or (PACKAGE / path).exists())] == []


def test_every_file_in_the_picture_is_there() -> None:
    drawn = list(drawn_files())
    assert "data/batches/mates.py" in drawn and "arguments.py" in drawn and len(drawn) > 25
    assert [file for file in drawn if not list(PACKAGE.glob(file))] == []


def test_every_name_said_of_a_file_is_in_it() -> None:
    """As in `[file](path) (`NAME`, `OTHER`)`."""
    said = re.findall(r"\]\((\S+\.py)\)\s+\(((?:`\w+`[,\s]*)+)\)", text_of("docs/architecture.md"))
    pairs = [(file, name) for file, names in said for name in re.findall(r"\w+", names)]
    assert len(pairs) > 12
    absent = [(file, name) for file, name in pairs if name not in (ROOT / "docs" / file).read_text()]
    assert absent == []
