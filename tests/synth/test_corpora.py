"""Synthetic corpora in the layouts of FLEURS, VoxCeleb1, LibriTTS and more."""

import csv
from hashlib import sha256

import pytest
import soundfile

from sure import synth
from sure.errors import SureError
from sure.metric.slots import slots
from sure.task import make_task

pytest.importorskip("espeakng_loader", reason='eSpeak NG is not installed: pip install "sure-bench[synth]"')

SIZES = {
    "asvspoof": {"train": 1, "dev": 1, "evaluation": 1, "bonafide": 1, "spoofed": 2},
    "cremad": {"actors": 3, "sentences": 1},
    "fleurs_languages": {"train": 2, "dev": 2, "test": 2},
    "msp_improv": {"scenes": 1},
    "ravdess": {"actors": 3, "repetitions": 1},
    "fleurs": {"train": 9, "dev": 4, "test": 4},
    "voxceleb": {"speakers": 11, "test_speakers": 3, "sessions": 2, "utterances": 2},
    "cnceleb": {"speakers": 12, "test_speakers": 2, "utterances": 1},
    "libritts": {"speakers": 2, "chapters": 2, "utterances": 2, "test": 1},
    "fluent_speech_commands": {"train": 1, "valid": 1, "test": 1},
    "librispeech": {"speakers": 2, "chapters": 1, "utterances": 2, "test": 1},
    "snips": {"train": 2, "valid": 1, "test": 1},
    "esc50": {"clips": 1, "seconds": 0.5},
    "urbansound8k": {"slices": 1, "seconds": 0.5},
    "vctk": {"speakers": 6, "utterances": 10},
    "speech_commands": {"train": 1, "validation": 1, "test": 1, "takes": 1, "noise": 2},
}


# Made as CREMA-D is.
ALIKE = ("msp_improv", "ravdess")


@pytest.fixture(scope="module", params=[name for name in SIZES if name not in ALIKE])
def corpus(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / request.param
    synth.CORPORA[request.param](folder, **SIZES[request.param])
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    def make(name):
        folder = tmp_path_factory.mktemp("made") / name
        synth.CORPORA[name](folder, **SIZES[name])
        return folder

    return make


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(corpus, tmp_path):
    # Whatever was spoken before.
    synth.speak("Hello.", synth.Voice("de+f2"))
    again = synth.CORPORA[corpus.name]
    again(tmp_path / "again", **SIZES[corpus.name])
    assert contents(tmp_path / "again") == contents(corpus)
    again(tmp_path / "other", seed=1, **SIZES[corpus.name])
    recordings = [
        {digest for name, digest in contents(folder).items() if name.endswith((".wav", ".flac"))}
        for folder in (corpus, tmp_path / "other")
    ]
    assert recordings[0].isdisjoint(recordings[1])


def test_a_complete_corpus_stays_and_another_is_refused(corpus):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    synth.CORPORA[corpus.name](corpus, **SIZES[corpus.name])
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before
    with pytest.raises(SureError, match="holds another synthetic corpus"):
        synth.CORPORA[corpus.name](corpus, seed=1, **SIZES[corpus.name])


def test_fleurs_is_laid_out_as_released(made):
    folder = made("fleurs") / "en_us"
    texts = {}
    for split, count in SIZES["fleurs"].items():
        lines = (folder / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
        assert len(rows) == count
        assert {row[1] for row in rows} == {path.name for path in (folder / "audio" / split).iterdir()}
        for _, name, raw, text, characters, samples, gender in rows:
            info = soundfile.info(folder / "audio" / split / name)
            assert (info.samplerate, info.channels, info.frames) == (16_000, 1, int(samples))
            assert text == raw.lower().rstrip(".")
            assert characters.replace(" | ", "_").replace(" ", "").replace("_", " ").removesuffix("|") == text
            assert gender in ("MALE", "FEMALE")
            texts.setdefault(split, []).append(text)
    task = make_task("asr_fleurs", {}).load(folder.parent)
    assert {name: len(split) for name, split in task.items()} == {"train": 9, "validation": 4, "test": 4}


def test_voxceleb_has_trials_between_sessions_of_known_recordings(made):
    folder = made("voxceleb")
    parts = {part: {path.name for path in (folder / part / "wav").iterdir()} for part in ("dev", "test")}
    assert [len(parts["dev"]), len(parts["test"])] == [11, 3]
    assert parts["dev"].isdisjoint(parts["test"])
    assert len(list((folder / "dev" / "wav").glob("id*/*/*.wav"))) == 11 * 2 * 2
    trials = [line.split() for line in (folder / "veri_test.txt").read_text().splitlines()]
    # Of each speaker every pair between the two sessions of two utterances.
    assert [label for label, _, _ in trials].count("1") == 3 * 4
    assert [label for label, _, _ in trials].count("0") == 3 * 4
    for label, one, other in trials:
        assert (folder / "test" / "wav" / one).is_file()
        assert (folder / "test" / "wav" / other).is_file()
        assert (one.split("/")[0] == other.split("/")[0]) == (label == "1")
        assert one.split("/")[1] != other.split("/")[1]


def test_voxceleb_s_speakers_are_told_apart_by_its_list(made):
    counts = {name: len(rows) for name, rows in make_task("sr_voxceleb1", {}).load(made("voxceleb")).items()}
    assert counts == {"train": 14 * 2, "validation": 14, "test": 14}


def test_libritts_has_24_khz_and_both_texts_beside_each_recording(made):
    folder = made("libritts")
    listed = [line.split("\t")[:3] for line in (folder / "speakers.tsv").read_text().splitlines()[1:]]
    assert [part for _, _, part in listed] == ["train-clean-100", "train-clean-100", "dev-clean", "test-clean"]
    for speaker, _, part in listed:
        recordings = sorted((folder / part / speaker).rglob("*.wav"))
        assert len(recordings) == 2 * 2
        for path in recordings:
            assert path.stem.split("_")[:2] == [speaker, path.parent.name]
            assert soundfile.info(path).samplerate == 24_000
            said = path.with_suffix(".normalized.txt").read_text()
            written = path.with_suffix(".original.txt").read_text()
            assert written[0].isdigit()
            assert said.split()[1:] == written.split()[1:]


def test_speech_commands_has_its_lists_noises_and_a_test_set_in_which_most_words_are_unknown(made):
    folder = made("speech_commands")
    counts = {
        words: {name: len(split) for name, split in make_task("speech_commands", {"words": words}).load(folder).items()}
        for words in ("sure", "superb", "all")
    }
    assert counts == {
        "sure": {"train": 11, "validation": 11, "test": 11},
        # Four seconds of two noises, two of running_tap; 13 words of a speaker and a second of noise.
        "superb": {"train": 13 + 4, "validation": 13 + 2, "test": 13 + 1},
        "all": {"train": 13, "validation": 13, "test": 13},
    }
    for path in folder.rglob("*_nohash_*.wav"):
        assert soundfile.info(path).frames == 16_000


def test_fluent_speech_commands_has_the_31_intents_of_the_release(made):
    folder = made("fluent_speech_commands")
    slots, whole = (make_task("fluent_speech_commands", {"intents": intents}) for intents in ("slots", "whole"))
    assert {name: len(split) for name, split in slots.load(folder).items()} == {
        "train": 31,
        "validation": 31,
        "test": 31,
    }
    assert {slot: len(labels) for slot, labels in slots.labels.items()} == {"action": 6, "object": 14, "location": 4}
    whole.load(folder)
    assert len(whole.labels) == 31


def test_librispeech_is_recognised_in_words_and_with_its_lexicon_in_phonemes(made):
    folder = made("librispeech")
    recognised = make_task("asr_librispeech", {}).load(folder)
    spoken = make_task("pr_librispeech", {"lexicon": str(folder / "lexicon.txt")}).load(folder)
    for splits in (recognised, spoken):
        assert {name: len(split) for name, split in splits.items()} == {"train": 4, "validation": 2, "test": 2}
    # A phoneme at least for each word, and no letters left.
    for words, phonemes in zip(recognised["train"]["text"], spoken["train"]["text"], strict=True):
        assert len(phonemes.split()) > len(words.split())
    assert synth.espeak.phonemes("eight", "en-us") == ["eI", "t"]


def test_snips_has_slots_that_all_voices_of_a_split_say(made):
    folder = made("snips")
    splits = make_task("sf_snips", {}).load(folder)
    assert {name: len(split) for name, split in splits.items()} == {"train": 16, "validation": 4, "test": 4}
    for split in splits.values():
        for text in split["text"]:
            assert set(slots(text)) <= set((folder / "slots.txt").read_text().splitlines()[1:])
    assert len(set(splits["train"]["text"])) == 2
    assert any(map(slots, splits["train"]["text"]))


def test_vctk_is_recognised_verified_and_spoken(made):
    folder = made("vctk")
    assert soundfile.info(next(folder.rglob("*_mic1.flac"))).samplerate == 48_000
    counts = {
        name: {split: len(rows) for split, rows in make_task(name, {}).load(folder).items()}
        for name in ("sr_vctk", "sv_vctk", "tts_vctk")
    }
    assert counts == {
        "sr_vctk": {"train": 48, "validation": 6, "test": 6},
        "sv_vctk": {"train": 20, "validation": 20, "test": 20},
        "tts_vctk": {"train": 48, "validation": 6, "test": 6},
    }


@pytest.mark.parametrize(("name", "folds", "classes"), [("esc50", 5, 10), ("urbansound8k", 10, 10)])
def test_sound_events_are_in_as_many_folds_as_the_release_has(name, folds, classes, made):
    folder = made(name)
    assert {soundfile.info(path).samplerate for path in folder.rglob("*.wav")} == {44_100}
    counts = {split: len(rows) for split, rows in make_task(name, {"fold": folds}).load(folder).items()}
    assert counts == {"train": classes * (folds - 2), "validation": classes, "test": classes}


def test_asvspoof_has_both_kinds_in_every_edition(made):
    folder = made("asvspoof")
    # In 2021 one is not tested.
    for edition, tested, verified in (("2019_la", 3, True), ("2021_la", 2, True), ("2021_df", 2, False), (5, 3, False)):
        task = make_task("asvspoof", {"edition": edition})
        counts = {split: len(rows) for split, rows in task.load(folder).items()}
        assert counts == {"train": 3, "validation": 3, "test": tested}
        assert bool(task.verification) == verified


@pytest.mark.parametrize(
    ("name", "task", "counts"),
    [
        ("cremad", "cremad_emotion", (6, 6, 6)),
        ("ravdess", "ravdess_emotion", (16, 16, 16)),
        ("msp_improv", "msp_improv_emotion", (32, 8, 8)),
        ("fleurs_languages", "lid_fleurs", (8, 8, 8)),
    ],
)
def test_emotions_and_languages_are_labels_of_every_split(name, task, counts, made):
    task = make_task(task, {})
    splits = task.load(made(name))
    assert tuple(map(len, splits.values())) == counts
    assert all(sorted(set(split["label"])) == task.labels for split in splits.values())
