"""A page per entry: what it says of each kind of task, that records cannot break it, and when it is written."""

import json

import numpy as np
import pytest

from sure import audio, leaderboard
from sure.record import Result, write_predictions
from sure.record.samples import write_samples
from sure.task import make_task
from sure.task.scoring import interval, score_with_intervals
from tests.leaderboard.test_leaderboard import register, write_record

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


def submit(run, board, task="three_emotions", options=None, rows=None, *, seed=0, speech=False, **changes):
    """Make a record of `rows`, validation and test alike, and add it to a board; gives its folder there."""
    record = write_record(run, seed=seed, **changes)
    result = Result.read(record)
    if rows is not None:
        made = make_task(task, options or {})
        scored = score_with_intervals(made, rows)
        names = list(made.evaluations())
        size = {"utterances": len(rows), "seconds": 90.0, "speakers": None}
        data = result.run.data.model_dump() | {"splits": dict.fromkeys(("train", "validation", "test"), size)}
        if made.unit == "trial":
            data["trials"] = dict.fromkeys(names, len(rows))
        run_of = result.run.model_dump() | {"task": task, "task_options": options or {}, "data": data}
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
