"""Who may import whom: read off the source, nothing is imported."""

from __future__ import annotations

import ast
import functools
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From below: a module imports from the layers under its own, a package also from itself.
LAYERS = (
    {"errors", "locks", "surroundings", "process", "dropout", "staging", "compilation", "memory", "wording"},
    {"sparse", "integrity", "softplus", "products", "convolution", "gradients"},
    {"padded"},
    {"optimizers", "models", "data", "schedules"},
    {"members", "records", "settings", "protocol", "diagnostics", "building"},
    {"population", "training", "matching"},
    {"sparse_population", "guests", "partition", "in_step"},
    {"checkpoints"},
    {"admission"},
    {"run", "analysis"},
    {"tracking", "uploading", "progress", "workers", "measuring"},
    {"properties", "online_convex", "sfo_cost", "verifying", "publishing"},
    {"sweep"},
    {"slurm_job"},
    {"slurm"},
    {"app"},
    {"search"},
    {"tuning"},
    {"comparing"},
)
LEAVES = ("optimizers", "models", "data", "schedules")

# Where a library may be imported at all; hydra's plugins lie outside the package.
ONLY_IN = {
    "wandb": {"tracking", "uploading"},  # the second asks who is logged in, and no more
    "wandb_workspaces": {"publishing"},
    "submitit": {"slurm", "slurm_job"},
    "hydra": {"run", "app", "sweep", "building", "admission"},
    "omegaconf": {"run", "app", "search"},
    "torchvision": {"data"},
    "sklearn": {"data"},
    "rich": {"progress", "analysis"},
    "matplotlib": {"analysis"},
    "jinja2": {"analysis"},
}


@functools.cache
def sources(folder):
    """Every file's dotted name, path and syntax."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    parts = [path.relative_to(ROOT / folder).with_suffix("").parts for path in paths]
    names = [".".join(part for part in each if part != "__init__") for each in parts]
    return [(name, path, ast.parse(path.read_text())) for name, path in zip(names, paths, strict=True)]


def imports(tree, *, package="", deferred=True):
    """The dotted names that a file imports, types' sake apart; ``deferred``: those inside functions too."""
    names = []
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        match node:
            case ast.Import():
                names += [alias.name for alias in node.names]
            case ast.ImportFrom():
                base = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
                names += [".".join(filter(None, (*base, node.module, alias.name))) for alias in node.names]
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                waiting += node.orelse
            case ast.FunctionDef() if not deferred:
                pass
            case _:
                waiting += ast.iter_child_nodes(node)
    return names


@functools.cache
def modules(*, deferred):
    """{module of the package: what its files import}; all files of a subpackage count as one module."""
    found: dict[str, set[str]] = {}
    for name, path, tree in sources("src/adam_repro"):
        package = ".".join(("adam_repro", *path.relative_to(ROOT / "src" / "adam_repro").parent.parts))
        if name:
            found.setdefault(name.split(".")[0], set()).update(imports(tree, package=package, deferred=deferred))
    return found


def within(names):
    """The modules of the package among imported ``names``."""
    return {name.split(".")[1] for name in names if name.startswith("adam_repro.")}


def libraries(names):
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"adam_repro"}


def layer(module):
    (place,) = (place for place, names in enumerate(LAYERS) if module in names)
    return place


def test_every_module_has_a_layer():
    missing = set(modules(deferred=True)) - set().union(*LAYERS)
    assert not missing, f"{missing}: say in LAYERS who may import it"


@pytest.mark.parametrize("module", sorted(set().union(*LAYERS)))
def test_a_module_imports_from_below_only(module):
    imported = within(modules(deferred=False).get(module, ())) - {module}
    above = {name for name in imported if layer(name) >= layer(module)}
    assert not above, f"{module} imports {above}"


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_know_neither_configuration_nor_records_nor_one_another(leaf):
    imported = modules(deferred=True)[leaf]
    assert within(imported) - {leaf} <= set().union(*LAYERS[:3])
    allowed = {"torch"} | ({"torchvision", "PIL", "sklearn", "numpy"} if leaf == "data" else set())
    assert libraries(imported) <= allowed


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_only_where_it_belongs(library):
    importers = {name for name, imported in modules(deferred=True).items() if library in libraries(imported)}
    assert importers <= ONLY_IN[library]


def test_the_analysis_reads_files_without_torch_hydra_or_wandb_not_even_through_others():
    imported_by = modules(deferred=True)
    reached, waiting = set(), {"analysis"}
    while waiting:
        module = waiting.pop()
        reached.add(module)
        assert not libraries(imported_by[module]) & {"torch", "torchvision", "hydra", "omegaconf", "wandb"}, module
        waiting |= within(imported_by[module]) - reached
    assert reached >= {"analysis", "records"}


def test_the_package_imports_neither_scripts_nor_experiments_nor_tests():
    outside = {path.stem for folder in ("scripts", "experiments", "tests") for path in (ROOT / folder).glob("*.py")}
    outside |= {"scripts", "experiments", "tests", "pytest", "hypothesis"}
    for name, _, tree in sources("src"):
        assert not libraries(imports(tree)) & outside, name


def test_hydras_plugins_import_torch_only_when_they_are_used():
    heavy = {"run", "sweep", "slurm", "training", "population", "in_step", "surroundings", "optimizers", "data"}
    for name, _, tree in sources("src/hydra_plugins"):
        imported = imports(tree, deferred=False)
        assert not within(imported) & heavy and "torch" not in libraries(imported), name
