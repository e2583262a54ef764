"""Our methods as PEFT's on models of `transformers` that were not loaded here, and PEFT's own beside them."""

import json
import re

import peft
import pytest
import torch
from transformers import AutoModel, AutoModelForCTC, GPT2Config, GPT2LMHeadModel, WhisperConfig, WhisperModel

import sure.methods  # noqa: F401 what is tested
from sure.errors import SureError
from sure.methods.bitfit import BitFit
from sure.methods.bottleneck_adapter import BottleneckAdapter
from sure.methods.conv_adapter import ConvAdapter
from sure.methods.full_finetuning import FullFinetuning
from sure.methods.prefix_tuning import PrefixTuning
from sure.methods.prompt_tuning import PromptTuning
from sure.methods.pseudo_features import PseudoFeatures
from tests.factories import REPOSITORY
from tests.factories.encoders import evaluation, folder_of, load, stirred, waveforms

FAMILIES = ["wav2vec2:tiny", "wavlm:tiny_like_base", "wav2vec2_bert:tiny"]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("config", [ConvAdapter, BottleneckAdapter, PrefixTuning, PromptTuning, PseudoFeatures])
def test_a_plain_encoder_is_adapted_saved_and_read_and_heeds_padding(name, config, tmp_path):
    folder, backbone = folder_of(name), load(name)
    together, alone = backbone.inputs(waveforms(0.5, 0.9)), backbone.inputs(waveforms(0.5))
    model = stirred(peft.get_peft_model(AutoModel.from_pretrained(folder), config()))
    with evaluation(model):
        expected = model(**together).last_hidden_state
        one = model(**alone).last_hidden_state[0]
    model.save_pretrained(tmp_path)
    frames = int(alone["attention_mask"].sum() * expected.shape[1] / together["attention_mask"].shape[1]) - 1
    torch.testing.assert_close(expected[0, :frames], one[:frames], atol=2e-5, rtol=1e-4)
    reloaded = peft.PeftModel.from_pretrained(AutoModel.from_pretrained(folder), tmp_path)
    with evaluation(reloaded):
        assert torch.equal(reloaded(**together).last_hidden_state, expected)


@pytest.mark.parametrize("config", [ConvAdapter(), PromptTuning(depth="shallow")])
def test_a_plain_encoder_skips_no_layer_while_it_trains(config):
    plain = AutoModel.from_pretrained(folder_of("wav2vec2:tiny"), layerdrop=1.0)
    model = peft.get_peft_model(plain, config).train()
    output = model(**load("wav2vec2:tiny").inputs(waveforms(0.5)), output_hidden_states=True)
    assert len(output.hidden_states) == plain.config.num_hidden_layers + 1
    output.last_hidden_state.sum().backward()
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)


def test_a_plain_model_with_a_head_is_adapted_in_its_encoder():
    model = peft.get_peft_model(AutoModelForCTC.from_pretrained(folder_of("wav2vec2:tiny")), BitFit())
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable
    assert all(name.startswith("base_model.model.wav2vec2.") for name in trainable)


def test_what_cannot_be_adapted_by_itself_is_named():
    with pytest.raises(SureError, match=r"A Wav2Vec2Model by itself cannot be adapted as a whole"):
        peft.get_peft_model(AutoModel.from_pretrained(folder_of("wav2vec2:tiny")), FullFinetuning())
    tiny = WhisperConfig(d_model=12, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=16, decoder_ffn_dim=16)
    with pytest.raises(SureError, match=r"A WhisperModel \(whisper\) is no speech encoder of the families"):
        peft.get_peft_model(WhisperModel(tiny), ConvAdapter())
    with pytest.raises(SureError, match=r"A Linear \(Linear\) is no speech encoder"):
        peft.get_peft_model(torch.nn.Linear(2, 2), ConvAdapter())


def test_prefix_tuning_of_peft_is_still_pefts(tmp_path):
    language_model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=64, eos_token_id=1))
    theirs = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    peft.get_peft_model(language_model, theirs).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == "PREFIX_TUNING"
    reloaded = peft.PeftModel.from_pretrained(GPT2LMHeadModel(language_model.config), tmp_path)
    assert type(reloaded.peft_config["default"]) is peft.PrefixTuningConfig


def test_ours_have_types_of_their_own_and_say_which_peft_wrote_them():
    config = PrefixTuning()
    assert config.peft_type == "SURE_PREFIX_TUNING"
    assert config.peft_version == peft.__version__
    assert not {kind.value for kind in peft.PeftType} & {config.peft_type, ConvAdapter().peft_type}


def test_readmes_lines_on_plain_peft_run(tmp_path, monkeypatch):
    (block,) = re.findall(r"```python\n(import peft\n.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    assert "facebook/wav2vec2-base" in block
    exec(block.replace("facebook/wav2vec2-base", str(folder_of("wav2vec2:tiny"))), {})
    assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size
