"""What must hold of every method on every text-to-speech family, on tiny models saved and loaded in the real format."""

from functools import cache

import pytest
import torch
from peft import PeftModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sure import budget, registry
from sure.backbone.text_to_speech import TextToSpeech
from sure.errors import SureError
from sure.method import applying, by_name
from sure.task.text_to_speech import vocoders
from sure.task.text_to_speech.model import NO_SAMPLE, SpeakingModel
from tests.factories.encoders import FITTING, KINDS_OF_METHODS, evaluation, has_the_parts, stirred
from tests.factories.speaking import FAMILIES, TEXTS, inputs, load, targets

APPLICABLE = [
    name
    for name in KINDS_OF_METHODS
    if not getattr(by_name.config_class(name), "needs_head", False)
    and all(has_the_parts(registry.get("backbone", family), name) for family in FAMILIES)
]


def speaking_model(backbone):
    return SpeakingModel(backbone, vocoders.load("griffin_lim", backbone))


def adapted_model(family, method, options=None):
    backbone = load(family)
    return backbone, stirred(
        applying.apply(speaking_model(backbone), applying.configure(method, backbone, options or FITTING.get(method)))
    )


@cache
def spoken_by(family):
    """What the backbone says without a method."""
    plain = load(family)
    with evaluation(plain.model):
        return plain.model(**inputs(plain))


def spectrograms(model, batch):
    """Of the backbone within a PEFT model."""
    return model.get_base_model().backbone(**batch)


pytestmark = pytest.mark.parametrize("family", FAMILIES)


def test_every_family_that_speaks_is_here(family):
    families = {name: registry.get("backbone", name) for name in registry.names("backbone")}
    assert set(FAMILIES) == {name for name, kind in families.items() if issubclass(kind, TextToSpeech)}


@pytest.mark.parametrize("method", APPLICABLE)
class TestMatrix:
    def test_only_the_method_learns_and_disabled_it_gives_back_the_backbone(self, family, method):
        backbone, model = adapted_model(family, method)
        frozen = {name: weight.clone() for name, weight in backbone.model.state_dict().items()}
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model.train()
        model(**inputs(backbone), **targets(backbone)).loss.backward()
        # Training must leave no trace in what is shared.
        expected = spoken_by(family)
        with evaluation(model), model.disable_adapter():
            for spoken, other in zip(spectrograms(model, inputs(backbone)), expected, strict=True):
                torch.testing.assert_close(spoken, other, atol=1e-6, rtol=1e-5)
        with evaluation(model):
            adapted = spectrograms(model, inputs(backbone))
        pairs = zip(adapted, expected, strict=True)
        assert any(len(one) != len(other) or not torch.allclose(one, other, atol=1e-4) for one, other in pairs)
        trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == trainable
        # With random weights hardly anything depends on the queries of SpeechT5: a step of one would be rounded away.
        torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1e4).step()
        moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
        assert moved <= trainable
        assert {name for name in trainable - moved if not is_silent(name)} == set()
        # No statistics of training batches either, but for those that an adapter has of its own.
        counted = {name for name, buffer in model.named_buffers() if not torch.equal(buffer, buffers[name])}
        assert not counted or (method == "conformer_adapter" and all("sure_adapter" in name for name in counted))
        if method == "full_finetuning":
            after = backbone.model.state_dict()
            assert all(torch.equal(after[name], weight) for name, weight in frozen.items())

    def test_in_a_batch_as_alone_and_saved_and_loaded_it_says_the_same(self, family, method, tmp_path):
        backbone, model = adapted_model(family, method)
        model.train()
        model(**inputs(backbone), **targets(backbone)).loss.backward()
        batch = inputs(backbone)
        with evaluation(model):
            together = spectrograms(model, batch)
            for index, spoken in enumerate(together):
                alone = {name: tensor[index : index + 1] for name, tensor in batch.items()}
                length = int(alone["attention_mask"].sum())
                alone |= {name: alone[name][:, :length] for name in ("input_ids", "attention_mask")}
                torch.testing.assert_close(spectrograms(model, alone)[0], spoken, atol=1e-5, rtol=1e-4)
        assert len({len(spoken) for spoken in together}) > 1
        model.save_pretrained(tmp_path)
        fresh = load(family)
        reloaded = PeftModel.from_pretrained(speaking_model(fresh), tmp_path)
        with evaluation(reloaded):
            for spoken, other in zip(spectrograms(reloaded, inputs(fresh)), together, strict=True):
                torch.testing.assert_close(spoken, other, atol=2e-5, rtol=0)


@pytest.mark.parametrize("method", ["lora", "hyper_adapter"])
def test_its_budget_adds_up(family, method):
    _, model = adapted_model(family, method)
    measured = budget.measure(model)
    assert measured.head_parameters == 0
    assert measured.trainable_parameters == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert measured.trainable_share_without_head == measured.trainable_share
    # Of a text and its spectrogram at once, as in training, not one frame after another.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.get_base_model().run_example(10)
    assert measured.macs_per_second == counter.get_total_flops() // 20 > 100_000


def is_silent(name):
    """Attention does not change when all keys move together: a key's bias gets rounding noise for a gradient."""
    return name.removesuffix(".default").endswith(
        ("depthwise.bias", "k_proj.bias", "k_proj.sure_adapter", "linear_k.bias", "linear_k.sure_adapter")
    )


@pytest.mark.parametrize("method", ["linear_probe", "weighted_sum_probe"])
def test_a_probe_says_that_there_is_no_head_to_train(family, method):
    with pytest.raises(SureError, match=f"--method {method} is made for a task's head; {family} models are whole"):
        applying.configure(method, load(family))


def test_a_head_is_refused(family):
    from sure.heads import ClassificationHead
    from sure.model import ModelWithHead

    backbone = load(family)
    with pytest.raises(SureError, match=f"{family} models are whole and take no task's head"):
        ModelWithHead(backbone, ClassificationHead(backbone.width, 3))


def test_waveforms_end_where_the_sentence_does_and_chance_is_left_alone(family):
    backbone = load(family)
    model = speaking_model(backbone)
    batch = inputs(backbone)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    with evaluation(model):
        waveforms = model(**batch).logits
        lengths = [len(spoken) for spoken in spectrograms_of(model, batch)]
    assert torch.equal(torch.get_rng_state(), state)
    for waveform, frames in zip(waveforms, lengths, strict=True):
        spoken = waveform[waveform >= -1]
        assert spoken.abs().max() <= 1
        assert len(spoken) == pytest.approx((frames - 1) * 16_000 / frame_rate(backbone), abs=2)
        assert (waveform[len(spoken) :] == NO_SAMPLE).all()


def spectrograms_of(model, batch):
    return model.backbone(**batch)


def frame_rate(backbone):
    log_mel = backbone.log_mel()
    return log_mel.rate / log_mel.hop


def test_what_is_no_number_fails(family):
    backbone = load(family)
    model = speaking_model(backbone)
    with torch.no_grad():
        for name, parameter in backbone.model.named_parameters():
            if "postnet" in name:
                parameter.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="diverged"), evaluation(model):
        model(**inputs(backbone, TEXTS[:1]))
