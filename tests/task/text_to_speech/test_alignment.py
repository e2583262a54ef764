"""When a recording says what: against eSpeak NG's own times, which other voices and noise must not hide."""

import numpy as np
import pytest

from sure import synth
from sure.audio import SAMPLE_RATE
from sure.errors import SureError
from sure.task.text_to_speech import alignment

TEXT = "Well, the old man left at seven; nobody wanted the coat."


@pytest.mark.parametrize("voice", [synth.Voice("en-us+m3", rate=130, pitch=30), synth.Voice("en-gb-scotland+f1")])
def test_words_begin_where_another_voice_says_them(voice):
    synth.forget()
    waveform, words = synth.speak_words(TEXT, voice)
    truth = alignment.character_times(TEXT, words, len(waveform) / SAMPLE_RATE)
    noisy = waveform + 0.003 * np.random.default_rng(0).standard_normal(len(waveform))
    quiet = np.concatenate([np.zeros(SAMPLE_RATE // 2), noisy])
    found = alignment.align(TEXT, quiet)
    starts = [word.start for word in words[1:]]
    errors = np.abs(found[starts] - 0.5 - truth[starts])
    assert np.median(errors) < 0.02
    assert errors.max() < 0.08
    assert found[0] == 0
    assert (np.diff(found) >= 0).all()
    assert found[-1] <= len(quiet) / SAMPLE_RATE
    # The pause after a comma is the comma's.
    comma = TEXT.index(",")
    assert found[comma + 1] - found[comma] > 0.08


def test_the_same_recording_gives_the_same_times():
    waveform = synth.speak(TEXT, synth.Voice("en-us+m1"))
    assert np.array_equal(alignment.align(TEXT, waveform), alignment.align(TEXT, waveform))


def test_characters_share_the_sounds_of_their_word():
    words = [synth.Word(0, 4, [0.1, 0.2, 0.4]), synth.Word(5, 7, [0.6, 0.7, 0.8])]
    times = alignment.character_times("abcd ef!?", words, 1.0)
    # Two characters for a sound; the first begins with the silence, the space has the pause, as the mark has the end.
    assert times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 1.0, 1.0])


def test_what_comes_before_the_first_word_takes_no_time():
    times = alignment.character_times("(a", [synth.Word(1, 2, [0.2, 0.5])], 0.6)
    assert times == pytest.approx([0.0, 0.2, 0.5])


def test_words_without_a_gap_share_the_pause():
    words = [synth.Word(0, 2, [0.0, 0.1]), synth.Word(2, 3, [0.3, 0.4])]
    assert alignment.character_times("ab1", words, 0.5) == pytest.approx([0, 0.15, 0.3, 0.4])


def test_a_text_without_words_is_named():
    with pytest.raises(SureError, match=r"finds nothing to say in the text '\.\.\.'"):
        alignment.align("...", np.zeros(SAMPLE_RATE, dtype=np.float32))
