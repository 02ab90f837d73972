"""The import arrows hold: every module is parsed, and every import it makes is looked at."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "nestbit"

# A package of the core imports only those before it. `search` is over arrays; `index` runs its
# plans over the segments of an index.
CORE = ["_native", "kernels", "codecs", "search", "index", "evaluate", "advise"]
# Leaves import the core, and of the other leaves only those named here.
LEAVES: dict[str, set[str]] = {
    "cluster": set(),
    "integrations": set(),
    "io": set(),
    "models": set(),
    "train": set(),
    "server": set(),
    "demo": {"io", "models"},
    "cli": {"cluster", "demo", "integrations", "io", "models", "server", "train"},
}
CORE_PACKAGES = {"numpy", "safetensors"}

# (importing module, imported package): the reason why this import against the rules stands.
EXCEPTIONS = {
    ("nestbit", "integrations"): "re-exports quantize_embeddings, which needs NumPy alone",
}
# (leaf, third-party package) that its modules, its __init__ excepted, may import at their top.
TOP_LEVEL_EXCEPTIONS = {
    ("cli", "typer"): "main() requires it before it imports the commands that declare options",
    ("cli", "rich"): "the same",
}


@dataclass(frozen=True)
class Import:
    module: str  # the importing module, as nestbit.codecs.codec
    target: str  # the imported name, as nestbit.kernels.floats.top_k or numpy
    lazy: bool  # inside a function
    line: int


def modules() -> Iterator[tuple[str, bool, ast.Module]]:
    """Yield each module's dotted name, whether it is a package, and its tree."""
    for path in sorted([*SRC.rglob("*.py"), *SRC.rglob("*.pyi")]):
        parts = ["nestbit", *path.relative_to(SRC).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        yield name, is_package, ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(name: str, tree: ast.Module, is_package: bool) -> Iterator[Import]:
    def visit(node: ast.AST, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for other in child.orelse:
                    yield from visit(other, lazy)
            elif isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(name, alias.name, lazy, child.lineno)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    parents = name.split(".")
                    up = child.level - (1 if is_package else 0)
                    base = ".".join(parents[: len(parents) - up] + ([base] if base else []))
                for alias in child.names:
                    yield Import(name, f"{base}.{alias.name}", lazy, child.lineno)
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from visit(child, lazy or inside)

    yield from visit(tree, False)


MODULES = list(modules())
IMPORTS = [i for name, is_package, tree in MODULES for i in imports_of(name, tree, is_package)]


def part(dotted: str) -> str:
    """The layer of nestbit that a dotted name lies in; "" is the package itself."""
    names = dotted.split(".")
    return names[1] if len(names) > 1 else ""


def foundation(layer: str) -> bool:
    """Whether the layer is a private helper or `errors`, which everything may import."""
    return layer == "errors" or (layer.startswith("_") and layer != "_native")


def layer_of_target(target: str) -> str:
    layer = part(target)
    known = {p.stem for p in SRC.glob("*.py*")} | {p.name for p in SRC.iterdir() if p.is_dir()}
    # `from nestbit import fit` imports the package itself, whatever the name is called.
    return layer if layer in known | set(CORE) | set(LEAVES) else ""


def fault(found: Import) -> str | None:
    """What rule an import of another part of nestbit breaks, or None."""
    layer, target = part(found.module), layer_of_target(found.target)
    if foundation(target) or layer == target:
        return None
    if (found.module, target) in EXCEPTIONS:
        return None
    if layer == "":
        return None if target in CORE else "nestbit/__init__.py re-exports the core alone"
    if foundation(layer):
        return "the foundation imports nothing but itself"
    if layer in CORE:
        if target == "":
            return "the core never imports the package that re-exports it"
        if target in LEAVES:
            return "the core never imports a leaf"
        return None if CORE.index(target) < CORE.index(layer) else "against the arrows of the core"
    if target in CORE or target == "" or target in LEAVES[layer]:
        return None
    return f"the leaf {layer!r} may not import the leaf {target!r}"


def third_party_fault(found: Import) -> str | None:
    """What rule an import of another package breaks, or None."""
    package, layer = found.target.split(".")[0], part(found.module)
    if package in sys.stdlib_module_names or package in CORE_PACKAGES | {"nestbit"}:
        return None
    if layer not in LEAVES:
        return "the core imports NumPy, safetensors and the standard library alone"
    init = found.module == f"nestbit.{layer}"
    if found.lazy or ((layer, package) in TOP_LEVEL_EXCEPTIONS and not init):
        return None
    return "leaves import optional packages inside functions"


def report(faults: list[tuple[Import, str | None]]) -> list[str]:
    return [f"{i.module}:{i.line} imports {i.target}: {why}" for i, why in faults if why]


def test_every_module_is_placed_in_a_layer():
    layers = {part(name) for name, _, _ in MODULES}
    unplaced = {layer for layer in layers if layer and not foundation(layer)}
    assert unplaced <= set(CORE) | set(LEAVES), "add the new package to CORE or LEAVES above"
    assert {"codecs", "search", "evaluate", "integrations"} <= layers  # the tree was found


def test_imports_inside_nestbit_follow_the_arrows():
    inside = [found for found in IMPORTS if found.target.split(".")[0] == "nestbit"]
    assert len(inside) > 20
    assert report([(found, fault(found)) for found in inside]) == []


def test_the_core_needs_numpy_and_safetensors_alone_and_leaves_import_lazily():
    assert report([(found, third_party_fault(found)) for found in IMPORTS]) == []


def test_every_exception_is_still_needed():
    used = {(found.module, layer_of_target(found.target)) for found in IMPORTS}
    assert set(EXCEPTIONS) <= used
    top = {(part(f.module), f.target.split(".")[0]) for f in IMPORTS if not f.lazy}
    assert set(TOP_LEVEL_EXCEPTIONS) <= top


@pytest.mark.parametrize(
    ("module", "source", "why"),
    [
        ("nestbit.codecs.x", "from nestbit.search import search", "against the arrows"),
        ("nestbit.codecs.x", "from ..search import search", "against the arrows"),
        ("nestbit.codecs.x", "from .. import search", "against the arrows"),
        ("nestbit.kernels.x", "def f():\n    import nestbit.codecs", "against the arrows"),
        ("nestbit.search.x", "from nestbit.io import read", "never imports a leaf"),
        ("nestbit.search.x", "from nestbit import io", "never imports a leaf"),
        ("nestbit.search.x", "import nestbit as nb", "never imports the package"),
        ("nestbit._arrays", "from nestbit.codecs import fit", "nothing but itself"),
        ("nestbit.io.x", "from nestbit.cli import main", "leaf 'io' may not import"),
        ("nestbit", "from nestbit.models import load", "re-exports the core alone"),
        ("nestbit.codecs.x", "def f():\n    import scipy", "the core imports NumPy"),
        ("nestbit.models.x", "import torch", "inside functions"),
        ("nestbit.models.x", "try:\n    import torch\nexcept ImportError: ...", "inside functions"),
        ("nestbit.cli", "import typer", "inside functions"),
        ("nestbit.cli.x", "import torch", "inside functions"),
        ("nestbit.cli.x", "import typer", None),
        ("nestbit.models.x", "def f():\n    import torch", None),
        ("nestbit.models.x", "if TYPE_CHECKING:\n    import torch", None),
        ("nestbit.search.x", "from nestbit.codecs import fit", None),
        ("nestbit.cli.x", "from nestbit.models import load", None),
        ("nestbit.cli.x", "from nestbit import fit", None),
        ("nestbit.codecs.x", "from nestbit.errors import InputError\nimport numpy.linalg", None),
    ],
)
def test_the_rules_catch_what_they_are_for(module, source, why):
    found = list(imports_of(module, ast.parse(source), is_package=False))
    faults = [
        fault(i) if i.target.split(".")[0] == "nestbit" else third_party_fault(i) for i in found
    ]
    if why is None:
        assert not any(faults)
    else:
        assert any(why in f for f in faults if f)
