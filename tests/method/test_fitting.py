"""The largest setting within a budget: counted, not estimated."""

import pytest

from sure.backbone.loading import load
from sure.budget import budget
from sure.errors import SureError
from sure.heads import ClassificationHead
from sure.method import applying
from sure.method.fitting import interpolated, largest_within
from sure.record.allowance import parameters_of


@pytest.mark.parametrize(
    ("given", "parameters"), [("1%", 1_000), ("0.5%", 500), ("0.9M", 900_000), ("900k", 900_000), (1234, 1_234)]
)
def test_a_budget_is_a_share_or_a_number(given, parameters):
    assert parameters_of(given, 100_000) == parameters


@pytest.mark.parametrize("given", ["0%", "much", "-1", "1 %%", "0", "nan"])
def test_what_is_no_budget_is_named(given):
    with pytest.raises(SureError, match=f"budget={given}: give a share"):
        parameters_of(given, 100_000)


def test_the_last_size_that_fits_is_found():
    for allowed in range(10, 101):
        size = largest_within(allowed, range(1, 11), lambda size: size * 10, "it")
        assert size == allowed // 10
    with pytest.raises(
        SureError, match=r"it has 10 \(1\) to 100 \(10\) parameters on this backbone; the budget is 9\."
    ):
        largest_within(9, range(1, 11), lambda size: size * 10, "it")


@pytest.mark.parametrize(
    ("cost", "asked"),
    [
        (lambda size: 7 * size + 3, 2),
        (lambda size: size * size + size, 3),
        (lambda size: size * size + size // 3, 5),
    ],
)
def test_what_grows_evenly_is_counted_a_few_times_and_what_does_not_size_by_size(cost, asked):
    sizes, seen = range(1, 401), set()

    def count(size):
        seen.add(size)
        return 24 * cost(size)

    counted = interpolated(sizes, count, cost)
    assert [counted(size) for size in (1, 77, 134, 311, 400)] == [24 * cost(size) for size in (1, 77, 134, 311, 400)]
    assert len(seen) == asked


def parameters(method, **options):
    return budget(method, "wav2vec2:tiny", lambda width: ClassificationHead(width, 2), options).method_parameters


@pytest.mark.parametrize(
    ("method", "dimension", "step"),
    [
        ("bottleneck_adapter", "bottleneck_dimension", 1),
        ("conformer_adapter", "bottleneck_dimension", 1),
        ("conv_adapter", "reduction", -1),
        ("multi_conv_adapter", "bottleneck_dimension", 4),
        ("prefix_tuning", "positions", 1),
        ("prompt_tuning", "prompts", 1),
        ("lora", "r", 1),
        ("loha", "r", 1),
    ],
)
def test_one_more_would_be_too_many(method, dimension, step):
    backbone = load("wav2vec2:tiny")
    allowed = sum(parameter.numel() for parameter in backbone.model.parameters()) // 10
    size = getattr(applying.configure(method, backbone, {"budget": "10%"}), dimension)
    fitting = parameters(method, **{dimension: size})
    assert fitting <= allowed < parameters(method, **{dimension: size + step})
    # Who counts asks the same `configure`, whatever the method.
    if method == "lora":
        assert parameters(method, budget="10%") == fitting


def test_a_method_of_one_size_keeps_it_and_says_so(caplog):
    assert parameters("bitfit", budget="1%") == parameters("bitfit")
    applying.configure("bitfit", load("wav2vec2:tiny"), {"budget": "1%"})
    assert "bitfit has one size, whatever the budget (1%: " in caplog.text


def test_a_budget_out_of_reach_and_one_beside_what_it_chooses_are_named():
    backbone = load("wav2vec2:tiny")
    with pytest.raises(SureError, match=r"budget=1: lora has [0-9,]+ \(1\) to [0-9,]+ \([0-9]+\) parameters"):
        applying.configure("lora", backbone, {"budget": 1})
    with pytest.raises(SureError, match=r"budget=1%: it is for choosing r; leave one of them out"):
        applying.configure("lora", backbone, {"budget": "1%", "r": 4})


def test_the_size_of_a_preset_gives_way_to_a_budget_and_all_else_of_it_stays():
    backbone = load("wav2vec2:tiny")
    config = applying.configure("bottleneck_adapter", backbone, {"preset": "houlsby", "budget": "10%"})
    assert config.bottleneck_dimension == 46
    assert (config.placement, config.train_norms) == (["attention", "ffn"], True)
