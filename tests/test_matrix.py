"""What must hold of every method on every backbone family, on tiny models saved and loaded in the real format."""

import functools
from itertools import product

import pytest
import torch
from peft import PeftModel
from transformers import Trainer, TrainingArguments

from sure import registry
from sure.backbone.text_to_speech import TextToSpeech
from sure.errors import SureError
from sure.method import applying, by_name
from tests.factories.encoders import (
    ENCODERS,
    FITTING,
    KINDS_OF_METHODS,
    bare,
    evaluation,
    has_the_parts,
    load,
    speech_model,
    stirred,
    waveforms,
)

METHODS = registry.names("method")

# Those that do not start as the identity; each says in its file what it starts from.
STARTS_ELSEWHERE = {"bottleneck_adapter", "conformer_adapter", "conv_adapter", "prefix_tuning", "weighted_sum_probe"}
STARTS_ELSEWHERE |= {"chapter", "elp_adapters", "hyper_adapter", "ipet", "layer_output_adapter", "mam_adapter"}
STARTS_ELSEWHERE |= {"prompt_tuning", "pseudo_features", "ssvd", "transformation_module", "unipelt", "unipet_spk"}

# One of each kind is crossed with all families; the others with those whose code differs: HuBERT, UniSpeech-SAT and
# data2vec have the modules of wav2vec 2.0, and their sizes take turns.
ENOUGH = ("wav2vec2:tiny_like_base", "wavlm:tiny", "wav2vec2_bert:tiny", "whisper:tiny")
ENOUGH += ("audio_spectrogram_transformer:tiny",)


def takes_its_turn(name: str, method: str) -> bool:
    """Whether a method of the kinds meets this size of a family, or its other one."""
    family = name.partition(":")[0]
    sizes = [other for other in ENCODERS if other.startswith(f"{family}:")]
    taken = sizes[KINDS_OF_METHODS.index(method) % len(sizes)]
    return family not in ("hubert", "unispeech_sat") or name == taken


CROSSED = [
    (name, method)
    for name in ENCODERS
    for method in METHODS
    if has_the_parts(bare(name), method)
    and (name in ENOUGH or (method in KINDS_OF_METHODS and takes_its_turn(name, method)))
]


def fresh_model(name: str, method: str):
    backbone = load(name)
    config = applying.configure(method, backbone, FITTING.get(method))
    return backbone, applying.apply(speech_model(backbone), config)


def adapted_model(name: str, method: str):
    backbone, model = fresh_model(name, method)
    return backbone, stirred(model)


@functools.cache
def plain_logits(name: str):
    """Of the backbone and a head, without a method."""
    backbone = load(name)
    with evaluation(model := speech_model(backbone)):
        return model(**backbone.inputs(waveforms(0.5, 0.9))).logits


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """As the runner has them: AdamW in two groups, of which one decays."""
    return TrainingArguments(str(tmp_path_factory.mktemp("trainer")), use_cpu=True, weight_decay=0.01)


def test_every_family_that_hears_has_a_tiny_size():
    families = {name: registry.get("backbone", name) for name in registry.names("backbone")}
    hearing = {name for name, kind in families.items() if not issubclass(kind, TextToSpeech)}
    assert {name.partition(":")[0] for name in ENCODERS} == hearing
    assert len(METHODS) >= 8


def test_a_method_whose_parts_a_family_has_not_is_refused():
    for name, method in product(ENCODERS, METHODS):
        if has_the_parts(bare(name), method):
            continue
        with pytest.raises(SureError, match=r"backbones have no '\w+'; its roles: "):
            applying.configure(method, bare(name))
    assert ("wav2vec2:tiny", "prefix_tuning") in CROSSED


@pytest.mark.parametrize(("name", "method"), CROSSED)
class TestMatrix:
    def test_from_its_own_start_it_alone_learns_with_the_head_and_disabled_is_the_backbone(
        self, name, method, arguments
    ):
        backbone, model = fresh_model(name, method)
        frozen_weights = {place: weight.clone() for place, weight in backbone.model.state_dict().items()}
        before = {place: parameter.detach().clone() for place, parameter in model.named_parameters()}
        trainable = {place: parameter for place, parameter in model.named_parameters() if parameter.requires_grad}
        inputs, expected = backbone.inputs(waveforms(0.5, 0.9)), plain_logits(name)
        with evaluation(model):
            assert torch.equal(model(**inputs).logits, expected) == (method not in STARTS_ELSEWHERE)
        optimizer = Trainer(model=model, args=arguments).create_optimizer()
        grouped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
        assert sorted(grouped) == sorted(map(id, trainable.values()))
        model.train()
        # Where one of two factors is zero, the other has no gradient before the second step.
        reached = set()
        for _ in range(2):
            optimizer.zero_grad()
            model(**inputs, labels=torch.tensor([0, 2])).loss.backward()
            assert all(parameter.grad is not None for parameter in trainable.values())
            reached |= {place for place, parameter in trainable.items() if parameter.grad.any()}
            optimizer.step()
        # Attention does not change when all keys move together: a key's bias gets rounding noise for a gradient; and
        # so does a bias before a batch normalisation.
        silent = ("k_proj.bias", "k_proj.sure_adapter", "linear_k.bias", "linear_k.sure_adapter", "depthwise.bias")
        assert {
            place for place in set(trainable) - reached if not place.removesuffix(".default").endswith(silent)
        } == set()
        moved = {place for place, parameter in model.named_parameters() if not torch.equal(parameter, before[place])}
        assert moved <= set(trainable)
        assert any("head" in place for place in moved)
        if method == "full_finetuning":
            after = backbone.model.state_dict()
            assert all(torch.equal(after[place], weight) for place, weight in frozen_weights.items())
        # The head is trained with the method, and given back with it.
        stirred(model)
        with evaluation(model), model.disable_adapter():
            torch.testing.assert_close(model(**inputs).logits, expected, atol=1e-6, rtol=1e-5)
        with evaluation(model):
            assert not torch.allclose(model(**inputs).logits, expected, atol=1e-4)

    def test_in_a_batch_as_alone_saved_and_loaded_identical_and_merged_the_same(self, name, method, tmp_path):
        backbone, model = adapted_model(name, method)
        clips = waveforms(0.5, 1.3, 0.3)
        inputs = backbone.inputs(clips)
        with evaluation(model):
            expected = model(**inputs).logits
            alone = torch.cat([model(**backbone.inputs([clip])).logits for clip in clips])
        torch.testing.assert_close(expected, alone, atol=2e-5, rtol=1e-4)
        model.save_pretrained(tmp_path)
        assert not list(tmp_path.glob("*.bin"))
        reloaded = PeftModel.from_pretrained(speech_model(load(name)), tmp_path)
        with evaluation(reloaded):
            assert torch.equal(reloaded(**inputs).logits, expected)
        if not by_name.can_be_merged(method):
            parts = "|".join(map(str.upper, by_name.parts_of(method)))
            with pytest.raises(SureError, match=rf"({parts}) computes what no weight .* cannot be merged"):
                model.merge_and_unload()
            return
        merged = model.merge_and_unload()
        with evaluation(merged):
            torch.testing.assert_close(merged(**inputs).logits, expected, atol=1e-5, rtol=1e-4)


# What a precision meets depends on the method's code and on the family's, hardly on the pair.
IN_HALF_PRECISION = [(name, method) for name, method in CROSSED if name == "wav2vec2:tiny" or method == "lora"]


@pytest.mark.parametrize(("name", "method"), IN_HALF_PRECISION)
def test_it_learns_in_bfloat16(name, method):
    backbone, model = adapted_model(name, method)
    inputs = backbone.inputs(waveforms(0.5, 0.9)) | {"labels": torch.tensor([0, 2])}
    with evaluation(model):
        exact = model(**inputs).loss
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(model(**inputs).loss.float(), exact, atol=0.1, rtol=0.1)
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**inputs).loss
    loss.backward()
    for place, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.dtype == parameter.grad.dtype == torch.float32, place
            assert parameter.grad.isfinite().all(), place
