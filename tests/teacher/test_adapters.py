"""Adapters of peft in place of a model: refused with the command that merges them."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from logitcache.errors import SpecError
from logitcache.teacher.model import load_teacher
from tests.teacher.test_model import Checkpoint


@pytest.mark.parametrize("has_tokenizer", [True, False])
@pytest.mark.parametrize(
    ("task", "auto_model"),
    [
        ("CAUSAL_LM", "AutoPeftModelForCausalLM"),
        ("SEQ_CLS", "AutoPeftModelForSequenceClassification"),
        ("TOKEN_CLS", "AutoPeftModelForTokenClassification"),
    ],
)
def test_an_adapter_is_merged_by_a_command_for_its_task(
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    auto_model: str,
    has_tokenizer: bool,
) -> None:
    """peft is played: it loads the model that the adapter is of."""
    base = checkpoint()
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    written = {"task_type": task, "base_model_name_or_path": str(base)}
    (adapter / "adapter_config.json").write_text(json.dumps(written))
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    if has_tokenizer:
        for file in base.glob("*token*"):
            shutil.copy(file, adapter)
    with pytest.raises(SpecError, match=f"an adapter .*task_type {task}") as caught:
        load_teacher(str(adapter))
    command = re.search('python -c "(.*)"', str(caught.value))
    assert command is not None

    merged = SimpleNamespace(save_pretrained=lambda out: shutil.copytree(base, out))
    adapted = SimpleNamespace(merge_and_unload=lambda: merged)
    peft = SimpleNamespace(**{auto_model: SimpleNamespace(from_pretrained=lambda _: adapted)})
    monkeypatch.setitem(sys.modules, "peft", peft)
    monkeypatch.chdir(tmp_path)
    exec(command[1], {})
    load_teacher("FOLDER", device="cpu")
