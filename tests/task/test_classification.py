"""Classification of several label columns, here three as for intents: one loss, all right or wrong together."""

import itertools
import json
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile
import torch

from sure import cli, leaderboard, registry
from sure.backbone.padding import Padding
from sure.errors import SureError
from sure.heads import ClassificationHead
from sure.predict import predict, speak
from sure.record import Result, read_predictions
from sure.runner.run import main
from sure.task import make_task
from sure.task.classification import ClassificationTask, class_weights
from tests.factories.encoders import save_backbone

COLUMNS = {"action": ["off", "on"], "object": ["heat", "lamp", "music"], "location": ["hall", "none"]}
INTENTS = [dict(zip(COLUMNS, intent, strict=True)) for intent in itertools.product(*COLUMNS.values())]


@dataclass
class Intents(ClassificationTask):
    """Two recordings of noise of every intent to learn from, one in each other split."""

    metrics = ("accuracy",)
    label_columns = tuple(COLUMNS)

    def utterances(self, data_dir):
        for row in json.loads((data_dir / "intents.json").read_text()):
            yield row | {"path": str(data_dir / row["path"])}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder, generator, rows = tmp_path_factory.mktemp("intents"), np.random.default_rng(0), []
    for number, (split, intent) in enumerate(itertools.product(("train", "train", "validation", "test"), INTENTS)):
        soundfile.write(folder / f"{number}.wav", generator.normal(0, 0.1, size=4000 + 100 * number), 16_000)
        rows.append({"id": f"{number}", "path": f"{number}.wav", "speaker": None, "split": split} | intent)
    (folder / "intents.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Let the registry find the task above, as if it had a file of its own."""
    get, name = registry.get, Intents().name
    monkeypatch.setattr(registry, "get", lambda kind, asked: Intents if asked == name else get(kind, asked))
    return name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": 0}, r"/0\.wav: action 0 is no text; a label is one, such as '0'"),
        ({"id": None}, "test_classification: id None is no text, in the utterance"),
        ({"speaker": ...}, r"0\.wav: test_classification gives it no 'speaker'; None says that it is not known"),
        ({"object": ...}, r"0\.wav: test_classification gives it no 'object'"),
    ],
)
def test_what_a_tasks_rows_lack_is_named(change, message, corpus, tmp_path):
    rows = json.loads((corpus / "intents.json").read_text())
    rows[0] = {name: value for name, value in (rows[0] | change).items() if value is not ...}
    if "action" in change:
        rows = [row | {"action": number} for number, row in enumerate(rows)]
    (tmp_path / "intents.json").write_text(json.dumps(rows))
    with pytest.raises(SureError, match=message):
        Intents().load(tmp_path)


@pytest.fixture
def command(corpus, known, tmp_path):
    backbone = save_backbone(tmp_path / "backbone", "wav2vec2")
    words = f"--task {known} --data_dir {corpus} --backbone {backbone} --method lora --max_steps 2 --use_cpu True"
    words += f" --output_dir {tmp_path / 'run'} --eval_strategy steps --eval_steps 2 --per_device_train_batch_size 5"
    return f"{words} --report_to none --disable_tqdm True".split()


def test_from_recordings_to_the_board(command, corpus, tmp_path, capsys):
    result, folder = main([*command, "--class_weights", "balanced"]), tmp_path / "run"
    assert result == Result.read(folder / "result.json")
    assert result.run.task_options == {"labels": COLUMNS, "shots": None, "draw": 0, "drawn": []}
    assert list(result.scores["test"]) == ["accuracy"]
    rows = read_predictions(folder, result.predictions["test"])
    told = {row["id"]: row for row in json.loads((corpus / "intents.json").read_text())}
    for row in rows:
        assert row["reference"] == {column: told[row["id"]][column] for column in COLUMNS}
        for column, labels in COLUMNS.items():
            shares = row["probabilities"][column]
            assert list(shares) == labels
            assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
            assert row["prediction"][column] == max(shares, key=shares.get)
    right = [row["prediction"] == row["reference"] for row in rows]
    assert result.scores["test"]["accuracy"].value == pytest.approx(np.mean(right))

    capsys.readouterr()
    cli.main(["train", *command, "--class_weights", "balanced"])
    adapter, record = folder, folder / "result.json"
    assert capsys.readouterr().out.endswith(
        f"Record: {record}. Next:\n  sure predict --adapter {adapter} RECORDING ...\n"
        f"  sure leaderboard add {record} && sure leaderboard show\n"
    )

    expected = {row["id"]: row["probabilities"] for row in rows}
    for row in predict(folder, [corpus / f"{name}.wav" for name in expected], batch_size=5):
        assert set(row) == {"path", "prediction", "probabilities"}
        for column, shares in row["probabilities"].items():
            assert shares == pytest.approx(expected[row["path"].rpartition("/")[2][:-4]][column], abs=1e-5)
    latin1 = tmp_path / "caf\udce9.wav"
    latin1.write_bytes((corpus / f"{min(expected)}.wav").read_bytes())
    cli.main(["predict", "--adapter", str(folder), str(latin1), "--output", str(tmp_path / "latin1.jsonl")])
    assert json.loads((tmp_path / "latin1.jsonl").read_text())["path"] == str(latin1)
    broken = tmp_path / "broken ä.wav"
    broken.write_bytes(b"no audio")
    whole = corpus / f"{min(expected)}.wav"
    rows = list(predict(folder, [broken, whole, tmp_path / "none.wav", whole], batch_size=2))
    assert [row["path"] for row in rows] == [str(broken), str(whole), str(tmp_path / "none.wav"), str(whole)]
    assert set(rows[0]) == {"path", "error"}
    assert rows[0]["error"].startswith(f"{broken}: not readable as audio")
    assert rows[1]["prediction"] == rows[3]["prediction"]
    assert rows[2]["error"].endswith("none.wav: no such audio file.")
    for output in ([], ["--output", str(tmp_path / "rows.jsonl")]):
        with pytest.raises(SystemExit) as stop:
            cli.main(["predict", "--adapter", str(folder), str(broken), str(whole), *output])
        said = capsys.readouterr()
        assert stop.value.code == 2
        assert f"error: {broken}: not readable" in said.err
        assert "error: 1 of 2 recordings cannot be used" in said.err
        lines = (tmp_path / "rows.jsonl").read_text(encoding="utf-8") if output else said.out
        assert [json.loads(line).get("error") for line in lines.splitlines()] == [rows[0]["error"], None]
    with pytest.raises(SureError, match="trained on test_classification, it hears; give it recordings, no texts"):
        next(speak(folder, ["a fox"]))

    assert leaderboard.add(folder / "result.json", tmp_path / "board").is_dir()
    claimed = json.loads((folder / "result.json").read_text())
    claimed["scores"]["test"]["accuracy"] |= {"value": 0.99, "high": 1.0}
    (folder / "result.json").write_text(json.dumps(claimed))
    with pytest.raises(SureError, match=r"test accuracy, value: the record says 0\.99, its predictions give"):
        leaderboard.add(folder / "result.json", tmp_path / "other_board")


def test_smoothing_one_label_is_refused(command):
    with pytest.raises(SureError, match="it would replace the loss of test_classification; only tasks with one label"):
        main([*command, "--label_smoothing_factor", "0.1"])


def test_labels_outside_the_set_are_told_with_their_column(corpus):
    task = Intents(labels=COLUMNS | {"object": ["heat", "lamp"]})
    with pytest.raises(
        SureError, match=r"wav: object 'music' \(train\) is not one of test_classification's: heat, lamp"
    ):
        task.load(corpus)


def test_a_corpus_is_checked_by_column(corpus, known, tmp_path, capsys):
    rows = json.loads((corpus / "intents.json").read_text())
    rows = [
        row | {"path": str(corpus / row["path"])} for row in rows if row["split"] != "test" or row["action"] == "on"
    ]
    (tmp_path / "intents.json").write_text(json.dumps(rows))
    with pytest.raises(SystemExit):
        cli.main(["data", "check", "--task", known, "--data_dir", str(tmp_path)])
    said = capsys.readouterr().out
    assert "action: labels of train that test does not have: off." in said
    tables = [part.split() for part in said.split("\n\n")]
    assert ["action", "train", "validation", "test"] == tables[1][:4]
    assert tables[2][:4] == ["object", "train", "validation", "test"]
    assert "lamp 8 4 2" in " ".join(tables[2])
    assert tables[3][:4] == ["location", "train", "validation", "test"]


def test_the_loss_is_the_sum_over_the_columns_each_weighted_by_itself(corpus):
    task = Intents(labels=COLUMNS)
    head = task.build_head(8)
    assert head.classifier.out_features == 7
    model = torch.nn.Module()
    model.head = head
    rows = [INTENTS[0], INTENTS[0], INTENTS[5]]
    task.weigh_labels(model, rows)
    labels = task.targets(rows)["labels"]
    assert labels.tolist() == [[0, 0, 0], [0, 0, 0], [0, 2, 1]]
    loss, logits = head(torch.randn(3, 4, 8), Padding(), labels=labels)
    summed, weights = 0.0, 0.0
    for place, (first, end, count) in enumerate([(0, 2, 2), (2, 5, 3), (5, 7, 2)]):
        own = class_weights(labels[:, place], count)
        summed += torch.nn.functional.cross_entropy(logits[:, first:end], labels[:, place], own, reduction="sum")
        weights += own[labels[:, place]].sum()
    # Divided by the weights of all columns, as of a batch in parts.
    expected = summed / weights * 3
    torch.testing.assert_close(loss, expected)


def test_of_one_column_all_is_as_it_was():
    """Of adapters and records that were made when there was but one."""
    head, states = ClassificationHead(8, 3), torch.randn(2, 4, 8)
    assert set(head.state_dict()) == {
        f"{part}.{of}" for part in ("projector", "classifier") for of in ("weight", "bias")
    }
    labels = torch.tensor([2, 0])
    head.label_weights.copy_(torch.tensor([0.5, 1.0, 3.0]))
    loss, logits = head(states, Padding(), labels=labels)
    assert loss == torch.nn.functional.cross_entropy(logits, labels, weight=head.label_weights)
    task = make_task("audio_classification", {"labels": ["no", "yes"]})
    assert task.targets([{"label": "yes"}, {"label": "no"}])["labels"].tolist() == [1, 0]
    (row,) = task.predict(np.array([[0.0, 0.0]]), [{"id": "a", "speaker": "s", "label": "yes"}])
    assert json.dumps(row) == (
        '{"id": "a", "speaker": "s", "reference": "yes", "prediction": "no", "probabilities": {"no": 0.5, "yes": 0.5}}'
    )
    assert [ids.tolist() for ids in task.comparable([row])] == [[0], [1]]
    assert task.predict(np.zeros((1, 2)), [{"id": "a"}])[0].keys() == {"id", "prediction", "probabilities"}


def test_a_row_is_right_where_all_of_its_labels_are():
    one, other = INTENTS[0], INTENTS[0] | {"location": "none"}
    rows = [{"id": "a", "reference": one, "prediction": one}, {"id": "b", "reference": one, "prediction": other}]
    assert Intents(labels=COLUMNS).score(rows) == {"accuracy": 0.5}
    references = [{"id": "a", "reference": intent, "prediction": one} for intent in INTENTS]
    assert len(set(Intents(labels=COLUMNS).comparable(references)[1].tolist())) == len(INTENTS)


@pytest.mark.parametrize(
    ("labels", "prediction", "message"),
    [
        (COLUMNS, "on", "prediction 'on' is not a label for each of action, object, location"),
        (COLUMNS, {"action": "on"}, "is not a label for each of action, object, location"),
        (COLUMNS, INTENTS[0] | {"object": "door"}, "prediction of object 'door' is not one of heat, lamp, music"),
        (["off", "on"], INTENTS[0], "labels of test_classification are .*; expected a list for each of action, object"),
        ({"action": ["on"]}, INTENTS[0], "expected a list for each of action, object, location"),
    ],
)
def test_what_a_record_has_of_other_columns_is_refused(labels, prediction, message, known):
    task = make_task(known, {"labels": labels})
    with pytest.raises(SureError, match=message):
        task.comparable([{"id": "a", "reference": INTENTS[0], "prediction": prediction}])


def test_labels_by_column_are_refused_where_there_is_one():
    task = make_task("audio_classification", {"labels": {"no": ["a"], "yes": ["b"]}})
    with pytest.raises(SureError, match=r"labels of audio_classification are .*; expected a list\."):
        task.comparable([{"id": "a", "reference": "no", "prediction": "no"}])
