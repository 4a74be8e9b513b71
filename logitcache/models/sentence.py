"""Sentence encoders: a body whose hidden states are pooled into one vector of a text.

On disk they are what ``sentence-transformers`` reads: the body as `transformers` saves it, and beside
it modules.json, which names what its vectors pass: pooling (the mean of all tokens, or the first
token), linear maps, and scaling to length 1.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils.hub import cached_file

from logitcache.errors import SpecError, short
from logitcache.models.failure import AGAIN
from logitcache.models.signals import Pooled

MODULES = "modules.json"
POOLINGS = {"mean": "mean", "cls": "first"}  # their names, and those of our signals
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ ÄÉÑ ЖЩ ΑΔ"
ACTIVATIONS = {"Identity": nn.Identity, "Tanh": nn.Tanh}
_PACKAGE = "sentence_transformers"


@dataclass(frozen=True)
class Layout:
    """What makes one vector of a text's hidden states, weights apart."""

    pooling: str = "mean"  # or first
    maps: tuple[tuple[int, int, bool, str], ...] = ()  # width in and out, bias, activation
    normalises: bool = True


def auto_class(name: str) -> Any:
    """The class of `transformers` that loads a task's models; of bodies alone, sentence encoders."""
    auto = getattr(transformers, name)
    return SentenceEncoder if auto is AutoModel else auto


class SentenceEncoder(PreTrainedModel):
    """A body and its layout; what it answers, called logits, is the vector of each text."""

    base_model_prefix = "body"
    _model_mapping = AutoModel._model_mapping  # the kinds of models that it can be loaded from
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, body: PreTrainedModel, layout: Layout) -> None:
        super().__init__(body.config)
        if "add_pooling_layer" in inspect.signature(type(body).__init__).parameters:
            body.register_module("pooler", None)  # of next sentences: nothing here reads it
        self.body = body
        self.layout = layout
        self.maps = nn.ModuleList(
            nn.Linear(width, out, bias) for width, out, bias, _ in layout.maps
        )
        self.post_init()
        self._note_layout()

    def _init_weights(self, module: nn.Module) -> None:
        """The body has its own weights, and maps those that torch has drawn."""

    def _note_layout(self) -> None:
        """Among the settings that a plan digests."""
        self.config.sentence_layout = json.loads(json.dumps(asdict(self.layout)))

    @property
    def width(self) -> int:
        """Numbers of one vector."""
        if self.layout.maps:
            return self.layout.maps[-1][1]
        return int(self.config.get_text_config().hidden_size)

    def fit_width(self, width: int) -> None:
        """Add a linear map to this width, unless the vectors have it."""
        if width == self.width:
            return
        self.maps.append(nn.Linear(self.width, width, bias=False))
        maps = (*self.layout.maps, (self.width, width, False, "Identity"))
        self.layout = replace(self.layout, maps=maps)
        self._note_layout()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **inputs: Any
    ) -> SequenceClassifierOutput:
        """``logits`` f[B, width]."""
        if attention_mask is not None:
            inputs["attention_mask"] = attention_mask
        hidden = self.body(input_ids=input_ids, **inputs).last_hidden_state
        vector = Pooled(self.layout.pooling).of_pass(hidden, inputs)
        for linear, (*_, activation) in zip(self.maps, self.layout.maps, strict=True):
            vector = ACTIVATIONS[activation]()(linear(vector))
        if self.layout.normalises:
            vector = normalize(vector, dim=-1)
        return SequenceClassifierOutput(logits=vector)

    @classmethod
    def from_config(cls, config: Any, dtype: Any = None, **settings: Any) -> SentenceEncoder:
        """Fresh weights: the mean of the tokens, at length 1."""
        for name in ("usual_pooling", "sentence_layout"):
            vars(config).pop(name, None)
        return cls(AutoModel.from_config(config, dtype=dtype, **settings), Layout())

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        path: str,
        *,
        pooling: str | None = None,
        usual_pooling: str | None = None,
        output_loading_info: bool = False,
        **settings: Any,
    ) -> Any:
        """A body with the layout of its modules.json; where it has none, with ``pooling`` (mean or
        cls), else the usual one. Raises SpecError where nothing names the pooling, for a layout that
        is not known here, and for models that are no encoders alone.
        """
        hub_names = settings.keys() & {"revision", "local_files_only"}
        files = _Files(path, {name: settings[name] for name in hub_names})
        layout, weights = _read_layout(files)
        if layout is not None and POOLINGS.get(pooling or "", layout.pooling) != layout.pooling:
            raise _refused(path, f"--pooling as its {MODULES} says", pooling, "Leave it out.")
        if layout is None:
            chosen = pooling or usual_pooling
            if chosen is None:
                advice = "Give --pooling mean or --pooling cls, or name a folder of sentence-transformers."
                raise _refused(path, "a sentence encoder's modules.json", "none", advice)
            layout = Layout(POOLINGS[chosen])
        body, info = AutoModel.from_pretrained(path, output_loading_info=True, **settings)
        if body.config.is_encoder_decoder:
            raise _refused(path, "an encoder", type(body).__name__, "Name another model.")
        model = _encoder(body, layout, weights)
        return (model, _encoder_keys(info)) if output_loading_info else model


def _encoder(
    body: PreTrainedModel, layout: Layout, weights: Sequence[Mapping[str, Tensor]]
) -> SentenceEncoder:
    """A body with a layout and the weights of its maps, in the body's dtype."""
    model = SentenceEncoder(body, layout)
    for linear, state in zip(model.maps, weights, strict=True):
        linear.load_state_dict(state)
    model.maps.to(body.dtype)
    return model


def _encoder_keys(info: Mapping[str, Any]) -> dict[str, Any]:
    """What loading a body told, with the names its weights have in an encoder, which has no pooler."""
    names = {}
    for kind in ("missing_keys", "unexpected_keys"):
        names[kind] = [f"body.{key}" for key in info[kind] if "pooler" not in key.split(".")]
    mismatched = [(f"body.{key[0]}", *key[1:]) for key in info["mismatched_keys"]]
    return {**names, "mismatched_keys": mismatched}


@dataclass(frozen=True)
class _Files:
    """The files of a checkpoint's folder, or of one on the hub."""

    path: str
    hub: Mapping[str, Any]

    def find(self, name: str) -> str | None:
        """The path of a file; None without it."""
        path: str | None = cached_file(
            self.path, name, **self.hub, _raise_exceptions_for_missing_entries=False
        )
        return path

    def json(self, name: str) -> Any:
        path = self.find(name)
        if path is None:
            return {}
        try:
            return json.loads(Path(path).read_text("utf-8"))
        except ValueError:
            raise _refused(f"{self.path}: {name}", "JSON", "none", "Save it again.") from None


def _refused(where: str, expected: str, found: object, advice: str) -> SpecError:
    return SpecError(expected=expected, found=found, advice=advice, where=where)


def _read_layout(files: _Files) -> tuple[Layout | None, list[dict[str, Tensor]]]:
    """The layout that modules.json names (None without such a file), and the weights of its maps.
    Raises SpecError for what is not known here.
    """
    modules = files.json(MODULES)
    if not modules:
        return None, []
    kinds = _kinds_of(modules, f"{files.path}: {MODULES}")
    maps = [entry["path"] for entry, kind in zip(modules, kinds, strict=True) if kind == "Dense"]
    normalises = kinds[-1] == "Normalize"
    expected = ["Transformer", "Pooling", *["Dense"] * len(maps), *["Normalize"] * normalises]
    if kinds != expected or modules[0]["path"]:
        raise SpecError(
            expected="modules Transformer, Pooling, and perhaps Dense and Normalize",
            found=", ".join(kinds),
            advice="Name a model of these modules, with the files of its Transformer in the folder itself.",
            where=f"{files.path}: {MODULES}",
        )
    _check_reading(files)
    pooling = _pooling_of(files, modules[1]["path"])
    dense = [_map_of(files, path) for path in maps]
    layout = Layout(pooling, tuple(shape for shape, _ in dense), normalises)
    return layout, [weights for _, weights in dense]


def _kinds_of(modules: Any, where: str) -> list[str]:
    """Pooling and so on, of the entries of modules.json: of another package with its name. Raises
    SpecError for what is no list of them.
    """
    kinds = []
    entries = modules if isinstance(modules, list) else [modules]
    for entry in entries:
        if not isinstance(entry, dict) or not {"type", "path"} <= entry.keys():
            advice = "Save the model again with sentence-transformers."
            raise _refused(
                where, "a list of modules, each with type and path", short(entry), advice
            )
        package, _, kind = str(entry["type"]).rpartition(".")
        kinds.append(kind if package.startswith(_PACKAGE) else str(entry["type"]))
    return kinds


def _check_reading(files: _Files) -> None:
    """Raises SpecError where a text is changed before it is read: by a prompt, or lower case."""
    prompt = files.json(f"config_{_PACKAGE}.json").get("default_prompt_name")
    if prompt is not None:
        advice = "Put the prompt before the texts, and null there."
        where = f"{files.path}: config_{_PACKAGE}.json"
        raise _refused(where, "no default_prompt_name", repr(prompt), advice)
    if files.json("sentence_bert_config.json").get("do_lower_case") and not _lowers(files):
        advice = "Write false there, and give texts in lower case."
        where = f"{files.path}: sentence_bert_config.json"
        expected = "a tokenizer that lower-cases, or do_lower_case false"
        raise _refused(where, expected, "do_lower_case true", advice)


def _lowers(files: _Files) -> bool:
    """Whether the checkpoint's own tokenizer reads capitals as small letters."""
    tokenizer = AutoTokenizer.from_pretrained(files.path, **files.hub)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return bool(getattr(tokenizer, "do_lower_case", False))
    if backend.normalizer is None:
        return False
    lower: str = backend.normalizer.normalize_str(CAPITALS.lower())
    return bool(backend.normalizer.normalize_str(CAPITALS) == lower)


def _pooling_of(files: _Files, path: str) -> str:
    """mean or first. Raises SpecError for other kinds, or several."""
    config = files.json(f"{path}/config.json")
    prefix = "pooling_mode_"
    kinds = []
    for key, value in config.items():
        if key.startswith(prefix) and value:
            kind = key.removeprefix(prefix)
            kinds.append(kind.removesuffix("_tokens").removesuffix("_token"))
    mode = config.get("pooling_mode")  # newer files: one name, or several
    if mode is not None:
        kinds = [mode] if isinstance(mode, str) else list(map(str, mode))
    if len(kinds) != 1 or kinds[0] not in POOLINGS:
        advice = "Name a model that pools by one of them."
        where = f"{files.path}: {path}/config.json"
        raise _refused(where, "pooling by mean or cls", ", ".join(kinds) or "none", advice)
    return POOLINGS[kinds[0]]


def _map_of(files: _Files, path: str) -> tuple[tuple[int, int, bool, str], dict[str, Tensor]]:
    """A linear map and its weights. Raises SpecError for an activation that is not known here, and
    weights that are pickled, damaged or of another shape.
    """
    config = files.json(f"{path}/config.json")
    activation = str(config.get("activation_function", "torch.nn.Tanh")).rpartition(".")[2]
    weights = files.find(f"{path}/model.safetensors")
    where = f"{files.path}: {path}"
    if activation not in ACTIVATIONS:
        expected = f"an activation among {', '.join(ACTIVATIONS)}"
        raise _refused(where, expected, activation, "Name another model.")
    if weights is None:
        advice = "Save the model again with sentence-transformers, which writes it."
        raise _refused(where, "model.safetensors", "none", advice)
    try:
        stored = load_file(weights)
    except SafetensorError:
        damage = "model.safetensors, which is cut or damaged"
        raise _refused(where, "weights in safetensors", damage, AGAIN) from None
    state = {name.removeprefix("linear."): tensor for name, tensor in stored.items()}
    width = config.get("in_features")
    out = config.get("out_features")
    shape = list(state["weight"].shape)
    if shape != [out, width]:
        raise _refused(where, f"a map of {width} to {out} numbers", f"weights {shape}", AGAIN)
    return (width, out, "bias" in state, activation), state


def save_model(model: PreTrainedModel, folder: Path) -> None:
    """A model as its users load it: a sentence encoder as ``sentence-transformers`` does, any other
    as `transformers` does. (Checkpoints of a training hold all weights in one file.)
    """
    if not isinstance(model, SentenceEncoder):
        model.save_pretrained(folder)
        return
    recorded = vars(model.config).pop("sentence_layout")
    model.body.save_pretrained(folder)
    model.config.sentence_layout = recorded
    layout = model.layout
    width = int(model.config.get_text_config().hidden_size)
    pooling: dict[str, Any] = {"word_embedding_dimension": width}
    for name, own_name in (("cls_token", "first"), ("mean_tokens", "mean")):
        pooling[f"pooling_mode_{name}"] = layout.pooling == own_name
    for name in ("max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"):
        pooling[f"pooling_mode_{name}"] = False
    paths = [("Transformer", ""), ("Pooling", "1_Pooling")]
    _write(folder / "1_Pooling" / "config.json", {**pooling, "include_prompt": True})
    for linear, (width, out, bias, activation) in zip(model.maps, layout.maps, strict=True):
        path = f"{len(paths)}_Dense"
        kind = "linear.Identity" if activation == "Identity" else f"activation.{activation}"
        config = {
            "in_features": width,
            "out_features": out,
            "bias": bias,
            "activation_function": f"torch.nn.modules.{kind}",
        }
        _write(folder / path / "config.json", config)
        state = {}
        for name, tensor in linear.state_dict().items():
            state[f"linear.{name}"] = tensor.contiguous()
        save_file(state, folder / path / "model.safetensors")
        paths.append(("Dense", path))
    if layout.normalises:
        paths.append(("Normalize", f"{len(paths)}_Normalize"))
        (folder / paths[-1][1]).mkdir(exist_ok=True)
    entries = []
    for index, (kind, path) in enumerate(paths):
        package_name = f"{_PACKAGE}.models.{kind}"
        entries.append({"idx": index, "name": str(index), "path": path, "type": package_name})
    _write(folder / MODULES, entries)
    versions = {"transformers": transformers.__version__, "pytorch": torch.__version__}
    about = {"__version__": versions, "prompts": {}, "default_prompt_name": None}
    _write(folder / f"config_{_PACKAGE}.json", {**about, "similarity_fn_name": "cosine"})


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def with_layout_of(
    checkpoint: str, body: PreTrainedModel, hub: Mapping[str, Any]
) -> PreTrainedModel:
    """A body cut out of a checkpoint, with the checkpoint's own layout where it has one."""
    layout, weights = _read_layout(_Files(checkpoint, hub))
    if layout is None:
        return body
    return _encoder(body, layout, weights)
