"""Who may import whom, as docs/architecture.md draws it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GROUND = {"commandline", "whole_files", "memory", "pixels", "prefetch"}
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


def test_the_public_names_are_there():
    import srwgan

    assert all(getattr(srwgan, name).__name__ == name for name in srwgan.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        getattr(srwgan, "nothing")  # noqa: B009 (a name that is not there)
