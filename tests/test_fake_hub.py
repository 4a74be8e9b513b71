"""The hub's stand-in, asked by the hub's own libraries in a process of their own, a fork of this one."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

fakes = runpy.run_path(str(Path(__file__).parent / "fake_hub.py"))

CARD = """---
configs:
- config_name: sst2
  data_files:
  - split: train
    path: sst2/train-*
dataset_info:
- config_name: sst2
  features:
  - name: sentence
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': negative
          '1': positive
  splits:
  - name: train
    num_bytes: 8
    num_examples: 2
---
"""
PRELUDE = """
import json
from huggingface_hub import HfApi, HfFileSystem, errors, hf_hub_download, snapshot_download
def kind(ask, *names, **how):
    try:
        return ask(*names, **how)
    except Exception as error:
        return type(error).__name__
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Any]:
    for place, text in {
        "models/plain/config.json": "{}",
        "models/org/name/config.json": "main",
        "models/org/name/deep/er.txt": "0123456789",
        "models/org/name@v1/config.json": "old",
        "models/org/closed/config.json": "{}",
        "datasets/nyu-mll/glue/README.md": CARD,
        "datasets/SetFit/sst5/dev.jsonl": '{"text": "so so", "label": 2}\n',
        "datasets/thunlp/few_rel/few_rel.py": "raise SystemExit",
        "datasets/thunlp/few_rel@refs/convert/parquet/default/train_wiki/0000.parquet": "",
        "datasets/nyu-mll/glue/sst2/train-00000-of-00001.parquet": "",
    }.items():
        path = tmp_path / "hub" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if path.suffix == ".parquet":
            pq.write_table(pa.table({"sentence": ["fine", "bad"], "label": [1, 0]}), path)
    with fakes["FakeHub"](tmp_path / "hub") as made:
        made.gated.add("org/closed")
        made.moved["old-name"] = "org/name"
        yield made


def told(hub: Any, home: Path, code: str, **how: str) -> Any:
    done = fakes["fork_python"](hub, home, PRELUDE + code, **how)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_hub_library_finds_files_revisions_and_refusals(hub: Any, tmp_path: Path) -> None:
    code = """
read = lambda *names, **how: open(hf_hub_download(*names, **how)).read()
api, files = HfApi(), HfFileSystem()
print(json.dumps({
    "main": read("org/name", "config.json"), "v1": read("org/name", "config.json", revision="v1"),
    "moved": read("old-name", "config.json"), "plain": read("plain", "config.json"),
    "commits": [api.model_info("org/name", revision=r).sha for r in (None, "v1")],
    "by commit": read("org/name", "config.json", revision=api.model_info("org/name", revision="v1").sha),
    "listed": api.list_repo_files("org/name"),
    "paths": [path.path for path in api.get_paths_info("org/name", ["deep", "no"])],
    "glob": files.glob("org/name/**/*.txt"), "range": files.cat_file("org/name/deep/er.txt", start=2, end=5).decode(),
    "nobody": kind(read, "org/none", "config.json"), "no file": kind(read, "org/name", "none"),
    "no revision": kind(read, "org/name", "config.json", revision="v2"), "info": kind(api.model_info, "org/none"),
    "closed": kind(read, "org/closed", "config.json"), "its page": api.model_info("org/closed").gated,
    "a member": read("org/closed", "config.json", token="hf_member"),
    "a stranger": kind(read, "org/closed", "config.json", token="hf_other", force_download=True),
}))
"""
    found = told(hub, tmp_path / "home", code)
    assert (found["main"], found["v1"], found["moved"], found["plain"]) == (
        "main",
        "old",
        "main",
        "{}",
    )
    assert len({*found["commits"]}) == 2
    assert found["by commit"] == "old"
    assert found["listed"] == ["config.json", "deep/er.txt"]
    assert found["paths"] == ["deep"]
    assert (found["glob"], found["range"]) == (["org/name/deep/er.txt"], "234")
    assert {found["nobody"], found["info"]} == {"RepositoryNotFoundError"}
    assert (found["no file"], found["no revision"]) == (
        "RemoteEntryNotFoundError",
        "RevisionNotFoundError",
    )
    assert (found["closed"], found["its page"], found["a member"]) == (
        "GatedRepoError",
        "manual",
        "{}",
    )
    # "Force download failed" comes from the first
    assert found["a stranger"] in {"GatedRepoError", "ValueError"}
    assert "HEAD /org/name/resolve/v1/config.json" in hub.requests


@pytest.mark.slow  # of the stand-in alone; its users are tests/data
def test_the_library_of_data_sets_reads_repositories_as_the_real_ones_are_laid_out(
    hub: Any, tmp_path: Path
) -> None:
    code = """
import datasets
def load(*names, **how):
    splits = datasets.load_dataset(*names, **how)
    return {split: [data.num_rows, str(data.features["label"])] for split, data in splits.items()}
print(json.dumps({
    "script": kind(load, "thunlp/few_rel"), "nobody": kind(load, "org/none"),  # first: what is cached is no error
    "glue": load("nyu-mll/glue", "sst2"), "sst5": load("SetFit/sst5"),
    "few_rel": load("thunlp/few_rel", revision="refs/convert/parquet"),
}))
"""
    found = told(hub, tmp_path / "home", code, HF_DATASETS_DISABLE_PROGRESS_BARS="1")
    assert found["glue"] == {"train": [2, "ClassLabel(names=['negative', 'positive'])"]}
    assert found["sst5"] == {"validation": [1, "Value('int64')"]}
    assert found["few_rel"] == {"train": [2, "Value('int64')"]}
    assert (found["script"], found["nobody"]) == ("RuntimeError", "DatasetNotFoundError")


def test_a_commit_is_its_files(hub: Any) -> None:
    main, folder = hub.commit(hub.repository("models", "org/name")), hub.folder / "models/org/name"
    assert hub.commit(folder) == main
    assert hub.repository("models", "org/name", main) == folder
    (folder / "config.json").write_text("other")
    assert hub.commit(folder) != main


def test_nobody_listens_on_a_closed_port(hub: Any, tmp_path: Path) -> None:
    code = 'print(json.dumps(kind(HfApi().model_info, "org/name")))'
    assert told(hub, tmp_path / "home", code, endpoint=fakes["closed_port"]()) == "ConnectError"
    assert told(hub, tmp_path / "home", code, HF_HUB_OFFLINE="1") == "OfflineModeIsEnabled"
    assert hub.requests == []
