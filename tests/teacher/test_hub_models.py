"""Teachers and students by their names on the hub: the loopback stand-in, a process for each state
of the world.
"""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.slow  # each state of the world is a process that imports torch

fakes = runpy.run_path(str(Path(__file__).parents[1] / "fake_hub.py"))

# Loads each of what its argument lists; says what it was, or what was said instead.
CODE = """
import json, os, sys
from pathlib import Path
from logitcache.models.load import load_tokenizer
from logitcache.data.tasks.classification import Classification
from logitcache.errors import LogitCacheError
from logitcache.student.model import build_student, student_tokenizer
from logitcache.teacher.model import load_teacher

def student(path, init="pretrained", **how):
    tokenizer = student_tokenizer(path, None, None, 0, 0, Path(), **how)
    model = build_student(path, init, Classification(2, ("neg", "pos")), tokenizer, 32, 0, **how)
    return {"class": type(model).__name__, "tokenizer": type(tokenizer).__name__}

def teacher(path, **how):
    made = load_teacher(path, device="cpu", **how)
    assert not made.model.training
    return {"name": made.name, "revision": made.revision, "digest": made.weights_digest(),
            "class": type(made.model).__name__, "tokenizer": type(made.tokenizer).__name__}

def told(ask, path, **how):
    try:
        said = {"teacher": teacher, "student": student}[ask](path, **how)
    except LogitCacheError as error:
        said = {"error": str(error), "kind": type(error).__name__}
    return {**said, "ran": Path(os.environ["RAN"]).exists()}

print(json.dumps([told(*ask, **how) for *ask, how in json.loads(sys.argv[1])]))
"""
MODELING = """
import os
from pathlib import Path
from transformers import BertConfig, BertForSequenceClassification
Path(os.environ["RAN"]).touch()
class OwnConfig(BertConfig):
    model_type = "own"
class OwnModel(BertForSequenceClassification):
    config_class = OwnConfig
"""
TOKENIZING = """
import os
from pathlib import Path
from transformers import BertTokenizer
Path(os.environ["RAN"]).touch()
class OwnTokenizer(BertTokenizer):
    pass
"""
UNKNOWN, CLOSED, PICKLE, CODE_OF_ITS_OWN, TOKENIZER = (
    f"org/{name}" for name in ("none", "closed", "pickle", "code", "tokenizer")
)
KINDS = ("teacher", "student")
Answers = list[dict[str, Any]]
Ask = Callable[..., Answers]


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def own_code(folder: Path) -> None:
    """A checkpoint whose model is code that lies beside it."""
    (folder / "modeling_own.py").write_text(MODELING)
    places = {
        "AutoConfig": "modeling_own.OwnConfig",
        "AutoModelForSequenceClassification": "modeling_own.OwnModel",
    }
    change(folder / "config.json", model_type="own", architectures=["OwnModel"], auto_map=places)


def own_tokenizer(folder: Path) -> None:
    (folder / "tokenization_own.py").write_text(TOKENIZING)
    places = {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}
    change(folder / "tokenizer_config.json", tokenizer_class="OwnTokenizer", auto_map=places)


def pickled(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@pytest.fixture(scope="module")
def hub(checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """org/bert with a revision v1 of other weights, a legacy name, and what cannot be had as it is."""
    folder = tmp_path_factory.mktemp("hub")
    models = folder / "models"
    for name in ("org/bert", "org/closed", "org/pickle", "org/code", "org/tokenizer"):
        shutil.copytree(checkpoint(), models / name)
    shutil.copytree(checkpoint(dropout=0.2), models / "org/bert@v1")
    weights = models / "org/bert@v1/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    shutil.copytree(checkpoint("roberta"), models / "FacebookAI/roberta-tiny")
    pickled(models / "org/pickle")
    own_code(models / "org/code")
    own_tokenizer(models / "org/tokenizer")
    (models / "org/empty").mkdir()
    (models / "org/empty/README.md").touch()
    with fakes["FakeHub"](folder) as made:
        made.gated.add("org/closed")
        made.moved["roberta-tiny"] = "FacebookAI/roberta-tiny"
        yield made


@pytest.fixture(scope="module")
def ask(hub: Any, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """``ask((kind, path, {...}), ..., **environment)``: what each is or why not, from one process;
    all share a home.
    """
    folder = tmp_path_factory.mktemp("asking")

    def run(*what: tuple[str, str, dict[str, Any]], **how: str) -> Answers:
        done = fakes["run_python"](
            hub, folder / "home", CODE, json.dumps(what), RAN=str(folder / "ran"), **how
        )
        assert done.returncode == 0, done.stderr
        assert "Retry" not in done.stderr  # the libraries would, for half a minute a file
        answers: Answers = json.loads(done.stdout)
        for (_, path, _), answer in zip(what, answers, strict=True):
            assert "\n" not in answer.get("error", "")
            assert answer.get("error", path).startswith(path)
        return answers

    return run


@pytest.fixture(scope="module")
def online(hub: Any, ask: Ask) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The answers while the hub is there, by (kind, path, "revision" or "trusted" or ""). Untrusted
    ones come first.
    """
    refused = (UNKNOWN, CLOSED, PICKLE, CODE_OF_ITS_OWN, TOKENIZER, "org/empty", "org..bert")
    code = (str(hub.folder / "models" / CODE_OF_ITS_OWN), CODE_OF_ITS_OWN, TOKENIZER)
    what: list[tuple[str, str, dict[str, Any]]] = [
        *(
            ("teacher", path, {})
            for path in (str(hub.folder / "models/org/bert"), "org/bert", "roberta-tiny")
        ),
        *(
            ("teacher", "org/bert", {"revision": name})
            for name in ("v1", "v2", commit(hub, "org/bert@v1"))
        ),
        *((kind, path, {}) for kind in KINDS for path in (*refused, code[0])),
        *((kind, path, {"trust_remote_code": True}) for kind in KINDS for path in code),
    ]
    del hub.requests[:]
    keys = [
        (kind, path, str(how.get("revision", "trusted" if how else ""))) for kind, path, how in what
    ]
    return dict(zip(keys, ask(*what), strict=True))


def commit(hub: Any, name: str) -> str:
    made: str = hub.commit(hub.folder / "models" / name)
    return made


def test_a_checkpoint_by_its_name_is_the_one_in_its_folder(hub: Any, online: Any) -> None:
    old = commit(hub, "org/bert@v1")
    here, named = (
        online["teacher", str(hub.folder / "models/org/bert"), ""],
        online["teacher", "org/bert", ""],
    )
    tagged, hashed = (online["teacher", "org/bert", revision] for revision in ("v1", old))
    assert (here["name"], here["revision"]) == ("bert", None)
    assert (named["name"], named["revision"]) == ("org/bert", commit(hub, "org/bert"))
    assert here["digest"] == named["digest"]
    assert tagged == hashed
    assert tagged["revision"] == old
    assert tagged["digest"] != named["digest"]
    legacy = online["teacher", "roberta-tiny", ""]
    assert (legacy["name"], legacy["class"]) == ("roberta-tiny", "RobertaForSequenceClassification")


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_hub_does_not_give_is_said_in_one_line(hub: Any, online: Any, kind: str) -> None:
    page = hub.endpoint
    for path, said in {
        UNKNOWN: f"as a hub name: {page} has no model of this name, or a private one. Check the name; for a private",
        CLOSED: f"access to this model is restricted. Ask for it on {page}/org/closed, then log in (`hf auth login`",
        "org/empty": f"no {kind} can be loaded: ",
        "org..bert": "no model can have this name: ",
    }.items():
        assert said in online[kind, path, ""]["error"]
        assert online[kind, path, ""]["kind"] == "SpecError"
    revision = online["teacher", "org/bert", "v2"]["error"]
    assert f"the model has no revision 'v2'. See {page}/org/bert/tree/main for its own" in revision


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_is_not_fetched_and_nobody_is_asked_to_convert_it(
    hub: Any, online: Any, kind: str
) -> None:
    said = online[kind, PICKLE, ""]["error"]
    assert "expected model.safetensors, found pytorch_model.bin, a pickle" in said
    assert "from_pretrained('org/pickle', use_safetensors=False).save_pretrained(FOLDER)" in said
    asked = [line.split()[1] for line in hub.requests]
    assert not [
        path
        for path in asked
        if "commits" in path or "discussions" in path or "pytorch_model.bin" in path
    ]
    assert {line.split()[0] for line in hub.requests} == {"GET", "HEAD"}


@pytest.mark.parametrize("kind", KINDS)
def test_code_of_a_checkpoint_runs_only_when_it_is_trusted(
    hub: Any, online: Any, kind: str
) -> None:
    model, name, tokenizer = (
        str(hub.folder / "models" / CODE_OF_ITS_OWN),
        CODE_OF_ITS_OWN,
        TOKENIZER,
    )
    for path in (model, name, tokenizer):
        assert "--trust-remote-code runs it on this machine" in online[kind, path, ""]["error"]
        assert not online[kind, path, ""]["ran"]
        assert online[kind, path, "trusted"]["ran"]
    assert {online[kind, path, "trusted"]["class"] for path in (model, name)} == {"OwnModel"}
    assert online[kind, tokenizer, "trusted"]["tokenizer"] == "OwnTokenizer"


@pytest.mark.parametrize("offline", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_hub_out_of_reach_is_said_at_once_and_is_not_missed_for_what_is_kept(
    ask: Ask, online: Any, offline: bool
) -> None:
    endpoint = fakes["closed_port"]()
    away = {"HF_HUB_OFFLINE": "1"} if offline else {"endpoint": endpoint}
    why = (
        "the hub is not asked in offline mode"
        if offline
        else f"{endpoint} cannot be reached (ConnectError: "
    )
    kept, tagged, *missing = ask(
        ("teacher", "org/bert", {}),
        ("teacher", "org/bert", {"revision": "v1"}),
        *((k, UNKNOWN, {}) for k in KINDS),
        **away,
    )
    assert kept["digest"] == online["teacher", "org/bert", ""]["digest"]
    assert (tagged["digest"], tagged["revision"]) == tuple(
        online["teacher", "org/bert", "v1"][key] for key in ("digest", "revision")
    )
    for case in missing:
        assert why in case["error"]
        assert (
            f"no copy of the model is kept here. {'Leave' if offline else 'Where'}" in case["error"]
        )
        assert "`hf download org/none --local-dir FOLDER`" in case["error"]
