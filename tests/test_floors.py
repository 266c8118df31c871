"""The floors of the package: imports point downward only, and nothing goes in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "s2mlp_cli"

FLOORS = (
    {"__main__"},
    {"cli"},
    {"commands"},
    {"render", "measure", "comparing"},
    {"sample"},
    {"data", "checkpoints"},
    {"models"},
    {"shifts", "spec"},
    {"papers"},
    {"records"},
    {"stats", "accuracy", "units", "errors", "directions", "__init__"},
)
"""From the top down. Parts of one floor do not import each other."""

TORCH_FREE = (
    "spec", "papers", "records", "stats", "accuracy", "units", "errors", "directions",
    "render", "comparing", "commands", "cli",
)  # fmt: skip

FILES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, top_level_only: bool) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = _module_level(tree) if top_level_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def _module_level(tree: ast.Module) -> list[ast.AST]:
    """Return the statements that run at import: not those for type checkers only."""
    found: list[ast.AST] = []
    for node in tree.body:
        guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not guarded:
            found.append(node)
    return found


def floor(name: str) -> int:
    for level, parts in enumerate(FLOORS):
        if name in parts:
            return level
    raise AssertionError(f"s2mlp_cli/{name} stands on no floor: give it one in FLOORS")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downward(path: Path):
    own = part(path)
    for name in imports(path, top_level_only=own == "__init__"):  # the face names all for types
        if not name.startswith("s2mlp_cli"):
            continue
        other = name.split(".")[1] if "." in name else "__init__"
        if other == own:
            continue
        assert floor(other) > floor(own), f"{path} imports {name}, which does not stand below it"


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if part(path) in TORCH_FREE],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_floors_without_torch_do_not_import_it(path: Path):
    heavy = {"torch", "torchvision", "timm", "fvcore", "triton", "matplotlib", "pyarrow"}
    roots = {name.split(".")[0] for name in imports(path, top_level_only=True)}
    assert not roots & heavy
