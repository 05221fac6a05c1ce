"""pyproject.toml beside the requirements files, the citation and the changelog."""

import re
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # which pytest brings along

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]


def requirements(kind=""):
    """The requirements of a file and of those that it includes."""
    found = set()
    for line in (ROOT / f"requirements{kind}.txt").read_text().splitlines():
        if line.startswith("-r "):
            found |= requirements(line.removeprefix("-r requirements").removesuffix(".txt"))
        elif line and not line.startswith("#"):
            found.add(line)
    return found


def dependencies(extra=None):
    """What pip installs for the project with an extra."""
    found = set(PROJECT["dependencies"])
    for name in PROJECT["optional-dependencies"].get(extra, ()):
        own = re.fullmatch(r"srwgan\[(.*)\]", name)
        found |= {each for part in own[1].split(",") for each in dependencies(part)} if own else {name}
    return found


@pytest.mark.parametrize("extra", PROJECT["optional-dependencies"])
def test_extras_are_the_requirements_files(extra):
    assert dependencies(extra) == requirements() | requirements(f"-{extra}")


def test_dependencies_are_requirements_txt():
    assert dependencies() == requirements()
    files = {path.stem.removeprefix("requirements") for path in ROOT.glob("requirements*.txt")}
    assert files == {""} | {f"-{extra}" for extra in PROJECT["optional-dependencies"]}


def test_every_folder_of_code_is_a_package_and_every_file_beside_it_is_installed():
    patterns = SETTINGS["tool"]["setuptools"]["package-data"]
    installed = {
        path
        for package, globs in patterns.items()
        for pattern in globs
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    for top in "srwgan", "utils":
        for path in (ROOT / top).rglob("*"):
            if path.suffix == ".py":
                assert (path.parent / "__init__.py").exists(), path
            elif path.is_file() and "__pycache__" not in path.parts:
                assert path in installed, path


def test_the_version_is_one():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## \[(\d[^\]]*)\] - (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert citation["version"] == newest[1] == PROJECT["version"]
    assert citation["date-released"] == date.fromisoformat(newest[2])


def test_the_citation_has_what_the_format_demands():
    """The required keys of the Citation File Format 1.2.0 and of its person and entity."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["title"]
    assert citation["license"] == PROJECT["license"] and citation["type"] == "software"
    for source in [citation, *citation["references"]]:
        assert all("name" in author or "family-names" in author for author in source["authors"])
    assert all({"type", "title", "authors", "year"} <= set(source) for source in citation["references"])


def test_continuous_integration_runs_the_lowest_versions_that_are_promised():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    lowest = workflow["jobs"]["tests"]["strategy"]["matrix"]["include"][0]
    assert PROJECT["requires-python"] == f">={lowest['python']}"
    assert f"tensorflow>={lowest['tensorflow'].removeprefix('tensorflow==').removesuffix('.*')}" in dependencies()
    assert f"Python {lowest['python']} or newer" in (ROOT / "README.md").read_text()
