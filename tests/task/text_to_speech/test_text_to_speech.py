"""Text-to-speech from recordings to record, audio, rescoring and prediction, in tones that stand for voices."""

import json
import math
import os
import re
import shlex

import numpy as np
import pytest
import soundfile
from safetensors.numpy import save_file

from sure.backbone import loading
from sure.cli import main as command_line
from sure.errors import SureError
from sure.leaderboard import submission
from sure.predict import predict, speak
from sure.record import Result, read_predictions
from sure.record.samples import read_sample
from sure.runner.checkpoints import newest_checkpoint
from sure.runner.run import main
from sure.task import make_task
from sure.task.text_to_speech import durations, measures
from tests.factories.encoders import save_backbone
from tests.factories.recipes import carry_out, dry_run
from tests.factories.speaking import even_durations, save_fastspeech2_conformer, save_hifigan, save_speecht5

SENTENCES = [
    "a fox",
    "the box",
    "lazy dogs",
    "my jugs",
    "five",
    "a quick dog",
    "brown box",
    "over it",
    "pack",
    "liquor",
]
F0 = {"ABA": 110, "YBAA": 220}


def tone(f0, seconds):
    time = np.arange(int(16_000 * seconds)) / 16_000
    voice = sum(np.sin(2 * np.pi * f0 * harmonic * time) / harmonic for harmonic in range(1, 11)) / 4
    return voice + np.random.default_rng(0).normal(scale=1e-3, size=len(time))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """L2-ARCTIC's layout: a low and a high voice say ten things each."""
    folder = tmp_path_factory.mktemp("l2arctic")
    for speaker, f0 in F0.items():
        for name in ("wav", "transcript"):
            (folder / speaker / name).mkdir(parents=True)
        for number, sentence in enumerate(SENTENCES):
            soundfile.write(folder / speaker / "wav" / f"a{number}.wav", tone(f0, 0.06 * len(sentence)), 16_000)
            (folder / speaker / "transcript" / f"a{number}.txt").write_text(sentence)
    return folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return save_speecht5(tmp_path_factory.mktemp("speecht5"))


@pytest.fixture(scope="module")
def command(corpus, backbone):
    def words(output_dir, *more, options=()):
        command = f"--task tts_l2arctic --data_dir {corpus} --backbone {backbone} --method lora --use_cpu True"
        command += f" --output_dir {output_dir} --num_train_epochs 2 --per_device_train_batch_size 4 --seed 3"
        command = f"{command} --report_to none --disable_tqdm True --learning_rate 0.01"
        return [*command.split(), *(["--task_options", *options] if options else []), *more]

    return words


@pytest.fixture(scope="module")
def run(command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    main(command(folder))
    return folder


def values(result, split="test"):
    return {name: score.value for name, score in result.scores[split].items()}


def predictions(folder, split="test"):
    return read_predictions(folder, Result.read(folder / "result.json").predictions[split])


class TestRun:
    def test_it_is_recorded(self, run):
        result = Result.read(run / "result.json")
        assert result.status == "complete"
        assert result.metric == "mel_cepstral_distortion"
        assert {name: split.utterances for name, split in result.run.data.splits.items()} == {
            "train": 16,
            "validation": 2,
            "test": 2,
        }
        assert result.run.task_options["voices"] == ["ABA", "YBAA"]
        assert result.run.task_options["vocoder"] == "griffin_lim"
        assert result.run.task_options["speaker_embeddings"] == "codes"
        assert result.cost.head_parameters == 0 < result.cost.trainable_parameters
        assert {name: score.unit for name, score in result.scores["test"].items()} == {
            "mel_cepstral_distortion": "dB",
            "f0_error": "cents",
            "voicing_error": "share",
        }

    def test_the_best_epoch_is_the_one_of_least_distortion(self, run):
        state = json.loads((newest_checkpoint(run) / "trainer_state.json").read_text())
        evaluations = [step for step in state["log_history"] if "eval_loss" in step]
        seen = [step["eval_mel_cepstral_distortion"] for step in evaluations]
        assert len(set(seen)) == 2
        assert state["best_metric"] == min(seen)
        assert state["best_global_step"] == evaluations[seen.index(min(seen))]["step"]
        assert values(Result.read(run / "result.json"), "validation")["mel_cepstral_distortion"] == pytest.approx(
            min(seen)
        )

    def test_the_audio_lies_beside_it_and_is_what_was_measured(self, run, corpus):
        assert sorted(path.stem for path in (run / "audio").iterdir()) == ["ABA_a9", "YBAA_a9"]
        for row in predictions(run):
            path = run / "audio" / f"{row['id']}.wav"
            assert (soundfile.info(path).samplerate, soundfile.info(path).subtype) == (16_000, "PCM_16")
            said, _ = soundfile.read(path)
            recorded, _ = soundfile.read(corpus / row["speaker"] / "wav" / "a9.wav")
            measured = measures.compare(*map(measures.analyse, (said, recorded)))
            # Sixteen bits are not all that was measured.
            assert row["prediction"]["mel_cepstral_distortion"] == pytest.approx(
                measured["mel_cepstral_distortion"], rel=0.02
            )
            assert row["reference"] == "liquor"

    def test_the_record_names_samples_of_it(self, run, tmp_path):
        result = Result.read(run / "result.json")
        assert [(sample.id, sample.path) for sample in result.samples] == [
            ("ABA_a9", "sample_1.flac"),
            ("YBAA_a9", "sample_2.flac"),
        ]
        for sample in result.samples:
            said, _ = soundfile.read(run / "audio" / f"{sample.id}.wav", dtype="float32")
            assert read_sample(run, sample) == pytest.approx(said[: 12 * 16_000])
        changed = tmp_path / "sample_1.flac"
        changed.write_bytes((run / "sample_1.flac").read_bytes() + b" ")
        with pytest.raises(SureError, match=r"sample_1\.flac: its SHA-256 is not the one in the record"):
            read_sample(tmp_path, result.samples[0])
        for path in ("../sample_1.flac", "index.html"):
            with pytest.raises(SureError, match=r"must be a \.flac file beside its record"):
                read_sample(tmp_path, result.samples[0].model_copy(update={"path": path}))

    def test_its_scores_are_those_of_its_rows(self, run):
        result = Result.read(run / "result.json")
        rows = [row["prediction"] for row in predictions(run)]
        scores = values(result)
        assert scores["mel_cepstral_distortion"] == pytest.approx(
            np.mean([row["mel_cepstral_distortion"] for row in rows])
        )
        frames, voiced = ([row[name] for row in rows] for name in ("frames", "voiced_frames"))
        assert scores["voicing_error"] == pytest.approx(
            np.average([row["voicing_error"] for row in rows], weights=frames)
        )
        squared = np.average([row["squared_f0_error"] for row in rows], weights=voiced) if sum(voiced) else 1200.0**2
        assert scores["f0_error"] == pytest.approx(math.sqrt(squared))

    def test_the_leaderboard_scores_it_again(self, run, tmp_path):
        result = Result.read(run / "result.json")
        assert set(submission.rescore(run / "result.json", result)) == {"validation", "test"}
        path = run / "predictions-test.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        task = make_task("tts_l2arctic", result.run.task_options)
        for wrong in (None, 3.0, {}, rows[0]["prediction"] | {"frames": "many"}, {"mel_cepstral_distortion": math.nan}):
            with pytest.raises(SureError, match=r"Prediction 'ABA_a9': no \w+ that is a number"):
                task.comparable([rows[0] | {"prediction": wrong}, *rows[1:]])
        for name, wrong, why in (
            ("mel_cepstral_distortion", -1.0, "-1 is not from 0 to inf"),
            ("voicing_error", 1.5, "1.5 is not from 0 to 1"),
            ("frames", -3, "-3 is not from 0 to inf"),
            ("voiced_frames", 0.5, "0.5 is no whole number"),
        ):
            with pytest.raises(SureError, match=f"Prediction 'ABA_a9': {name} {why}"):
                task.comparable([rows[0] | {"prediction": rows[0]["prediction"] | {name: wrong}}, *rows[1:]])

    def test_what_it_says_depends_on_no_batch(self, run, command, tmp_path):
        again = main(command(tmp_path, "--per_device_eval_batch_size", "1"))
        for one, other in zip(predictions(run), predictions(tmp_path), strict=True):
            assert one["prediction"]["mel_cepstral_distortion"] == pytest.approx(
                other["prediction"]["mel_cepstral_distortion"], rel=0.01
            )
        assert again.cost.steps == 8


class TestSpeaking:
    def test_a_text_is_said_as_in_the_test(self, run):
        for row in predictions(run):
            (said,) = speak(run, [row["reference"]], row["speaker"])
            tested, _ = soundfile.read(run / "audio" / f"{row['id']}.wav")
            assert len(said) == len(tested)
            assert np.abs(said - tested).mean() < 0.01

    def test_speakers_differ(self, run):
        low, high = (next(speak(run, ["a fox"], speaker)) for speaker in F0)
        assert len(low) != len(high) or np.abs(low - high).max() > 1e-3

    def test_what_to_do_next_is_a_command_that_speaks(self, run, command, tmp_path, monkeypatch, capsys):
        command_line(["train", *command(run)])
        words = shlex.split(capsys.readouterr().out.partition("Next:\n  sure ")[2].partition("\n")[0])
        monkeypatch.chdir(tmp_path)
        command_line(words)
        assert json.loads(capsys.readouterr().out) == {"path": "said.wav", "text": "A good day."}

    def test_the_command_line_writes_a_file(self, run, tmp_path, capsys):
        output = tmp_path / "deep" / "x.wav"
        words = ["predict", "--adapter", str(run), "--speaker", "ABA", "--output"]
        command_line([*words, str(output), "--text", "a fox"])
        assert json.loads(capsys.readouterr().out) == {"path": str(output), "text": "a fox"}
        assert soundfile.info(output).samplerate == 16_000
        texts = tmp_path / "texts.txt"
        texts.write_text("a fox\nthe box\nfive\n")
        command_line([*words, str(tmp_path / "said"), "--text_file", str(texts), "--batch_size", "2"])
        assert sorted(path.name for path in (tmp_path / "said").iterdir()) == ["0001.wav", "0002.wav", "0003.wav"]
        one, other = (soundfile.read(path)[0] for path in (output, tmp_path / "said" / "0001.wav"))
        # Not to the bit: how numbers are added up depends on the batch.
        assert len(one) == len(other)
        assert np.abs(one - other).mean() < 0.01

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--text", "a fox"], "give --output"),
            (["--text", "a fox", "--output", "x.mp3"], r"x.mp3: with --text, the name of a .wav file"),
            (["--text", "a fox", "--output", "x.wav"], "--speaker is missing: .* learnt the voices of ABA, YBAA"),
            (["--text", "a fox", "--output", "x.wav", "--speaker", "ABB"], "Unknown speaker 'ABB'. Did you mean 'ABA'"),
            (["--text", " ", "--output", "x.wav", "--speaker", "ABA"], "Text 1 is empty"),
            (["--text_file", "nowhere.txt", "--output", "x"], "nowhere.txt: cannot be read .No such file"),
            (["--text", "a fox", "--output", "/proc/nothing/x.wav"], "--output /proc/nothing/x.wav: cannot be written"),
            (["--output", ".", "x.wav"], "--output .: cannot be written .it is a folder"),
            (["--speaker", "ABA", "x.wav"], "--speaker ABA: in whose voice a text is to be said"),
            (["x.wav", "--text", "a fox", "--output", "x.wav"], "no RECORDING"),
            ([], "arguments are required: RECORDING, or --text or --text_file"),
        ],
    )
    def test_mistakes_are_named(self, run, words, message, capsys):
        with pytest.raises(SystemExit):
            command_line(["predict", "--adapter", str(run), *words])
        assert re.search(f"sure: error: .*{message}", capsys.readouterr().err)

    def test_who_speaks_hears_no_recordings(self, run, corpus):
        with pytest.raises(SureError, match=r"trained on tts_l2arctic, it speaks; give it --text"):
            list(predict(run, [corpus / "ABA" / "wav" / "a0.wav"]))


class TestSpeakerEmbeddings:
    def test_vectors_of_a_file_are_learnt_from_and_kept(self, command, corpus, tmp_path):
        vectors = {speaker: [float(index + len(speaker)) for index in range(12)] for speaker in (*F0, "other")}
        path = tmp_path / "vectors.json"
        path.write_text(json.dumps(vectors))
        result = main(command(tmp_path / "run", "--max_steps", "1", options=[f"speaker_embeddings={path}"]))
        assert result.run.task_options["embeddings"] == {speaker: vectors[speaker] for speaker in F0}
        path.unlink()
        assert len(next(speak(tmp_path / "run", ["a fox"], "ABA"))) > 0

    def test_safetensors_hold_them_too(self, corpus, tmp_path):
        path = tmp_path / "vectors.safetensors"
        save_file({speaker: np.full((1, 12), 0.5, dtype=np.float32) for speaker in F0}, path)
        task = make_task("tts_l2arctic", {"speaker_embeddings": str(path)})
        task.load(corpus)
        assert task.embeddings == {speaker: [0.5] * 12 for speaker in F0}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "as JSON"),
            ("[1, 2]", "found a list"),
            ('{"ABA": [1, 2], "YBAA": "x"}', "that of YBAA is none"),
            ('{"ABA": [1, 2]}', "no embedding for YBAA"),
        ],
    )
    def test_a_wrong_file_is_named(self, corpus, tmp_path, content, message):
        path = tmp_path / "vectors.json"
        path.write_text(content)
        with pytest.raises(SureError, match=f"speaker_embeddings={path}.*{message}"):
            make_task("tts_l2arctic", {"speaker_embeddings": str(path)}).load(corpus)

    def test_no_file_and_a_wrong_size_are_named(self, corpus, backbone, tmp_path):
        with pytest.raises(SureError, match="speaker_embeddings=nowhere: no such file or folder; expected codes"):
            make_task("tts_l2arctic", {"speaker_embeddings": "nowhere"}).load(corpus)
        path = tmp_path / "vectors.json"
        path.write_text(json.dumps(dict.fromkeys(F0, [1.0] * 5)))
        task = make_task("tts_l2arctic", {"speaker_embeddings": str(path)})
        task.load(corpus)
        with pytest.raises(SureError, match=r"5 values for ABA; .* reads 12"):
            task.build_model(loading.load(str(backbone)))


@pytest.fixture(scope="module")
def judges(tmp_path_factory):
    """A recogniser and a verifier, hardly trained."""
    folder = tmp_path_factory.mktemp("judges")
    encoder = save_backbone(folder / "encoder", "wav2vec2")
    lines = ["path,text,split,speaker"]
    for speaker in range(6):
        home = folder / "vctk" / "wav48" / f"p{speaker}"
        home.mkdir(parents=True)
        for take in range(2):
            soundfile.write(home / f"p{speaker}_{take}.wav", tone(100 + 30 * speaker, 0.8 + take / 4), 16_000)
            split = ("train", "train", "train", "train", "validation", "test")[speaker]
            lines.append(f"vctk/wav48/p{speaker}/p{speaker}_{take}.wav,a fox,{split},p{speaker}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    common = f"--backbone {encoder} --method lora --use_cpu True --max_steps 1 --eval_strategy steps --eval_steps 1"
    common += " --report_to none --disable_tqdm True --per_device_train_batch_size 2"
    main(f"--task asr_manifest --data_dir {folder} --output_dir {folder / 'asr'} {common}".split())
    main(f"--task sv_vctk --data_dir {folder / 'vctk'} --output_dir {folder / 'sv'} {common}".split())
    return folder


class TestJudges:
    @pytest.fixture
    def judged(self, command, judges, tmp_path):
        options = [f"recogniser={judges / 'asr'}", f"verifier={judges / 'sv'}"]
        return main(command(tmp_path, "--max_steps", "1", options=options)), tmp_path

    def test_words_and_voice_are_scored_and_the_judges_named(self, judged):
        result, folder = judged
        assert list(result.scores["test"]) == [
            "mel_cepstral_distortion",
            "f0_error",
            "voicing_error",
            "speaker_similarity",
            "recognised_word_error_rate",
        ]
        assert -1 <= values(result)["speaker_similarity"] <= 1
        assert result.scores["test"]["speaker_similarity"].higher_is_better
        assert {len(digest) for digest in result.run.task_options["judges"].values()} == {64}
        rows = [row["prediction"] for row in predictions(folder)]
        assert [row["words"] for row in rows] == [1, 1]
        assert set(submission.rescore(folder / "result.json", result)) == {"validation", "test"}

    def test_a_model_of_speakers_can_tell_them_apart_in_training(self, command, judges, tmp_path):
        backbone = save_speecht5(tmp_path / "speecht5", speaker_embedding_dim=192)
        options = [f"speaker_embeddings={judges / 'sv'}"]
        result = main(command(tmp_path / "run", "--backbone", str(backbone), "--max_steps", "1", options=options))
        vectors = result.run.task_options["embeddings"]
        assert {speaker: len(vector) for speaker, vector in vectors.items()} == dict.fromkeys(F0, 192)
        assert np.linalg.norm(np.subtract(*vectors.values())) > 1e-4
        with pytest.raises(SureError, match=r"192 values for ABA; .* reads 12"):
            main(command(tmp_path / "other", options=options))

    def test_a_recording_is_as_like_itself_as_can_be(self, judges):
        from sure.task.text_to_speech.judges import speaker_similarities

        waveforms = [tone(150, 1.0), tone(300, 0.01)]
        same = speaker_similarities(str(judges / "sv"), waveforms, waveforms)
        assert [row["speaker_similarity"] for row in same] == pytest.approx([1.0, 1.0], abs=1e-5)

    def test_another_folder_is_named(self, judges, corpus):
        for option, folder in (("recogniser", judges / "sv"), ("verifier", judges / "asr")):
            with pytest.raises(
                SureError, match=rf"--task_options {option}={folder}: trained on \w+; expected the output"
            ):
                make_task("tts_l2arctic", {option: str(folder)}).load(corpus)
        with pytest.raises(SureError, match=r"--task_options recogniser=nowhere: .*no run.json"):
            make_task("tts_l2arctic", {"recogniser": "nowhere"}).load(corpus)


class TestDurations:
    @pytest.fixture
    def fastspeech2(self, tmp_path):
        return save_fastspeech2_conformer(tmp_path / "fastspeech2")

    @pytest.fixture
    def file(self, corpus, tmp_path):
        """As ESPnet writes it: evenly long tokens."""
        lines = []
        for speaker in F0:
            for number, sentence in enumerate(SENTENCES):
                samples = soundfile.info(corpus / speaker / "wav" / f"a{number}.wav").frames
                counts = even_durations(samples, len(sentence) + 1)
                lines.append(" ".join([f"{speaker}_a{number}", *map(str, counts)]))
        (tmp_path / "durations").write_text("\n".join(lines) + "\n")
        return tmp_path / "durations"

    def test_fastspeech2_learns_from_a_file_and_speaks_without(self, command, fastspeech2, file, tmp_path):
        words = ["--backbone", str(fastspeech2), "--max_steps", "1"]
        result = main(command(tmp_path / "run", *words, options=[f"durations={file}"]))
        assert result.run.backbone.family == "fastspeech2_conformer"
        assert math.isfinite(values(result)["mel_cepstral_distortion"])
        file.unlink()
        (said,) = speak(tmp_path / "run", ["liquor"], "ABA")
        tested, _ = soundfile.read(tmp_path / "run" / "audio" / "ABA_a9.wav")
        assert len(said) == len(tested)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("ABA_a0 3 x", "line 1: expected an id and whole numbers of frames"),
            ("ABA_a0 3\nABA_a1", "line 2: expected an id and whole numbers of frames"),
            ("ABA_a0 0 0", "line 1: .*not all 0"),
            ("ABA_a0 3", "no durations of 15 training utterances, such as ABA_a1"),
        ],
    )
    def test_a_wrong_file_is_named(self, corpus, tmp_path, content, message):
        path = tmp_path / "durations"
        path.write_text(content)
        with pytest.raises(SureError, match=f"{path}.*{message}"):
            make_task("tts_l2arctic", {"durations": str(path)}).load(corpus)

    def test_durations_of_other_texts_are_named_before_training(self, corpus, fastspeech2, file):
        file.write_text(re.sub(r"^(ABA_a1 .*) \d+$", r"\1", file.read_text(), flags=re.MULTILINE))
        task = make_task("tts_l2arctic", {"durations": str(file)})
        task.load(corpus)
        with pytest.raises(SureError, match=r"7 durations of ABA_a1, whose text has 8 tokens"):
            task.build_model(loading.load(str(fastspeech2)))

    def test_without_a_file_the_recordings_are_aligned(self, command, fastspeech2, tmp_path):
        result = main(command(tmp_path / "run", "--backbone", str(fastspeech2), "--max_steps", "1"))
        assert math.isfinite(values(result)["mel_cepstral_distortion"])

    def test_several_processes_align_as_one_does(self, corpus, fastspeech2, monkeypatch):
        task = make_task("tts_l2arctic", {})
        splits = task.load(corpus)
        backbone = loading.load(str(fastspeech2))
        alone = durations._all_times(splits["train"])
        frames = durations.aligned(backbone, splits["train"])
        assert list(frames) == splits["train"]["id"]
        assert [len(counts) for counts in frames.values()] == [len(text) + 1 for text in splits["train"]["text"]]
        monkeypatch.setattr(durations, "_WORTH_A_PROCESS", 8)
        monkeypatch.setattr(os, "cpu_count", lambda: 2)
        assert durations._all_times(splits["train"]) == alone
        # Once: other methods, processes and resumed runs read it.
        monkeypatch.setattr(durations, "_all_times", None)
        assert durations.aligned(backbone, splits["train"]) == frames

    def test_with_the_wrong_model_a_file_is_refused(self, command, file, tmp_path):
        with pytest.raises(SureError, match=r"durations=.*: speecht5 models need none; leave it out"):
            main(command(tmp_path / "two", options=[f"durations={file}"]))

    def test_a_model_of_one_voice_learns_one(self, command, file, tmp_path):
        one_voice = save_fastspeech2_conformer(tmp_path / "backbone", speaker_embed_dim=None)
        words = ["--backbone", str(one_voice), "--max_steps", "1"]
        with pytest.raises(SureError, match=r"can learn one voice only; choose one of ABA, YBAA"):
            main(command(tmp_path / "two", *words, options=[f"durations={file}"]))
        result = main(command(tmp_path / "run", *words, options=[f"durations={file}", "speakers=YBAA"]))
        assert result.run.task_options["voices"] == ["YBAA"]


@pytest.mark.slow
def test_the_recipe_runs(corpus, backbone, tmp_path, capsys):
    chosen = {"DATA_DIR": corpus, "BACKBONE": backbone, "VOCODER": "griffin_lim", "METHODS": "bitfit"}
    chosen |= {"OUTPUT_DIR": tmp_path / "out", "TASK_OPTIONS": "speakers=[ABA]"}
    words = "--max_steps 1 --warmup_steps 0 --eval_steps 1 --use_cpu True --report_to none".split()
    settings = {name: str(value) for name, value in chosen.items()}
    carry_out(dry_run(tmp_path, "tts_adaptation.sh", *words, **settings))
    assert (tmp_path / "out" / "leaderboard" / "index.html").is_file()
    assert "mel_cepstral_distortion" in capsys.readouterr().out


def test_a_vocoder_of_its_own_is_named_in_the_record(command, tmp_path):
    vocoder = save_hifigan(tmp_path / "hifigan")
    result = main(command(tmp_path / "run", "--max_steps", "1", options=[f"vocoder={vocoder}"]))
    assert result.run.task_options["vocoder"] == str(vocoder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--max_seconds", "2"], "--max_seconds 2: tts_l2arctic needs whole utterances"),
        (["--method", "linear_probe"], "--method linear_probe is made for a task's head"),
        (["--backbone", "tiny"], "--backbone tiny: wav2vec2 models do not speak"),
        (["--task_options", "vocoder=nowhere/at-all"], "vocoder=nowhere/at-all: "),
        (["--task_options", "validation_sentences=0"], "validation_sentences=0: not a whole number above 0"),
        (["--task_options", "speakers=ABB"], "Unknown speaker of .* 'ABB'"),
        (["--class_weights", "balanced"], "tts_l2arctic does not classify"),
    ],
)
def test_mistakes_are_named(change, message, command, tmp_path):
    with pytest.raises(SureError, match=message):
        main(command(tmp_path, *change))


def test_a_model_that_speaks_classifies_nothing(backbone, tmp_path):
    for label in "ab":
        for split in ("train", "validation", "test"):
            (tmp_path / split / label).mkdir(parents=True)
            soundfile.write(tmp_path / split / label / "x.wav", tone(100, 0.5), 16_000)
    words = f"--task audio_classification --data_dir {tmp_path} --backbone {backbone} --output_dir {tmp_path / 'out'}"
    with pytest.raises(SureError, match="speecht5 models are whole and take no task's head"):
        main([*words.split(), "--method", "lora", "--use_cpu", "True"])
