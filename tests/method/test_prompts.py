"""What stands before the first frame: prompts, prefixes and pseudo features, against their equations written out."""

import math

import pytest
import torch
from peft import PeftModel
from torch import nn

from sure.backbone.padding import Padding, lengthened_mask
from sure.budget import count
from sure.errors import SureError
from sure.method import applying
from sure.methods.bottleneck_adapter import BottleneckAdapter, _BottleneckLayer
from sure.methods.prefix_tuning import PrefixTuning, _Prefix, _PrefixLayer
from sure.methods.prompt_tuning import PromptTuning, _Prompts
from sure.task.text_to_speech import vocoders
from sure.task.text_to_speech.model import SpeakingModel
from tests.factories import speaking
from tests.factories.encoders import ENCODERS, bare, evaluation, load, speech_model, stirred, waveforms

SHALLOW = {"depth": "shallow", "prompts": 3}
WITH_LAYERS = [name for name in ENCODERS if "layer" in bare(name).roles]
WITH_FEATURES = [name for name in ENCODERS if "encoder" in bare(name).roles]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def adapted(name, method, **options):
    backbone = load(name)
    return backbone, stirred(applying.apply(speech_model(backbone), applying.configure(method, backbone, options)))


def adapters(model):
    """Of each layer, in their order."""
    return [module for name, module in model.named_modules() if name.endswith("sure_adapter.default")]


def states(backbone, *seconds):
    """Every hidden state of utterances, each (batch, frames, width)."""
    with evaluation(backbone.model):
        return backbone.model(**backbone.inputs(waveforms(*seconds)), output_hidden_states=True).hidden_states


def normalised(x, norm):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def layer_written_out(layer, x):
    """Of wav2vec 2.0 base, normalising last, for x of shape (frames, width)."""
    heads = layer.attention.num_heads
    query, key, value = (
        linear(x).unflatten(-1, (heads, -1)).transpose(0, 1)
        for linear in (layer.attention.q_proj, layer.attention.k_proj, layer.attention.v_proj)
    )
    weights = (query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])).softmax(-1)
    x = normalised(x + layer.attention.out_proj((weights @ value).transpose(0, 1).flatten(1)), layer.layer_norm)
    block = layer.feed_forward
    inner = nn.functional.gelu(block.intermediate_dense(x))
    return normalised(x + block.output_dense(inner), layer.final_layer_norm)


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        # Of Cappellazzo et al. 2023, table 1, on an encoder of this width: 230 K, 230 K and 221 K.
        ("prompt_tuning", {"preset": "ast_shallow"}, 230_400),
        ("prompt_tuning", {"preset": "ast_deep"}, 230_400),
        ("prefix_tuning", {"preset": "ast"}, 221_184),
        ("prompt_tuning", {"preset": "ipet"}, 589_824),
        ("prompt_tuning", {"preset": "peft_ser"}, 46_080),
        ("prompt_tuning", {"preset": "peft_ser", "gate": True}, 46_080 + 12 * 769),
        ("prompt_tuning", {"preset": "ast_shallow", "gate": True, "top": 6}, 300 * 768 + 769),
        ("prefix_tuning", {"preset": "peng"}, 921_600),
        ("prefix_tuning", {"preset": "mam"}, 30 * 768 + 768 * 769 + 12 * 2 * 768 * 769),
        ("prefix_tuning", {"preset": "unipelt"}, 10 * 768 + 512 * 769 + 12 * (2 * 768 * 513 + 769)),
        ("pseudo_features", {"frames": 7}, 7 * 512),
    ],
)
def test_parameters(method, options, expected):
    assert count(method, "wav2vec2:base", options) == expected


class TestPrompts:
    @torch.no_grad()
    def test_deep_ones_are_each_layers_own(self):
        backbone, model = adapted("wav2vec2:tiny_like_base", "prompt_tuning", prompts=3)
        given, *between, last = states(backbone, 0.5)
        x = given[0]
        for layer, prompts, after in zip(backbone.model.encoder.layers, adapters(model), [*between, last], strict=True):
            x = layer_written_out(layer.base_layer, torch.cat([prompts.tokens, x]))[3:]
            torch.testing.assert_close(after[0], x, atol=1e-5, rtol=1e-4)

    @torch.no_grad()
    def test_shallow_ones_go_through_all_layers(self):
        backbone, model = adapted("wav2vec2:tiny_like_base", "prompt_tuning", **SHALLOW)
        given, *between, last = states(backbone, 0.5)
        x = torch.cat([adapters(model)[0].tokens, given[0]])
        for layer, after in zip(backbone.model.encoder.layers, [*between, last], strict=True):
            x = layer_written_out(layer.base_layer, x)
            torch.testing.assert_close(after[0], x[3:], atol=1e-5, rtol=1e-4)
        # The next forward pass begins with what the first layer has.
        assert torch.equal(states(backbone, 0.5)[-1], last)
        assert all(layer.handed_on is None for layer in backbone.model.encoder.layers)

    @torch.no_grad()
    def test_shallow_ones_begin_where_the_adapted_layers_do(self):
        backbone, model = adapted("wav2vec2:tiny_like_base", "prompt_tuning", **SHALLOW, layers="1")
        (prompts,) = adapters(model)
        first, second = backbone.model.encoder.layers
        given, between, last = states(backbone, 0.5)
        torch.testing.assert_close(between[0], layer_written_out(first, given[0]), atol=1e-5, rtol=1e-4)
        expected = layer_written_out(second.base_layer, torch.cat([prompts.tokens, between[0]]))[3:]
        torch.testing.assert_close(last[0], expected, atol=1e-5, rtol=1e-4)

    @torch.no_grad()
    def test_a_conformer_with_shallow_ones_is_its_encoder_on_a_longer_batch(self):
        """Its positions, its masks and those of its convolutions are then made by `transformers`."""
        backbone, model = adapted("wav2vec2_bert:tiny", "prompt_tuning", **SHALLOW)
        mask = backbone.inputs(waveforms(0.5, 0.9))["attention_mask"]
        given, *_, last = states(backbone, 0.5, 0.9)
        prompts = adapters(model)[0].tokens.expand(2, -1, -1)
        with model.disable_adapter():
            longer = backbone.model.encoder(
                torch.cat([prompts, given], dim=1), attention_mask=torch.cat([mask.new_ones(2, 3), mask], dim=1)
            )
        real = mask.bool()
        expected = longer.last_hidden_state[:, 3:]
        torch.testing.assert_close(last[real], expected[real], atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("name", ["wavlm:tiny", "wavlm:tiny_like_base"])
    @torch.no_grad()
    def test_wavlm_sees_them_right_before_the_first_frame(self, name):
        """Layers that are adapted and one that is not, which needs the bias of the frames alone."""
        backbone, model = adapted(name, "prompt_tuning", prompts=3, layers="1")
        (prompts,) = adapters(model)
        given, between, _ = states(backbone, 0.5)
        first, second = backbone.model.encoder.layers
        torch.testing.assert_close(first(given)[0], between)
        longer = torch.cat([prompts.tokens[None], between], dim=1)
        # What the first layer hands on for so many frames.
        bias = first(longer)[1]
        expected = second.base_layer(longer, position_bias=bias)[0][:, 3:]
        torch.testing.assert_close(second(between, position_bias=first(given)[1])[0], expected)
        # And the other way round.
        backbone, model = adapted(name, "prompt_tuning", prompts=3, layers="0")
        first, second = backbone.model.encoder.layers
        given, between, _ = states(backbone, 0.5)
        (prompts,) = adapters(model)
        longer = torch.cat([prompts.tokens[None], given], dim=1)
        torch.testing.assert_close(first.base_layer(longer)[0][:, 3:], between)
        torch.testing.assert_close(first(given)[1], first.base_layer(given)[1])

    @torch.no_grad()
    def test_a_decoder_of_conformers_with_shallow_ones_is_that_on_a_longer_batch(self):
        backbone = speaking.load("fastspeech2_conformer")
        config = applying.configure("prompt_tuning", backbone, SHALLOW | {"roles": "decoder_layer"})
        speaker = SpeakingModel(backbone, vocoders.load("griffin_lim", backbone))
        model = stirred(applying.apply(speaker, config)).eval()
        decoder = backbone.model.decoder
        frames, mask = torch.randn(2, 9, 64), torch.arange(9) < torch.tensor([[9], [6]])
        backbone.padding.mask = mask
        (actual,) = decoder(frames, mask.unsqueeze(1), return_dict=False)
        prompts = adapters(model)[0].tokens / decoder.pos_enc.input_scale
        longer = torch.cat([prompts.expand(2, -1, -1), frames], dim=1)
        with model.disable_adapter():
            (expected,) = decoder(longer, torch.cat([mask.new_ones(2, 3), mask], dim=1).unsqueeze(1), return_dict=False)
        torch.testing.assert_close(actual[mask], expected[:, 3:][mask], atol=1e-5, rtol=1e-4)

    @torch.no_grad()
    def test_an_encoder_of_texts_with_shallow_ones_is_that_on_a_longer_batch(self):
        backbone = speaking.load("speecht5")
        speaker = SpeakingModel(backbone, vocoders.load("griffin_lim", backbone))
        model = stirred(applying.apply(speaker, applying.configure("prompt_tuning", backbone, SHALLOW))).eval()
        encoder = backbone.model.speecht5.encoder.wrapped_encoder
        # Its layers, without the normalisation before them.
        encoder.layer_norm = nn.Identity()
        tokens, mask = torch.randn(2, 9, 64), torch.arange(9) < torch.tensor([[9], [6]])
        actual = encoder(tokens, attention_mask=mask).last_hidden_state
        longer = torch.cat([adapters(model)[0].tokens.expand(2, -1, -1), tokens], dim=1)
        with model.disable_adapter():
            expected = encoder(longer, attention_mask=torch.cat([mask.new_ones(2, 3), mask], dim=1)).last_hidden_state
        torch.testing.assert_close(actual[mask], expected[:, 3:][mask], atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("name", WITH_LAYERS)
    def test_shallow_and_gated_no_padding_changes_them_and_none_is_lost(self, name, tmp_path):
        backbone, model = adapted(name, "prompt_tuning", **SHALLOW, gate=True)
        clips = waveforms(0.5, 1.3, 0.3)
        with evaluation(model):
            together = model(**backbone.inputs(clips)).logits
            alone = torch.cat([model(**backbone.inputs([clip])).logits for clip in clips])
        torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)
        model.save_pretrained(tmp_path)
        fresh = load(name)
        reloaded = PeftModel.from_pretrained(speech_model(fresh), tmp_path)
        with evaluation(reloaded):
            assert torch.equal(reloaded(**fresh.inputs(clips)).logits, together)

    @pytest.mark.parametrize("family", speaking.FAMILIES)
    def test_shallow_ones_of_models_that_speak_are_not_changed_by_padding(self, family):
        backbone = speaking.load(family)
        speaker = SpeakingModel(backbone, vocoders.load("griffin_lim", backbone))
        options = SHALLOW | {"gate": True}
        model = stirred(applying.apply(speaker, applying.configure("prompt_tuning", backbone, options)))
        # One stack of layers or two, each with prompts of its own.
        stacks = 2 if family == "fastspeech2_conformer" else 1
        assert sum(isinstance(adapter, _Prompts) for adapter in adapters(model)) == stacks
        batch = speaking.inputs(backbone)
        with evaluation(model):
            together = backbone.model(**batch)
            for index, spoken in enumerate(together):
                one = {name: tensor[index : index + 1] for name, tensor in batch.items()}
                length = int(one["attention_mask"].sum())
                one |= {name: one[name][:, :length] for name in ("input_ids", "attention_mask")}
                torch.testing.assert_close(backbone.model(**one)[0], spoken, atol=1e-5, rtol=1e-4)

    @torch.no_grad()
    def test_a_gate_scales_them_for_each_utterance(self):
        prompts = stirred(_Prompts(8, PromptTuning(prompts=2, gate=True)), by=1.0)
        padding, x = Padding(), torch.randn(2, 5, 8)
        padding.mask = torch.arange(5) < torch.tensor([[5], [3]])
        for utterance, length, actual in zip(x, (5, 3), prompts(x, padding), strict=True):
            linear = prompts.gate.linear
            gate = (utterance[:length] @ linear.weight[0] + linear.bias).sigmoid().mean()
            torch.testing.assert_close(actual, gate * prompts.tokens)

    def test_they_start_as_their_papers_have_it(self):
        def largest(width, **options):
            return _Prompts(width, PromptTuning(**options)).tokens.abs().max().item()

        # The root of 6 over the values of a patch and the width; of Xavier's, over (k + 1) vectors.
        assert largest(768) == pytest.approx(math.sqrt(6 / (3 * 16 * 16 + 768)), rel=0.01)
        assert largest(1024) == pytest.approx(math.sqrt(6 / (768 + 1024)), rel=0.01)
        assert largest(768, prompts=64, initialisation="xavier") == pytest.approx(math.sqrt(6 / (65 * 768)), rel=0.01)

    def test_a_second_adapter_may_be_of_another_kind(self):
        backbone, model = adapted("wav2vec2:tiny", "prompt_tuning", **SHALLOW)
        first = states(backbone, 0.5)[-1]
        model.add_adapter("second", applying.configure("prompt_tuning", backbone, SHALLOW | {"prompts": 5}))
        model.set_adapter("second")
        stirred(model)
        second = states(backbone, 0.5)[-1]
        assert second.shape == first.shape
        assert not torch.allclose(second, first)
        model.set_adapter("default")
        assert torch.equal(states(backbone, 0.5)[-1], first)

    @pytest.mark.parametrize(
        ("family", "options", "message"),
        [
            ("speecht5", {"roles": "decoder_layer"}, "would stand again before each that a speecht5 decoder has yet"),
            ("speecht5", {"roles": "attention"}, r"a whole layer, which .*\.attention is not: choose .*roles=layer"),
            ("fastspeech2_conformer", {"roles": "ffn"}, r"feed_forward\w* is not: choose --method_options roles=layer"),
            ("speecht5", {"prompts": 0}, "prompts=0: Input should be greater than 0"),
        ],
    )
    def test_where_they_have_no_place(self, family, options, message):
        backbone = speaking.load(family)
        model = SpeakingModel(backbone, vocoders.load("griffin_lim", backbone))
        with pytest.raises(SureError, match=message):
            applying.apply(model, applying.configure("prompt_tuning", backbone, options))

    def test_layers_that_are_called_with_something_else_are_refused(self):
        backbone = load("wav2vec2:tiny")
        call = {"attention_mask": None, "ages": torch.zeros(2, 4)}
        with pytest.raises(SureError, match="layers of wav2vec2 backbones are called with ages, which is not known"):
            backbone.lengthened_call(call, torch.zeros(2, 7, 32), 3)


@torch.no_grad()
def test_masks_get_longer_in_their_own_way():
    heard = torch.tensor([[True, True, False]])
    assert lengthened_mask(heard, 2).tolist() == [[True] * 4 + [False]]
    assert lengthened_mask(heard.long(), 1).tolist() == [[1, 1, 1, 0]]
    assert lengthened_mask(heard[:, None], 1).tolist() == [[[True] * 3 + [False]]]
    by_query = lengthened_mask(heard[:, None, None].expand(1, 1, 3, 3), 1)
    assert by_query.shape == (1, 1, 4, 4)
    assert (by_query == torch.tensor([True, True, True, False])).all()
    added = torch.zeros(1, 1, 1, 3).masked_fill(~heard, -1e9)
    assert lengthened_mask(added, 1).flatten().tolist() == [0, 0, 0, -1e9]


class TestPseudoFeatures:
    @pytest.mark.parametrize("name", WITH_FEATURES)
    @torch.no_grad()
    def test_the_encoder_reads_them_before_the_frames(self, name):
        backbone, _ = adapted(name, "pseudo_features", frames=3)
        encoder, projection = backbone.model.encoder, backbone.model.feature_projection
        given = {}
        encoder.register_forward_pre_hook(
            lambda _, args, kwargs: given.update(hidden_states=args[0].clone(), mask=kwargs["attention_mask"]),
            with_kwargs=True,
        )
        plain, longer = states(load(name), 0.5, 0.9), states(backbone, 0.5, 0.9)
        assert [state.shape for state in longer] == [state.shape for state in plain]
        vectors = encoder.sure_adapter["default"]
        if getattr(projection, "feat_proj_layer_norm", True):
            vectors = normalised(vectors, projection.layer_norm)
        vectors = (vectors @ projection.projection.weight.T + projection.projection.bias).expand(2, -1, -1)
        backbone.padding.mask = torch.cat([torch.ones(2, 3, dtype=torch.bool), given["mask"].bool()], dim=1)
        expected = encoder.base_layer(
            torch.cat([vectors, given["hidden_states"]], dim=1),
            attention_mask=torch.cat([given["mask"].new_ones(2, 3), given["mask"]], dim=1),
        ).last_hidden_state[:, 3:]
        real = given["mask"].bool()
        torch.testing.assert_close(longer[-1][real], expected[real], atol=1e-5, rtol=1e-4)

    def test_recorded_states_are_those_of_the_layers_without_them(self):
        backbone, _ = adapted("wav2vec2:tiny_like_base", "pseudo_features", frames=3)
        recorded = []
        for layer in backbone.model.encoder.layers:
            layer.register_forward_hook(lambda _, args, output: recorded.append(output))
        _, *after = states(backbone, 0.5)
        for state, output in zip(after, recorded, strict=True):
            assert output.shape[1] == state.shape[1] + 3
            assert torch.equal(output[:, 3:], state)

    def test_a_weighted_sum_over_layers_may_read_the_states_of_the_frames(self):
        backbone, model = adapted("hubert:tiny", "pseudo_features")
        model.base_model.model.all_layers = True
        model.base_model.model.head.forward = lambda hidden_states, padding: (None, hidden_states)
        with evaluation(model):
            stacked = model(**backbone.inputs(waveforms(0.5, 0.9))).logits
        assert stacked.shape == (3, *backbone.padding.mask.shape, 32)

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("whisper:tiny", {}, "whisper backbones have no 'encoder'; its roles: backbone, layer"),
            ("wav2vec2:tiny", {"roles": "layer"}, "put before all layers, which a Wav2Vec2EncoderLayer"),
        ],
    )
    def test_where_they_have_no_place(self, name, options, message):
        backbone = load(name)
        with pytest.raises(SureError, match=message):
            applying.apply(speech_model(backbone), applying.configure("pseudo_features", backbone, options))


class TestPrefix:
    @pytest.mark.parametrize(("name", "biased"), [("wav2vec2:tiny", False), ("wavlm:tiny", True)])
    @torch.no_grad()
    def test_averaged_it_is_the_mean_of_two_attentions(self, name, biased):
        """With WavLM's position bias in both, which the release of 2210.16032 leaves out."""
        backbone, model = adapted(name, "prefix_tuning", preset="peng", positions=5)
        model.eval()
        layer = backbone.model.encoder.layers[0].attention
        attention, prefix = layer.base_layer, layer.sure_adapter["default"]
        x = torch.randn(1, 4, 32)
        query, key, value = (
            linear(x).view(1, 4, 2, 16).transpose(1, 2)
            for linear in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        bias = torch.zeros(1, 2, 4, 4)
        if biased:
            gates = attention.gru_rel_pos_linear(x.view(1, 4, 2, 16).transpose(1, 2)).view(1, 2, 4, 2, 4).sum(-1)
            a, b = gates.sigmoid().unbind(-1)
            gate = a * (b * attention.gru_rel_pos_const[..., 0] - 1) + 2
            bias = gate.unsqueeze(-1) * attention.compute_bias(4, 4)
        keys, values = prefix(1)
        alone = ((query @ key.transpose(2, 3) / 4 + bias).softmax(-1)) @ value
        scores = query @ torch.cat([keys, key], dim=2).transpose(2, 3) / 4
        scores[..., 5:] += bias
        joined = scores.softmax(-1) @ torch.cat([values, value], dim=2)
        expected = attention.out_proj((0.5 * alone + 0.5 * joined).transpose(1, 2).reshape(1, 4, 32))
        torch.testing.assert_close(layer(x)[0], expected, atol=1e-5, rtol=1e-4)

    @torch.no_grad()
    def test_a_gate_scales_keys_and_values_for_each_utterance(self):
        backbone, _ = adapted("wav2vec2:tiny", "prefix_tuning", preset="unipelt")
        layer = backbone.model.encoder.layers[0].attention
        prefix, x = layer.sure_adapter["default"], torch.randn(2, 5, 32)
        backbone.padding.mask = torch.arange(5) < torch.tensor([[5], [3]])
        keys, values, averaged = layer._prefix(prefix.eval(), x)
        assert not averaged
        plain_keys, plain_values = prefix(2)
        for index, length in enumerate((5, 3)):
            linear = prefix.gate.linear
            gate = (x[index, :length] @ linear.weight[0] + linear.bias).sigmoid().mean()
            torch.testing.assert_close(keys[index], gate * plain_keys[index])
            torch.testing.assert_close(values[index], gate * plain_values[index])

    @pytest.mark.parametrize("preset", ["ast", "peng", "mam", "unipelt"])
    @pytest.mark.parametrize("name", ["wav2vec2:tiny", "wavlm:tiny", "wav2vec2_bert:tiny", "whisper:tiny"])
    def test_no_padding_changes_what_papers_chose_and_all_of_it_learns(self, name, preset):
        backbone, model = adapted(name, "prefix_tuning", preset=preset)
        clips = waveforms(0.5, 1.3)
        with evaluation(model):
            together = model(**backbone.inputs(clips)).logits
            alone = torch.cat([model(**backbone.inputs([clip])).logits for clip in clips])
        torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)
        model.train()(**backbone.inputs(clips), labels=torch.tensor([0, 2])).loss.backward()
        for place, parameter in model.named_parameters():
            assert not parameter.requires_grad or parameter.grad.abs().sum() > 0, place

    @torch.no_grad()
    def test_a_shared_perceptron_reads_one_embedding_and_each_layer_has_its_part_of_the_second_map(self):
        backbone, model = adapted("wav2vec2:tiny", "prefix_tuning", preset="mam")
        first, last = (backbone.model.encoder.layers[at].attention.sure_adapter["default"] for at in (0, -1))
        assert first.common is last.common
        assert [name for name, _ in model.named_parameters() if "common" in name and name.endswith("embedding")] == [
            "base_model.model.backbone.encoder.layers.0.attention.sure_adapter.default.common.embedding"
        ]
        for adapter in (first, last):
            hidden = (adapter.common.embedding @ adapter.common.map.weight.T + adapter.common.map.bias).tanh()
            expected = hidden @ adapter.second.weight.T + adapter.second.bias
            keys, values = adapter.eval()(1)
            torch.testing.assert_close(keys[0].transpose(0, 1).flatten(1), expected[:, :32], atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(values[0].transpose(0, 1).flatten(1), expected[:, 32:], atol=1e-6, rtol=1e-5)

    def test_its_tensors_have_the_names_they_had(self):
        assert set(_Prefix(8, 2, PrefixTuning()).state_dict()) == {"embedding"}
        names = set(_Prefix(8, 2, PrefixTuning(reparametrise=True)).state_dict())
        assert names == {"embedding", *(f"perceptron.{map}.{part}" for map in (0, 2) for part in ("weight", "bias"))}

    def test_it_starts_within_the_bound_of_prompts(self):
        prefix = _Prefix(768, 12, PrefixTuning(initialisation="uniform"))
        assert prefix.embedding.abs().max().item() == pytest.approx(math.sqrt(6 / (3 * 16 * 16 + 768)), rel=0.01)

    def test_with_a_gate_it_has_no_place_in_a_decoder(self):
        backbone = speaking.load("speecht5")
        config = applying.configure("prefix_tuning", backbone, {"gate": True})
        assert "decoder" not in config.target_modules
        with pytest.raises(SureError, match="gate is a mean over time, and would read what a speecht5 decoder has yet"):
            applying.configure("prefix_tuning", backbone, {"gate": True, "roles": "cross_attention"})

    @torch.no_grad()
    def test_it_reaches_attention_through_another_adapter(self):
        model = speech_model(load("wav2vec2:tiny")).eval()
        attention, x = model.backbone.encoder.layers[0].attention, torch.randn(1, 4, 32)
        around = _BottleneckLayer(attention, model, "default", BottleneckAdapter(placement=["attention"]))
        model.backbone.encoder.layers[0].attention = around
        outer = stirred(_PrefixLayer(around, model, "default", PrefixTuning())).eval()
        inner = _PrefixLayer(attention, model, "default", PrefixTuning()).eval()
        inner.sure_adapter = outer.sure_adapter
        within = _BottleneckLayer(inner, model, "default", BottleneckAdapter(placement=["attention"])).eval()
        within.sure_adapter = around.sure_adapter
        assert torch.equal(outer(x)[0], within(x)[0])
        assert not torch.allclose(outer(x)[0], around(x)[0])
