"""Where backbones come from: shipped and built-in names, local folders and the hub."""

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import (
    AutoConfig,
    AutoModel,
    PreTrainedConfig,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
)
from transformers.utils.hub import resolve_revision

from sure import registry
from sure.backbone import Backbone, Family
from sure.backbone.padding import Locate, Padding
from sure.errors import SureError

# Random weights for tests, demonstrations and budgets. The sizes of `tiny` let two CPU cores train it at about a
# hundred times real time; `wav2vec2-large-untrained` has those of wav2vec 2.0 large (Baevski et al. 2020, table 9 of
# the supplement), as in the XLSR-53 checkpoint that SURE adapts.
BUILT_IN = {
    "tiny": {
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 512,
        "conv_dim": (32, 32, 64, 64, 64, 64, 64),
        "num_conv_pos_embeddings": 32,
        "num_conv_pos_embedding_groups": 4,
        "mask_time_prob": 0.2,
        "mask_feature_prob": 0.1,
    },
    "wav2vec2-large-untrained": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "conv_dim": (512,) * 7,
    },
}
_BUILT_IN_SEED = 0

# Pretrained by `sure pretrain` and shipped with the package.
SHIPPED = {name: Path(__file__).parent / name.replace("-", "_") for name in ("sure-mini", "sure-mini-tts")}


def load(name: str, revision: str | None = None, weights: bool = True) -> Backbone:
    """The backbone `name`: a built-in or shipped name, a local folder or a hub id.

    With `weights` false the configuration alone is read and the parameters lie on the meta device (for budgets).
    Raises `SureError` where there is no such model, or its family is not one of ours.
    """
    place = str(SHIPPED.get(name, name))
    if name in SHIPPED and not SHIPPED[name].is_dir():
        raise SureError(f"--backbone {name} is not in this installation. `sure pretrain` makes one like it, elsewhere.")
    config = _config(place, revision)
    family_name = config.model_type.replace("-", "_")
    if family_name not in registry.names("backbone"):
        raise registry.unknown(f"backbone family of {name}:", config.model_type, registry.names("backbone"))
    if getattr(config, "add_adapter", False):
        raise SureError(f"{name}: encoders that shorten their output (add_adapter) are not supported.")
    # LayerDrop skips layers at random, which breaks several processes and makes runs incomparable.
    config.layerdrop = 0.0
    family = registry.get("backbone", family_name)()
    stored = name not in BUILT_IN
    if not weights:
        with torch.device("meta"):
            # SpecAugment's embedding is made by a constructor that does not heed the device.
            model, feature_extractor, digest = family.auto_class.from_config(config).to("meta"), None, "no weights"
    elif stored:
        model, feature_extractor, digest = _pretrained(place, revision, config, family)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_BUILT_IN_SEED)
            model = AutoModel.from_config(config)
        feature_extractor, digest = Wav2Vec2FeatureExtractor(return_attention_mask=True), _digest_of(model)
    # `sure pretrain --steps 0` marks what it leaves.
    pretrained = weights and stored and not getattr(config, "random_weights", False)
    padding = Padding()
    family.prepare(model, padding)
    model.register_forward_pre_hook(Locate(family, padding), with_kwargs=True)
    recorder = RecordStates(family)
    model.register_forward_pre_hook(recorder.start, with_kwargs=True)
    model.register_forward_hook(recorder.stop, always_call=True)
    return Backbone(name, family_name, family, digest, pretrained, model, feature_extractor, padding)


class RecordStates:
    """Around each forward pass that asks for hidden states: give what each layer hands to the next.

    `transformers` records what its own layers return, which leaves out what a method around a layer makes of it.
    """

    def __init__(self, family: Family) -> None:
        self.layer = re.compile(family.roles["layer"])
        self.states: list[Tensor] = []
        self.hooks: list[RemovableHandle] = []

    def start(self, model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        if kwargs.get("output_hidden_states"):
            layers = [module for name, module in model.named_modules() if self.layer.fullmatch(name)]
            self.hooks = [layers[0].register_forward_pre_hook(lambda _, inputs: self.states.append(inputs[0]))]
            self.hooks += [layer.register_forward_hook(self._keep) for layer in layers]

    def stop(self, model: nn.Module, args: tuple, output: Any) -> None:
        recorded, self.states = self.states, []
        hooks, self.hooks = self.hooks, []
        for hook in hooks:
            hook.remove()
        # None where the forward pass failed.
        if hooks and output is not None:
            # As SUPERB's toolkit s3prl has it, the last one has been through the encoder's last normalisation.
            output.hidden_states = (*recorded[:-1], output.last_hidden_state)

    def _keep(self, layer: nn.Module, args: tuple, output: Any) -> None:
        self.states.append(output[0] if isinstance(output, tuple) else output)


def _config(name: str, revision: str | None) -> PreTrainedConfig:
    if name in BUILT_IN:
        return Wav2Vec2Config(
            feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True, name_or_path=name, **BUILT_IN[name]
        )
    try:
        return AutoConfig.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as error:
        raise SureError(
            f"--backbone {name}: neither built in ({', '.join([*SHIPPED, *BUILT_IN])}), nor a folder with config.json, "
            f"nor a model that could be read from the hub: {str(error).splitlines()[0]}"
        ) from None


def _pretrained(
    name: str, revision: str | None, config: PreTrainedConfig, family: Family
) -> tuple[PreTrainedModel, Any, str]:
    try:
        model = from_pretrained(family.auto_class, name, revision=revision, config=config)
        feature_extractor = family.processor(name, revision)
    except (OSError, ValueError) as error:
        raise SureError(
            f"--backbone {name}: {str(error).splitlines()[0]} A backbone needs config.json, preprocessor_config.json "
            "and model.safetensors."
        ) from None
    return model, feature_extractor, _commit(name, revision) or _digest_of(model)


def from_pretrained(model_class: type, name: str, **options: Any) -> PreTrainedModel:
    """`from_pretrained` of a class of `transformers`: in float32 whatever the file holds, and never unpickled.

    Raises `ValueError` where the file lacks parameters of the model, which would be random, and what it raises.
    """
    model, report = model_class.from_pretrained(
        name, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **options
    )
    # SpecAugment's embedding trains only with the whole backbone, and many a checkpoint lacks it.
    parameters = {key for key, _ in model.named_parameters() if not key.endswith("masked_spec_embed")}
    if absent := sorted(parameters & set(report["missing_keys"])):
        raise ValueError(
            f"its weights are those of another kind of model: {len(absent)} parameters of {type(model).__name__} are "
            f"not among them, such as {absent[0]}."
        )
    return model


def _commit(name: str, revision: str | None) -> str | None:
    """The commit of a hub repository that a branch or tag means; None for a folder."""
    if Path(name).is_dir():
        return None
    return getattr(resolve_revision(name, revision), "resolved", None)


def _digest_of(model: nn.Module) -> str:
    """SHA-256 over the names and values of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return digest.hexdigest()
