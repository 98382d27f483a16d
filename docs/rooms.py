"""Draws the rooms and what they import into ARCHITECTURE.md: ``python -m docs.rooms``.

An arrow goes from a room to each that it imports, but to none that it also reaches by way of
another. It is Mermaid's notation, which GitHub draws.
"""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "ARCHITECTURE.md"
BEGIN, END = "<!-- rooms: python -m docs.rooms writes what follows -->\n", "<!-- /rooms -->\n"

# From the ground up: a room imports only what stands before it. What is not a stage has no data of
# its own, or asks several stages for it.
ROOMS = (
    *("stages", "stages.ingest", "stages.eda", "stages.split", "stages.vocab", "stages.network"),
    *("stages.train", "stages.threshold", "stages.bundle", "stages.explain", "stages.predict"),
    *("stages.report", "evaluation.judge", "experiments.plan", "experiments.sources"),
    *("experiments.dvc_project", "experiments", "evaluation.ensemble", "evaluation"),
    *("flows", "tagloom"),
)


@cache
def imported(file: Path) -> frozenset[str]:
    """The modules that ``file`` names in imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{file}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def files_of(room: str) -> list[Path]:
    """The files of a room, without those of a room in it."""
    path = ROOT / room.replace(".", "/")
    inner = [ROOT / each.replace(".", "/") for each in ROOMS if each.startswith(f"{room}.")]
    files = [path.with_suffix(".py")] if not path.is_dir() else sorted(path.rglob("*.py"))
    return [file for file in files if not any(each in file.parents for each in inner)]


def is_in(name: str, room: str) -> bool:
    """Whether the module ``name`` stands in ``room``, and in no room in it."""
    inner = [each for each in ROOMS if each.startswith(f"{room}.")]
    return f"{name}.".startswith(f"{room}.") and not any(is_in(name, each) for each in inner)


def arrows() -> dict[str, set[str]]:
    """The rooms that each room imports; the parts of experiments are taken as one."""
    direct: dict[str, set[str]] = {}
    for room in ROOMS:
        for file in files_of(room):
            names = imported(file)
            reached = {shown(each) for each in ROOMS for name in names if is_in(name, each)}
            direct.setdefault(shown(room), set()).update(reached - {shown(room)})
    return {room: reached for room, reached in direct.items() if reached or room == "stages"}


def shown(room: str) -> str:
    return "experiments" if room.startswith("experiments.") else room


def without_detours(direct: dict[str, set[str]]) -> dict[str, set[str]]:
    """The transitive reduction of a graph without circles."""

    def reached(room: str) -> set[str]:
        return direct[room].union(*(reached(each) for each in direct[room]))

    return {
        room: {each for each in below if not any(each in reached(other) for other in below)}
        for room, below in direct.items()
    }


def drawing() -> str:
    """The rooms in Mermaid's notation, what imports above what is imported."""
    graph = without_detours(arrows())
    order = list(reversed(graph))
    lines = [f'  {name(room)}["{room.replace(".", "/")}"]' for room in order]
    lines += [f"  {name(room)} --> {name(each)}" for room in order for each in sorted(graph[room])]
    return "\n".join(["```mermaid", "graph TD", *lines, "```"]) + "\n"


def name(room: str) -> str:
    return room.replace(".", "_")


def page() -> str:
    """ARCHITECTURE.md with the drawing as it is now."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{drawing()}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
