"""AdaLoRA (Zhang et al. 2023, 2303.10512): LoRA as B diag(e) A, of which the least important ranks fall away.

PEFT's own tuner. What it leaves to the training loop is here: the budget's steps, the importance of ranks measured
after each of them, and a penalty that keeps A and B orthogonal.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import peft
import torch
from peft.tuners.adalora import AdaLoraModel
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sure.errors import SureError

# Of a run that has not begun; PEFT's configuration must have a length.
_UNKNOWN = 1_000_000

# What of it a checkpoint keeps beside the adapter.
_STATE = "rank_allocator.safetensors"

# Of the options of PEFT's LoRA, those that its AdaLoRA heeds; it would pass over the others in silence.
_OF_LORA = {"lora_alpha", "lora_dropout", "bias", "fan_in_fan_out", "modules_to_save"}
_OF_LORA |= {"target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern"}
_OF_LORA |= {option.name for option in dataclasses.fields(peft.PeftConfig)}

Steps = Annotated[int, Field(ge=0)]


@dataclass
class AdaLora(peft.AdaLoraConfig):
    """As in the authors' examples: every linear projection of a layer, rank 12 at first and 8 on average at last.

    Ranks fall from `tinit` steps on until `tfinal` are left, unless given a sixth and a third of the run, as of the 300
    steps of their SQuADv2. A run that stops early may stop before they have fallen.

    The penalty is that of the authors' code, the mean over all A and B of the Frobenius norm of A A^T - I; it counts in
    the training loss alone. Counted as trainable is what trains at first, rank 12 everywhere; saved is what is left.
    """

    dimension: ClassVar[str] = "init_r"
    linear_only: ClassVar[bool] = True

    init_r: int = field(default=12, metadata={"help": "Rank of every map at first."})
    target_r: int | None = field(
        default=None, metadata={"help": "Mean of the ranks at last; two thirds of init_r unless given."}
    )
    tinit: Steps | None = field(
        default=None, metadata={"help": "Steps before ranks fall; a sixth of the run unless given."}
    )
    tfinal: Steps | None = field(
        default=None, metadata={"help": "Steps after they have fallen; a third of the run unless given."}
    )
    lora_alpha: float = field(default=16, metadata={"help": "The scale is lora_alpha / init_r."})
    orth_reg_weight: float = field(default=0.1, metadata={"help": "Of the penalty."})
    total_step: int | None = field(default=None, init=False)
    rank_pattern: dict | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        plain = peft.LoraConfig()
        for option in sorted({option.name for option in dataclasses.fields(peft.LoraConfig)} - _OF_LORA):
            if getattr(self, option) != getattr(plain, option):
                raise ValueError(f"{option} is of LoRA, and PEFT's AdaLoRA does not heed it.")
        if self.target_r is None:
            self.target_r = round(self.init_r * 2 / 3)
        if not 0 < self.target_r < self.init_r:
            raise ValueError(f"target_r ({self.target_r}) must be above 0 and below init_r ({self.init_r}).")
        self._given = self.tinit, self.tfinal
        self.schedule(_UNKNOWN)
        super().__post_init__()

    def schedule(self, steps: int) -> None:
        """Set when the ranks fall in a run of so many steps. Raises `SureError` where they could not."""
        tinit, tfinal = self._given
        self.total_step = steps
        self.tinit = steps // 6 if tinit is None else tinit
        self.tfinal = steps // 3 if tfinal is None else tfinal
        if self.tinit + self.tfinal >= steps:
            raise SureError(
                f"--method adalora: a run of {steps} steps has none in which ranks could fall, between the first "
                f"{self.tinit} (tinit) and the last {self.tfinal} (tfinal). Train longer, or choose smaller ones in "
                "--method_options."
            )

    def callbacks(self, steps: int) -> list[TrainerCallback]:
        """What lets ranks fall in a run of so many steps. Raises `SureError` where they could not."""
        self.schedule(steps)
        return [RankAllocation()]

    def before_saving(self, model: peft.PeftModel) -> None:
        """Let PEFT save those ranks alone that `model` has left, and note which they are."""
        self.rank_pattern = _ranks(model.base_model.model)


class RankAllocation(TrainerCallback):
    """Lets the ranks of a model fall as it trains, as its `AdaLora` says, and adds the penalty to its loss."""

    def __init__(self) -> None:
        # What is left, once nothing falls any more.
        self._left: dict[str, list[bool]] = {}
        self._penalty: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        tuner, config = model.base_model, model.active_peft_config
        if config.total_step != state.max_steps:
            raise RuntimeError(f"adalora was told of {config.total_step} steps, the run has {state.max_steps}")
        if state.global_step >= config.total_step - config.tfinal:
            self._left = _ranks(tuner.model)
        elif state.global_step:
            _restore(tuner, Path(args.output_dir, f"checkpoint-{state.global_step}", _STATE))
        self._penalty = tuner.model.register_forward_hook(
            lambda module, _, output: _penalise(module, output, config.orth_reg_weight)
        )

    def on_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        # Here gradients are still there; `global_step` counts this step only after it.
        tuner, config, step = model.base_model, model.active_peft_config, state.global_step + 1
        last = config.total_step - config.tfinal
        # PEFT's `update_and_allocate` does this too, but would let checkpoints hold the ranks left alone, which then no
        # longer fit a model that has others.
        if step > last:
            tuner.rankallocator.mask_using_rank_pattern(tuner.model, self._left)
        elif step == last or not getattr(optimizer, "step_was_skipped", False):
            # In half precision a step is skipped where its gradients are not finite, which no mean would forget.
            tuner.rankallocator.update_and_allocate(tuner.model, step, force_mask=step == last)
        if step == last:
            self._left = _ranks(tuner.model)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        config, allocator = model.active_peft_config, model.base_model.rankallocator
        if args.should_save and state.global_step < config.total_step - config.tfinal:
            measured = {"importance": allocator.exp_avg_ipt, "uncertainty": allocator.exp_avg_unc}
            tensors = {f"{kind} {name}": of for kind, found in measured.items() for name, of in found.items()}
            save_file(tensors, Path(args.output_dir, f"checkpoint-{state.global_step}", _STATE))

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._penalty.remove()


def _ranks(model: nn.Module) -> dict[str, list[bool]]:
    """By name of e in B diag(e) A which ranks are left; what has fallen is zero."""
    return {
        name: (parameter != 0).flatten().tolist() for name, parameter in model.named_parameters() if ".lora_E." in name
    }


def _penalise(model: nn.Module, output: Any, weight: float) -> None:
    """Add to a training loss the mean over A and B of |A A^T - I|, and of |B^T B - I|."""
    if not model.training or getattr(output, "loss", None) is None:
        return
    squares = [
        parameter @ parameter.T if ".lora_A." in name else parameter.T @ parameter
        for name, parameter in model.named_parameters()
        if ".lora_A." in name or ".lora_B." in name
    ]
    distances = [(square - torch.eye(len(square)).to(square)).norm() for square in squares]
    output.loss = output.loss + weight * torch.stack(distances).mean()


def _restore(tuner: AdaLoraModel, path: Path) -> None:
    """The importance of ranks as a checkpoint has it."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError):
        raise SureError(
            f"{path} is missing or broken, so that this run cannot go on; --restart True begins it anew."
        ) from None
    allocator = tuner.rankallocator
    for name, parameter in tuner.model.named_parameters():
        if f"importance {name}" in tensors:
            allocator.ipt[name] = torch.zeros_like(parameter)
            allocator.exp_avg_ipt[name] = tensors[f"importance {name}"].to(parameter)
            allocator.exp_avg_unc[name] = tensors[f"uncertainty {name}"].to(parameter)
