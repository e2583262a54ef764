"""The Audio Spectrogram Transformer: its window, its positions, and what a head hears."""

import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForAudioClassification

from sure.backbone import loading
from sure.budget import count
from sure.errors import SureError
from tests.factories.encoders import evaluation, folder_of, speech_model, waveforms

NAME = "audio_spectrogram_transformer:tiny"


def load(**options):
    return loading.load(str(folder_of(NAME)), options=options, head=True)


def outputs(backbone, clips, **more):
    with evaluation(backbone.model):
        return backbone.model(**backbone.inputs(clips), **more)


def test_the_whole_window_is_heard_whatever_is_in_it():
    backbone = load()
    # 40 bins and 128 frames in patches of 16 by 16, ten apart, and two tokens.
    assert outputs(backbone, waveforms(0.3, 5.0)).last_hidden_state.shape == (2, 2 + 3 * 12, 32)
    assert backbone.inputs([np.zeros(10, dtype=np.float32)])["input_values"].shape == (1, 128, 40)


def test_a_shorter_window_keeps_the_middle_of_the_positions_of_each_frequency():
    whole, cut = load(), load(window=0.66)
    before, after = (one.model.embeddings.position_embeddings[0].detach() for one in (whole, cut))
    assert after.shape == (2 + 3 * 6, 32)
    assert torch.equal(after[:2], before[:2])
    for frequency in range(3):
        for time in range(6):
            assert torch.equal(after[2 + 6 * frequency + time], before[2 + 12 * frequency + 3 + time])
    clip = waveforms(0.66)
    assert cut.inputs(clip)["input_values"].shape == (1, 66, 40)
    assert torch.equal(cut.inputs(clip)["input_values"], whole.inputs(clip)["input_values"][:, :66])
    assert outputs(cut, clip).last_hidden_state.shape == (1, 20, 32)
    assert (whole.window, cut.window) == (1.28, 0.66)
    for wrong in (0.1, 2):
        with pytest.raises(SureError, match=r"hears from 0\.16 to 1\.28 seconds"):
            load(window=wrong)
    for wrong in (math.nan, math.inf):
        with pytest.raises(SureError, match=rf"^--backbone_options window={wrong}: Input should be a finite number"):
            load(window=wrong)


def test_a_head_may_hear_the_two_tokens_alone():
    everything, tokens = (outputs(load(states=states), waveforms(1.0)) for states in ("all", "class"))
    assert torch.equal(tokens.last_hidden_state, everything.last_hidden_state[:, :2])
    torch.testing.assert_close(tokens.last_hidden_state.mean(dim=1), everything.pooler_output)
    asked = outputs(load(states="class"), waveforms(1.0), output_hidden_states=True)
    assert [state.shape for state in asked.hidden_states] == [(1, 2, 32)] * 3


def test_a_classifier_of_the_hub_is_read_without_its_head(tmp_path):
    config = load().config
    config.num_labels = 5
    classifier = AutoModelForAudioClassification.from_config(config)
    classifier.save_pretrained(tmp_path)
    load().processor.save_pretrained(tmp_path)
    backbone = loading.load(str(tmp_path), head=True)
    inputs = backbone.inputs(waveforms(0.7))
    with evaluation(classifier):
        expected = classifier.audio_spectrogram_transformer(**inputs).last_hidden_state
        assert torch.equal(backbone.model.eval()(**inputs).last_hidden_state, expected)
        assert speech_model(backbone).eval()(**inputs).logits.shape == (1, 3)


def test_the_parameters_of_the_released_configuration():
    assert count("full_finetuning", "audio_spectrogram_transformer:base") == 86_187_264
