"""Loading backbones, and that what we change in them changes nothing but the padding."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, SpeechT5Config, SpeechT5ForSpeechToText
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from sure.backbone import loading
from sure.errors import SureError
from sure.method import applying
from tests.factories.encoders import ENCODERS, bare, has_the_parts, load, save_backbone, speech_model, waveforms


@pytest.mark.parametrize("name", [name for name in ENCODERS if bare(name).config.model_type in CONFIG_MAPPING_NAMES])
def test_alone_an_utterance_gives_what_transformers_gives(name):
    backbone = load(name)
    reference = AutoModel.from_pretrained(backbone.name, dtype=torch.float32).eval()
    if not isinstance(reference, type(backbone.model)):
        reference = reference.encoder
    inputs = backbone.inputs(waveforms(0.6))
    with torch.no_grad():
        ours = backbone.model.eval()(**inputs).last_hidden_state
        # Where all is speech a model must not care whether it is told so.
        theirs = reference(inputs[reference.main_input_name]).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_utterance_has_frames_for_as_long_as_it_lasts(name):
    backbone = load(name)
    with torch.no_grad():
        frames = backbone.model.eval()(**backbone.inputs(waveforms(1.5, 0.5))).last_hidden_state.shape[1]
    if backbone.padding.mask is None:
        # It hears a window, whatever is in it.
        assert backbone.window == pytest.approx(1.28)
        return
    long, short = backbone.padding.mask.sum(dim=1).tolist()
    assert short < long <= frames
    if backbone.states_are_frames:
        assert long == pytest.approx(3 * short, abs=5)


@pytest.mark.parametrize("name", [name for name in ENCODERS if name.startswith("wavlm")])
def test_our_wavlm_attention_is_theirs_on_a_padded_batch(name):
    backbone = load(name)
    reference = AutoModel.from_pretrained(backbone.name).eval()
    frames = torch.randn(2, 30, backbone.width)
    mask = torch.arange(30) < torch.tensor([[30], [17]])
    with torch.no_grad():
        ours = backbone.model.eval().encoder(frames.clone(), attention_mask=mask).last_hidden_state
        theirs = reference.encoder(frames.clone(), attention_mask=mask).last_hidden_state
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours[1, :17], theirs[1, :17], atol=1e-5, rtol=1e-4)


CHECKPOINTED = [
    ("conv_adapter", {}),
    ("prompt_tuning", {"depth": "shallow", "prompts": 3}),
    # What reads padding, in layers that others put something before the frames of.
    ("prompt_tuning+mixture_of_adapters", {"prompt_tuning.prompts": 3}),
    ("pseudo_features+conv_adapter", {"pseudo_features.frames": 3}),
]


@pytest.mark.parametrize(
    ("name", "method", "options"),
    [
        (name, method, options)
        for name in ENCODERS
        if bare(name).model.supports_gradient_checkpointing
        for method, options in CHECKPOINTED
        if has_the_parts(bare(name), method)
    ],
)
def test_gradient_checkpointing_gives_the_same_gradients(name, method, options):
    backbone = load(name)
    model = applying.apply(speech_model(backbone), applying.configure(method, backbone, options)).eval()
    inputs = backbone.inputs(waveforms(0.5, 0.7)) | {"labels": torch.tensor([0, 1])}

    def gradients():
        model.zero_grad()
        model(**inputs).loss.backward()
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.requires_grad]

    plain = gradients()
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    backbone.model.config.apply_spec_augment = False
    for layer in model.modules():
        if isinstance(getattr(layer, "dropout", None), float):
            layer.dropout = 0.0
    for expected, actual in zip(plain, gradients(), strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-3)


def test_very_short_utterances_can_be_trained_on(tmp_path):
    backbone = loading.load(str(save_backbone(tmp_path, "wav2vec2")))
    model = speech_model(backbone).train()
    assert torch.isfinite(model(**backbone.inputs(waveforms(0.03)), labels=torch.tensor([0])).loss)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_shortest_utterance_that_is_read_has_states(name):
    backbone = load(name)
    with torch.no_grad():
        states = backbone.model.eval()(**backbone.inputs(waveforms(0.025))).last_hidden_state
    assert torch.isfinite(states).all()


def test_the_built_in_backbone_is_always_the_same_and_leaves_the_random_state_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first = loading.load("tiny")
    assert torch.equal(torch.rand(1), expected)
    assert loading.load("tiny").revision == first.revision
    assert not first.pretrained
    assert 0.9e6 < sum(parameter.numel() for parameter in first.model.parameters()) < 1.3e6


def test_local_weights_are_told_apart_by_their_digest(tmp_path):
    first = loading.load(str(save_backbone(tmp_path / "a", "hubert")))
    assert first.pretrained
    assert loading.load(str(save_backbone(tmp_path / "b", "hubert"))).revision == first.revision
    model = first.model
    with torch.no_grad():
        model.encoder.layer_norm.bias.add_(1e-3)
    model.save_pretrained(tmp_path / "b")
    assert loading.load(str(tmp_path / "b")).revision != first.revision


def test_what_a_checkpoint_lacks_for_specaugment_is_the_same_whenever_it_is_read(tmp_path):
    folder = save_backbone(tmp_path, "wav2vec2")
    weights = load_file(folder / "model.safetensors")
    (name,) = [name for name in weights if name.endswith("masked_spec_embed")]
    del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    revisions = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        revisions.add(loading.load(str(folder)).revision)
    assert len(revisions) == 1


def test_weights_in_half_precision_are_read_as_float32(tmp_path):
    folder = save_backbone(tmp_path, "wav2vec2")
    AutoModel.from_pretrained(folder).half().save_pretrained(folder)
    assert next(loading.load(str(folder)).model.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, "Unknown backbone family of .*'bert'.*wav2vec2"),
        ({"add_adapter": True}, "add_adapter"),
    ],
)
def test_what_is_no_speech_encoder_of_ours_is_refused(change, message, tmp_path):
    config = save_backbone(tmp_path, "wav2vec2") / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(SureError, match=message):
        loading.load(str(tmp_path))


def test_missing_backbones_and_files_are_named(tmp_path):
    with pytest.raises(SureError, match=r"--backbone .*nowhere: neither built in .sure-mini"):
        loading.load(str(tmp_path / "nowhere"))
    folder = save_backbone(tmp_path / "a", "wav2vec2")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(SureError, match=r"preprocessor_config.json"):
        loading.load(str(folder))


def test_weights_that_would_have_to_be_unpickled_are_refused(tmp_path):
    folder = save_backbone(tmp_path, "wav2vec2")
    model = AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(SureError, match=r"model.safetensors"):
        loading.load(str(folder))


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"])
def test_weights_that_are_none_are_named(content, tmp_path):
    (save_backbone(tmp_path, "wav2vec2") / "model.safetensors").write_bytes(content)
    with pytest.raises(SureError, match="broken, cut off, or a pointer of Git LFS"):
        loading.load(str(tmp_path))


def test_weights_that_do_not_fit_their_configuration_are_refused(tmp_path):
    config = save_backbone(tmp_path, "wav2vec2") / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"intermediate_size": 2 * values["intermediate_size"]}))
    with pytest.raises(SureError, match=r"its weights do not fit its config.json"):
        loading.load(str(tmp_path))


def test_a_model_that_hears_at_another_rate_is_refused(tmp_path):
    extractor = save_backbone(tmp_path, "wav2vec2") / "preprocessor_config.json"
    extractor.write_text(json.dumps(json.loads(extractor.read_text()) | {"sampling_rate": 8000}))
    with pytest.raises(SureError, match="it hears 8,000 Hz; here everything is at 16,000 Hz"):
        loading.load(str(tmp_path))


def test_weights_of_another_kind_of_model_are_refused(tmp_path):
    config = SpeechT5Config(hidden_size=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2)
    config.update({"decoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "conv_dim": (8,) * 7})
    SpeechT5ForSpeechToText(config).save_pretrained(tmp_path)
    with pytest.raises(SureError, match=r"another kind of model: \d+ parameters of SpeechT5ForTextToSpeech are not"):
        loading.load(str(tmp_path))


def test_a_model_of_the_hub_is_recorded_by_its_commit(monkeypatch, tmp_path):
    resolved = SimpleNamespace(resolved="a" * 40)
    monkeypatch.setattr(loading, "resolve_revision", lambda name, revision: resolved)
    assert loading._commit("someone/model", "main") == "a" * 40
    assert loading._commit(str(tmp_path), None) is None


def test_what_is_kept_of_a_backbone_is_as_if_it_had_been_read_again():
    kept, seen = loading.Kept(), set()
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        read, left = loading.load("sure-mini", head=True), torch.rand(1)
        torch.manual_seed(seed)
        again, left_again = loading.load("sure-mini", head=True, kept=kept), torch.rand(1)
        # Reading uses random numbers, so that what comes after would else begin with others.
        assert left.equal(left_again)
        assert read.revision == again.revision
        for parameter, same in zip(read.model.parameters(), again.model.parameters(), strict=True):
            assert parameter.equal(same)
            # A run of its own trains.
            same.data.add_(1)
        seen.add(id(again.model))
    assert len(seen) == 3
