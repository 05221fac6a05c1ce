"""What a section of the benchmark gives."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A figure that this project means to reach.

    Attributes:
        name: what is compared.
        value: what was measured.
        least, most: one of the two bounds, the other None.
    """

    name: str
    value: float
    least: float | None = None
    most: float | None = None

    @property
    def reached(self) -> bool:
        return self.value <= self.most if self.least is None else self.value >= self.least

    @property
    def bound(self) -> str:
        return f"at most {self.most:g}" if self.least is None else f"at least {self.least:g}"

    @property
    def verdict(self) -> str:
        return "reached" if self.reached else "missed"


@dataclass(frozen=True)
class Section:
    """What was measured.

    Attributes:
        figures: for --json.
        lines: to print.
        targets: whose verdicts follow after all sections.
    """

    figures: dict
    lines: list[str]
    targets: list[Target]
