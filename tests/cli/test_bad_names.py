"""Names that the hub does not have, or does not give: one line and exit code 2, whatever the
command asked for.
"""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.cli.desk import the_error

fakes = runpy.run_path(str(Path(__file__).parents[1] / "fake_hub.py"))

# Several command lines in one process: one that imports torch takes seconds.
CODE = """
import json, sys
from click.testing import CliRunner
from logitcache_cli.main import cli
found = [CliRunner().invoke(cli, line.split()) for line in sys.argv[1:]]
print(json.dumps([[each.exit_code, each.stdout, each.stderr] for each in found]))
"""
DUMP = "dump --teacher {} --data rows"
TRAIN = "train --method base --student {} --data rows"
DATA = "train --method base --data {} --student 1x32"
CASES = {
    DUMP.format("org/none"): ("org/none: ", "has no model of this name"),
    TRAIN.format("org/none"): ("org/none: ", "has no model of this name"),
    DUMP.format("org/closed"): (
        "org/closed: ",
        "access to this model is restricted",
        "hf auth login",
    ),
    TRAIN.format("org/closed"): (
        "org/closed: ",
        "access to this model is restricted",
        "hf auth login",
    ),
    DATA.format("org/none"): (
        "org/none: ",
        "no such file or folder",
        "has no data set of this name",
    ),
    DATA.format("glue/sst2"): (
        "preset glue/sst2, data set nyu-mll/glue:sst2: ",
        "has no data set of this name",
    ),
    DATA.format("rows") + " --unlabelled org/none": ("org/none: ", "has no data set of this name"),
    DUMP.format("org/none") + " --revision v9": ("org/none: ",),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """``{command line: (exit code, stdout, stderr)}``: with a hub, and ("away: ...") without."""
    folder, served = tmp_path_factory.mktemp("bad-names"), tmp_path_factory.mktemp("hub")
    (folder / "rows").mkdir()
    (folder / "rows" / "train.jsonl").write_text(
        '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n'
    )
    (served / "models" / "org" / "closed").mkdir(parents=True)
    (served / "models" / "org" / "closed" / "config.json").write_text("{}")
    code = f"import os; os.chdir({str(folder)!r}){CODE}"
    found: dict[str, Any] = {}
    with fakes["FakeHub"](served) as hub:
        hub.gated.add("org/closed")
        for name, endpoint in (("", None), ("away: ", fakes["closed_port"]())):
            done = fakes["run_python"](hub, folder / "home", code, *CASES, endpoint=endpoint)
            assert done.returncode == 0, done.stderr
            found |= {
                name + line: each for line, each in zip(CASES, json.loads(done.stdout), strict=True)
            }
    found["left"] = sorted(path.name for path in folder.iterdir())
    return found


@pytest.mark.parametrize("line", CASES)
@pytest.mark.slow
def test_what_the_hub_does_not_give_is_one_line(ended: dict[str, Any], line: str) -> None:
    code, stdout, stderr = ended[line]
    assert (code, stdout) == (2, ""), stderr
    said = the_error(stderr, "SpecError")
    assert not [part for part in CASES[line] if part not in said], said


@pytest.mark.parametrize("line", CASES)
@pytest.mark.slow
def test_a_hub_out_of_reach_is_one_line(ended: dict[str, Any], line: str) -> None:
    code, stdout, stderr = ended[f"away: {line}"]
    assert (code, stdout) == (2, ""), stderr
    said = the_error(stderr, "SpecError")
    assert "cannot be reached" in said
    assert "local" in said


@pytest.mark.slow
def test_nothing_is_left_behind(ended: dict[str, Any]) -> None:
    assert set(ended["left"]) <= {"home", "rows"}
