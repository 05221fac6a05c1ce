"""What the documents name is there: files, functions, modules; and nothing is named that has moved away."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(path for folder in ("", "docs", "recipes", "SRWGAN_Gen") for path in (ROOT / folder).glob("*.md"))
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")
TEXTS = [
    *DOCUMENTS,
    *ROOT.glob("*.sh"),
    *ROOT.glob("*.py"),
    *ROOT.glob(".github/workflows/*"),
    *ROOT.glob("recipes/*.txt"),
    ROOT / "pyproject.toml",
]


def names_in(path):
    """The functions, classes, methods and constants that a module defines, methods as Class.method."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            yield from (name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name))
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
            if isinstance(node, ast.ClassDef):
                yield from (f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document):
    for text, target in LINK.findall(document.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://", "#", "mailto:")):
            continue
        path = (document.parent / target.partition("#")[0]).resolve()
        assert path.exists(), f"[{text}]({target})"


def test_each_name_of_the_architecture_is_defined_where_it_links_to():
    document = ROOT / "docs" / "architecture.md"
    checked = 0
    for text, target in LINK.findall(document.read_text(encoding="utf-8")):
        name, path = text.strip("`"), document.parent / target
        if path.suffix == ".py" and name != path.name:
            assert name in names_in(path), f"{name} is not in {target}"
            checked += 1
        elif path.is_dir():
            assert name.strip("/") == path.resolve().name
    assert checked > 50


def test_the_architectures_table_is_the_rules_that_imports_are_held_to():
    from tests.test_imports import MAY_IMPORT

    rows = re.findall(r"^\| \[`(\w+)`\]\(\.\./srwgan/\w+\) \|.*\| ([^|]*)\|$", text_of("docs/architecture.md"), re.M)
    assert {name: set(re.findall(r"`(\w+)`", may)) for name, may in rows} == MAY_IMPORT


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def is_there(name):
    """Whether a dotted name is a module, a package, or defined in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:count])
        if path.is_dir() or path.with_suffix(".py").is_file():
            file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            rest = ".".join(parts[count:])
            return not rest or rest in {*names_in(file), *imported_names(file)}
    return False


def imported_names(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Dict):  # names that are imported when first used
            yield from (key.value for key in node.keys if isinstance(key, ast.Constant))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_modules_and_files_that_are_named_are_there(path):
    """The changelog names what has moved, in its tables of what was before."""
    text = re.sub(r"^\|.*\n", "", path.read_text(encoding="utf-8"), flags=re.M) if path.name == "CHANGELOG.md" else None
    text = path.read_text(encoding="utf-8") if text is None else text
    for name in re.findall(r"(?<![\w/.])(?:srwgan|utils)(?:\.\w+)+", text):
        if not re.search(r"\.(NAME|py|md|css|js|txt|ipynb)$", name):
            assert is_there(name), name
    for name in re.findall(r"(?<![\w/.~$-])(?:srwgan|utils|tests|docs|recipes|examples)/[\w./-]*\w", text):
        assert "NAME" in name or (ROOT / name).exists(), name
