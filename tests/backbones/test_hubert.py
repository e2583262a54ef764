"""HuBERT whose positional convolution has a batch normalisation, as mHuBERT of 25 Hz has."""

import peft
import pytest
import torch

from sure import registry
from sure.backbone import loading
from sure.method import applying
from tests.factories.encoders import evaluation, roughen, speech_model, waveforms


@pytest.fixture
def folder(tmp_path):
    family = registry.get("backbone", "hubert")
    config = family.new_config(**family.sizes["tiny_like_base"], conv_pos_batch_norm=True)
    torch.manual_seed(0)
    model = family.new_model(config)
    roughen(model)
    model.save_pretrained(tmp_path / "model")
    family.new_processor(config).save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def test_an_utterance_has_the_same_states_in_a_batch_as_alone(folder):
    backbone = loading.load(folder)
    with evaluation(backbone.model):
        together = backbone.model(**backbone.inputs(waveforms(0.5, 0.9))).last_hidden_state
        alone = backbone.model(**backbone.inputs(waveforms(0.5))).last_hidden_state[0]
    frames = int(0.5 * 50) - 1
    torch.testing.assert_close(together[0, :frames], alone[:frames], atol=2e-5, rtol=1e-4)


def test_what_was_trained_is_what_is_saved(folder, tmp_path):
    model = applying.apply(speech_model(backbone := loading.load(folder)), applying.configure("lora", backbone))
    inputs = backbone.inputs(waveforms(0.5, 0.9))
    optimizer = torch.optim.AdamW(weight for weight in model.parameters() if weight.requires_grad)
    model.train()
    for _ in range(3):
        model(**inputs, labels=torch.tensor([0, 2])).loss.backward()
        optimizer.step()
    with evaluation(model):
        expected = model(**inputs).logits
    model.save_pretrained(tmp_path / "adapter")
    again = peft.PeftModel.from_pretrained(speech_model(loading.load(folder)), tmp_path / "adapter")
    with evaluation(again):
        assert again(**inputs).logits.equal(expected)
