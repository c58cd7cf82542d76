"""Check that modules import only from lower layers of the package, and load only what they need."""

import ast
import inspect
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

import convcli
from convcli.engine.methods import BUILT_IN

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "convcli"
FLOORS = (
    {"errors", "options", "progress", "system"},
    {"limits", "plugins"},
    {"stores"},
    {"shapes"},
    {"network", "io"},
    {"kernels"},
    {"engine"},
    {"grad", "drawing"},
    {"jobs"},
    {"learn", "bench"},
    {"cli"},
    {"__main__"},
)
"""From the ground up; a room is a module or a package, within which anything may import anything.
"""

PURE = ("options", "errors", "system", "limits", "shapes", "network")
"""Standard library only, so that a shape costs no import."""

ONNX = ("convcli/network/emit_onnx", "convcli/network/read_onnx")
"""These load the onnx package, and so numpy, when they are called for."""

HEAVY = ("numpy", "PIL", "rich", "dask", "distributed", "fsspec")
OWNERS = {"fsspec": {"stores"}, "click": {"cli"}, "rich": {"cli"}, "PIL": {"io", "drawing", "cli"}}
"""Who may import what, at all."""


class Import(NamedTuple):
    """One imported module, by its full name, and the line of the import."""

    name: str
    line: int
    top: bool


MODULES = {
    path.relative_to(ROOT).with_suffix("").as_posix(): path for path in sorted(HOUSE.rglob("*.py"))
}


def floor(room: str) -> int:
    for height, rooms in enumerate(FLOORS):
        if room in rooms:
            return height
    raise AssertionError(f"convcli/{room} stands on no floor yet; add it to FLOORS")


def room(module: str) -> str:
    """Return the room of a path or module: `engine` for `convcli.engine.execute`, else ""."""
    parts = module.replace("/", ".").split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__init__" else ""


def imports(path: Path) -> Iterator[Import]:
    """Return every import in a file, also those inside functions and for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(name, node.lineno, node in tree.body)


def within(name: str) -> bool:
    return name.split(".")[0] == "convcli"


@pytest.mark.parametrize("module", MODULES)
def test_imports_lead_down(module):
    mine = room(module)
    if not mine:
        return
    for name, line, _ in imports(MODULES[module]):
        theirs = room(name)
        if not within(name) or theirs == mine or theirs.startswith("__"):
            continue
        assert floor(theirs) < floor(mine), f"{module}.py:{line} imports {name}, which is not below"


def test_no_import_goes_in_a_circle():
    """Imports inside functions, and those for type checkers, count too."""
    known = {
        name.replace("/", ".").removesuffix(".__init__"): path for name, path in MODULES.items()
    }
    edges = {
        module: {
            name if name in known else name.rpartition(".")[0]
            for name, _, _ in imports(path)
            if within(name)
        }
        for module, path in known.items()
    }
    edges = {module: (found & known.keys()) - {module} for module, found in edges.items()}
    while leaves := {module for module, found in edges.items() if not found}:
        edges = {module: found - leaves for module, found in edges.items() if module not in leaves}
    assert not edges, "these modules import each other, or one that does"


@pytest.mark.parametrize("module", MODULES)
def test_packages_stay_with_their_owners(module):
    for name, line, _ in imports(MODULES[module]):
        package = name.split(".")[0]
        assert room(module) in OWNERS.get(package, {room(module)}), (
            f"{module}.py:{line} imports {name}"
        )
        if room(module) in PURE and module not in ONNX:
            assert within(name) or package in sys.stdlib_module_names, (
                f"{module}.py:{line} imports {name}"
            )


@pytest.mark.parametrize("module", [module for module in MODULES if room(module) != "cli"])
def test_the_core_never_prints(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert not [f"{module}.py:{call.lineno}" for call in calls if call.func.id == "print"]


@pytest.mark.parametrize(
    "module", [module for module in MODULES if Path(module).parent == Path("convcli/cli")]
)
def test_commands_import_nothing_heavy_at_the_top(module):
    heavy = [
        name for name, _, top in imports(MODULES[module]) if top and name.split(".")[0] in HEAVY
    ]
    assert not heavy


@pytest.mark.parametrize("method", BUILT_IN)
def test_methods_never_import_one_another(method):
    others = {f"convcli.engine.methods.{other}" for other in BUILT_IN if other != method}
    for name, line, _ in imports(HOUSE / "engine" / "methods" / f"{method}.py"):
        assert not {name, name.rpartition(".")[0]} & others, f"{method}.py:{line} imports {name}"


# The modules that are loaded.

LOADED = """
import contextlib, io, json, runpy, sys
sys.argv = ["convcli", *json.loads(sys.argv[1])]
with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
    runpy.run_module("convcli", run_name="__main__") if len(sys.argv) > 1 else __import__("convcli")
print(json.dumps([shown.getvalue(), sorted(sys.modules)]))
"""


def loaded(*arguments: str) -> tuple[str, set[str]]:
    """Return the output of a command, or of `import convcli`, and the modules that it loaded."""
    run = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    shown, modules = json.loads(run.stdout.splitlines()[-1])
    return shown, set(modules)


def test_importing_the_package_loads_nothing_of_it():
    _, modules = loaded()
    assert {name for name in modules if within(name)} == {"convcli"}
    assert not modules & {*HEAVY, "click"}


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("--help",), "Usage:"),
        (("--version",), convcli.__version__),
        (("shape", "28x28", "-k", "3x3"), "26"),
        (("shape", "28x28", "-k", "3x3", "--json"), "26"),
        (("shape", "--help"), "Usage:"),
        (("shape", "28x28x3", "conv:8,k=3", "gap", "linear:10"), "28x28x3 -> 10"),
        (("shape", "samples/networks/resnet18.toml", "--markdown"), "11,689,512"),
        (("shape", "28x28x3", "conv:8,k=3", "--at", "0,0"), "sees"),
        (("shape", "--input-for", "9x9", "conv:8,k=3"), "11x11"),
        (("shape", "--solve", "8x8", "4x4"), "conv:1"),
        (("apply", "--help"), "Usage:"),
        (("batch", "--help"), "Usage:"),
        (("explain", "--help"), "Usage:"),
        (("animate", "--help"), "Usage:"),
        (("laws", "--help"), "Usage:"),
        (("bench", "--help"), "Usage:"),
        (("grad", "--help"), "Usage:"),
        (("gradcheck", "--help"), "Usage:"),
        (("lesson", "--help"), "Usage:"),
        (("lesson", "--list"), "The kernel slides"),
        (("lesson", "4"), "100 - 7 + 1 = 94"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_light_commands_load_nothing_heavy(arguments, shown):
    text, modules = loaded(*arguments)
    assert shown in text
    assert not modules & set(HEAVY)


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_load_no_numpy(name):
    code = f"import sys, convcli.{name}; print('numpy' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "False"


# The public names.


@pytest.mark.parametrize("name", convcli.__all__)
def test_public_names_load_and_are_documented(name):
    value = getattr(convcli, name)
    own = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
    assert own
    assert not own.startswith(f"{value.__name__}("), "a dataclass's generated docstring is none"
    assert name in dir(convcli)
    assert value.__module__.startswith("convcli.")


def test_public_names_stay_after_everything_is_imported():
    """A submodule with a public name's own name would replace it."""
    before = {name: getattr(convcli, name) for name in convcli.__all__}
    for module in pkgutil.walk_packages(convcli.__path__, "convcli."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    assert {name: getattr(convcli, name) for name in convcli.__all__} == before
    functions = (
        "correlate",
        "convolve",
        "conv_layer",
        "conv_transpose",
        "gradients",
        "gradcheck",
        "plan",
        "kernel",
    )
    assert all(inspect.isfunction(getattr(convcli, name)) for name in functions)


def test_no_submodule_is_named_like_a_public_name():
    assert not {module.name for module in pkgutil.iter_modules(convcli.__path__)} & set(
        convcli.__all__
    )


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'convcli' has no attribute 'conv3'"):
        _ = convcli.conv3
    assert not hasattr(convcli, "np")


def test_star_import_gives_the_interface():
    names: dict[str, object] = {}
    exec("from convcli import *", names)
    assert set(convcli.__all__) <= set(names)
