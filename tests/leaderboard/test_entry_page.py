"""A page per entry: what it says of each kind of task, that records cannot break it, and when it is written."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from sure import audio, leaderboard
from sure.errors import SureError
from sure.leaderboard import entry_page
from sure.leaderboard.charts import Axis
from sure.leaderboard.entries import entry_path
from sure.record import Result, write_predictions
from sure.record.samples import write_samples
from sure.task import make_task
from sure.task.scoring import interval, score_with_intervals
from tests.leaderboard.test_leaderboard import ThreeEmotions, edit, register, write_record

ATTACK = '</script><script>alert(1)</script>"><img src=x onerror=alert(1)><!--'


@pytest.fixture(autouse=True)
def known_task(monkeypatch):
    register(monkeypatch)


def trials(count=200):
    generator = np.random.default_rng(0)
    return [
        {
            "id": f"a{index} b{index}",
            "speaker": f"s{index % 20}",
            "test_speaker": f"s{index % 20 if index % 2 else (index + 7) % 20}",
            "reference": index % 2,
            "prediction": float(np.round(generator.normal() + 2 * (index % 2), 3)),
        }
        for index in range(count)
    ]


def transcripts(count=40):
    said = ["the cat sat on the mat", "a dog ran away", "speech is hard to recognise", "it rains today"]
    heard = ["the cat sat on a mat", "a dog ran away", "speech is heard to wreck nice", "rains today again"]
    return [
        {"id": f"u{index}", "speaker": f"s{index % 4}", "reference": said[index % 4], "prediction": heard[index % 4]}
        for index in range(count)
    ]


def sentences(count=6):
    measures = {"mel_cepstral_distortion": 6.0, "frames": 200, "squared_f0_error": 900.0, "voiced_frames": 90}
    return [
        {
            "id": f"LJ{index}",
            "speaker": "LJ",
            "reference": f"Sentence {index}.",
            "prediction": measures | {"mel_cepstral_distortion": 6.0 + index / 10, "voicing_error": 0.1},
        }
        for index in range(count)
    ]


def curve(epochs=5, best=0.8):
    points = []
    for epoch in range(1, epochs + 1):
        points.append({"epoch": epoch - 0.5, "step": 10 * epoch - 5, "training_loss": 2 / epoch, "validation": None})
        value = best - (epoch - 4) ** 2 / 50
        points.append({"epoch": epoch, "step": 10 * epoch, "training_loss": 1.9 / epoch, "validation": value})
    return points


def submit(run, board, task="three_emotions", rows=None, *, seed=0, speech=False, **changes):
    """Make a record of `rows`, validation and test alike, and add it to a board; gives its folder there."""
    record = write_record(run, seed=seed, **changes)
    result = Result.read(record)
    if rows is not None:
        made = make_task(task, {})
        scored = score_with_intervals(made, rows)
        names = list(made.evaluations())
        size = {"utterances": len(rows), "seconds": 90.0, "speakers": None}
        data = result.run.data.model_dump() | {"splits": dict.fromkeys(("train", "validation", "test"), size)}
        if made.unit == "trial":
            data["trials"] = dict.fromkeys(names, len(rows))
        run_of = result.run.model_dump() | {"task": task, "task_options": {}, "data": data}
        content = result.model_dump() | {
            "run": run_of,
            "metric": made.metric,
            "scores": dict.fromkeys(names, scored.scores),
            "interval": interval(dict.fromkeys(names, scored)),
            "predictions": {name: write_predictions(run / f"{name}.jsonl", rows) for name in names},
        }
    else:
        content = result.model_dump()
    best = content["scores"]["validation"][content["metric"]] if content["scores"] else None
    if best:
        value = best["value"] if isinstance(best, dict) else best.value
        content["learning_curve"] = curve(best=value)
    if speech:
        tone = np.sin(np.arange(16_000) * np.linspace(0.05, 1, 16_000)) / 2
        for row in rows:
            audio.write(run / "audio" / f"{row['id']}.wav", tone)
        content["samples"] = write_samples(run, rows)
    Result.model_validate(json.loads(json.dumps(content, default=lambda value: value.model_dump()))).write(record)
    return leaderboard.add(record, board)


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """Three seeds and a failed run of emotions, trials, transcripts, and speech; one text of each attacks the page."""
    patch = pytest.MonkeyPatch()
    register(patch)
    folder = tmp_path_factory.mktemp("board")

    def new():
        return tmp_path_factory.mktemp("run")

    for seed in (0, 1, 2):
        submit(new(), folder, seed=seed, right=0.8 + seed / 50, options=["shots=5"])
    submit(new(), folder, failed=True, method="ia3", backbone=ATTACK)
    submit(new(), folder, "sv_vctk", rows=trials())
    heard = transcripts()
    heard[2] |= {"id": ATTACK}
    submit(new(), folder, "asr_manifest", rows=heard)
    said = sentences()
    said[0] |= {"reference": ATTACK}
    submit(new(), folder, "tts_ljspeech", rows=said, speech=True)
    write_pages(folder)
    yield folder
    patch.undo()


def write_pages(board):
    return entry_page.write_pages(leaderboard.read_entries(board), board)


def html(board, task, method="lora"):
    (path,) = (board / "entries").glob(f"{task}--*--{method}--*.html")
    return path.read_text(encoding="utf-8")


def cells(text, label):
    """The texts of a table's lines."""
    text = text.replace("<wbr>", "")
    table = text.partition(f'aria-label="{label}"')[2].partition("</table>")[0]
    lines = re.findall(r"<tr>(.*?)</tr>", table, flags=re.DOTALL)
    return [
        [re.sub(r"<[^>]*>", " ", cell).split() for cell in re.findall(r"<t[hd].*?</t[hd]>", line)] for line in lines
    ]


def test_every_entry_has_a_page_of_its_own_that_asks_for_nothing_from_elsewhere(board):
    entries = leaderboard.read_entries(board)
    assert {path.name for path in (board / "entries").iterdir()} == {Path(entry_path(one)).name for one in entries}
    for entry in entries:
        text = (board / entry_path(entry)).read_text(encoding="utf-8")
        assert len(text) < 60_000
        assert "<script" not in text.replace("&lt;script", "")
        for target in re.findall(r'(?:src|href|action)="([^"]*)"|url\(|@import', text):
            assert target.startswith(("../submissions/", "../index.html#", "#", "data:"))
            if target.startswith("../submissions/"):
                assert (board / "entries" / target).is_file()
        # Every link within the page leads somewhere.
        assert set(re.findall(r'href="#(\w+)"', text)) <= set(re.findall(r'id="(\w+)"', text))


def test_no_text_of_a_record_breaks_out_of_its_page(board):
    for task, method in (("three_emotions", "ia3"), ("asr_manifest", "lora"), ("tts_ljspeech", "lora")):
        text = html(board, task, method)
        assert "<img src=x" not in text
        assert "&lt;img src=x" in text


def test_seeds_have_a_line_each_and_one_confusion_matrix(board):
    text = html(board, "three_emotions")
    assert [line[:2] for line in cells(text, "Runs")[1:]] == [
        [["0"], ["0.800", "[0.699,", "0.893]"]],
        [["1"], ["0.833", "[0.737,", "0.920]"]],
        [["2"], ["0.850", "[0.762,", "0.934]"]],
    ]
    # 60 utterances of each seed: 12, 10 and 9 of them wrong.
    matrix = [[int(cell[1]) if cell else 0 for cell in line[1:]] for line in cells(text, "Confusion matrix")[1:]]
    assert [sum(line) for line in matrix] == [60, 60, 60]
    assert sum(matrix[place][place] for place in range(3)) == 48 + 50 + 51
    assert [matrix[place][(place + 2) % 3] for place in range(3)] == [0, 0, 0]
    assert text.count("<polyline") == 6
    assert text.count("chosen</title>") == 3
    assert [["task_options"], ["[&#34;shots=5&#34;]"]] in cells(text, "All other training arguments")
    assert [["learning_rate"], ["0.002"]] in cells(text, "Training arguments that decide scores")


def test_errors_of_words_are_told_by_kind(board):
    text = html(board, "asr_manifest")
    assert cells(text, "Errors by kind")[-1][0] == ["all"]
    by_kind = {line[0][0]: int(line[1][0]) for line in cells(text, "Errors by kind")[1:]}
    assert by_kind["all"] == by_kind["substitutions"] + by_kind["deletions"] + by_kind["insertions"]
    assert by_kind["deletions"] >= 10
    assert [["hard"], ["heard"], ["10"]] in cells(text, "Most frequent substitutions")
    assert "speech is <del>hard</del><ins>heard</ins> to <ins>wreck</ins> <del>recognise</del><ins>nice</ins>" in text


def test_a_detection_error_tradeoff_has_the_points_of_its_metrics(board):
    text = html(board, "sv_vctk")
    (entry,) = (one for one in leaderboard.read_entries(board) if one.task == "sv_vctk")
    points = {" ".join(line[0]): [cell[0] for cell in line[1:]] for line in cells(text, "Operating points")[1:]}
    assert {name.replace(" ", "_"): values[0] for name, values in points.items()} == {
        name: f"{score.value:.4f}" for name, score in entry.test.items()
    }
    rate = f"{entry.score.value:.2%}"
    assert points["equal error rate"][1:] == [rate, rate]
    missed, accepted = (float(rate.rstrip("%")) / 100 for rate in points["minimum detection cost p05"][1:])
    assert (0.05 * missed + 0.95 * accepted) / 0.05 == pytest.approx(
        entry.test["minimum_detection_cost_p05"].value, abs=0.002
    )


def test_speech_can_be_played_and_seen(board):
    text = html(board, "tts_ljspeech")
    assert text.count("<audio controls") == 4 == text.count("data:image/png;base64,")
    assert re.findall(r'src="[^"]*/(sample_\d\.flac)"', text) == [f"sample_{number}.flac" for number in (1, 2, 3, 4)]
    assert "“Sentence 1.”" in text


def test_a_page_is_written_again_only_where_its_entry_has_changed(board, tmp_path):
    shutil.copytree(board, copy := tmp_path / "board")
    before = {path: path.stat().st_mtime_ns for path in (copy / "entries").iterdir()}
    # Another entry of the table changes its ranks, and another seed an entry.
    submit(tmp_path / "one", copy, method="bitfit", right=0.4)
    submit(tmp_path / "two", copy, seed=3, options=["shots=5"])
    written = set(write_pages(copy))
    assert {path.name.split("--")[2] for path in written} == {"bitfit", "lora"}
    assert {path for path in before if path.stat().st_mtime_ns != before[path]} == written & before.keys()
    (folder,) = (copy / "submissions").glob("*--bitfit--*")
    shutil.rmtree(folder)
    assert write_pages(copy) == []
    assert set((copy / "entries").iterdir()) == before.keys()


def test_what_cannot_be_read_has_no_page_and_leaves_the_others_theirs(board, tmp_path, caplog):
    shutil.copytree(board, copy := tmp_path / "board")
    (sample,) = (copy / "submissions").glob("tts_ljspeech*/sample_1.flac")
    sample.write_bytes(b"RIFF")
    entries = leaderboard.read_entries(copy)
    # As if what makes pages had changed.
    for path in (copy / "entries").iterdir():
        path.write_text(path.read_text(encoding="utf-8").replace(" -->", "0 -->", 1), encoding="utf-8")
    entry_page.write_pages(entries, copy)
    assert f"{sample}: its SHA-256 is not the one in the record" in caplog.text
    assert {path.name.partition("--")[0] for path in (copy / "entries").iterdir()} == {
        *("three_emotions", "sv_vctk", "asr_manifest")
    }


def test_a_page_that_was_edited_or_put_there_is_not_valid(board, tmp_path):
    shutil.copytree(board, copy := tmp_path / "board")
    edited = next((copy / "entries").glob("sv_vctk*"))
    edited.write_text(edited.read_text(encoding="utf-8").replace("0.", "1."), encoding="utf-8")
    (copy / "entries" / "more.html").write_text("<script>alert(1)</script>")
    (copy / "leaderboard.json").write_text(leaderboard.leaderboard_json(leaderboard.read_entries(copy)))
    (copy / "schema.json").write_text(leaderboard.schema())
    with pytest.raises(SureError) as error:
        leaderboard.validate(copy)
    wrong = {line.partition(" is not what")[0] for line in str(error.value).splitlines()}
    pages = {str(path) for path in (copy / "entries").iterdir()}
    assert wrong & pages == {str(edited), str(copy / "entries" / "more.html")}


def test_a_sample_that_is_of_no_utterance_or_was_changed_is_refused(board, tmp_path):
    (folder,) = (board / "submissions").glob("tts_ljspeech*")
    for change, message in (
        (lambda content: content["samples"][0].update(id="LJ9"), "the sample 'LJ9' is of no test utterance"),
        (lambda content: content["samples"][0].update(sha256="0" * 64), r"sample_1\.flac: its SHA-256 is not"),
        (lambda content: content["samples"][0].update(path="test.jsonl"), r"must be a \.flac file beside its record"),
    ):
        shutil.copytree(folder, copy := tmp_path / message[:8].strip("\\"))
        edit(copy / "result.json", change)
        with pytest.raises(SureError, match=message):
            leaderboard.add(copy / "result.json", tmp_path / "board")


def test_many_labels_have_their_most_frequent_confusions():
    labels = [f"language{index}" for index in range(60)]
    rows = [
        {"id": str(index), "reference": label, "prediction": labels[(index + 1) % 60] if index % 2 else label}
        for index, label in enumerate(labels * 2)
    ]
    run = entry_page._Run("one", "seed 0", None, None, None, ThreeEmotions(labels=labels), rows)
    ((confusion, most),) = entry_page._confusions([run])
    assert len(confusion.labels) == 60
    assert len(most) == 12
    assert all(times == 2 for _, _, times in most)


def test_axes_have_round_numbers_and_hold_all_values():
    axis = Axis.of("loss", [0.013, 0.048])
    assert [text for _, text in axis.ticks] == ["0.02", "0.03", "0.04"]
    assert axis.share([0.013, 0.048]).tolist() == [0, 1]
    assert Axis.of("epoch", [3, 3], from_zero=True).share([0, 3]).tolist() == [0, 1]
    assert Axis.of("accuracy", [0.5]).share([0.5]) == pytest.approx(0.5)
    for values in ([-1e308, 1e308], [0, 5e-324], [1, 1 + 2**-52], [1e308, 1e308]):
        assert np.isfinite(Axis.of("anything", values).share(values)).all()
    rates = Axis.of_rates("misses", 0.01, 0.5)
    # The deviates of 2.275 % and 50 % are -2 and 0.
    assert rates.share([0.01, 0.02275, 0.5]) == pytest.approx([0, 1 - 2 / 2.3263, 1], abs=1e-3)
