"""Speech recognition: normalisation, vocabulary, loss, decoding, and the CTC head with every method."""

# ruff: noqa: RUF001 characters that look alike are what normalisation is about

import builtins
import itertools
import math
import sys
import unicodedata
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from peft import PeftModel

from sure.backbone import loading
from sure.backbone.padding import Padding
from sure.errors import SureError
from sure.heads import NO_FRAME, CTCHead
from sure.method import applying
from sure.model import ModelWithHead
from sure.task import make_task, speech_recognition
from sure.task.speech_recognition import SpeechRecognitionTask
from sure.task.speech_recognition.normalisation import normalise
from sure.task.speech_recognition.tokens import BLANK
from tests.factories.encoders import KINDS_OF_METHODS, bare, has_the_parts, load, stirred, waveforms


@dataclass
class Transcribed(SpeechRecognitionTask):
    """Texts by split, no audio."""

    texts = {"train": ["Bad cab!", "a  BED"], "validation": ["A bee’s"], "test": ["", "dab"]}

    def utterances(self, data_dir):
        for split, texts in self.texts.items():
            for number, text in enumerate(texts):
                yield {"id": f"{split}/{number}", "path": "", "speaker": None, "split": split, "text": text}


VOCABULARY = [BLANK, " ", "a", "b", "c", "d", "e"]

ARPA = """
\\data\\
ngram 1=6
ngram 2=4

\\1-grams:
-99\t<s>\t-0.3
-1.0\t</s>
-1.0\t<unk>\t-0.3
-1.0\tbad\t-0.3
-1.0\tcab\t-0.3
-1.0\txyz\t-0.3

\\2-grams:
-0.1\t<s> bad
-3.0\tbad bad
-0.1\tbad cab
-0.1\tcab </s>

\\end\\
"""


def log_probabilities(frames: int, seed: int, vocabulary: int = 3) -> np.ndarray:
    logits = torch.randn(frames, vocabulary, generator=torch.Generator().manual_seed(seed))
    return (2 * logits).log_softmax(-1).numpy()


def spoken(tokens: list[int], vocabulary: int = len(VOCABULARY)) -> np.ndarray:
    """Frames that say these tokens with some doubt."""
    return torch.nn.functional.one_hot(torch.tensor(tokens), vocabulary).mul(6.0).log_softmax(-1).numpy()


def by_text(frames: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of every text, by adding up every alignment (Graves et al. 2006, equation 3)."""
    probabilities = defaultdict(float)
    for path in itertools.product(range(frames.shape[1]), repeat=len(frames)):
        text = tuple(token for token, _ in itertools.groupby(path) if token)
        probabilities[text] += math.exp(sum(frames[step, token] for step, token in enumerate(path)))
    return probabilities


class TestNormalise:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('Hello, World! Is it; so: "yes"? well-known.', "hello world is it so yes wellknown"),
            ("don't  DON’T 'tis the dogs' 'quoted' rock ' roll", "don't don't tis the dogs quoted rock roll"),
            ("In 1984, 3.5 % of\tthem\n", "in 1984 35 of them"),
            ("either/or — not (never) a_b", "either or not never a b"),
            ("ﬁne ＦＵＬＬ ｗｉｄｔｈ，ok", "fine full widthok"),
            ("ÉTÉ Straße Ωμέγα ЁЖ", "été straße ωμέγα ёж"),
            ("E\u0301te\u0301", "été"),
            ("¿Qué tal? ¡Bien!", "qué tal bien"),
            ("你好，世界。", "你好世界"),
            ("हिन्दी में, क्षेत्र।", "हिन्दी में क्षेत्र"),
            ("soft\u00adhyphen \ufeffbom zero\u200bwidth", "softhyphen bom zerowidth"),
            ("?!  ...", ""),
            ("", ""),
        ],
    )
    def test_what_is_said_stays_and_how_it_is_written_goes(self, text, expected):
        assert normalise(text) == expected

    def test_twice_is_once_for_every_character(self):
        for code in itertools.chain(range(0xD800), range(0xE000, sys.maxunicode + 1)):
            once = normalise(f"a{chr(code)}b '{chr(code)}")
            assert normalise(once) == once, hex(code)

    def test_it_agrees_with_the_rule_of_the_paper_where_that_applies(self):
        generator = np.random.default_rng(0)
        for _ in range(200):
            text = "".join(generator.choice(list('abYZ09 ,?.!-;:"'), size=30))
            theirs = "".join(character for character in text.lower() if character not in ',?.!-;:"')
            assert normalise(text) == " ".join(theirs.split())

    def test_marks_of_all_scripts_stay(self):
        assert normalise("ก็") == "ก็"
        assert {unicodedata.category(character)[0] for character in normalise("हिन्दी")} == {"L", "M"}


class TestTask:
    def test_the_vocabulary_comes_from_the_normalised_training_texts_alone(self, tmp_path):
        task = Transcribed()
        splits = task.load(tmp_path)
        assert splits["train"]["text"][:] == ["bad cab", "a bed"]
        assert task.vocabulary == VOCABULARY
        # The apostrophe and the s of the validation split are scored, although no model can say them.
        assert splits["validation"]["text"][:] == ["a bee's"]
        assert task.targets(splits["validation"].to_list())["labels"].tolist() == [[2, 1, 3, 6, 6]]

    def test_targets_are_padded(self):
        labels = Transcribed(vocabulary=VOCABULARY).targets([{"text": "ab"}, {"text": ""}, {"text": "cab e"}])["labels"]
        assert labels.tolist() == [[2, 3, -100, -100, -100], [-100] * 5, [4, 2, 3, 1, 6]]

    def test_a_corpus_without_texts_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Transcribed, "texts", Transcribed.texts | {"train": ["...", ""]})
        with pytest.raises(SureError, match="every text of the training split is empty"):
            Transcribed().load(tmp_path)

    def test_predictions_are_texts_of_the_frames_that_there_are(self):
        task = Transcribed(vocabulary=VOCABULARY)
        # "b", "b" without and with a blank between, spaces at both ends, and padding frames.
        said = spoken([1, 3, 3, 2, 0, 2, 5, 1, 1, 0, 1, 2])
        outputs = np.full((2, 15, len(VOCABULARY)), NO_FRAME, dtype=np.float32)
        outputs[0, :12] = said
        outputs[1, :3] = spoken([0, 4, 0])
        tokens = task.reduce(torch.from_numpy(outputs))
        assert tokens.tolist()[1] == [0, 4, 0, *[-100] * 12]
        rows = task.predict(tokens.numpy(), [{"id": "x", "speaker": "s", "text": ""}, {"id": "y"}])
        assert rows[0] == {"id": "x", "speaker": "s", "reference": "", "prediction": "baad a"}
        assert rows[1] == {"id": "y", "prediction": "c"}

    def test_texts_that_have_too_few_frames_are_counted_before_training(self):
        # Three tokens and a blank between the two that are alike: four frames of 320 samples.
        rows = {"samples": [1600, 1280, 1279], "text": ["baa", "baa", "baa"]}
        fitting = {"samples": [960], "text": ["bab"]}
        splits = DatasetDict(train=Dataset.from_dict(rows), test=Dataset.from_dict(fitting))
        (warning,) = Transcribed(vocabulary=VOCABULARY).warnings(loading.load("wav2vec2:tiny", weights=False), splits)
        assert warning.startswith("1 of the 3 train utterances have more text than CTC can align")

    @pytest.mark.parametrize(
        ("task", "options", "metric"),
        [
            ("asr_fleurs", {"language": "en_us"}, "word_error_rate"),
            ("asr_fleurs", {"language": "cmn_hans_cn"}, "character_error_rate"),
            ("asr_fleurs", {"language": "ja_jp"}, "character_error_rate"),
            ("asr_esd", {}, "word_error_rate"),
            ("asr_esd", {"language": "mandarin"}, "character_error_rate"),
            ("asr_esd", {"language": "all"}, "character_error_rate"),
            ("asr_manifest", {"language": "th"}, "character_error_rate"),
        ],
    )
    def test_where_words_are_not_parted_characters_count(self, task, options, metric):
        task = make_task(task, options)
        assert task.metric == metric
        assert sorted(task.metrics) == ["character_error_rate", "word_error_rate"]

    def test_rows_are_scored_as_texts(self):
        rows = [
            {"id": "1", "prediction": "one too", "reference": "one two"},
            {"id": "2", "prediction": "a b c", "reference": ""},
            {"id": "3", "prediction": "", "reference": "three"},
        ]
        assert Transcribed().score(rows) == {
            "word_error_rate": pytest.approx(5 / 3),
            "character_error_rate": pytest.approx((1 + 5 + 5) / 12),
        }
        with pytest.raises(SureError, match="Prediction '9': prediction 3 is not a text"):
            Transcribed().score([{"id": "9", "prediction": 3, "reference": "three"}])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"decoder": "best"}, "decoder=best: choose one of greedy, beam"),
            ({"language_model": "lm.arpa"}, "language_model=lm.arpa needs decoder=beam"),
            ({"decoder": "beam", "language_model": 4}, "language_model=4: not the name of a file"),
            ({"language_model_weight": "much"}, "language_model_weight=much: not a number"),
            ({"speed_perturbation": 0.6}, "speed_perturbation=0.6: not a number from 0 to 0.5"),
        ],
    )
    def test_contradictory_options_are_named(self, options, message):
        with pytest.raises(SureError, match=message):
            Transcribed(**options)


def test_speed_perturbation_changes_length_and_pitch_alike():
    tone = np.sin(2 * np.pi * 400 * np.arange(16_000) / 16_000).astype(np.float32)
    assert Transcribed().augment(tone, {}, np.random.default_rng(0)) is tone
    task, generator = Transcribed(speed_perturbation=0.2), np.random.default_rng(0)
    heard = [task.augment(tone, {}, generator) for _ in range(50)]
    speeds = [len(tone) / len(waveform) for waveform in heard]
    assert 0.8 <= min(speeds) < 0.85
    assert 1.15 < max(speeds) <= 1.2
    for waveform, speed in zip(heard, speeds, strict=True):
        assert waveform.dtype == np.float32
        peak = np.abs(np.fft.rfft(waveform)).argmax() * 16_000 / len(waveform)
        assert peak == pytest.approx(400 * speed, rel=0.01)


class TestHead:
    def test_the_loss_is_the_negative_log_likelihood_per_token_averaged_over_utterances(self):
        torch.manual_seed(0)
        head, padding = CTCHead(8, 3), Padding()
        padding.mask = torch.arange(5) < torch.tensor([[5], [4]])
        labels = torch.tensor([[1, 2], [2, -100]])
        loss, outputs = head(torch.randn(2, 5, 8), padding, labels=labels)
        likelihoods = [by_text(outputs[0].detach().numpy())[1, 2], by_text(outputs[1, :4].detach().numpy())[(2,)]]
        assert loss.item() == pytest.approx((-math.log(likelihoods[0]) / 2 - math.log(likelihoods[1])) / 2, rel=1e-5)
        assert (outputs[1, 4] == NO_FRAME).all()
        assert (outputs[padding.mask] != NO_FRAME).all()

    def test_what_cannot_be_said_in_so_few_frames_counts_nothing(self):
        head, padding = CTCHead(8, 3), Padding()
        hidden_states = torch.randn(2, 3, 8)
        # Two equal tokens need a blank between them: three tokens, five frames.
        labels = torch.tensor([[1, 1, 1], [2, -100, -100]])
        loss, _ = head(hidden_states, padding, labels=labels)
        loss.backward()
        alone, _ = head(hidden_states[1:], padding, labels=labels[1:])
        assert loss.item() == pytest.approx(alone.item() / 2)
        assert all(parameter.grad.isfinite().all() for parameter in head.parameters())

    def test_an_empty_text_is_learned_as_silence(self):
        head, padding = CTCHead(8, 3), Padding()
        hidden_states = torch.randn(1, 4, 8)
        loss, outputs = head(hidden_states, padding, labels=torch.zeros(1, 0, dtype=torch.long))
        assert loss.item() == pytest.approx(-outputs[0, :, 0].sum().item())

    def test_half_precision_keeps_the_loss_in_single(self):
        head, padding = CTCHead(8, 3), Padding()
        hidden_states, labels = torch.randn(1, 200, 8), torch.tensor([[1, 2]])
        whole, _ = head(hidden_states, padding, labels=labels)
        with torch.autocast("cpu", torch.bfloat16):
            loss, outputs = head(hidden_states, padding, labels=labels)
        assert outputs.dtype == loss.dtype == torch.float32
        assert loss.item() == pytest.approx(whole.item(), rel=0.01)


class TestBeamSearch:
    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("flashlight.lib.text", reason="flashlight-text (the extra `beam`) is not installed")

    @pytest.fixture
    def arpa(self, tmp_path):
        path = tmp_path / "lm.arpa"
        path.write_text(ARPA)
        return path

    @staticmethod
    def decode(frames, vocabulary=VOCABULARY, decoder="beam", **options):
        task = Transcribed(vocabulary=vocabulary[: frames.shape[-1]], decoder=decoder, **options)
        # Behind another, shorter one, with what pads it.
        batch = np.full((2, *frames.shape), NO_FRAME, dtype=np.float32)
        batch[0, :2], batch[1] = frames[:2], frames
        outputs = task.reduce(torch.from_numpy(batch))
        return task.predict(outputs.numpy(), [{"id": "w"}, {"id": "x"}])[1]["prediction"]

    def test_it_finds_the_likeliest_text_over_all_alignments(self):
        vocabulary, differing = [BLANK, " ", "a", "b"], 0
        for seed in range(30):
            # The separator cannot be, so that what is found is a text without any.
            frames = np.insert(log_probabilities(6, seed), 1, -50.0, axis=1)
            texts = by_text(frames)
            best = "".join(vocabulary[token] for token in max(texts, key=texts.get))
            assert self.decode(frames, vocabulary) == best
            differing += self.decode(frames, vocabulary, decoder="greedy") != best
        assert differing

    def test_a_language_model_corrects_words_and_finds_no_others(self, arpa):
        # "bad ceb": the language model knows "bad cab".
        frames = spoken([3, 2, 5, 1, 4, 6, 3])
        assert self.decode(frames) == "bad ceb"
        assert self.decode(frames, language_model=str(arpa)) == "bad cab"
        # "xyz" cannot be spelled; silence is no word.
        assert self.decode(spoken([0, 0, 0]), language_model=str(arpa)) == ""

    def test_the_weight_decides_between_sound_and_language(self, arpa):
        # "bad bad", which the language model finds unlikely after "bad".
        frames = spoken([3, 2, 5, 1, 3, 2, 5])
        assert self.decode(frames, language_model=str(arpa), language_model_weight=0.1) == "bad bad"
        assert self.decode(frames, language_model=str(arpa), language_model_weight=6.0) == "bad cab"

    def test_the_file_is_part_of_what_was_trained(self, arpa, tmp_path):
        task = Transcribed(decoder="beam", language_model=str(arpa))
        task.load(tmp_path)
        assert len(task.language_model_sha256) == 64
        changed = Transcribed(task.vocabulary, decoder="beam", language_model=str(arpa), language_model_sha256="0" * 64)
        with pytest.raises(SureError, match="has changed since this adapter was trained"):
            changed.predict(spoken([0])[None], [{"id": "x"}])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "language_model=.*: no such file"),
            (b"bad cab\n", "not a language model in ARPA format"),
            (b"mmap lm \xff\xfe\x00", "not a language model in ARPA format"),
            (ARPA.replace("bad", "xxx").replace("cab", "yyy").encode(), "none of its words can be spelled"),
            (ARPA.replace("ngram 1=6", "ngram 1=9").encode(), "KenLM cannot read it"),
        ],
    )
    def test_a_file_that_is_no_language_model_is_named_before_training(self, content, message, tmp_path):
        path = tmp_path / "broken.arpa"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SureError, match=message):
            Transcribed(decoder="beam", language_model=str(path)).load(tmp_path)


def test_without_its_library_the_beam_search_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *more, **named):
        if name.startswith("flashlight"):
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    # Nor one that an earlier test has made.
    speech_recognition._beam_search.cache_clear()
    with pytest.raises(SureError, match=r"pip install 'sure-bench\[beam\]'"):
        Transcribed(decoder="beam").load(tmp_path)


def recogniser(name: str):
    backbone = load(name)
    torch.manual_seed(1)
    return backbone, ModelWithHead(backbone, CTCHead(backbone.width, 5))


def adapted_recogniser(name: str, method: str):
    backbone, model = recogniser(name)
    return backbone, stirred(applying.apply(model, applying.configure(method, backbone)))


@pytest.mark.parametrize(
    ("name", "method"),
    [
        (name, method)
        for name in ("wav2vec2:tiny_like_base", "wavlm:tiny_like_base", "wav2vec2_bert:tiny", "whisper:tiny")
        for method in KINDS_OF_METHODS
        if has_the_parts(bare(name), method)
    ],
)
class TestMatrix:
    labels = torch.tensor([[1, 2, -100], [3, 3, 4]])

    def test_only_the_method_and_the_head_learn(self, name, method):
        backbone, model = adapted_recogniser(name, method)
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        model.train()
        loss = model(**backbone.inputs(waveforms(0.5, 0.9)), labels=self.labels).loss
        assert loss.isfinite() and loss > 0
        loss.backward()
        trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == trainable
        torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1.0).step()
        moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
        assert moved <= trainable
        assert {name for name in trainable if "head" in name} <= moved
        assert method == "linear_probe" or any("head" not in name for name in moved)

    def test_saved_and_loaded_it_gives_identical_outputs(self, name, method, tmp_path):
        backbone, model = adapted_recogniser(name, method)
        inputs = backbone.inputs(waveforms(0.5, 0.9))
        model.eval()
        with torch.no_grad():
            expected = model(**inputs).logits
        model.save_pretrained(tmp_path)
        reloaded = PeftModel.from_pretrained(recogniser(name)[1], tmp_path).eval()
        with torch.no_grad():
            assert torch.equal(reloaded(**inputs).logits, expected)

    def test_a_padded_batch_gives_what_each_utterance_gives_alone(self, name, method):
        backbone, model = adapted_recogniser(name, method)
        clips = waveforms(0.5, 1.3, 0.3)
        model.eval()
        with torch.no_grad():
            together = model(**backbone.inputs(clips)).logits
            for frames, clip in zip(together, clips, strict=True):
                alone = model(**backbone.inputs([clip])).logits[0]
                alone = alone[(alone != NO_FRAME).any(-1)]
                torch.testing.assert_close(frames[: len(alone)], alone, atol=2e-5, rtol=1e-4)
                assert (frames[len(alone) :] == NO_FRAME).all()


class TestScoredText:
    @pytest.mark.parametrize(
        ("scored_text", "said", "wanted", "errors"),
        [
            ("as_written", "3 8 1", "three eight one", 1.0),
            ("spelled_digits", "3 8 1", "three eight one", 0.0),
            ("spelled_digits", "381 dogs", "three eight two dogs", 0.25),
            ("whisper_english", "381", "three eight one", 0.0),
            ("whisper_english", "i'm um 20 years old", "i am twenty years old", 0.0),
        ],
    )
    def test_errors_are_counted_in_what_numbers_are_written_as(self, scored_text, said, wanted, errors):
        task = make_task("asr_fleurs", {"scored_text": scored_text})
        rows = [{"id": "x", "prediction": said, "reference": wanted}]
        assert task.score(rows)["word_error_rate"] == pytest.approx(errors)
        # What was said stays as it was.
        assert rows[0]["prediction"] == said

    def test_another_is_refused(self):
        with pytest.raises(SureError, match=r"scored_text=words: choose one of as_written, whisper_english, spelled_"):
            make_task("asr_fleurs", {"scored_text": "words"})
