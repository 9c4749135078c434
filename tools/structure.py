"""Count rooms, import arrows and circles at the top of a package: `python -m tools.structure [PACKAGE …]`.

A *room* is a file or folder directly inside the package. An *arrow* is one name imported from one file of a room by a
file of another, inside functions and under ``TYPE_CHECKING`` too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGES = ("augment_store", "terramind_weights", "generate", "finetune", "eval", "predict", "demo")


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the dotted module of every import statement in a file, once per statement."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def arrows_between_rooms(package: Path) -> dict[str, set[tuple[str, str]]]:
    """Return the import arrows of a package as ``(importing file, imported module)`` by importing room.

    Args:
        package: Folder of the package, named as it is imported.
    """
    arrows: dict[str, set[tuple[str, str]]] = {}
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).with_suffix("").parts[0]
        arrows.setdefault(room, set())
        for module in imported_modules(path):
            parts = module.split(".")
            if parts[0] == package.name and len(parts) > 1 and parts[1] != room:
                arrows[room].add((str(path), module))
    return arrows


def room_graph(arrows: Mapping[str, set[tuple[str, str]]]) -> dict[str, set[str]]:
    """Return the rooms that each room imports."""
    return {room: {module.split(".")[1] for _, module in found} for room, found in arrows.items()}


def find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the rooms of one import circle, first and last the same; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def module_graph(packages: Sequence[Path]) -> dict[str, set[str]]:
    """Return the modules that each module of the packages imports, to find circles between files."""
    files = {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__"): path
        for package in packages
        for path in sorted(package.rglob("*.py"))
    }
    return {
        name: {m for m in imported_modules(path) if m in files and m != name} for name, path in files.items()
    }


def main(arguments: Sequence[str]) -> int:
    """Print a row per package; returns 1 if any has a circle."""
    circles = 0
    for name in arguments or PACKAGES:
        arrows = arrows_between_rooms(Path(name))
        circle = find_circle(room_graph(arrows))
        circles += bool(circle)
        told = " → ".join(circle) or "no circle"
        rooms = room_graph(arrows)
        pairs = sum(map(len, rooms.values()))
        sys.stdout.write(
            f"{name}: {len(arrows)} rooms, {pairs} arrows between rooms, "
            f"{sum(map(len, arrows.values()))} imports across rooms, {told}\n"
        )
    return 1 if circles else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
