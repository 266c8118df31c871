"""The floors of the package: imports point downward only, and nothing goes in a circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "s2mlp_cli"

# From the top down. Parts of one floor do not import each other.
FLOORS = (
    {"__main__"},
    {"cli"},
    {"commands"},
    {"views", "measure", "compare"},
    {"sample"},
    {"data", "checkpoints", "runtimes"},
    {"models"},
    {"shifts", "specs"},
    {"papers"},
    {"records"},
    {"files", "user_code"},
    {"statistics", "units", "errors", "directions", "preprocessing"},
    {"__init__"},
    {"_version", "cores"},
)

TORCH_FREE = (
    "specs", "papers", "records", "statistics", "units", "errors", "directions", "files", "user_code",
    "preprocessing",
    "views", "compare", "commands", "cli",
)  # fmt: skip

FILES = sorted(PACKAGE.rglob("*.py"))


def part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path, top_level_only):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = _module_level(tree) if top_level_only else list(ast.walk(tree))
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def _module_level(tree):
    """Return the statements that run at import: not those for type checkers only."""
    found = []
    for node in tree.body:
        guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not guarded:
            found.append(node)
    return found


def floor(name):
    for level, parts in enumerate(FLOORS):
        if name in parts:
            return level
    raise AssertionError(f"s2mlp_cli/{name} stands on no floor: give it one in FLOORS")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downward(path):
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
def test_floors_without_torch_do_not_import_it(path):
    heavy = {"torch", "torchvision", "timm", "fvcore", "triton", "matplotlib", "pyarrow"}
    roots = {name.split(".")[0] for name in imports(path, top_level_only=True)}
    assert not roots & heavy


def module(path):
    dotted = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


def module_imports(path):
    """Return the modules of the package that one file imports, inside functions too."""
    known, found = {module(file) for file in FILES}, set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in members}
    return found & known - {module(path)}


def test_no_imports_go_in_a_circle():
    """Inside a part too; the package's face names everything lazily and is left out."""
    graph = {module(path): module_imports(path) for path in FILES if part(path) != "__init__"}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from error
    assert set(graph) <= set(order)


def test_the_functions_of_the_tests_are_not_annotated():
    """The rule of CONTRIBUTING.md; fields of dataclasses have to be."""
    annotated = [
        f"{path}:{node.lineno}"
        for path in sorted(Path(__file__).parent.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.FunctionDef) and node.returns)
        or (isinstance(node, ast.arg) and node.annotation)
    ]
    assert annotated == []
