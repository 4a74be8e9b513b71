"""The code that a checkpoint brings is a part of the teacher, with all files that it imports from
beside itself.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import dynamic_module_utils

from logitcache.models.tokenizer import tokenizer_fingerprint
from logitcache.teacher.model import TeacherModel, load_teacher

MODELING = """
from transformers import BertForSequenceClassification
from .scale import scaled

class Own(BertForSequenceClassification):
    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = scaled(output.logits)
        return output
"""
SCALE = "def scaled(logits):\n    return logits * 1.0\n"
TOKENIZING = (
    "from transformers import BertTokenizer\n\nclass OwnTokenizer(BertTokenizer):\n    pass\n"
)
Load = Callable[[], TeacherModel]


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture
def folder(
    checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A checkpoint with code of its own for model and tokenizer; what is imported from it is
    forgotten afterwards.
    """
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    folder = Path(shutil.copytree(checkpoint(), tmp_path / "teacher"))
    (folder / "modeling_own.py").write_text(MODELING)
    (folder / "scale.py").write_text(SCALE)
    (folder / "tokenization_own.py").write_text(TOKENIZING)
    own_model = {"AutoModelForSequenceClassification": "modeling_own.Own"}
    change(folder / "config.json", architectures=["Own"], auto_map=own_model)
    own_tokenizer = {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}
    change(folder / "tokenizer_config.json", tokenizer_class="OwnTokenizer", auto_map=own_tokenizer)
    return folder


def loaded(folder: Path) -> TeacherModel:
    return load_teacher(str(folder), device="cpu", trust_remote_code=True)


def test_code_of_a_teacher_is_in_its_identity(
    folder: Path, checkpoint: Callable[..., Path]
) -> None:
    before = loaded(folder).arithmetic()
    assert before == loaded(folder).arithmetic()
    moved = Path(shutil.copytree(folder, folder.with_name("moved")))
    assert loaded(moved).arithmetic() == before
    for name in ("modeling_own.py", "scale.py"):
        changed = Path(
            shutil.copytree(folder, folder.with_name(f"other-{name.removesuffix('.py')}"))
        )
        (changed / name).write_text((changed / name).read_text() + "# another line\n")
        after = loaded(changed).arithmetic()
        assert after["settings"] == before["settings"]
        assert after["code"] != before["code"]
    assert "code" not in load_teacher(str(checkpoint()), device="cpu").arithmetic()


def test_code_that_was_edited_in_place_is_noticed(folder: Path) -> None:
    before = loaded(folder).arithmetic()
    (folder / "scale.py").write_text(SCALE.replace("1.0", "-0.5"))
    assert loaded(folder).arithmetic()["code"] != before["code"]


def test_code_of_a_tokenizer_is_in_its_fingerprint(folder: Path) -> None:
    before = tokenizer_fingerprint(loaded(folder).tokenizer)
    (folder / "tokenization_own.py").write_text(TOKENIZING + "# another line\n")
    after = tokenizer_fingerprint(loaded(folder).tokenizer)
    assert before["code"] != after["code"]
    assert {**before, "code": None} == {**after, "code": None}
