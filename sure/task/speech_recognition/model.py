"""An encoder-decoder that writes what it hears, as methods adapt it and tasks train it: tokens to learn and to say."""

import math

import torch
from torch import Tensor
from transformers import LogitsProcessorList, SuppressTokensAtBeginLogitsProcessor, SuppressTokensLogitsProcessor
from transformers.modeling_outputs import SequenceClassifierOutput

from sure.backbone import Backbone
from sure.model import SpeechModel

# What follows the end of a text in a batch; the trainer pads with the same between batches.
NO_TOKEN = -100

# Frames of the attention mask, 10 ms each, that no token is shorter than: 40 tokens a second. Read English has about 4,
# but of Burmese Whisper's tokenizer makes nearly three tokens a letter.
_FRAMES_PER_TOKEN = 2.5


class TranscribingModel(SpeechModel):
    """Runs a `backbone` that needs no head: in training mode for its loss, in evaluation mode it writes too.

    It writes as `generate` of `transformers` does with the checkpoint's own generation configuration, greedily: tokens
    that the configuration suppresses are not said. A model that does not find the end of a text is stopped where its
    audio could not hold more, and whose text has ended leaves the batch.
    """

    def __init__(self, backbone: Backbone, prompt: list[int]) -> None:
        super().__init__(backbone)
        self.prompt = prompt
        settings = backbone.model.generation_config
        self._longest = min(settings.max_length or math.inf, self.config.max_target_positions) - len(prompt)
        self._allowed = LogitsProcessorList()
        if settings.suppress_tokens:
            self._allowed.append(SuppressTokensLogitsProcessor(settings.suppress_tokens))
        if settings.begin_suppress_tokens:
            self._allowed.append(SuppressTokensAtBeginLogitsProcessor(settings.begin_suppress_tokens, len(prompt)))

    def forward(
        self, input_features: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """`input_features` of shape (batch, bins, frames); `attention_mask` (batch, frames), 1 where there is audio,
        says how much may be written; `labels` (batch, tokens), padded with -100.

        The loss is the mean cross-entropy of a token. In evaluation mode `logits` are the likeliest tokens, one after
        another, of shape (batch, tokens): without prompt and end, then -100.
        """
        if self.training:
            loss = self.backbone(input_features=input_features, labels=labels, use_cache=False).loss
            return SequenceClassifierOutput(loss=loss)
        # Everything through the backbone's own call: a method may have taken its place.
        tokens = torch.tensor([self.prompt], device=input_features.device).expand(len(input_features), -1)
        output = self.backbone(input_features=input_features, decoder_input_ids=tokens, use_cache=True)
        heard = output.encoder_last_hidden_state
        loss = None
        if labels is not None:
            loss = self.backbone(encoder_outputs=(heard,), labels=labels, use_cache=False).loss
        most = torch.full((len(tokens),), self._longest, device=tokens.device)
        if attention_mask is not None:
            most = (attention_mask.sum(dim=-1) / _FRAMES_PER_TOKEN).ceil().long().clamp(max=self._longest)
        said = tokens.new_full((len(tokens), max(1, int(most.max()))), NO_TOKEN)
        # Which utterances of the batch are still being written.
        rows = torch.arange(len(tokens), device=tokens.device)
        for step in range(said.shape[1]):
            token = self._allowed(tokens, output.logits[:, -1].float()).argmax(dim=-1)
            going = (token != self.config.eos_token_id) & (step < most[rows])
            if not going.all():
                rows, token, tokens, heard = rows[going], token[going], tokens[going], heard[going]
                if not len(rows):
                    break
                output.cache.batch_select_indices(going.nonzero().squeeze(1))
            said[rows, step] = token
            tokens = torch.cat([tokens, token.unsqueeze(1)], dim=1)
            output = self.backbone(
                encoder_outputs=(heard,), decoder_input_ids=token.unsqueeze(1), cache=output.cache, use_cache=True
            )
        # A batch in which nothing is said still has a column, for the trainer to put beside others.
        longest = int((said != NO_TOKEN).sum(dim=1).max())
        return SequenceClassifierOutput(loss=loss, logits=said[:, : max(1, longest)])

    def run_example(self, seconds: int) -> None:
        """Over the model's window and the text of so many seconds at once, as in training."""
        self.backbone(**self.source.example(seconds, self.device), use_cache=False)
