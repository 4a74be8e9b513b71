"""Rules of the house that are easily broken unseen: who imports whom, what a wheel holds, how big
things are.
"""

from __future__ import annotations

import ast
import re
import shutil
import statistics
import subprocess
import sys
import zipfile
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.source import statements

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"logitcache": ROOT / "logitcache", "logitcache_cli": ROOT / "cli"}
CODE = sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.py"))
PYTHON = sorted(
    [
        *ROOT.glob("*.py"),
        *CODE,
        *(path for name in ("tests", "benchmarks") for path in (ROOT / name).rglob("*.py")),
    ]
)

# Floor by floor: a room imports from its own and from lower floors. Rooms of one floor know nothing
# of each other.
FLOORS = (
    (
        "errors",
        "payloads",
        "records",
        "identity",
        "reporter",
        "notebook",
        "hub",
        "ranks",
        "platforms",
        "processes",
        "cluster",
        "extras",
    ),
    ("config",),
    ("targets", "store"),
    ("data",),
    ("models", "cost"),
    ("cache",),
    ("teacher",),
    ("student",),
    ("stages",),
    ("bench",),
    ("forecast",),
    ("study",),
    ("report",),
    ("api",),
    ("cli",),
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
GROUND = FLOORS[0]

WITHOUT_TORCH = (
    "logitcache/errors.py",
    "logitcache/identity.py",
    "logitcache/reporter.py",
    "logitcache/config/",
    "logitcache/store/",
    "logitcache/cache/",
    "cli/",
)
WITH_TRANSFORMERS = (
    "logitcache/data/sources/datasets.py",
    "logitcache/models/",
    "logitcache/teacher/",
    "logitcache/student/budget.py",
    "logitcache/student/callbacks.py",
    "logitcache/student/distiller.py",
    "logitcache/student/settings.py",
    "logitcache/student/trainer.py",
    "logitcache/student/model.py",
    "logitcache/bench/",
    "logitcache/forecast/finetuning.py",
)


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room_of(path: Path) -> str:
    """The room a file of the package stands in; the facade ``logitcache/__init__.py`` stands in
    none.
    """
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "cli" if parts[0] == "cli" else parts[1]


def package_of(path: Path) -> list[str]:
    """The dotted name of the package that relative imports in a file start from."""
    top = next(name for name, folder in PACKAGES.items() if path.is_relative_to(folder))
    return [top, *path.relative_to(PACKAGES[top]).parent.parts]


@cache
def outline(path: Path) -> list[ast.Import | ast.ImportFrom | tuple[int, str]]:
    """The imports of a file, and (lines from ``def`` to the last, docstring included; where) of each
    function and method.
    """
    found: list[ast.Import | ast.ImportFrom | tuple[int, str]] = []
    for node in statements(path):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            found.append((lines, f"{place(path)}:{node.lineno} {node.name}"))
    return found


@cache
def imports(path: Path) -> list[tuple[int, str]]:
    """(line, absolute dotted name) of every import in a file, in function bodies and under
    TYPE_CHECKING too.
    """
    found: list[tuple[int, str]] = []
    for node in outline(path):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = package_of(path)
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *filter(None, [node.module])])
            found += [(node.lineno, f"{name}.{alias.name}") for alias in node.names]
    return found


def imported_room(name: str) -> str | None:
    """The room of an imported name, or None where it is not ours."""
    top, *rest = name.split(".")
    if top == "logitcache_cli":
        return "cli"
    if top != "logitcache":
        return None
    return rest[0] if rest else "__version__"


def may_import(room: str, other: str) -> bool:
    if other == "__version__" or other == room:
        return True
    if room in GROUND and other in GROUND:
        return True
    return other in LEVEL and LEVEL[other] < LEVEL[room]


FACADE = "__init__"  # may import what it likes
ROOMS = sorted({room_of(path) for path in CODE} - {FACADE})


def files_of(room: str) -> list[Path]:
    return [path for path in CODE if room_of(path) == room]


def test_every_room_has_its_floor() -> None:
    assert set(ROOMS) <= set(LEVEL), (
        f"name the floor of {sorted(set(ROOMS) - set(LEVEL))} in FLOORS and in docs/architecture.md"
    )


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it(room: str) -> None:
    wrong = []
    for path in files_of(room):
        for line, name in imports(path):
            other = imported_room(name)
            if other is not None and not may_import(room, other):
                wrong.append(f"{place(path)}:{line} imports {other}")
    assert not wrong


@pytest.mark.parametrize(
    ("room", "other", "allowed"),
    [
        ("targets", "store", False),
        ("store", "targets", False),
        ("targets", "data", False),
        ("data", "store", True),
        ("data", "errors", True),
        ("identity", "records", True),
        ("errors", "data", False),
        ("student", "cache", True),
        ("cache", "student", False),
        ("teacher", "student", False),
        ("report", "study", True),
        ("study", "cli", False),
    ],
)
def test_the_rule_of_floors(room: str, other: str, allowed: bool) -> None:
    assert may_import(room, other) is allowed


@pytest.mark.parametrize("room", [FACADE, *ROOMS])
def test_heavy_libraries_stay_in_their_rooms(room: str) -> None:
    wrong = []
    for path in files_of(room):
        forbidden = set()
        if place(path).startswith(WITHOUT_TORCH):
            forbidden.add("torch")
        if not place(path).startswith(WITH_TRANSFORMERS):
            forbidden |= {"transformers", "datasets"}
        for line, name in imports(path):
            top = name.split(".")[0]
            if top in forbidden:
                wrong.append(f"{place(path)}:{line} imports {top}")
    assert not wrong


def loaded_by(arguments: list[str]) -> set[str]:
    """Top-level names of everything that is loaded once a command line has run in an interpreter of
    its own.
    """
    script = (
        "import contextlib, io, sys\n"
        "from logitcache_cli.main import cli\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    cli({arguments!r}, standalone_mode=False)\n"
        "print(*{name.split('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_help_loads_nothing_heavy() -> None:
    heavy = {
        "torch",
        "transformers",
        "datasets",
        "accelerate",
        "numpy",
        "pandas",
        "pyarrow",
        "scipy",
        "sklearn",
    }
    assert not loaded_by(["--help"]) & (heavy | {"matplotlib", "rich"})


@pytest.mark.parametrize("command", ["inspect", "compare"])
def test_light_commands_load_no_torch(command: str) -> None:
    assert not loaded_by([command, "--help"]) & {"torch", "transformers"}


def test_the_installed_package_has_two_import_names(tmp_path: Path) -> None:
    names = (distribution("logitcache").read_text("top_level.txt") or "").split()
    assert sorted(names) == sorted(PACKAGES)
    script = "import importlib.util as u; print([n for n in ('cli', 'tests', 'benchmarks') if u.find_spec(n)])"
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_a_wheel_holds_the_two_packages_whole_and_nothing_else(tmp_path: Path) -> None:
    # setuptools builds beside the source, and takes along what an earlier build left there
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("logitcache", "cli", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(source),
    ]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        f"{top}/{path.relative_to(folder).as_posix()}"
        for top, folder in PACKAGES.items()
        for path in folder.rglob("*.py")
    }
    assert inside == expected | {"logitcache/py.typed"}


def function_lengths(path: Path) -> list[tuple[int, str]]:
    return [entry for entry in outline(path) if isinstance(entry, tuple)]


def test_files_and_functions_are_small() -> None:
    long_files = [place(path) for path in PYTHON if len(path.read_text("utf-8").splitlines()) > 400]
    long_functions = [
        where for path in PYTHON for lines, where in function_lengths(path) if lines > 80
    ]
    assert not long_files, "over 400 lines"
    assert not long_functions, "over 80 lines"


def test_the_median_function_has_at_most_ten_lines() -> None:
    assert statistics.median(lines for path in CODE for lines, _ in function_lengths(path)) <= 10


def text_files() -> list[Path]:
    kinds = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".json", ".cff", ".svg", ".sh"}
    folders = ("logitcache", "cli", "tests", "benchmarks", "docs")
    inside = [path for name in folders for path in (ROOT / name).rglob("*")]
    return [
        *(path for path in [*ROOT.iterdir(), *inside] if path.is_file() and path.suffix in kinds),
        *(ROOT / name for name in ("Makefile", ".ci/run", ".gitignore")),
    ]


# Where the words of other libraries are searched, because they have no type for what happened.
READS_WORDS_OF_LIBRARIES = (
    "logitcache/hub.py",
    "logitcache/data/sources/datasets.py",
    "logitcache/models/call.py",
    "logitcache/store/files.py",
    "logitcache/store/streaming.py",
)
PROSE = r"\w+\.(message|problem|reason|advice|remark|note)\b"
READS_PROSE = re.compile(
    rf"['\"] (?:not )?in str\(|\bin {PROSE}(?!\w*\()|[=!]= {PROSE}|\b{PROSE}( [=!]= |\.\w)"
)


def test_no_logic_reads_prose() -> None:
    """What happens must not depend on the wording of a message: errors carry fields, other values
    are enums.
    """
    found = []
    for path in CODE:
        if place(path) in READS_WORDS_OF_LIBRARIES:
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if READS_PROSE.search(line):
                found.append(f"{place(path)}:{number}")
    assert not found, "these lines read words: carry a value instead"


def test_only_tasks_and_options_know_which_tasks_there_are() -> None:
    asks = re.compile(r"\b(task|kind)\.name [!=]=|[!=]= EMBEDDING\b|[!=]= ['\"](causal|masked)-lm")
    found = []
    for path in CODE:
        if not place(path).startswith(("logitcache/data/tasks/", "logitcache/config/")):
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                if asks.search(line):
                    found.append(f"{place(path)}:{number}")
    assert not found, "these lines ask which task it is: give the tasks an attribute for it"


def test_no_file_names_a_place_on_one_machine() -> None:
    machine = re.compile(rf"(?<![\w.~])/({'|'.join(['work', 'root', 'home', 'Users'])})/")
    found = [place(path) for path in text_files() if machine.search(path.read_text("utf-8"))]
    assert not found
