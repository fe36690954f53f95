"""The package's layout: imports go one way, nothing goes in circles, and no file or package grows beyond a look."""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from pathlib import Path

import vistadpo_plugin

PACKAGE = Path(vistadpo_plugin.__file__).parent
NAME = PACKAGE.name

ORDER = (
    ("autoload",),
    ("commands",),
    ("ablation",),
    ("bench",),
    ("demo",),
    ("recipe_check", "preview", "evaluation", "annotation", "curation"),
    ("validation",),
    ("layouts",),
    ("datasets", "checkpoints"),
    ("host",),
    ("training",),
    ("serving",),
    ("run_record", "reference"),
    ("scoring",),
    ("models",),
    ("data.batches",),
    ("data.views",),
    ("data.rows",),
    ("data.video", "data.tokens"),
    ("arguments",),
    ("endpoint", "watcher"),
    ("secrets",),
)
"""A room may import rooms below it, none above it and none beside it. Every package and module has a room here."""

LINES, MODULES, IN_THE_ROOT = 400, 12, 6
EVERY_FAMILY_A_FILE = ("models",)


def modules() -> dict[str, Path]:
    """Every module and package by the name it has below the root; the root itself is ""."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


@functools.cache
def imports() -> dict[str, dict[str, int]]:
    """For every module those of ours it imports anywhere in its text, with the line: lazily and for types as well."""
    known = modules()
    graph: dict[str, dict[str, int]] = {}
    for module, path in known.items():
        graph[module] = {}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: write the import's whole name, from {NAME} on"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                below = name.removeprefix(f"{NAME}.")
                if below == name:
                    continue
                # `from package import x` names a module or something in one; what is in the root itself binds nobody.
                target = below if below in known else below.rpartition(".")[0]
                if target in known and target not in ("", module):
                    graph[module].setdefault(target, node.lineno)
    return graph


def room(module: str) -> str:
    """The entry of ORDER that a module belongs to."""
    for rooms in ORDER:
        for name in rooms:
            if module == name or module.startswith(f"{name}."):
                return name
    raise AssertionError(f"{modules()[module]} has no room: give it one in ORDER of {Path(__file__).name}")


def test_imports_go_down_the_order() -> None:
    level = {name: number for number, rooms in enumerate(ORDER) for name in rooms}
    wrong = []
    for module, targets in imports().items():
        for target, line in targets.items():
            if module in ("", "data"):
                continue
            here, there = room(module), room(target)
            if here != there and level[here] >= level[there]:
                wrong.append(f"{modules()[module]}:{line} imports {target}: {here} is not above {there}")
    assert not wrong, "\n".join([*wrong, "Move what both need below both, or hand it over as an argument."])


def test_nothing_is_imported_by_the_packages_that_only_hold_others() -> None:
    assert not imports()[""], "the start-up hook imports the root in every interpreter: it imports nothing"
    assert not imports()["data"]


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = imports()
    done: set[str] = set()

    def circle(module: str, way: tuple[str, ...]) -> tuple[str, ...] | None:
        if module in way:
            return (*way[way.index(module) :], module)
        if module in done:
            return None
        for target in graph[module]:
            found = circle(target, (*way, module))
            if found is not None:
                return found
        done.add(module)
        return None

    for module in graph:
        found = circle(module, ())
        assert found is None, f"{' -> '.join(found)}: move what they share into a module of its own, below both"


def test_files_are_not_too_long() -> None:
    lines = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules().values()}
    long = {path: count for path, count in lines.items() if count > LINES}
    assert not long, f"more than {LINES} lines, split them by idea: {long}"


def test_packages_are_not_too_wide() -> None:
    counts = Counter(path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
    counts.subtract({folder: 1 for folder in counts if folder != "."})  # __init__.py, but for the root's
    wide = {
        folder: count
        for folder, count in counts.items()
        if count > (IN_THE_ROOT if folder == "." else MODULES) and folder not in EVERY_FAMILY_A_FILE
    }
    assert not wide, f"more than {MODULES} modules ({IN_THE_ROOT} in the root): {wide}. Group them in a subpackage"


def test_every_package_says_what_it_is() -> None:
    silent = [
        str(path)
        for path in PACKAGE.rglob("__init__.py")
        if len(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "") < 40
    ]
    assert not silent, f"say in five lines what lives there, what flows in and out, and what it may import: {silent}"


def test_documents_name_files_that_are_there() -> None:
    root = PACKAGE.parent
    gone = []
    for page in sorted((root / "docs").glob("*.md")):
        for path in re.findall(r"[`(](?:\.\./)?([a-z_]+(?:/[a-z_0-9]+)+\.py)[`)]", page.read_text(encoding="utf-8")):
            if not any((folder / path).is_file() for folder in (root, PACKAGE)):
                gone.append(f"{page.name}: {path}")
    assert not gone, f"moved or removed, say where it is now: {gone}"
