"""What a method costs on a backbone before any training: parameters, adapter size, multiply-accumulates, memory."""

import functools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry, register_flop_formula

from sure.backbone import Backbone, loading
from sure.heads import ClassificationHead
from sure.method import applying, by_name
from sure.method.fitting import OutOfReach
from sure.method.weightless import starts_from_values, undecomposed, without_weights
from sure.model import ModelWithHead, SpeechModel

# Utterance length at which multiply-accumulates are counted; attention makes them grow a little faster than length.
MACS_SECONDS = 10

# Methods of PEFT's that ask for values as they train, and for which memory is not estimated.
_ASK_FOR_VALUES = {"frod", "shira", "vblora", "waveft"}

# Where a step is measured, if it is there.
_GPU = torch.device("cuda")

# What Adam holds of each trainable parameter besides its value: a gradient and two moments.
_ADAM = 3


@dataclass(frozen=True)
class Batch:
    """What a training step hears."""

    utterances: int = 8
    seconds: int = 10

    def within(self, seconds: float) -> "Batch":
        """As much of it as so many seconds are; no less than one utterance."""
        return Batch(min(self.utterances, max(1, math.ceil(seconds / self.seconds))), self.seconds)


@dataclass(frozen=True)
class Budget:
    """Parameters are counted as tensors hold them; a share is between 0 and 1."""

    trainable_parameters: int
    head_parameters: int
    total_parameters: int
    adapter_bytes: int
    macs_per_second: int
    # Once the adapter is merged; where it cannot be, what it costs anyway.
    merged_macs_per_second: int | None = field(default=None, compare=False)
    # Of a training step, in float32, estimated from the configuration: weights; what Adam holds beside them; what the
    # forward pass keeps for the backward pass.
    weight_bytes: int | None = field(default=None, compare=False)
    optimizer_bytes: int | None = field(default=None, compare=False)
    activation_bytes: int | None = field(default=None, compare=False)
    # The same as measured on a GPU, with random weights; None where there is none or it is too small.
    measured_bytes: int | None = field(default=None, compare=False)
    # What of the method's options makes it larger or smaller, such as `r=8`.
    setting: str | None = field(default=None, compare=False)

    @property
    def method_parameters(self) -> int:
        """Trainable parameters without the task head."""
        return self.trainable_parameters - self.head_parameters

    @property
    def trainable_share(self) -> float:
        """Trainable / total, head included in both, as PEFT prints it."""
        return self.trainable_parameters / self.total_parameters

    @property
    def trainable_share_without_head(self) -> float:
        """The same with the head left out of both."""
        return self.method_parameters / (self.total_parameters - self.head_parameters)

    @property
    def training_bytes(self) -> int | None:
        """Memory of a training step, estimated; None where it is not."""
        if self.activation_bytes is None:
            return None
        return self.weight_bytes + self.optimizer_bytes + self.activation_bytes


class Budgets:
    """The budgets of methods on a backbone with a task's head, from the configuration alone: no weights are read.

    `build_head` makes the head from the backbone's width, as `Task.build_head` does; memory is that of a step with
    `batch`. Layers are counted by the difference that one makes, where no option tells one from another: methods on
    many layers take no longer than on three.
    """

    def __init__(
        self,
        backbone: str,
        build_head: Callable[[int], nn.Module],
        backbone_options: dict[str, Any] | None = None,
        batch: Batch | None = None,
    ) -> None:
        with loading.WithoutValues():
            self._backbone = loading.load(backbone, weights=False, options=backbone_options, head=True)
        self._build_head, self._batch = build_head, batch or Batch()
        # A backbone that takes no head is refused before anything is counted.
        self._with_head(self._backbone)

    def of(
        self, method: str, options: dict[str, Any] | None = None, allowed: Sequence[str | float] = ()
    ) -> list[Budget | OutOfReach]:
        """A method's budget with its largest setting within each of the sizes `allowed`, or the error that none is.

        Without any, or where no budget sizes the method, as it is.
        """
        options = dict(options or {})
        if not (allowed and by_name.dimensions(method)):
            return [self._budget(method, options)]
        fitted = applying.fit(method, self._backbone, options, allowed)
        return [found if isinstance(found, OutOfReach) else self._budget(method, options | found) for found in fitted]

    def _budget(self, method: str, options: dict[str, Any]) -> Budget:
        counts = _Counts(
            *applying.of_every_layer(self._backbone, options, functools.partial(self._counts, method, options))
        )
        with loading.WithoutValues():
            config = applying.configure(method, self._backbone, options)
        # What replaces the backbone, such as the transformation module, stays as small as it is.
        merged = min(counts.flops, self._flops_without_method) if by_name.can_be_merged(method) else counts.flops
        memory = {}
        if method not in _ASK_FOR_VALUES:
            memory = {
                "weight_bytes": counts.weight_bytes,
                "optimizer_bytes": _ADAM * 4 * counts.trainable_parameters,
                "activation_bytes": counts.kept_at_all + self._batch.utterances * counts.kept_of_utterance,
            }
        return Budget(
            trainable_parameters=counts.trainable_parameters,
            head_parameters=counts.head_parameters,
            total_parameters=counts.total_parameters,
            adapter_bytes=counts.adapter_bytes,
            macs_per_second=_macs_per_second(counts.flops, self._backbone),
            merged_macs_per_second=_macs_per_second(merged, self._backbone),
            **memory,
            measured_bytes=self._measured(method, options) if torch.cuda.is_available() else None,
            setting=by_name.setting(method, config),
        )

    def _counts(self, method: str, options: dict[str, Any], layers: int | None) -> tuple[int, ...]:
        with without_weights(method):
            twin = loading.twin(self._backbone, layers)
            model = applying.apply(self._with_head(twin), applying.configure(method, twin, options))
        counted = parameters_and_bytes(model)
        if method in _ASK_FOR_VALUES:
            return (*counted, _inference_flops(model), 0, 0, 0)
        # Where only shapes matter, values need not be computed.
        if starts_from_values(method):
            model.to("meta")
        forward = _train_forward(model.get_base_model(), MACS_SECONDS)
        longer = forward
        if self._batch.seconds != MACS_SECONDS:
            longer = _train_forward(model.get_base_model(), self._batch.seconds)
        weights = sum(tensor.nbytes for tensors in (model.parameters(), model.buffers()) for tensor in tensors)
        return (*counted, forward.flops, weights, longer.kept_at_all, longer.kept_of_utterance)

    def _measured(self, method: str, options: dict[str, Any]) -> int | None:
        """Peak memory of the second step of AdamW on the GPU, which has its moments; None where it does not fit."""
        try:
            with _GPU, undecomposed():
                twin = loading.twin(self._backbone)
                model = applying.apply(self._with_head(twin), applying.configure(method, twin, options)).to(_GPU)
            seconds = math.ceil(_heard(self._batch.seconds, twin))
            inputs = {
                name: tensor.repeat(self._batch.utterances, *[1] * (tensor.ndim - 1))
                for name, tensor in twin.example(seconds, _GPU).items()
            }
            model.train()
            model.get_base_model().config.apply_spec_augment = False
            optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad])
            for _ in range(2):
                torch.cuda.reset_peak_memory_stats(_GPU)
                model(**inputs).logits.float().sum().backward()
                optimizer.step()
                optimizer.zero_grad()
            return torch.cuda.max_memory_allocated(_GPU)
        except torch.OutOfMemoryError:
            return None

    @functools.cached_property
    def _flops_without_method(self) -> int:
        def flops(layers: int | None) -> tuple[int]:
            with loading.WithoutValues():
                model = self._with_head(loading.twin(self._backbone, layers))
            return (_train_forward(model, MACS_SECONDS).flops,)

        return applying.of_every_layer(self._backbone, {}, flops)[0]

    def _with_head(self, backbone: Backbone) -> ModelWithHead:
        return ModelWithHead(backbone, self._build_head(backbone.width))


def budget(
    method: str,
    backbone: str,
    build_head: Callable[[int], nn.Module],
    options: dict[str, Any] | None = None,
    backbone_options: dict[str, Any] | None = None,
) -> Budget:
    """The budget of one method as `Budgets` has it. Raises `OutOfReach` where the options' `budget` allows none."""
    options = dict(options or {})
    allowed = [options.pop("budget")] if "budget" in options else []
    (found,) = Budgets(backbone, build_head, backbone_options).of(method, options, allowed)
    if isinstance(found, OutOfReach):
        raise found
    return found


def count(method: str, backbone: str, options: dict[str, Any] | None = None, labels: int | None = None) -> int:
    """Trainable parameters of a method, with the head that tells so many labels apart, or without any."""
    with without_weights(method):
        model = _adapted(method, backbone, lambda width: ClassificationHead(width, labels or 1), options)
    trainable, of_head = _trainable(model)
    return trainable - of_head if labels is None else trainable


def measure(model: PeftModel) -> Budget:
    """The budget of an adapted model as it stands, on any device."""
    trainable, head, total, size = parameters_and_bytes(model)
    return Budget(
        trainable, head, total, size, _macs_per_second(_inference_flops(model), model.get_base_model().source)
    )


class _Counts(NamedTuple):
    """What is counted of a model on the meta device; operations and activations are of one utterance."""

    trainable_parameters: int
    head_parameters: int
    total_parameters: int
    adapter_bytes: int
    flops: int
    weight_bytes: int
    kept_at_all: int
    kept_of_utterance: int


class _Forward(TorchDispatchMode):
    """Counts in a forward pass the floating-point operations of matrix products, convolutions and attention, and the
    bytes that autograd keeps for a backward pass: of what comes of the utterances, and of what comes of weights alone.

    Parameters and buffers are not counted, and what is kept twice is counted once. (What a method draws for each
    utterance without hearing it, such as a prefix's dropout, passes for what comes of weights.)
    """

    def __init__(self, model: nn.Module, inputs: dict[str, Tensor]) -> None:
        super().__init__()
        self.flops = self.kept_of_utterance = self.kept_at_all = 0
        self._heard = _storages(inputs)
        self._kept = _storages([*model.parameters(), *model.buffers()])

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if _gives_views(function):
            # Of what was heard already, or was not.
            return function(*args, **kwargs)
        given = _tensors((args, kwargs))
        result, flops = _run(function, args, kwargs, given)
        self.flops += flops
        if not self._heard.isdisjoint(_storages(given)):
            self._heard |= _storages(result)
        return result

    def keep(self, tensor: Tensor) -> None:
        """Autograd's hook for what it saves; no backward pass follows, so that nothing need be kept."""
        storage = _storages(tensor)
        if storage <= self._kept:
            return
        self._kept |= storage
        if storage <= self._heard:
            self.kept_of_utterance += tensor.untyped_storage().nbytes()
        else:
            self.kept_at_all += tensor.untyped_storage().nbytes()


class _AsOnGPUs(TorchFunctionMode):
    """What PyTorch's fused kernels on GPUs keep, not its plain ones: attention no weights, dropout one byte a place."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if function is functional.scaled_dot_product_attention:
            return _fused_attention(*args, **kwargs)
        if function is functional.dropout:
            return _fused_dropout(*args, **kwargs)
        return function(*args, **kwargs)


def _fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    bias = None if attn_mask is None else attn_mask.to(query.dtype).expand(*query.shape[:-1], key.shape[-2])
    kernel = torch.ops.aten._scaled_dot_product_efficient_attention
    return kernel(query, key, value, bias, True, dropout_p, is_causal, scale=scale)[0]


def _fused_dropout(inputs: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    return torch.native_dropout(inputs, p, True)[0] if training and p else inputs


# By operation and what it was given, shape, strides and type of each tensor that it gave, and its operations.
_GIVEN: dict[Hashable, tuple[tuple, int]] = {}


@functools.cache
def _gives_views(function: Any) -> bool:
    """Whether an operation gives parts of what it is given, and changes nothing."""
    return not function._schema.is_mutable and any(one.alias_info is not None for one in function._schema.returns)


def _run(function: Any, args: tuple, kwargs: dict[str, Any], given: list[Tensor]) -> tuple[Any, int]:
    """What an operation gives on the meta device, and its floating-point operations if they are counted.

    Worked out once for the same shapes: PyTorch does so in Python. Operations that change what they are given are run;
    as are those of other devices.
    """
    if function._schema.is_mutable or not all(tensor.is_meta and tensor.layout == torch.strided for tensor in given):
        result = function(*args, **kwargs)
        return result, _flops(function, args, kwargs, result)
    key = function, _described(args), _described(kwargs)
    if known := _GIVEN.get(key):
        made = [_empty(*one) for one in known[0]]
        return made[0] if len(made) == 1 else tuple(made), known[1]
    result = function(*args, **kwargs)
    flops = _flops(function, args, kwargs, result)
    results = result if isinstance(result, tuple) and len(result) > 1 else (result,)
    if all(isinstance(one, Tensor) for one in results):
        described = tuple((one.shape, one.stride(), one.dtype) for one in results)
        # None shares its memory with another or with what was given, and none has more of it than its shape needs.
        apart = len(_storages([*results, *given])) == len(results) + len(_storages(given))
        if apart and all(
            one.is_meta and one.untyped_storage().nbytes() == _empty(*like).untyped_storage().nbytes()
            for one, like in zip(results, described, strict=True)
        ):
            _GIVEN[key] = described, flops
    return result, flops


def _flops(function: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> int:
    count = flop_registry.get(function._overloadpacket)
    return count(*args, **kwargs, out_val=result) if count else 0


def _empty(shape: torch.Size, strides: tuple[int, ...], kind: torch.dtype) -> Tensor:
    return torch.empty_strided(shape, strides, dtype=kind, device="meta")


def _described(value: Any) -> Hashable:
    """An argument of an operation on the meta device, as far as shapes follow from it."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.storage_offset(), value.dtype
    if isinstance(value, (list, tuple)):
        return tuple(map(_described, value))
    if isinstance(value, dict):
        return tuple((name, _described(of)) for name, of in value.items())
    # 2 and 2.0 are equal, but not what they make of integers.
    return type(value), value


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, (list, tuple)):
        return []
    return [tensor for value in values for tensor in _tensors(value)]


def _storages(values: Any) -> set[StorageWeakRef]:
    """Of the tensors among values; one that is sparse has none."""
    return {StorageWeakRef(tensor.untyped_storage()) for tensor in _tensors(values) if tensor.layout == torch.strided}


def _forward(model: SpeechModel, seconds: int) -> _Forward:
    """Of one utterance of so many seconds, or of as many as the model hears."""
    inputs = model.source.example(math.ceil(_heard(seconds, model.source)), model.device)
    with _Forward(model, inputs) as counting, saved_tensors_hooks(counting.keep, lambda _: None):
        model(**inputs)
    return counting


def _inference_flops(model: PeftModel) -> int:
    """Of an utterance of ten seconds, or of as many as the model hears, on any device."""
    training, base = model.training, model.get_base_model()
    model.eval()
    # PyTorch does not count its fused attention on CPUs; unfused it is the same matrix products on every device.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        base.run_example(math.ceil(_heard(MACS_SECONDS, base.source)))
    model.train(training)
    return counter.get_total_flops()


@register_flop_formula([torch.ops.aten.mkldnn_rnn_layer, torch.ops.aten._cudnn_rnn])
def _fused_lstm(frames: torch.Size, *arguments: Any, **unused: Any) -> int:
    """Operations of the matrix products of a fused LSTM, which PyTorch counts only where it is none."""
    shapes = [arguments[0], arguments[1]] if isinstance(arguments[0], torch.Size) else arguments[0]
    return 2 * math.prod(frames[:2]) * sum(math.prod(shape) for shape in shapes if len(shape) == 2)


def _macs_per_second(flops: int, backbone: Backbone) -> int:
    """Half of the floating-point operations, of which a multiply-accumulate has two."""
    return int(flops / 2 / _heard(MACS_SECONDS, backbone))


def _heard(seconds: int, backbone: Backbone) -> float:
    return min(seconds, backbone.window or seconds)


def _train_forward(model: SpeechModel, seconds: int) -> _Forward:
    """Of a model on the meta device in training mode. Without SpecAugment, which asks for values and keeps little."""
    model.train()
    model.config.apply_spec_augment = False
    with _AsOnGPUs():
        return _forward(model, seconds)


def _adapted(
    method: str,
    backbone: str,
    build_head: Callable[[int], nn.Module],
    options: dict[str, Any] | None = None,
) -> PeftModel:
    loaded = loading.load(backbone, weights=False, head=True)
    config = applying.configure(method, loaded, options)
    return applying.apply(ModelWithHead(loaded, build_head(loaded.width)), config)


def parameters_and_bytes(model: PeftModel) -> tuple[int, int, int, int]:
    """Trainable parameters, those of them that are the head's, all, and the bytes of what is saved."""
    trainable, head = _trainable(model)
    total = _count(model)
    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            # PEFT keeps the untrained head beside the trained one; one of them is not part of the model.
            total -= _count(module.original_module)
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return trainable, head, total, sum(tensor.nbytes for tensor in state.values())


def _trainable(model: PeftModel) -> tuple[int, int]:
    """Trainable parameters, and those of them that are the head's."""
    head = getattr(model.get_base_model(), "head", None)
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return trainable, 0 if head is None else _count(head.modules_to_save[model.active_adapter])


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
