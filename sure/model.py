"""A backbone with a task head: what every method adapts and every task trains."""

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from sure.backbones import Backbone


class SpeechModel(PreTrainedModel):
    """Runs `backbone`, then `head` on its last hidden state.

    The head takes hidden states (batch, frames, width), the batch's `Padding` and the task's targets, and returns the
    loss (None without targets) and its outputs.
    """

    supports_gradient_checkpointing = True
    # The loss is a mean; the trainer need not hand over counts to scale it by.
    accepts_loss_kwargs = False
    _supports_sdpa = True

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__(backbone.model.config)
        self.backbone = backbone.model
        self.padding = backbone.padding
        self.head = head
        self.main_input_name = backbone.model.main_input_name
        self.name_or_path = backbone.name

    def forward(
        self,
        input_values: Tensor | None = None,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **targets: Tensor,
    ) -> SequenceClassifierOutput:
        """`input_values` (batch, samples) or `input_features` (batch, frames, bins), whichever the family reads."""
        inputs = input_values if input_values is not None else input_features
        hidden_states = self.backbone(inputs, attention_mask=attention_mask).last_hidden_state
        loss, logits = self.head(hidden_states, self.padding, **targets)
        return SequenceClassifierOutput(loss=loss, logits=logits)
