"""Whisper: what it hears and writes, every method on encoder and decoder, and runs from recordings to record."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch
from datasets import Dataset, DatasetDict
from peft import PeftModel
from transformers import GenerationConfig, GenerationMixin

from sure import leaderboard, registry
from sure.backbone import loading
from sure.backbones import whisper
from sure.errors import SureError
from sure.method import applying, by_name
from sure.predict import predict
from sure.record import Result, read_predictions
from sure.runner.run import main
from sure.task import make_task
from sure.task.speech_recognition.model import NO_TOKEN, TranscribingModel
from tests.factories.corpora import noise_in_fleurs_layout
from tests.factories.encoders import FITTING, KINDS_OF_METHODS, has_the_parts, load_copy, stirred, waveforms
from tests.factories.writing import SPECIAL, save_whisper

TEXTS = ["one two three", "don't"]
WITHOUT_HEAD = [
    name
    for name in KINDS_OF_METHODS
    if not getattr(by_name.config_class(name), "needs_head", False)
    and has_the_parts(registry.get("backbone", "whisper"), name)
]


@cache
def folder_of(multilingual: bool = True) -> Path:
    return save_whisper(Path(mkdtemp(prefix="sure-whisper-")), multilingual=multilingual)


def load(multilingual: bool = True):
    backbone = load_copy(folder_of(multilingual))
    return backbone, TranscribingModel(backbone, backbone.prompt("en"))


def adapted(method: str, **options):
    backbone, model = load()
    return backbone, stirred(
        applying.apply(model, applying.configure(method, backbone, options or FITTING.get(method))), by=0.1
    )


def written(model, inputs):
    model.eval()
    with torch.no_grad():
        return model(**inputs).logits


def generated_by_the_library(backbone, model, inputs, **changes):
    """Greedily, behind the prompt."""
    settings = {"max_length": model.config.max_target_positions} | changes
    return GenerationMixin.generate(
        backbone.model,
        inputs["input_features"],
        decoder_input_ids=torch.tensor([model.prompt]).expand(len(inputs["input_features"]), -1),
        generation_config=GenerationConfig(
            eos_token_id=model.config.eos_token_id,
            pad_token_id=model.config.eos_token_id,
            decoder_start_token_id=model.prompt[0],
            **settings,
        ),
    )[:, len(model.prompt) :]


def tokens(*names):
    return [SPECIAL.index(name) + load()[0].model.config.eos_token_id for name in names]


class TestText:
    def test_a_text_follows_the_prompt_of_its_language_and_is_read_back(self):
        backbone, _ = load()
        labels = backbone.labels(TEXTS, "en")
        prompt = tokens("<|en|>", "<|transcribe|>", "<|notimestamps|>")
        assert labels[:, :3].tolist() == [prompt, prompt]
        for text, row in zip(TEXTS, labels, strict=True):
            row = row[row >= 0].tolist()
            assert row[-1:] == tokens("<|endoftext|>")
            assert backbone.text(row) == f" {text}"

    @pytest.mark.parametrize(("multilingual", "language"), [(True, None), (True, "fr"), (False, "en")])
    def test_a_language_that_the_model_does_not_tell_apart_is_not_named(self, multilingual, language):
        backbone, _ = load(multilingual)
        prompt = tokens("<|startoftranscript|>", "<|notimestamps|>")
        assert backbone.prompt(language) == prompt

    def test_what_is_not_told_the_language_that_is_spoken_is_said_before_training(self):
        backbone, _ = load()
        assert [backbone.told(language) for language in ("en", "de", "fr", None)] == [True, True, False, False]
        assert load(multilingual=False)[0].told(None)
        splits = DatasetDict(train=Dataset.from_dict({"samples": [8000], "text": ["one"]}))
        for language, why in ((None, "is told none: give --task_options language=en"), ("fr", "does not know 'fr'")):
            task = make_task("asr_manifest", {"language": language})
            task.build_model(backbone)
            (warning,) = task.warnings(backbone, splits)
            assert why in warning
        with pytest.raises(SureError, match=r"^--task_options language=english: give its code by ISO 639-1, such as"):
            make_task("asr_manifest", {"language": "english"})

    def test_without_a_generation_configuration_its_vocabulary_says_what_it_tells_apart(self, monkeypatch):
        monkeypatch.setattr(whisper, "_OF_MANY_LANGUAGES", 0)
        backbone, _ = load(multilingual=False)
        assert backbone.prompt("de") == tokens("<|startoftranscript|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>")
        assert [backbone.told(language) for language in ("en", "fr", None)] == [True, False, False]

    @pytest.mark.parametrize(
        ("task", "options", "language"),
        [
            ("asr_fleurs", {"language": "de_de"}, "de"),
            ("asr_fleurs", {"language": "cmn_hans_cn"}, "zh"),
            ("asr_librispeech", {}, "en"),
            ("asr_voxpopuli", {"language": "fr"}, "fr"),
            ("asr_esd", {}, "en"),
            ("asr_esd", {"language": "mandarin"}, "zh"),
            ("asr_esd", {"language": "all"}, None),
            ("asr_manifest", {}, None),
            ("asr_manifest", {"language": "sw"}, "sw"),
        ],
    )
    def test_tasks_know_their_language(self, task, options, language):
        assert make_task(task, options).spoken_language == language

    def test_predictions_are_normalised_texts(self):
        backbone, _ = load()
        task = make_task("asr_fleurs", {})
        task.build_model(backbone)
        outputs = task.targets([{"text": "one  THREE, two!"}])["labels"].numpy()
        rows = task.predict(outputs.astype("float32"), [{"id": "x", "text": "one three two"}])
        assert rows == [{"id": "x", "reference": "one three two", "prediction": "one three two"}]


class TestModel:
    def test_it_writes_what_it_finds_likeliest_token_by_token(self):
        backbone, model = load()
        inputs = backbone.inputs(waveforms(0.5, 1.9, 1.0))
        said = written(model, inputs)
        assert len(said.unique(dim=0)) > 1
        for features, row in zip(inputs["input_features"], said, strict=True):
            # Without a cache, alone.
            expected = list(model.prompt)
            while len(expected) < model.config.max_target_positions:
                with torch.no_grad():
                    ids = torch.tensor([expected])
                    logits = backbone.model(input_features=features[None], decoder_input_ids=ids).logits
                expected.append(int(logits[0, -1].argmax()))
                if expected[-1] == model.config.eos_token_id:
                    expected.pop()
                    break
            expected = expected[len(model.prompt) :]
            assert row[row != NO_TOKEN].tolist() == expected
            assert (row[len(expected) :] == NO_TOKEN).all()

    def test_it_writes_what_the_library_generates(self):
        backbone, model = load()
        inputs = backbone.inputs(waveforms(0.5, 1.9, 1.0))
        said = written(model, inputs)
        generated = generated_by_the_library(backbone, model, inputs)
        ended = generated.masked_fill((generated == model.config.eos_token_id).cummax(dim=1).values, NO_TOKEN)
        assert said.tolist() == ended[:, : said.shape[1]].tolist()
        assert (ended[:, said.shape[1] :] == NO_TOKEN).all()

    def test_it_does_not_say_what_the_checkpoint_suppresses_as_the_library_does_not(self):
        backbone, _ = load()
        inputs = backbone.inputs(waveforms(0.5, 1.9, 1.0))
        freely = written(TranscribingModel(backbone, backbone.prompt("en")), inputs)
        settings = backbone.model.generation_config
        settings.suppress_tokens = [int(freely[0, 1]), 7]
        settings.begin_suppress_tokens = [int(freely[0, 0]), backbone.config.eos_token_id]
        settings.max_length = 15
        model = TranscribingModel(backbone, backbone.prompt("en"))
        said = written(model, inputs)
        assert not torch.isin(said, torch.tensor(settings.suppress_tokens)).any()
        assert not torch.isin(said[:, 0], torch.tensor(settings.begin_suppress_tokens)).any()
        changes = {name: getattr(settings, name) for name in ("suppress_tokens", "begin_suppress_tokens", "max_length")}
        generated = generated_by_the_library(backbone, model, inputs, **changes)
        ended = generated.masked_fill((generated == model.config.eos_token_id).cummax(dim=1).values, NO_TOKEN)
        assert said.tolist() == ended[:, : said.shape[1]].tolist()
        assert said.shape[1] <= 15 - len(model.prompt)

    def test_it_is_stopped_where_its_audio_holds_no_more_in_any_company(self):
        backbone, model = load()
        clips = waveforms(0.1, 0.3, 1.9)
        inputs = backbone.inputs(clips)
        assert inputs["attention_mask"].sum(dim=1).tolist() == [10, 30, 190]
        # Without an end, each text is as long as it may be: 10 frames of 10 ms hold 4 tokens.
        model.config.eos_token_id = -1
        said = written(model, inputs)
        longest = backbone.config.max_target_positions - len(model.prompt)
        assert (said != NO_TOKEN).sum(dim=1).tolist() == [4, 12, longest]
        for clip, row in zip(clips, said, strict=True):
            alone = written(model, backbone.inputs([clip]))[0]
            assert row[row != NO_TOKEN].tolist() == alone.tolist()

    def test_a_text_that_has_ended_leaves_the_batch(self):
        backbone, model = load()
        model.config.eos_token_id = -1
        sizes = []
        decoder = backbone.model.model.decoder
        hook = decoder.register_forward_pre_hook(
            lambda _, args, inputs: sizes.append(len(inputs["input_ids"])), with_kwargs=True
        )
        written(model, backbone.inputs(waveforms(0.1, 1.9)))
        hook.remove()
        assert sizes[:6] == [2, 2, 2, 2, 2, 1]

    def test_it_stops_at_the_end_token_and_after_it_nothing_is_said(self):
        backbone, model = load()
        inputs = backbone.inputs(waveforms(0.5, 1.9))
        said = written(model, inputs)
        # Now what the first one says second ends any.
        end = model.config.eos_token_id = int(said[0, 1])
        ended = [row[: row.index(end)] if end in row else row for row in said.tolist()]
        assert len(ended[0]) == 1 < len(ended[1])
        for row, expected in zip(written(model, inputs).tolist(), ended, strict=True):
            assert row == expected + [NO_TOKEN] * (len(ended[1]) - len(expected))
        model.config.eos_token_id = int(said[0, 0])
        alone = written(model, backbone.inputs(waveforms(0.5)))
        assert alone.tolist() == [[NO_TOKEN]]

    def test_the_loss_of_training_and_of_evaluation_is_the_same(self):
        backbone, model = load()
        inputs = backbone.inputs(waveforms(0.5, 1.9)) | {"labels": backbone.labels(TEXTS, "en")}
        loss = model.train()(**inputs).loss
        with torch.no_grad():
            torch.testing.assert_close(model.eval()(**inputs).loss, loss)
        assert model(**backbone.inputs(waveforms(0.5))).loss is None

    def test_what_does_not_fit_is_cut_and_counted_before_training(self):
        backbone, _ = load()
        short, long = waveforms(0.5, 2.1)
        cut, expected = backbone.inputs([short, long]), backbone.inputs([short, long[: 2 * 16_000]])
        assert torch.equal(cut["input_features"], expected["input_features"])
        labels = backbone.labels(["one " * 30], "en")
        assert labels.shape == (1, 24)
        task = make_task("asr_fleurs", {})
        task.build_model(backbone)
        texts = ["one two", "one two", "one " * 30]
        rows = {"samples": [len(short), len(long), len(short)], "text": texts}
        fitting = {"samples": [len(short)], "text": ["one"]}
        splits = DatasetDict(train=Dataset.from_dict(rows), test=Dataset.from_dict(fitting))
        (warning,) = task.warnings(backbone, splits)
        assert warning.startswith("2 of the 3 train utterances are longer than ")


@pytest.mark.parametrize("method", WITHOUT_HEAD)
class TestMatrix:
    def test_only_the_method_learns_and_disabled_it_gives_back_the_backbone(self, method):
        backbone, plain = load()
        inputs = backbone.inputs(waveforms(0.5, 1.9)) | {"labels": backbone.labels(TEXTS, "en")}
        with torch.no_grad():
            expected = plain.eval()(**inputs).loss
        _, model = adapted(method)
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        with torch.no_grad(), model.eval().disable_adapter():
            torch.testing.assert_close(model(**inputs).loss, expected)
        with torch.no_grad():
            assert not torch.allclose(model(**inputs).loss, expected, atol=1e-4)
        model.train()(**inputs).loss.backward()
        trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == trainable
        torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1.0).step()
        moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
        assert moved <= trainable
        assert any("encoder" in name for name in moved)
        # Neither what reads ahead, as gates do, nor prompts have a place in the decoder.
        of_encoder = method in ("prompt_tuning", "unipelt") or getattr(
            by_name.config_class(method)(), "reads_ahead", ""
        )
        assert any("decoder" in name for name in moved) != bool(of_encoder)

    def test_in_a_batch_as_alone_and_saved_and_loaded_it_writes_the_same(self, method, tmp_path):
        backbone, model = adapted(method)
        clips = waveforms(0.5, 1.9, 0.3)
        said = written(model, backbone.inputs(clips))
        for row, clip in zip(said, clips, strict=True):
            alone = written(model, backbone.inputs([clip]))[0]
            assert row[row != NO_TOKEN].tolist() == alone[alone != NO_TOKEN].tolist()
        inputs = backbone.inputs(clips[:2]) | {"labels": backbone.labels(TEXTS, "en")}
        with torch.no_grad():
            loss = model(**inputs).loss
        model.save_pretrained(tmp_path)
        reloaded = PeftModel.from_pretrained(load()[1], tmp_path)
        assert torch.equal(written(reloaded, backbone.inputs(clips)), said)
        with torch.no_grad():
            assert torch.equal(reloaded(**inputs).loss, loss)

    def test_what_is_written_next_depends_on_all_that_was_before_and_nothing_that_comes_later(self, method):
        backbone, model = adapted(method)
        features = backbone.inputs(waveforms(0.5))["input_features"]
        model.eval()

        def logits(*ids):
            with torch.no_grad():
                said = torch.tensor([ids])
                return model.get_base_model().backbone(input_features=features, decoder_input_ids=said).logits[0]

        first = logits(1, 5, 9, 13)
        torch.testing.assert_close(logits(1, 5, 9, 200)[:3], first[:3])
        other = logits(200, 5, 9, 13)
        assert all(not torch.allclose(one, two) for one, two in zip(first, other, strict=True))


@pytest.mark.parametrize("method", ["lora", "bottleneck_adapter", "bitfit", "full_finetuning"])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_roles_choose_encoder_or_decoder(part, method):
    backbone, _ = load()
    linear = method in ("lora",)
    config = applying.configure(
        method, backbone, {"roles": f"{part}_query,{part}_ffn_in" if linear else f"{part}_layer"}
    )
    model = applying.apply(load()[1], config)
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trainable
    assert all(f"model.{part}." in name for name in trainable)


def test_cross_attention_is_a_role_and_takes_a_prefix():
    _, model = adapted("prefix_tuning", roles="cross_attention", positions=3)
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert len(trainable) == 3
    assert all("encoder_attn" in name for name in trainable)


class TestMistakes:
    @pytest.mark.parametrize("method", ["linear_probe", "weighted_sum_probe"])
    def test_probes_have_nothing_to_train(self, method):
        with pytest.raises(SureError, match=f"--method {method} is made for a task's head; whisper models are whole"):
            applying.configure(method, load()[0])

    def test_convolutions_do_not_go_into_the_decoder(self):
        with pytest.raises(SureError, match=r"conv_adapter convolves over time.*encoder_layer"):
            applying.configure("conv_adapter", load()[0], {"roles": "decoder_layer"})

    def test_other_tasks_need_an_encoder(self):
        with pytest.raises(SureError, match="whisper models are whole and take no task's head"):
            make_task("emodb_emotion", {}).build_model(load()[0])

    def test_a_beam_search_is_for_ctc(self):
        with pytest.raises(SureError, match="decoder=beam searches what CTC says; whisper models write themselves"):
            make_task("asr_fleurs", {"decoder": "beam"}).build_model(load()[0])

    def test_a_folder_without_a_tokenizer_is_named(self, tmp_path):
        tokenizer = save_whisper(tmp_path) / "tokenizer.json"
        special = {str(token["id"]): token for token in json.loads(tokenizer.read_text())["added_tokens"]}
        tokenizer.unlink()
        # The form of transformers 4, with which a tokenizer knows its special tokens and nothing else.
        configuration = tmp_path / "tokenizer_config.json"
        said = json.loads(configuration.read_text()) | {"added_tokens_decoder": special}
        for content in (json.dumps(said), None):
            configuration.write_text(content) if content else configuration.unlink()
            with pytest.raises(SureError, match="no tokenizer of Whisper's beside its weights"):
                loading.load(str(tmp_path))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return noise_in_fleurs_layout(tmp_path_factory.mktemp("corpus") / "en_us")


class TestRuns:
    @staticmethod
    def run(corpus, output_dir, *more, method="lora", epochs=2):
        command = f"--task asr_fleurs --data_dir {corpus} --backbone {folder_of()} --method {method} --use_cpu True"
        command += f" --output_dir {output_dir} --num_train_epochs {epochs} --per_device_train_batch_size 4"
        return main([*f"{command} --report_to none --disable_tqdm True --seed 3".split(), *more])

    @pytest.mark.parametrize("method", ["lora", "full_finetuning"])
    def test_a_run_is_recorded_predicts_and_is_scored_again_by_the_leaderboard(self, method, corpus, tmp_path):
        result = self.run(corpus, tmp_path / "run", method=method)
        assert result.status == "complete"
        assert result.cost.head_parameters == 0 < result.cost.macs_per_second
        assert result.cost.trainable_share == result.cost.trainable_share_without_head
        assert result.run.backbone.family == "whisper"
        rows = read_predictions(tmp_path / "run", result.predictions["test"])
        assert len(rows) == 7
        recordings = [corpus / "audio" / row["id"] for row in rows]
        predicted = list(predict(tmp_path / "run", recordings[::-1], batch_size=3))
        assert [row["prediction"] for row in predicted] == [row["prediction"] for row in rows[::-1]]
        leaderboard.add(tmp_path / "run" / "result.json", tmp_path / "board")
        leaderboard.build(tmp_path / "board")
        leaderboard.validate(tmp_path / "board")

    def test_it_learns(self, corpus, tmp_path):
        more = ["--learning_rate", "3e-3", "--save_total_limit", "20", "--logging_steps", "1"]
        result = self.run(corpus, tmp_path, *more, method="full_finetuning", epochs=15)
        history = json.loads(next(tmp_path.glob("checkpoint-45/trainer_state.json")).read_text())["log_history"]
        losses = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
        assert losses[-1] < 0.5 * losses[0]
        assert Result.read(tmp_path / "result.json") == result
