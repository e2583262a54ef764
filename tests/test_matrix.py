"""What must hold of every method on every backbone family, on tiny models saved and loaded in the real format."""

import contextlib
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch
from peft import PeftModel

from sure import registry
from sure.backbone import loading
from sure.method import applying
from tests.factories.encoders import FAMILIES, save_backbone, speech_model, waveforms

METHODS = registry.names("method")


@cache
def folder_of(family: str) -> Path:
    return save_backbone(Path(mkdtemp(prefix=f"sure-{family}-")), family)


def load(family: str):
    return loading.load(str(folder_of(family)))


def adapted_model(family: str, method: str):
    backbone = load(family)
    model = speech_model(backbone)
    adapted = applying.apply(model, applying.configure(method, backbone))
    # Adapters that start as the identity or with zeros hide what the checks below look for.
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return backbone, adapted


@contextlib.contextmanager
def evaluation(model):
    model.eval()
    with torch.no_grad():
        yield


pytestmark = pytest.mark.parametrize("family", FAMILIES)


def test_every_family_has_a_configuration_here(family):
    encoders = {name for name in registry.names("backbone") if not registry.get("backbone", name).headless}
    assert {model_type.replace("-", "_") for model_type, _ in FAMILIES.values()} == encoders
    assert len(METHODS) >= 8


@pytest.mark.parametrize("method", METHODS)
class TestMatrix:
    def test_only_the_method_and_the_head_learn_and_all_of_them_do(self, family, method):
        backbone, model = adapted_model(family, method)
        frozen_weights = {name: weight.clone() for name, weight in backbone.model.state_dict().items()}
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        model.train()
        loss = model(**backbone.inputs(waveforms(0.5, 0.9)), labels=torch.tensor([0, 2])).loss
        loss.backward()
        trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == trainable
        torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1.0).step()
        moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
        # Attention does not change when all keys move together: a key's bias gets rounding noise for a gradient.
        silent = ("k_proj.bias", "k_proj.sure_adapter", "linear_k.bias", "linear_k.sure_adapter")
        assert {name for name in trainable - moved if not name.removesuffix(".default").endswith(silent)} == set()
        assert moved <= trainable
        assert any("head" in name for name in moved)
        if method == "full_finetuning":
            after = backbone.model.state_dict()
            assert all(torch.equal(after[name], weight) for name, weight in frozen_weights.items())

    def test_saved_and_loaded_it_gives_identical_outputs(self, family, method, tmp_path):
        backbone, model = adapted_model(family, method)
        inputs = backbone.inputs(waveforms(0.5, 0.9))
        with evaluation(model):
            expected = model(**inputs).logits
        model.save_pretrained(tmp_path)
        assert not list(tmp_path.glob("*.bin"))
        fresh = load(family)
        reloaded = PeftModel.from_pretrained(speech_model(fresh), tmp_path)
        with evaluation(reloaded):
            assert torch.equal(reloaded(**inputs).logits, expected)

    def test_a_padded_batch_gives_what_each_utterance_gives_alone(self, family, method):
        backbone, model = adapted_model(family, method)
        clips = waveforms(0.5, 1.3, 0.3)
        with evaluation(model):
            together = model(**backbone.inputs(clips)).logits
            alone = torch.cat([model(**backbone.inputs([clip])).logits for clip in clips])
        torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)

    def test_disabled_it_gives_back_the_backbone(self, family, method):
        backbone = load(family)
        model = speech_model(backbone)
        inputs = backbone.inputs(waveforms(0.5, 0.9))
        with evaluation(model):
            expected = model(**inputs).logits
        _, adapted = adapted_model(family, method)
        with evaluation(adapted), adapted.disable_adapter():
            torch.testing.assert_close(adapted(**inputs).logits, expected, atol=1e-6, rtol=1e-5)
        with evaluation(adapted):
            assert not torch.allclose(adapted(**inputs).logits, expected, atol=1e-4)
