"""Who may import whom, as docs/architecture.md draws it."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GROUND = {"commandline", "whole_files", "memory", "pixels", "prefetch", "lazy", "measured"}
MAY_IMPORT = {  # package of srwgan/ -> the packages that it may import, beside the ground floor
    "networks": set(),
    "media": set(),
    "data": {"media"},
    "upscaling": {"networks"},
    "convert": {"media", "networks", "upscaling"},
    "measuring": {"data", "media"},
    "training": {"measuring", "data", "networks", "upscaling"},
}


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_a_package_imports_only_what_it_may():
    for path in sorted((ROOT / "srwgan").rglob("*.py")):
        package = path.relative_to(ROOT / "srwgan").parts[0].removesuffix(".py")
        for module in imported_modules(path):
            top, _, rest = module.partition(".")
            assert top != "utils", f"{path} imports {module}"
            used = rest.partition(".")[0]
            if top == "srwgan" and used and (ROOT / "srwgan" / used).is_dir() and package != "__init__":
                allowed = MAY_IMPORT.get(package, set()) | {package}
                assert used in allowed, f"{path} imports {module}; {package} may import {sorted(allowed) or 'nothing'}"


def test_nothing_imports_a_script():
    for folder in ("srwgan", "utils"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            scripts = {"train_SRWGAN", "testGenerator"} & set(imported_modules(path))
            assert not scripts, f"{path} imports {scripts}"


def test_the_packages_are_those_of_the_rules():
    modules = {path.stem for path in (ROOT / "srwgan").glob("[!_]*.py")}
    packages = {path.parent.name for path in (ROOT / "srwgan").glob("*/__init__.py")}
    assert (modules, packages) == (GROUND, set(MAY_IMPORT))


@pytest.mark.parametrize("module", ["srwgan", "srwgan.media.still.images", "srwgan.media.gif", "srwgan.media.video"])
def test_without_tensorflow(module):
    script = f"import sys, {module}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("package", ["srwgan", "srwgan.media.animation", "srwgan.media.gif", "srwgan.media.video"])
def test_names_that_are_imported_when_they_are_used(package):
    lazy = importlib.import_module(package)
    assert set(lazy.__all__) >= set(lazy.PUBLIC) == set(dir(lazy))
    for name, module in lazy.PUBLIC.items():
        assert getattr(lazy, name) is getattr(importlib.import_module(module), name)
        assert importlib.util.find_spec(f"{package}.{name}") is None  # it would take the name's place
    with pytest.raises(AttributeError, match="nothing"):
        getattr(lazy, "nothing")  # noqa: B009


def test_the_endings_of_animations_are_those_that_are_written():
    from srwgan.media.animation import SUFFIXES, WRITERS

    assert set(SUFFIXES) == set(WRITERS)
