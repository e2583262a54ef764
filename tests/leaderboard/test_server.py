"""What is served on the loopback address: a board's files, and runs as they go."""

import json
from contextlib import contextmanager
from http.client import HTTPConnection
from threading import Thread

import pytest

from sure.cli import main
from sure.errors import SureError
from sure.files import locked
from sure.leaderboard.server import server
from sure.record import Result
from sure.runner.watching import watch
from tests.leaderboard.test_leaderboard import register, write_record


@contextmanager
def serving(board, runs=list):
    with server(board, runs, 0) as made:
        thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield made.server_port
        finally:
            made.shutdown()
            thread.join()


def ask(port, path, method="GET", host=None):
    """Status, headers and body; paths go as they are."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers={"Host": host or f"127.0.0.1:{port}"})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture
def board(tmp_path):
    (tmp_path / "secret").write_text("secret")
    board = tmp_path / "board"
    submission = board / "submissions" / "one"
    submission.mkdir(parents=True)
    (board / "index.html").write_text("<p>the board")
    (board / ".lock").write_text("secret")
    (board / "out.html").symlink_to(tmp_path / "secret")
    (board / "up").symlink_to(tmp_path)
    (submission / "evil.html").write_text("<script>alert(1)</script>")
    return board


def test_a_boards_files_are_served_and_nothing_else(board):
    with serving(board) as port:
        for path in ("/", "/index.html", "/index.html?query"):
            status, headers, body = ask(port, path)
            assert (status, headers["Content-Type"], body) == (200, "text/html; charset=utf-8", "<p>the board")
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert ask(port, "/index.html", "HEAD")[::2] == (200, "")
        # What a submitter has called a page is text.
        status, headers, body = ask(port, "/submissions/one/evil.html")
        assert (status, headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
        assert headers["X-Content-Type-Options"] == "nosniff" and "sandbox" in headers["Content-Security-Policy"]
        outside = ("/../secret", "/%2e%2e/secret", "/..%2fsecret", "/submissions/../../secret", "//etc/passwd",
                   "/.lock", "/out.html", "/up/secret", "/submissions", "/gone", "/%00", "/" + "x" * 5000)  # fmt: skip
        for path in outside:
            status, _, body = ask(port, path)
            assert (status, "secret" in body) == (404, False), path
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert ask(port, "/index.html", method)[0] == 501
        # A name from elsewhere that leads here.
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port}.evil.example"):
            assert ask(port, "/", host=host)[0] == 421
        assert ask(port, "/", host=f"localhost:{port}")[0] == 200
        with pytest.raises(SureError, match=rf"--port {port}: cannot be listened on \(Address already in use\)"):
            server(board, list, port)
        (board / "index.html").unlink()
        assert ask(port, "/")[:2][1]["Location"] == "/runs"


def a_run(folder, monkeypatch, **changes):
    """What a run leaves before it has a record, and that record."""
    register(monkeypatch)
    result = Result.read(write_record(folder, **changes))
    (folder / "result.json").unlink()
    arguments = {"metric_for_best_model": "accuracy", "greater_is_better": True}
    (folder / "run.json").write_text(result.run.model_copy(update={"arguments": arguments}).model_dump_json())
    return result


def checkpoint(folder, step, steps=100, **state):
    """As the trainer leaves it, evaluated after every ten steps, each of which took three seconds."""
    history = [{"step": n, "epoch": n / 10, "loss": 2.0 - n / 100} for n in range(10, step + 1, 10)]
    history += [{"step": n, "epoch": n / 10, "eval_accuracy": n / 100} for n in range(10, step + 1, 10)]
    meter = {"attributes": {"training_seconds": 2.0 * step, "evaluation_seconds": 1.0 * step}}
    content = {
        "global_step": step,
        "max_steps": steps,
        "epoch": step / 10,
        "num_train_epochs": 10,
        "best_metric": step / 100,
        "log_history": history,
        "stateful_callbacks": {"CostMeter": meter},
    }
    path = folder / f"checkpoint-{step}" / "trainer_state.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content | state))


def test_runs_are_watched_as_they_go(tmp_path, monkeypatch):
    result = a_run(tmp_path / "a" / "first", monkeypatch, method="lora")
    assert watch(tmp_path / "nowhere") == []
    (stopped,) = watch(tmp_path)
    assert (stopped.name, stopped.status, stopped.step, stopped.seconds_left) == ("a/first", "stopped", 0, None)
    checkpoint(tmp_path / "a" / "first", 20)
    # One that is being written.
    (tmp_path / "a" / "first" / "checkpoint-30").mkdir()
    a_run(tmp_path / "b", monkeypatch, method="bitfit", seed=3)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").write_text("{}")
    with locked(tmp_path / "a" / "first", "first", wait=False):
        running, b, c = watch(tmp_path)
        assert running[1:5] == ("running", None, "three_emotions", "lora")
        assert (running.step, running.steps, running.epoch, running.best) == (20, 100, 2.0, 0.2)
        # 80 steps of three seconds, less what has passed since the checkpoint.
        assert running.seconds_left == pytest.approx(240, abs=5)
        assert [(point.step, point.validation, point.training_loss) for point in running.curve] == [
            (10, 0.1, 1.9),
            (20, 0.2, 1.8),
        ]
        assert (b.status, b.seed, c.status) == ("stopped", 3, "unreadable") and "run.json" in c.problem
    result.write(tmp_path / "a" / "first" / "result.json")
    finished = watch(tmp_path)[-1]
    assert (finished.status, finished.step, finished.seconds_left) == ("finished", 10, None)
    assert finished.score == str(result.scores["test"][result.metric])
    failed = result.model_copy(update={"status": "failed", "error": "no more memory", "scores": {}, "predictions": {}})
    failed.write(tmp_path / "b" / "result.json")
    assert {(run.name, run.problem) for run in watch(tmp_path) if run.status == "failed"} == {("b", "no more memory")}
    with serving(tmp_path, lambda: [run.as_json() for run in watch(tmp_path)]) as port:
        status, headers, body = ask(port, "/runs.json")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        statuses = {run["name"]: run["status"] for run in json.loads(body)}
        assert statuses == {"a/first": "finished", "b": "failed", "c": "unreadable"}
        status, headers, body = ask(port, "/runs")
        nonce = headers["Content-Security-Policy"].partition("script-src 'nonce-")[2].partition("'")[0]
        assert (
            status == 200
            and f'<script nonce="{nonce}">' in body
            and "http" not in body.replace("http://www.w3.org/2000/svg", "")
        )


def test_the_command_serves_until_it_is_interrupted(tmp_path, monkeypatch, capsys):
    asked = []

    def serve_forever(self):
        asked.append(self.server_address[0])
        raise KeyboardInterrupt

    monkeypatch.setattr("http.server.ThreadingHTTPServer.serve_forever", serve_forever)
    with server(tmp_path, list, 0) as taken:
        port = taken.server_port
        with pytest.raises(SystemExit):
            main(["leaderboard", "serve", "--port", str(port)])
        assert f"sure: error: --port {port}: cannot be listened on" in capsys.readouterr().err
    main(["leaderboard", "serve", "--board", str(tmp_path), "--runs", str(tmp_path), "--port", str(port)])
    assert asked == ["127.0.0.1"] and f"http://127.0.0.1:{port}/runs" in capsys.readouterr().out
    with pytest.raises(SureError, match=r"--port 70000: cannot be listened on \(it is no port\)"):
        server(tmp_path, list, 70000)
