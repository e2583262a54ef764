"""An encoder-decoder that writes what it hears, as methods adapt it and tasks train it: tokens to learn and to say."""

import torch
from torch import Tensor
from transformers.modeling_outputs import SequenceClassifierOutput

from sure.backbone import Backbone
from sure.model import SpeechModel

# What follows the end of a text in a batch; the trainer pads with the same between batches.
NO_TOKEN = -100


class TranscribingModel(SpeechModel):
    """Runs a `backbone` that needs no head: in training mode for its loss, in evaluation mode it writes too."""

    def __init__(self, backbone: Backbone, prompt: list[int]) -> None:
        super().__init__(backbone)
        self.prompt = prompt

    def forward(self, input_features: Tensor, labels: Tensor | None = None) -> SequenceClassifierOutput:
        """`input_features` of shape (batch, bins, frames); `labels` (batch, tokens), padded with -100.

        The loss is the mean cross-entropy of a token. In evaluation mode `logits` are the likeliest tokens, one after
        another, of shape (batch, tokens): without prompt and end, then -100.
        """
        if self.training:
            loss = self.backbone(input_features=input_features, labels=labels, use_cache=False).loss
            return SequenceClassifierOutput(loss=loss)
        # Everything through the backbone's own call: a method may have taken its place.
        tokens = torch.tensor([self.prompt], device=input_features.device).expand(len(input_features), -1)
        output = self.backbone(input_features=input_features, decoder_input_ids=tokens, use_cache=True)
        heard = (output.encoder_last_hidden_state,)
        loss = None
        if labels is not None:
            loss = self.backbone(encoder_outputs=heard, labels=labels, use_cache=False).loss
        ended = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
        said: list[Tensor] = []
        for _ in range(self.config.max_target_positions - len(self.prompt)):
            token = output.logits[:, -1].argmax(dim=-1)
            ended = ended | (token == self.config.eos_token_id)
            if ended.all():
                break
            said.append(token.masked_fill(ended, NO_TOKEN))
            output = self.backbone(
                encoder_outputs=heard,
                decoder_input_ids=token.unsqueeze(1),
                cache=output.cache,
                use_cache=True,
            )
        # A batch in which nothing is said still has a column, for the trainer to put beside others.
        said = said or [torch.full_like(tokens[:, 0], NO_TOKEN)]
        return SequenceClassifierOutput(loss=loss, logits=torch.stack(said, dim=1))

    def run_example(self, seconds: int) -> None:
        """Over the model's window and the text of so many seconds at once, as in training."""
        self.backbone(**self.source.example(seconds, self.device), use_cache=False)
