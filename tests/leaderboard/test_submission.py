"""Submissions that were tampered with, each of which `add` refuses and `validate` names; the honest one holds."""

import gzip
import hashlib
import json
import os
import pickle
import shutil

import pytest
import torch
from safetensors.torch import save_file

from sure import leaderboard
from sure.errors import SureError
from sure.leaderboard import recount
from sure.leaderboard.disclosure import Disclosure
from sure.leaderboard.manifest import Manifest, row_hash
from sure.leaderboard.submission import check, read, submission_name
from sure.record import Result, untrusted, write_predictions
from sure.task.scoring import interval, score_with_intervals
from tests.leaderboard.test_leaderboard import LABELS, ThreeEmotions, edit, prediction_rows, register, write_record

FINGERPRINT = "ab" * 32
DISCLOSURE = Disclosure(name="Ours", contact="us@example.org", training_data="the training split")


@pytest.fixture(autouse=True)
def known_task(monkeypatch):
    register(monkeypatch)


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A board with a manifest, and beside it a run whose record says what its configuration has: no training."""
    from sure.backbone import loading
    from sure.budget import parameters_and_bytes
    from sure.method import applying, saved

    place = tmp_path_factory.mktemp("honest")
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        record = write_record(place / "run", backbone="wav2vec2:tiny")
        task = ThreeEmotions()
        with torch.device("meta"):
            backbone = loading.load("wav2vec2:tiny", weights=False, head=True)
            config = applying.configure("lora", backbone, {"r": 4})
            model = applying.apply(task.build_model(backbone), config)
        trainable, head, total, size = parameters_and_bytes(model)
        weights = {name: torch.zeros(tensor.shape) for name, tensor in saved.tensors(model).items()}
        save_file(weights, place / "run" / recount.WEIGHTS)

        def change(content):
            said = json.loads(json.dumps(config.to_dict(), default=lambda value: sorted(value)))
            content["run"].update(method={"name": "lora", "config": said}, task_options={"labels": LABELS})
            content["cost"].update(
                trainable_parameters=trainable,
                head_parameters=head,
                total_parameters=total,
                trainable_share=trainable / total,
                trainable_share_without_head=(trainable - head) / (total - head),
                adapter_bytes=(place / "run" / recount.WEIGHTS).stat().st_size,
            )

        edit(record, change)
        rows = {split: prediction_rows(split, 0.8) for split in ("validation", "test")}
        manifest = Manifest(
            task="three_emotions",
            fingerprint=FINGERPRINT,
            synthetic=True,
            labels=LABELS,
            options={},
            splits=dict.fromkeys(("train", "validation", "test"), 60),
            rows={split: {row["id"]: row_hash(row) for row in of} for split, of in rows.items()},
        )
        manifest.write(place / "board")
        folder = leaderboard.add(record, place / "board", DISCLOSURE, weights=True)
    assert size < (folder / recount.WEIGHTS).stat().st_size
    return folder


@pytest.fixture
def submitted(honest, tmp_path):
    """A copy of it, to be tampered with, on a board that has the manifest."""
    board = tmp_path / "board"
    shutil.copytree(honest.parents[1] / "manifests", board / "manifests")
    return shutil.copytree(honest, board / "submissions" / honest.name)


def manifest_name(folder):
    (found,) = (folder.parents[1] / "manifests").iterdir()
    return found.name


def record(change):
    return lambda folder: edit(folder / "result.json", change)


def arguments(**values):
    return record(lambda r: r["run"]["arguments"].update(values))


def cost(**values):
    """Shares are said as the counts have them, as whoever changes these would."""

    def change(content):
        of = content["cost"]
        of.update(values)
        if {"trainable_share", "trainable_share_without_head"}.isdisjoint(values):
            trainable, head, total = (of[f"{name}_parameters"] for name in ("trainable", "head", "total"))
            if 0 <= head <= trainable <= total < 2**63:
                of.update(trainable_share=trainable / total)
                of.update(trainable_share_without_head=(trainable - head) / (total - head))

    return record(change)


def rows(change, *, rescored=True, split="test"):
    """Predictions changed, with a hash that is right again, and scores and intervals that are theirs."""

    def tamper(folder):
        path = folder / f"{split}.jsonl"
        changed = change([json.loads(line) for line in path.read_text().splitlines()])
        file = write_predictions(path, changed)

        def tell(content):
            content["predictions"][split] = file.model_dump()
            if rescored:
                task = ThreeEmotions(content["run"]["task_options"]["labels"])
                of = {
                    name: score_with_intervals(
                        task, [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
                    )
                    for name in ("validation", "test")
                }
                content["interval"] = interval(of).model_dump()
                content["scores"][split] = {name: one.model_dump() for name, one in of[split].scores.items()}

        edit(folder / "result.json", tell)

    return tamper


def raw(split, content):
    """Bytes as predictions, with a hash that is right."""

    def tamper(folder):
        path = folder / f"{split}.jsonl"
        path.write_bytes(content(path.read_bytes()))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        edit(folder / "result.json", lambda r: r["predictions"][split].update(sha256=digest))

    return tamper


def text(change):
    """The record as text."""
    return lambda folder: (folder / "result.json").write_bytes(change((folder / "result.json").read_bytes()))


def renamed(name):
    """Predictions under another name, which the record has too."""

    def tamper(folder):
        (folder / "test.jsonl").rename(folder / name)
        edit(folder / "result.json", lambda r: r["predictions"]["test"].update(path=name))

    return tamper


def linked(name):
    def tamper(folder):
        shutil.move(folder / name, folder.parents[1] / name)
        (folder / name).symlink_to(folder.parents[1] / name)

    return tamper


def pipe(folder):
    (folder / "test.jsonl").unlink()
    os.mkfifo(folder / "test.jsonl")


def instead_a_folder(folder):
    (folder / "test.jsonl").unlink()
    (folder / "test.jsonl").mkdir()


def enlarged(name, size):
    # Takes no room on a disk.
    return lambda folder: os.truncate(folder / name, size)


def weights(change):
    def tamper(folder):
        from safetensors.torch import load_file

        tensors = load_file(folder / recount.WEIGHTS)
        change(tensors)
        save_file(tensors, folder / recount.WEIGHTS)
        size = (folder / recount.WEIGHTS).stat().st_size
        edit(folder / "result.json", lambda r: r["cost"].update(adapter_bytes=size))

    return tamper


def fewer(parameters):
    return lambda folder: cost(
        trainable_parameters=Result.read(folder / "result.json").cost.trainable_parameters - parameters
    )(folder)


def first(**values):
    return lambda found: [found[0] | values, *found[1:]]


def smaller(tensors):
    name = min(name for name in tensors if "lora_A" in name)
    tensors[name] = tensors[name][:-1].clone()


def swap_splits(folder):
    shutil.copyfile(folder / "validation.jsonl", folder / "test.jsonl")

    def change(content):
        content["predictions"]["test"]["sha256"] = content["predictions"]["validation"]["sha256"]
        content["scores"]["test"] = content["scores"]["validation"]

    edit(folder / "result.json", change)


def cut_to_three(folder):
    record(lambda r: r["run"]["data"]["splits"]["test"].update(utterances=3))(folder)
    rows(lambda found: found[:3])(folder)


def one_label(folder):
    record(lambda r: r["run"]["task_options"].update(labels=["angry"]))(folder)
    for rescored in (False, True):
        for split in ("validation", "test"):
            rows(
                lambda found: [row | {"reference": "angry", "prediction": "angry"} for row in found],
                split=split,
                rescored=rescored,
            )(folder)


def without(found):
    return found[1:]


TAMPERED = {
    # What came out.
    "score": (
        record(lambda r: r["scores"]["test"]["accuracy"].update(value=0.9, high=0.95)),
        "test accuracy, value: the record says 0.9, its",
    ),
    "validation score": (
        record(lambda r: r["scores"]["validation"]["accuracy"].update(value=0.9, high=0.95)),
        "validation accuracy, value: the record says 0.9",
    ),
    "narrow interval": (
        record(lambda r: r["scores"]["test"]["accuracy"].update(low=0.79)),
        "test accuracy, low: the record says 0.79",
    ),
    "interval beside its score": (
        record(lambda r: r["scores"]["test"]["accuracy"].update(low=0.9)),
        r"scores\.test\.accuracy: 0\.8 is not within its interval",
    ),
    "fewer draws": (record(lambda r: r["interval"].update(resamples=10)), "resamples=10.*resamples=1000"),
    "lower is better": (
        record(lambda r: r["scores"]["test"]["accuracy"].update(higher_is_better=False)),
        "accuracy, higher_is_better",
    ),
    "metric dropped": (record(lambda r: r["scores"]["test"].pop("accuracy")), "test has the metrics"),
    "another metric ranks": (
        record(lambda r: r.update(metric="accuracy")),
        "metric: accuracy does not rank",
    ),
    "evaluation dropped": (
        record(lambda r: [r["predictions"].pop("validation"), r["scores"].pop("validation")]),
        r"expected \['test', 'validation'\]",
    ),
    "prediction": (
        lambda f: (f / "test.jsonl").write_text((f / "test.jsonl").read_text().replace("happy", "angry", 1)),
        r"test\.jsonl: its SHA-256 is not the one",
    ),
    "prediction with hash": (
        rows(first(prediction="happy"), rescored=False),
        r"test unweighted_average_recall, value: the record says",
    ),
    "reference with hash": (
        rows(first(reference="happy"), rescored=False),
        r"test\.jsonl, line 1, reference: 'test0' has another reference",
    ),
    "references as predicted": (
        rows(lambda found: [row | {"reference": row["prediction"]} for row in found]),
        r"test\.jsonl, line \d+, reference: .*\n.*and 7 more",
    ),
    "one reference as predicted": (
        rows(first(reference="happy", prediction="happy")),
        r"test\.jsonl, line 1, reference: 'test0' has another reference",
    ),
    "speakers invented": (
        rows(lambda found: [row | {"speaker": row["id"]} for row in found]),
        "another reference or speaker in the manifest",
    ),
    "utterance missing": (rows(without), r"59 predictions for 60 utterances"),
    "utterance missing and counted so": (
        lambda f: [record(lambda r: r["run"]["data"]["splits"]["test"].update(utterances=59))(f), rows(without)(f)],
        r"1 rows of the manifest's test split are missing, such as 'test0'",
    ),
    "cut to three": (cut_to_three, r"run\.data\.splits\.test: 3 utterances; the corpus has 60"),
    "utterance repeated": (
        rows(lambda found: [found[1], *found[1:]]),
        r"test\.jsonl, line 2, id: 'test1' is the same id twice, first in line 1",
    ),
    "foreign utterance": (
        rows(first(id="mine")),
        r"test\.jsonl, line 1, id: 'mine' is no row of the manifest's test split",
    ),
    "validation as test": (swap_splits, r"test\.jsonl, line 1, id: 'validation0' is no row of the manifest's test"),
    "row without reference": (
        rows(lambda found: [{"id": "test0", "prediction": "angry"}, *found[1:]], rescored=False),
        r"test\.jsonl, line 1: a row needs id, prediction and reference",
    ),
    "row that is none": (rows(lambda found: [[], *found[1:]], rescored=False), r"test\.jsonl, line 1: a row needs"),
    "label that is none": (
        rows(first(prediction="sad"), rescored=False),
        r"test\.jsonl: Prediction 'test0'.*'sad' is not one of",
    ),
    # On what.
    "fingerprint made up": (
        record(lambda r: r["run"]["data"].update(fingerprint="cd" * 32)),
        r"run\.data\.fingerprint: cdcdcdcd; of a corpus of these sizes the board knows abababab",
    ),
    "fingerprint that is none": (
        record(lambda r: r["run"]["data"].update(fingerprint="mine")),
        r"run\.data\.fingerprint: 'mine' is no SHA-256",
    ),
    "one label": (one_label, r"run\.task_options\.labels: \[\"angry\"\]; the corpus has"),
    "one more label": (
        record(lambda r: r["run"]["task_options"]["labels"].append("sad")),
        r"run\.task_options\.labels: .*sad.*; the corpus has",
    ),
    "human speech": (record(lambda r: r["run"]["data"].update(synthetic=False)), r"run\.data\.synthetic: False"),
    "larger training split": (
        record(lambda r: r["run"]["data"]["splits"]["train"].update(utterances=99)),
        r"splits\.train: 99 utterances",
    ),
    "more speakers than utterances": (
        record(lambda r: r["run"]["data"]["splits"]["test"].update(speakers=61)),
        r"splits\.test\.speakers: 61 of 60",
    ),
    "unknown task": (record(lambda r: r["run"].update(task="three_emotion")), "Unknown task 'three_emotion'"),
    # At which cost.
    "one trainable parameter": (
        cost(trainable_parameters=1, head_parameters=0),
        r"cost\.trainable_parameters: 1; its configuration has",
    ),
    "one trainable parameter fewer": (fewer(1), r"cost\.trainable_parameters: .*; its configuration has"),
    "no trainable parameter": (
        cost(trainable_parameters=0, head_parameters=0),
        r"cost\.trainable_parameters: 0; no complete run",
    ),
    "negative parameters": (cost(trainable_parameters=-5, head_parameters=-5), r"cost\.trainable_parameters: -5"),
    "parameters beyond all numbers": (
        cost(trainable_parameters=10**400),
        r"cost\.trainable_parameters: a number that is too large",
    ),
    "smaller head": (record(lambda r: r["cost"].update(head_parameters=1)), r"cost\.trainable_share_without_head"),
    "smaller head with its share": (cost(head_parameters=1), r"cost\.head_parameters: 1; its configuration has"),
    "larger backbone": (cost(total_parameters=10**9), r"cost\.total_parameters: 1,000,000,000; its configuration has"),
    "smaller share": (cost(trainable_share=0.0001), r"cost\.trainable_share: 0\.0001"),
    "smaller adapter": (cost(adapter_bytes=100), r"cost\.adapter_bytes: 100; its tensors have"),
    "negative seconds": (cost(training_seconds=-1.0), r"cost\.training_seconds: -1\.0 is below 0"),
    "negative memory": (record(lambda r: r["cost"]["memory"].update(mean=-1)), r"cost\.memory: mean -1"),
    "endless seconds": (cost(training_seconds=1e300), r"cost\.training_seconds: a number that is too large"),
    "NaN": (cost(training_seconds=float("nan")), r"NaN is no finite number"),
    "infinity": (
        record(lambda r: r["scores"]["test"]["accuracy"].update(high=float("inf"))),
        "Infinity is no finite number",
    ),
    "infinity by its exponent": (
        text(lambda t: t.replace(b'"training_seconds": 12.5', b'"training_seconds": 1e999')),
        r"cost\.training_seconds: a number that is too large",
    ),
    # With what.
    "pretrained": (
        record(lambda r: r["run"]["backbone"].update(pretrained=True)),
        r"run\.backbone\.pretrained: True; the weights of wav2vec2:tiny are random",
    ),
    "another family": (
        record(lambda r: r["run"]["backbone"].update(family="hubert")),
        r"run\.backbone\.family: hubert; wav2vec2:tiny is of wav2vec2",
    ),
    "another backbone": (
        record(lambda r: r["run"]["backbone"].update(name="hubert:tiny", family="hubert")),
        r"its configuration has|cannot be adapted so",
    ),
    "size that there is not": (
        record(lambda r: r["run"]["backbone"].update(name="wav2vec2:huge")),
        r"run\.backbone: Unknown size of wav2vec2",
    ),
    "method under another name": (
        record(lambda r: r["run"]["method"].update(name="bitfit")),
        r"run\.method\.name: bitfit; its config is of LORA",
    ),
    "unknown method": (record(lambda r: r["run"]["method"].update(name="ours")), r"run\.method: Unknown method 'ours'"),
    "smaller rank": (
        record(lambda r: r["run"]["method"]["config"].update(r=1)),
        r"cost\.trainable_parameters: .*; its configuration has",
    ),
    "no configuration": (
        record(lambda r: r["run"]["method"].update(config={"r": 4})),
        r"run\.method\.config: not a configuration of lora",
    ),
    "dropped seed": (record(lambda r: r["run"].pop("seed")), r"run\.seed: Field required"),
    "seed that there is not": (record(lambda r: r["run"].update(seed=-1)), r"run\.seed: -1"),
    "another seed than it was told": (arguments(seed=1), r"run\.arguments\.seed: 1; the run's is 0"),
    "another task than it was told": (
        arguments(task="esd_emotion"),
        r"run\.arguments\.task: 'esd_emotion'; the run's is",
    ),
    "another backbone than it was told": (
        arguments(backbone="tiny"),
        r"run\.arguments\.backbone: 'tiny'; the run's is",
    ),
    "another method than it was told": (arguments(method="ia3"), r"run\.arguments\.method: 'ia3'; the run's is 'lora'"),
    "another rank than it was told": (
        arguments(method_options=["r=4", "r=3"]),
        r"run\.arguments\.method_options: r='3'; the run's is 4",
    ),
    "another window than it was told": (
        lambda f: [
            record(lambda r: r["run"]["backbone"].update(options={"window": 4.0}))(f),
            arguments(backbone_options=["window=2"])(f),
        ],
        r"run\.arguments\.backbone_options: window='2'; the run's is 4\.0",
    ),
    "more shots than it was told": (
        lambda f: [
            record(lambda r: r["run"]["task_options"].update(shots=8))(f),
            arguments(task_options=["shots=5"])(f),
        ],
        r"run\.arguments\.task_options: shots='5'; the run's is 8",
    ),
    "few shots that it had not": (
        arguments(task_options=["shots=5"]),
        r"run\.arguments\.task_options: shots='5'; the run had none",
    ),
    "an option that there is not": (
        arguments(task_options=["shot=5"]),
        r"run\.arguments\.task_options: shot; .* has no such option",
    ),
    "an option that is not told": (
        record(lambda r: r["run"]["task_options"].update(vocoder="loud")),
        r"run\.arguments\.task_options: they leave out the run's vocoder='loud'",
    ),
    "what a corpus is scored by": (
        lambda f: edit(f.parents[1] / "manifests" / manifest_name(f), lambda m: m.update(scored_by={"vocoder": "x"})),
        r"run\.task_options\.vocoder: null; the corpus has \"x\"",
    ),
    "finished before it started": (
        record(lambda r: r["provenance"].update(finished="2025-01-01T00:00:00Z")),
        r"provenance\.finished: it finished before it started",
    ),
    "time that is none": (
        record(lambda r: r["provenance"].update(started="yesterday")),
        r"provenance\.started: 'yesterday' is no time",
    ),
    "tensor too small": (weights(smaller), r"adapter_model\.safetensors, .*lora_A.*: shape"),
    "tensor missing": (
        weights(lambda tensors: tensors.pop(min(tensors))),
        r"adapter_model\.safetensors: it lacks 1 tensors",
    ),
    "tensor more": (
        weights(lambda tensors: tensors.update(more=torch.zeros(1))),
        r"adapter_model\.safetensors: it has also 1 tensors, such as 'more'",
    ),
    "weights cut off": (
        lambda f: os.truncate(f / recount.WEIGHTS, 3000),
        r"adapter_model\.safetensors: no safetensors file",
    ),
    # In which files.
    "path outside": (
        record(lambda r: r["predictions"]["test"].update(path="../test.jsonl")),
        "must lie beside its record, not at '../test.jsonl'",
    ),
    "absolute path": (
        record(lambda r: r["predictions"]["test"].update(path="/etc/passwd")),
        "must lie beside its record, not at '/etc/passwd'",
    ),
    "link to predictions": (linked("test.jsonl"), r"test\.jsonl: a link"),
    "link to a record": (linked("result.json"), r"result\.json: a link"),
    "pipe": (pipe, r"test\.jsonl: a pipe, where a file should be"),
    "folder": (instead_a_folder, r"test\.jsonl: a folder, where a file should be"),
    "predictions missing": (lambda f: (f / "test.jsonl").unlink(), r"test\.jsonl: no such predictions file"),
    "archive": (renamed("test.zip"), r"'test\.zip' is no name of a predictions file"),
    "compressed predictions": (
        raw("test", lambda content: gzip.compress(content * 100)),
        r"test\.jsonl, line 1: not UTF-8",
    ),
    "pickle": (raw("test", lambda content: pickle.dumps(content, protocol=4)), r"test\.jsonl, line 1: not UTF-8"),
    "pickle by its name": (renamed("test.pkl"), r"'test\.pkl' is no name of a predictions file"),
    "page as predictions": (renamed("index.html"), r"'index\.html' is no name of a predictions file"),
    "hidden predictions": (renamed(".test.jsonl"), r"'\.test\.jsonl' is no name of a predictions file"),
    "huge predictions": (
        enlarged("test.jsonl", untrusted.MOST_PREDICTIONS + 1),
        r"test\.jsonl: 536,870,913 bytes; a predictions file has at most 536,870,912",
    ),
    "huge record": (
        enlarged("result.json", untrusted.MOST_RECORD + 1),
        r"result\.json: 8,388,609 bytes; a result record has at most",
    ),
    # In which characters.
    "control character": (
        record(lambda r: r["run"]["method"].update(name="lo\x1b[2Jra")),
        r"run\.method\.name: it has the character U\+001B",
    ),
    "bidirectional override": (
        record(lambda r: r["run"]["backbone"].update(name="\u202eytnt")),
        r"run\.backbone\.name: it has the character U\+202E",
    ),
    "no character": (
        record(lambda r: r["run"]["backbone"].update(name="tiny\ufffe")),
        r"run\.backbone\.name: it has the character U\+FFFE",
    ),
    "half a character": (
        text(lambda t: t.replace(b'"wav2vec2:tiny"', b'"\\ud800"')),
        r"run\.backbone\.name: it has the character U\+D800",
    ),
    "control character as a key": (
        record(lambda r: r["run"]["arguments"].update({"\x00": 1})),
        r"run\.arguments: a name has the character U\+0000",
    ),
    "control character in a prediction": (
        rows(first(note="\x1b"), rescored=False),
        r"test\.jsonl, line 1, note: it has the character U\+001B",
    ),
    "half a character in a prediction": (
        raw("test", lambda content: content.replace(b'"test2"', b'"\\udfff"')),
        r"test\.jsonl, line 3, id: it has the character U\+DFFF",
    ),
    "override in a prediction": (
        rows(first(note="\u202e"), rescored=False),
        r"test\.jsonl, line 1, note: it has the character U\+202E",
    ),
    "invalid UTF-8": (text(lambda t: t.replace(b"lora", b"lor\xe9", 1)), r"result\.json, line \d+: not UTF-8"),
    "invalid UTF-8 in predictions": (
        raw("test", lambda content: content.replace(b"test1", b"test\xff", 1)),
        r"test\.jsonl, line 2: not UTF-8",
    ),
    "truncated record": (text(lambda t: t[:-20]), r"result\.json: not JSON"),
    "truncated predictions": (raw("test", lambda content: content[:-20]), r"test\.jsonl, line 60: not JSON"),
    "NaN in predictions": (
        rows(first(note=float("nan")), rescored=False),
        r"test\.jsonl, line 1: not JSON \(NaN is no finite number\)",
    ),
    "huge number in predictions": (
        rows(first(note=10**400), rescored=False),
        r"test\.jsonl, line 1, note: a number that is too large",
    ),
    "deep record": (
        text(lambda t: t.replace(b'"learning_rate": 0.002', b'"learning_rate": ' + b"[" * 900 + b"]" * 900)),
        "nested deeper|nested too deeply",
    ),
    "deep predictions": (
        raw("test", lambda content: b"[" * 100_000 + b"\n" + content),
        r"test\.jsonl, line 1: not JSON \(nested too deeply",
    ),
    "key twice": (
        text(lambda t: t.replace(b'"status": "complete"', b'"status": "failed", "status": "complete"')),
        "a key is there twice",
    ),
    "schema from the future": (
        record(lambda r: r.update(schema_version=2)),
        r"is not a result record of schema version 1: schema_version",
    ),
    "unknown field": (record(lambda r: r.update(note="extra")), r"result\.json is not a result record .*note"),
}


@pytest.mark.parametrize(("tamper", "message"), TAMPERED.values(), ids=TAMPERED)
def test_a_tampered_submission_is_refused(submitted, tmp_path, tamper, message):
    board, before = submitted.parents[1], submitted.name
    tamper(submitted)
    run = shutil.move(submitted, tmp_path / "run")
    with pytest.raises(SureError, match=message):
        leaderboard.add(run / "result.json", board)
    assert not list((board / "submissions").iterdir())
    # And where it comes by another way, under the name that its record has.
    try:
        before = submission_name(Result.read(run / "result.json"))
    except (SureError, UnicodeError):
        pass
    folder = shutil.move(run, board / "submissions" / before)
    with pytest.raises(SureError, match=message):
        check(folder, board)


def test_a_pattern_that_takes_an_eternity_to_match_is_refused(submitted, monkeypatch):
    monkeypatch.setattr(recount, "_MOST_SECONDS", 1)
    edit(submitted / "result.json", lambda r: r["run"]["method"]["config"].update(target_modules=r"((\w|\.)+)+!"))
    with pytest.raises(SureError, match=r"result.json: run.method.config.target_modules: its modules .* in 1 s"):
        check(submitted, submitted.parents[1])


def test_arguments_may_say_what_ran_in_other_words(submitted):
    def change(content):
        content["run"]["method"]["config"].update(lora_dropout=0.001)
        content["run"]["arguments"].update(
            {"task": "three_emotions", "backbone": "wav2vec2:tiny", "method": "lora", "seed": 0},
            # What is there no longer, and what is made into a list, is nothing to compare.
            method_options=[
                "budget=1%",
                "r=4",
                "lora_dropout=1e-3",
                "use_dora=false",
                "modules_to_save=head",
            ],
            backbone_options=[],
            task_options=["shots=null", "labels=angry"],
        )

    edit(submitted / "result.json", change)
    read(submitted / "result.json")


def test_the_untouched_original_holds(submitted):
    board = submitted.parents[1]
    leaderboard.build(board)
    assert leaderboard.validate(board) == 1
    (entry,) = leaderboard.read_entries(board)
    assert (entry.verified, entry.unchecked, entry.disclosure) == (True, [], DISCLOSURE)
    assert {path.name for path in submitted.iterdir()} >= {"submission.json", recount.WEIGHTS}
