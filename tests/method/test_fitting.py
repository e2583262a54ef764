"""The largest setting within a budget: counted, not estimated."""

import pytest
import torch

from sure import registry
from sure.backbone.loading import load
from sure.budget import budget, count
from sure.errors import SureError
from sure.heads import ClassificationHead
from sure.method import applying, by_name, of_peft
from sure.method.fitting import OutOfReach, interpolated, largest_within, shared
from sure.record.allowance import parameters_of
from tests.factories.encoders import FITTING


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


# A part that costs much at least, one that soon has enough, and one that can use any rest.
SHARING = {
    "dear": (range(1, 11), lambda size: 1_000 + 10 * size),
    "small": (range(1, 21), lambda size: size),
    "large": (range(1, 1_001), lambda size: 7 * size),
}


def test_each_part_has_its_least_and_an_equal_share_of_the_rest():
    # At least 1,010, 1 and 7; of 60 more each has 20, of which "small" uses 19, and "large" what that leaves too.
    sizes = shared(100 + 1_018 + 60, SHARING, 100, "it")
    assert sizes == {"dear": 3, "small": 20, "large": 4}


def test_what_a_part_cannot_use_the_others_have():
    assert shared(1_100 + 20 + 7_000, SHARING, 0, "it") == {"dear": 10, "small": 20, "large": 1_000}
    assert shared(1_100 + 20 + 700, SHARING, 0, "it") == {"dear": 10, "small": 20, "large": 100}


def test_no_budget_between_the_ends_is_exceeded_or_leaves_room_for_one_size_more():
    least, most = 1_018, 1_100 + 20 + 7_000
    for allowed in range(least, most + 1, 3):
        sizes = shared(allowed, SHARING, 0, "it")
        left = allowed - sum(cost(sizes[part]) for part, (_, cost) in SHARING.items())
        assert left >= 0
        for part, (own, cost) in SHARING.items():
            assert sizes[part] == own[-1] or left < cost(sizes[part] + 1) - cost(sizes[part])
    for allowed in (least - 1, most + 1):
        said = rf"it has 1,018 \(dear=1, small=1, large=1\) to 8,120 \(.*large=1000\) .* budget is {allowed:,}\."
        with pytest.raises(OutOfReach, match=said):
            shared(allowed, SHARING, 0, "it")


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


# Of PEFT's, those that have one size, and one whose size its weights decide too.
UNSIZED = {"adamss", "beft", "ia3", "ln_tuning"}


@pytest.mark.parametrize("method", sorted(set(registry.from_peft()) - UNSIZED))
def test_each_of_peft_s_with_more_or_less_of_something_is_as_large_as_a_budget_allows(method):
    backbone = load("wav2vec2:tiny")
    (dimension,) = by_name.dimensions(method)
    options = {option: value for option, value in FITTING.get(method, {}).items() if option != dimension}
    sizes = of_peft.sizes(method, applying.configure(method, backbone, options), backbone)

    def parameters_with(place):
        return count(method, "wav2vec2:tiny", options | {dimension: sizes[place]})

    least, most = parameters_with(0), parameters_with(-1)
    (found,) = applying.fit(method, backbone, options, [(3 * least + most) // 4])
    place = sizes.index(found[dimension])
    assert least <= parameters_with(place) <= (3 * least + most) // 4 < parameters_with(place + 1)


def test_of_peft_s_that_have_no_dimension_all_are_known():
    assert {method for method in registry.from_peft() if not by_name.dimensions(method)} == UNSIZED


@pytest.mark.parametrize("method", ["fourierft", "pvera", "tinylora", "unilora", "vblora", "vera", "waveft"])
def test_what_a_method_has_by_default_is_within_a_budget_of_its_cost(method):
    options = {"vector_length": 16} if method == "vblora" else {}
    (dimension,) = by_name.dimensions(method)
    cost = count(method, "wav2vec2:tiny", options)
    (found,) = applying.fit(method, load("wav2vec2:tiny"), options, [cost])
    assert found == {dimension: getattr(by_name.config_class(method)(), dimension)}


def test_sizes_are_of_what_is_adapted():
    """Frequencies are at most as many as entries of the smallest map."""
    backbone = load("wav2vec2:tiny")
    for roles, entries in (("ffn_in", 128 * 512), ("query,ffn_in", 128 * 128)):
        config = applying.configure("fourierft", backbone, {"roles": roles})
        assert of_peft.sizes("fourierft", config, backbone)[-1] == entries


def test_counting_what_starts_from_random_weights_leaves_random_numbers_as_they_were():
    backbone = load("wav2vec2:tiny")
    before = torch.get_rng_state()
    applying.fit("boft", backbone, {}, ["10%"])
    assert torch.equal(before, torch.get_rng_state())


def test_a_method_that_several_options_size_keeps_its_own_and_names_them(caplog):
    config = applying.configure("adamss", load("wav2vec2:tiny"), {"budget": "0.1%"})
    assert config.subspace_rank == 1
    said = "adamss keeps its size, whatever the budget (0.1%: 984); r, num_subspaces, subspace_rank change it."
    assert said in caplog.text


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


@pytest.mark.parametrize("more", [{}, {"budget": "1%"}])
def test_no_kernels_at_all_are_named_whether_or_not_a_budget_is_given(more):
    with pytest.raises(SureError, match=r"kernel_sizes=\[\]: multi_conv_adapter convolves with one kernel at least"):
        applying.configure("multi_conv_adapter", load("wav2vec2:tiny"), {"kernel_sizes": []} | more)


def test_the_size_of_a_preset_gives_way_to_a_budget_and_all_else_of_it_stays():
    backbone = load("wav2vec2:tiny")
    config = applying.configure("bottleneck_adapter", backbone, {"preset": "houlsby", "budget": "10%"})
    assert config.bottleneck_dimension == 46
    assert (config.placement, config.train_norms) == (["attention", "ffn"], True)
