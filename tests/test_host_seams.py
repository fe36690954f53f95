"""What we rely on in the host is there, thing by thing (the table is host_seams.py); and the table of host versions.

Run this file first on a new version of LLaMA-Factory: every failure names what is gone and the files that want it.
"""

from __future__ import annotations

import ast
import dataclasses
import dis
import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from host_seams import SEAMS
from packaging.requirements import Requirement
from packaging.version import Version

from vistadpo_plugin import host
from vistadpo_plugin.autoload import HOST_MODULES
from vistadpo_plugin.models import families

PACKAGE = Path(host.__file__).parent


@dataclasses.dataclass(frozen=True)
class Seam:
    module: str
    name: str
    wanted: str
    who: str

    def __str__(self) -> str:
        kind = self.wanted.partition(":")[0] if ":" in self.wanted else ""
        return f"{self.module}.{self.name}{f' {kind}' if kind else ''}"


def seams() -> Iterator[Seam]:
    module = ""
    for line in SEAMS.replace("\\\n", "").strip().splitlines():
        if line.startswith(" "):
            yield Seam(module, *(part.strip() for part in line.split("|")))
        else:
            module = line


def missing(seam: Seam) -> str | None:
    """What the host lacks of a seam."""
    try:
        found: Any = importlib.import_module(f"llamafactory.{seam.module}")
    except ImportError as error:
        return f"the module does not import ({error})"
    for part in seam.name.split("."):
        if not hasattr(found, part):
            return f"there is no `{part}`"
        found = getattr(found, part)
    kind, _, listed = seam.wanted.rpartition(":")
    wanted = [name.strip() for name in listed.split(",") if name.strip()]
    if not wanted:
        return None
    found = inspect.unwrap(found)  # what our own patches wrap
    if kind == "fields":
        there = {field.name for field in dataclasses.fields(found)}
        return lacking("fields", [name for name in wanted if name not in there])
    if kind == "sets":
        there = {step.argval for step in dis.get_instructions(found) if step.opname == "STORE_ATTR"}
        return lacking("attributes set", [name for name in wanted if name not in there])
    there = [name for name in inspect.signature(found).parameters if name != "self"]
    if "..." not in wanted:
        return None if there == wanted else f"its parameters are ({', '.join(there)}), not ({', '.join(wanted)})"
    named = [name for name in wanted if name != "..."]
    if [name for name in there if name in named] != named:
        return f"its parameters are ({', '.join(there)}), which are not ({', '.join(wanted)})"
    first = wanted[: wanted.index("...")]
    return None if there[: len(first)] == first else f"its parameters do not begin with ({', '.join(first)})"


def lacking(what: str, names: list[str]) -> str | None:
    return f"no {what} {', '.join(names)}" if names else None


@pytest.mark.parametrize("seam", seams(), ids=str)
def test_the_host_has(seam: Seam) -> None:
    lack = missing(seam)
    assert lack is None, f"llamafactory.{seam.module}.{seam.name}: {lack}. Wanted by {seam.who}."


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("gone | name | | x.py", "the module does not import (No module named 'llamafactory.gone')"),
        ("data.loader | absent | | x.py", "there is no `absent`"),
        (
            "extras.ploting | plot_loss | keys, save_dictionary | x.py",
            "its parameters are (save_dictionary, keys), not",
        ),
        ("model | load_tokenizer | model_args, more, ... | x.py", "which are not (model_args, more, ...)"),
        ("model | load_model | model_args, ... | x.py", "its parameters do not begin with (model_args)"),
        ("data.parser | DatasetAttr | fields: ranking, rank | x.py", "no fields rank"),
        ("train.dpo.trainer | CustomDPOTrainer.__init__ | sets: beta, delta | x.py", "no attributes set delta"),
    ],
)
def test_what_is_gone_is_named(line: str, reason: str) -> None:
    assert reason in (missing(Seam(*(part.strip() for part in line.split("|")))) or "")


# --- the table is whole and its files are there ----------------------------------------------------------------------


def imported_names() -> Iterator[tuple[str, str, str]]:
    """(file, module, name) of every `from llamafactory.module import name` of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            file = path.relative_to(PACKAGE).as_posix()
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("llamafactory."):
                yield from ((file, node.module.removeprefix("llamafactory."), alias.name) for alias in node.names)


def patched_names() -> Iterator[tuple[str, str, str]]:
    """(file, module, name) of everything that a patch of host.py reads of the module it is given."""
    modules = {patch.__name__: name.removeprefix("llamafactory.") for name, patch in host.PATCHES.items()}
    functions = {
        node.name: node for node in ast.parse(inspect.getsource(host)).body if isinstance(node, ast.FunctionDef)
    }
    calls = {
        inner.func.id: modules[name]
        for name in modules
        for inner in ast.walk(functions[name])
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id.startswith("_patch_")
    }
    for function, module in {**modules, **calls}.items():
        given = functions[function].args.args[0].arg
        for node in ast.walk(functions[function]):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == given:
                yield f"host.py:{function}", module, node.attr


def test_the_table_lists_whatever_the_package_takes_of_the_host() -> None:
    known = {(seam.module, seam.name.split(".")[0]) for seam in seams()}
    submodules = {(seam.module.rpartition(".")[0], seam.module.rpartition(".")[2]) for seam in seams()}
    taken = [*imported_names(), *patched_names()]
    assert len(taken) > 50
    assert [use for use in taken if use[1:] not in known | submodules] == []


def test_the_files_in_the_table_are_there() -> None:
    for seam in seams():
        for who in seam.who.split(", "):
            file, _, function = who.partition(":")
            assert (PACKAGE / file).is_file(), f"{seam}: there is no {file}"
            assert not function or hasattr(host, function), f"{seam}: host.py has no {function}"


def test_the_hook_watches_the_modules_that_are_patched() -> None:
    assert set(host.PATCHES) == HOST_MODULES


def test_a_patch_is_shorter_than_25_lines() -> None:
    functions = [node for node in ast.parse(inspect.getsource(host)).body if isinstance(node, ast.FunctionDef)]
    lines = {node.name: node.end_lineno - node.lineno + 1 for node in functions if node.name.startswith("_patch_")}
    assert len(lines) >= len(host.PATCHES)
    assert {name: count for name, count in lines.items() if count >= 25} == {}


# --- the table of versions -------------------------------------------------------------------------------------------

FIRST = host.HOSTS[0]  # 0.9.5
NEXT = host.HostVersion("0.9.6.dev0", transformers=("5.8.0", "5.8.0"), faults=frozenset({"internvl_video_first"}))
"""As it would be added: the host's main, which has a constraint file. Qwen3-VL's later videos are mended there."""


def install(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: versions.get(name) or real(name))


def test_the_table_says_what_is_known_of_the_installed_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert host.installed_host().version == importlib.metadata.version("llamafactory")
    monkeypatch.setattr(host, "HOSTS", (FIRST,))
    install(monkeypatch, llamafactory=NEXT.version, transformers="5.8.0")
    with pytest.raises(ImportError, match=r"knows version 0\.9\.5; 0\.9\.6\.dev0 is installed"):
        host.installed_host()
    monkeypatch.setattr(host, "HOSTS", (FIRST, NEXT))
    assert host.installed_host() is NEXT
    install(monkeypatch, llamafactory="0.9.4")
    with pytest.raises(ImportError, match=r"knows version 0\.9\.5, 0\.9\.6\.dev0; 0\.9\.4 is installed"):
        host.installed_host()


@pytest.mark.parametrize(
    ("version", "transformers", "refused"),
    [
        ("0.9.5", "5.5.4", True),
        ("0.9.5", "5.6.0", False),
        ("0.9.6.dev0", "5.6.0", True),
        ("0.9.6.dev0", "5.8.0", False),
    ],
)
def test_transformers_too_old_for_us_is_refused(
    monkeypatch: pytest.MonkeyPatch, version: str, transformers: str, refused: bool
) -> None:
    monkeypatch.setattr(host, "HOSTS", (FIRST, NEXT))
    install(monkeypatch, llamafactory=version, transformers=transformers)
    if not refused:
        assert host.installed_host().version == version
        return
    with pytest.raises(ImportError) as error:
        host.installed_host()
    newest = {"0.9.5": "5.6.0", "0.9.6.dev0": "5.8.0"}[version]
    assert f"{transformers} is installed" in str(error.value)
    assert f"pip install transformers=={newest}" in str(error.value) and "VISTADPO_AUTOLOAD=0" in str(error.value)


def test_what_a_host_has_mended_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The patch itself, on a copy of the host's templates: which of them refuse a second video, a late picture."""
    refusing = {known.version: refusing_templates(monkeypatch, known) for known in (FIRST, NEXT)}
    assert refusing == {"0.9.5": {"intern_vl", "qwen3_vl", "qwen3_5"}, "0.9.6.dev0": {"intern_vl"}}


def refusing_templates(monkeypatch: pytest.MonkeyPatch, known: host.HostVersion) -> set[str]:
    from llamafactory.data import template
    from llamafactory.data.mm_plugin import get_mm_plugin

    monkeypatch.setattr(host, "installed_host", lambda: known)
    fresh = {
        "qwen3_vl": get_mm_plugin("qwen3_vl", image_token="<|image_pad|>", video_token="<|video_pad|>"),
        "qwen3_5": get_mm_plugin("qwen3_vl", image_token="<|image_pad|>", video_token="<|video_pad|>"),
        "intern_vl": get_mm_plugin("intern_vl", image_token="<image>", video_token="<video>"),
    }
    some = [dataclasses.replace(f, templates=tuple(n for n in f.templates if n in fresh), register=None)
            for f in families()]  # fmt: skip
    monkeypatch.setattr(host, "families", lambda: some)
    for name, plugin in fresh.items():
        monkeypatch.setattr(template.TEMPLATES[name], "mm_plugin", plugin)
    host._patch_template(template)
    return {name for name in fresh if hasattr(template.TEMPLATES[name].mm_plugin, "refusal")}


def test_every_refusal_names_a_fault_of_the_table_and_none_is_left_over() -> None:
    assert {family.fault for family in families() if family.fault} == set().union(*(h.faults for h in host.HOSTS))
    assert [family.name for family in families() if (family.fault is None) != (family.refusal is None)] == []


def pins() -> dict[str, dict[str, str]]:
    """What each constraint file pins, by the version of the host in it."""
    files = [
        dict(line.split("==") for line in path.read_text().splitlines() if "==" in line and not line.startswith("#"))
        for path in PACKAGE.parent.glob("constraints*.txt")
    ]
    return {pinned["llamafactory"]: pinned for pinned in files}


def test_pip_is_told_the_same() -> None:
    """pyproject.toml and the constraint files against the table, and the table against the host's own word."""
    project = (PACKAGE.parent / "pyproject.toml").read_text()
    declared = re.search(r"^dependencies = \[(.*?)^\]", project, re.S | re.M).group(1)
    asked = {one.name: one.specifier for one in map(Requirement, re.findall(r'^ *"(.+)",', declared, re.M))}
    for known in host.HOSTS:
        assert known.version in asked["llamafactory"]
        assert all(version in asked["transformers"] for version in known.transformers)
    for known in {*host.HOSTS, NEXT}:
        oldest, newest = map(Version, known.transformers)
        assert oldest <= Version(pins()[known.version]["transformers"]) <= newest
    assert "5.5.4" not in asked["transformers"] and "0.9.4" not in asked["llamafactory"]
    own = {one.name: one.specifier for one in map(Requirement, importlib.metadata.requires("llamafactory"))}
    assert f"<={host.installed_host().transformers[1]}" in str(own["transformers"])


def test_constraint_files_differ_by_host_and_transformers_alone() -> None:
    """So that a test which fails under one of them fails because of these two."""
    first, other = (set(pins()[known.version].items()) for known in (FIRST, NEXT))
    assert {name for name, _ in first ^ other} == {"llamafactory", "transformers"}
