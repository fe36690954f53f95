"""The wheel: what is in it, and that its start-up files act in a bare interpreter and go when it is uninstalled."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "constraints.txt", "recipes", "tests", "vistadpo_plugin")

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="pip builds and installs the wheel")


def pip(*words: str | Path, cwd: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *words], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy, so that no build folder is left behind."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, source / name)
    isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    pip("wheel", "--no-deps", *isolation, "--wheel-dir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


def start_file(wheel: Path, name: str) -> str:
    return zipfile.ZipFile(wheel).read(name).decode("ascii")


def test_start_up_files_lie_at_the_root(names: list[str]) -> None:
    assert [name for name in names if "/" not in name] == ["vistadpo_plugin.pth", "vistadpo_plugin.start"]


def test_recipes_come_along(names: list[str]) -> None:
    shipped = {f"vistadpo_plugin/recipes/{path.name}" for path in (ROOT / "recipes").iterdir()}
    assert len(shipped) > 3 and shipped <= set(names)


def test_pth_is_one_plain_import(wheel: Path) -> None:
    # Scanners flag anything else, and `site` executes a line only if it begins with `import`.
    assert start_file(wheel, "vistadpo_plugin.pth") == "import vistadpo_plugin.autoload\n"


def test_start_names_a_callable_that_acts_once(wheel: Path) -> None:
    (line,) = start_file(wheel, "vistadpo_plugin.start").splitlines()
    module, _, function = line.partition(":")
    assert module == "vistadpo_plugin.autoload" and function.isidentifier()
    # As Python 3.15 does it (PEP 829), and twice more.
    code = (
        f"import pkgutil, sys; start = pkgutil.resolve_name({line!r}); "
        "finders = lambda: [type(finder).__name__ for finder in sys.meta_path].count('_HostWatcher'); "
        "seen = [finders()]; "
        "[(start(), seen.append(finders())) for _ in range(2)]; "
        "sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != '_HostWatcher']; "
        "seen.append(finders()); start(); seen.append(finders()); "
        "import json; print(json.dumps(seen))"
    )
    env = {key: value for key, value in os.environ.items() if key != "VISTADPO_AUTOLOAD"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [1, 1, 1, 0, 1]


def test_holds_the_package_and_nothing_else(names: list[str]) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "vistadpo_plugin").rglob("*.py")}
    assert modules - set(names) == set()
    assert {name.split("/")[0] for name in names if "/" in name and ".dist-info/" not in name} == {"vistadpo_plugin"}
    assert [name for name in names if name.startswith("vistadpo_plugin/startup") or "test" in name] == []


def test_holds_the_tasks_for_lmms_eval(names: list[str]) -> None:
    folder = "vistadpo_plugin/evaluation/lmms_eval/tasks"
    assert {f"{folder}/{name}" for name in ("videohallucer.yaml", "eventhallusion.yaml", "stub.jsonl")} <= set(names)


def test_command_and_pinned_host_are_declared(wheel: Path, names: list[str]) -> None:
    read = {name.split("/")[1]: zipfile.ZipFile(wheel).read(name).decode() for name in names if ".dist-info/" in name}
    assert "vistadpo = vistadpo_plugin.commands.main:main" in read["entry_points.txt"]
    from vistadpo_plugin.host import HOSTS

    asked = [Requirement(line.split(": ")[1]) for line in read["METADATA"].splitlines() if "Requires-Dist" in line]
    allowed = {one.name: one.specifier for one in asked if one.marker is None}
    assert all(known.version in allowed["llamafactory"] for known in HOSTS)
    assert all(version in allowed["transformers"] for known in HOSTS for version in known.transformers)


def test_hook_comes_and_goes_with_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """In an environment that holds nothing: no pip, no torch, no LLaMA-Factory."""
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / "bin" / "python"

    def start(**environment: str) -> Any:
        code = (
            "import json, sys; print(json.dumps([sorted(name for name in sys.modules if 'vistadpo' in name), "
            "[type(finder).__name__ for finder in sys.meta_path].count('_HostWatcher')]))"
        )
        env = {key: value for key, value in os.environ.items() if key != "VISTADPO_AUTOLOAD"} | environment
        # -I: neither PYTHONPATH nor the current folder may stand in for what is installed.
        done = subprocess.run([python, "-I", "-c", code], env=env, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return json.loads(done.stdout)

    assert start() == [[], 0]
    pip("--python", python, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    hook = ["vistadpo_plugin", "vistadpo_plugin.autoload", "vistadpo_plugin.watcher"]
    assert start() == [hook, 1]
    assert start(VISTADPO_AUTOLOAD="0") == [hook, 0]
    pip("--python", python, "uninstall", "--yes", "vistadpo-plugin", cwd=tmp_path)
    assert start() == [[], 0]
    assert list((tmp_path / "bare").rglob("*vistadpo*")) == []
