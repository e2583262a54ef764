"""ECAPA-TDNN, ResNet34 and AMCRN: published sizes and operations, and that what they gather in training is kept."""

import pytest
import torch
from peft import PeftModel
from torch.utils.flop_counter import FlopCounterMode

from sure.backbone import loading
from sure.errors import SureError
from sure.method import applying
from sure.task import make_task
from sure.task.speaker_verification.heads import EMBEDDERS
from tests.factories.encoders import bare, evaluation, load, speech_model, waveforms

# Parameters of wespeaker's code, and the multiply-accumulates of two seconds that its tables have, in billions.
WESPEAKER = [
    ("ecapa_tdnn:c512", "attentive_statistics", 6_190_720, 1.04),
    ("ecapa_tdnn:c512", "local_attentive_statistics", 5_797_504, None),
    ("ecapa_tdnn:c1024", "attentive_statistics", 14_657_088, 2.65),
    ("ecapa_tdnn:c1024", "local_attentive_statistics", 14_263_872, None),
    ("resnet34:base", "statistics", 6_634_336, 4.55),
]
NETWORKS = ["ecapa_tdnn:tiny", "resnet34:tiny", "amcrn:tiny"]


@pytest.mark.parametrize(("name", "head", "parameters", "macs"), WESPEAKER)
def test_with_its_head_it_has_the_size_and_the_operations_of_wespeakers(name, head, parameters, macs):
    with torch.device("meta"):
        backbone = loading.load(name, weights=False, head=True)
        embedder = EMBEDDERS[head](backbone.width)
        backbone.model.eval()
        embedder.eval()
        with FlopCounterMode(display=False) as counter:
            embedder(backbone.model(torch.zeros(1, 200, 80)).last_hidden_state, backbone.padding)
    assert sum(tensor.numel() for module in (backbone.model, embedder) for tensor in module.parameters()) == parameters
    if macs is not None:
        assert counter.get_total_flops() / 2e9 == pytest.approx(macs, rel=0.01)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", ["full_finetuning", "transformation_module", "bitfit"])
def test_statistics_are_gathered_with_the_weights_that_train_and_saved_with_them(name, method, tmp_path):
    backbone = load(name)
    task = make_task("sv_voxceleb1", {"head": "attentive_statistics", "training_speakers": 3})
    model = applying.apply(task.build_model(backbone), applying.configure(method, backbone))
    before = {place: value.clone() for place, value in model.named_buffers() if place.endswith("running_mean")}
    inputs = backbone.inputs(waveforms(0.5, 0.9))
    model.train()
    for _ in range(2):
        model(**inputs, labels=torch.tensor([0, 2]))
    gathered = {place for place, value in model.named_buffers() if place in before and not value.equal(before[place])}
    of_backbone = {place for place in before if ".head." not in place}
    assert gathered & of_backbone == (set() if method == "bitfit" else of_backbone)
    assert gathered - of_backbone
    # The last batch of an epoch may be one utterance.
    assert model(**backbone.inputs(waveforms(0.5)), labels=torch.tensor([1])).loss.isfinite()
    with evaluation(model):
        expected = model(**inputs).logits
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(task.build_model(load(name)), tmp_path)
    with evaluation(again):
        assert again(**inputs).logits.equal(expected)


def test_bitfit_leaves_biases_of_recurrent_layers_as_they_are_and_trains_all_others():
    backbone = load("amcrn:tiny")
    biases = {name for name, _ in backbone.model.named_parameters() if "bias" in name.rpartition(".")[2]}
    targets = applying.configure("bitfit", backbone).target_modules
    left = biases - {f"{name.removeprefix('backbone.')}.bias" for name in targets}
    assert {name.rpartition(".")[2] for name in left} == {"bias_ih_l0", "bias_hh_l0"}
    assert len(targets) == len(biases) - len(left)


@pytest.mark.parametrize("name", NETWORKS)
def test_statistics_of_a_batch_leave_its_padding_out(name):
    clips = waveforms(0.5, 0.9)
    models = [load(name).model for _ in range(2)]
    backbone = load(name)
    batch = backbone.inputs(clips)
    longer = {key: torch.nn.functional.pad(value, (0, 0) * (value.ndim - 2) + (0, 80)) for key, value in batch.items()}
    for model, inputs in zip(models, (batch, longer), strict=True):
        model.train()(**inputs)
    for (place, one), (_, other) in zip(*(model.named_buffers() for model in models), strict=True):
        torch.testing.assert_close(one, other, msg=place)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_module_parts_every_block_and_says_what_it_cannot_part(name):
    sizes = {}
    for parts in (2, 4):
        backbone = load(name)
        model = applying.apply(
            speech_model(backbone), applying.configure("transformation_module", backbone, {"parts": parts})
        )
        blocks = [module for module in model.modules() if type(module).__name__ == "_PartedBlock"]
        assert len(blocks) == len(backbone.model.blocks)
        sizes[parts] = sum(parameter.numel() for block in blocks for parameter in block.parameters())
    whole = sum(tensor.numel() for place, tensor in backbone.model.named_parameters() if place.startswith("blocks."))
    assert sizes[4] < sizes[2] < whole
    for parts, said in ((3, "choose a number that divides"), (1, "two parts at least")):
        with pytest.raises(SureError, match=said):
            backbone = load(name)
            config = applying.configure("transformation_module", backbone, {"parts": parts})
            applying.apply(speech_model(backbone), config)


def test_parts_hear_of_the_others_and_not_of_themselves_in_what_is_added():
    backbone = load("ecapa_tdnn:tiny")
    config = applying.configure("transformation_module", backbone, {"parts": 4})
    model = applying.apply(speech_model(backbone), config)
    block = next(module for module in model.modules() if type(module).__name__ == "_PartedBlock").eval()
    heard = []
    block.blocks[0].register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    inputs = torch.randn(1, 64, 30)
    own, others = inputs.clone(), inputs.clone()
    own[:, :16] += 1
    others[:, 16:] += torch.randn(1, 48, 1)
    with torch.no_grad():
        for given in (inputs, own, others):
            block(given, None)
    torch.testing.assert_close(heard[1], heard[0] + 1)
    assert not torch.allclose(heard[2], heard[0])


def test_a_head_of_every_layer_is_refused_where_there_is_one_hidden_state():
    task = make_task("sv_voxceleb1", {"head": "mhfa", "training_speakers": 3})
    with pytest.raises(SureError, match="have one hidden state"):
        task.build_model(bare("resnet34:tiny"))
