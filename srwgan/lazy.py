"""Packages whose public names are imported when they are first used (PEP 562), so that a script starts at once."""

import importlib
import sys
from collections.abc import Callable


def lazily(package: str, public: dict[str, str]) -> tuple[Callable, Callable]:
    """The `__getattr__` and `__dir__` of a package.

    Args:
        package: its name.
        public: {name: the module that it is in}. No name may be that of a module in the package, since importing the
            module puts it there.

    Examples:
        >>> __getattr__, __dir__ = lazily(__name__, PUBLIC)
    """

    def find(name):
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(public[name]), name)
        setattr(sys.modules[package], name, found)  # from now on without a search
        return found

    return find, lambda: sorted(public)
