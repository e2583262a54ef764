"""What must hold of every method on every backbone family, on tiny models saved and loaded in the real format."""

from itertools import product

import pytest
import torch
from peft import PeftModel

from sure import registry
from sure.backbone.text_to_speech import TextToSpeech
from sure.errors import SureError
from sure.method import applying
from tests.factories.encoders import (
    ENCODERS,
    FITTING,
    bare,
    evaluation,
    has_the_parts,
    load,
    speech_model,
    stirred,
    waveforms,
)

METHODS = registry.names("method")


CROSSED = [(name, method) for name in ENCODERS for method in METHODS if has_the_parts(bare(name), method)]


def adapted_model(name: str, method: str):
    backbone = load(name)
    config = applying.configure(method, backbone, FITTING.get(method))
    return backbone, stirred(applying.apply(speech_model(backbone), config))


def test_every_family_that_hears_has_a_tiny_size():
    families = {name: registry.get("backbone", name) for name in registry.names("backbone")}
    hearing = {name for name, kind in families.items() if not issubclass(kind, TextToSpeech)}
    assert {name.partition(":")[0] for name in ENCODERS} == hearing
    assert len(METHODS) >= 8


def test_a_method_whose_parts_a_family_has_not_is_refused():
    for name, method in set(product(ENCODERS, METHODS)) - set(CROSSED):
        with pytest.raises(SureError, match=r"backbones have no '\w+'; its roles: "):
            applying.configure(method, bare(name))
    assert ("wav2vec2:tiny", "prefix_tuning") in CROSSED


@pytest.mark.parametrize(("name", "method"), CROSSED)
class TestMatrix:
    def test_only_the_method_and_the_head_learn_and_all_of_them_do(self, name, method):
        backbone, model = adapted_model(name, method)
        frozen_weights = {place: weight.clone() for place, weight in backbone.model.state_dict().items()}
        before = {place: parameter.detach().clone() for place, parameter in model.named_parameters()}
        model.train()
        loss = model(**backbone.inputs(waveforms(0.5, 0.9)), labels=torch.tensor([0, 2])).loss
        loss.backward()
        trainable = {place for place, parameter in model.named_parameters() if parameter.requires_grad}
        assert {place for place, parameter in model.named_parameters() if parameter.grad is not None} == trainable
        torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1.0).step()
        moved = {place for place, parameter in model.named_parameters() if not torch.equal(parameter, before[place])}
        # Attention does not change when all keys move together: a key's bias gets rounding noise for a gradient; and
        # so does a bias before a batch normalisation.
        silent = ("k_proj.bias", "k_proj.sure_adapter", "linear_k.bias", "linear_k.sure_adapter", "depthwise.bias")
        assert {place for place in trainable - moved if not place.removesuffix(".default").endswith(silent)} == set()
        assert moved <= trainable
        assert any("head" in place for place in moved)
        if method == "full_finetuning":
            after = backbone.model.state_dict()
            assert all(torch.equal(after[place], weight) for place, weight in frozen_weights.items())

    def test_saved_and_loaded_it_gives_identical_outputs(self, name, method, tmp_path):
        backbone, model = adapted_model(name, method)
        inputs = backbone.inputs(waveforms(0.5, 0.9))
        with evaluation(model):
            expected = model(**inputs).logits
        model.save_pretrained(tmp_path)
        assert not list(tmp_path.glob("*.bin"))
        fresh = load(name)
        reloaded = PeftModel.from_pretrained(speech_model(fresh), tmp_path)
        with evaluation(reloaded):
            assert torch.equal(reloaded(**inputs).logits, expected)

    def test_a_padded_batch_gives_what_each_utterance_gives_alone(self, name, method):
        backbone, model = adapted_model(name, method)
        clips = waveforms(0.5, 1.3, 0.3)
        with evaluation(model):
            together = model(**backbone.inputs(clips)).logits
            alone = torch.cat([model(**backbone.inputs([clip])).logits for clip in clips])
        torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)

    def test_disabled_it_gives_back_the_backbone(self, name, method):
        backbone = load(name)
        model = speech_model(backbone)
        inputs = backbone.inputs(waveforms(0.5, 0.9))
        with evaluation(model):
            expected = model(**inputs).logits
        _, adapted = adapted_model(name, method)
        with evaluation(adapted), adapted.disable_adapter():
            torch.testing.assert_close(adapted(**inputs).logits, expected, atol=1e-6, rtol=1e-5)
        with evaluation(adapted):
            assert not torch.allclose(adapted(**inputs).logits, expected, atol=1e-4)
