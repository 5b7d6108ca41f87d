import http.client
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from longstep_agents.page.serve import Live, make_server


@pytest.fixture
def folder(evaluations: Path, tmp_path: Path) -> Path:
    """An evaluation of which half is played."""
    folder = tmp_path / "half"
    shutil.copytree(evaluations / "random", folder)
    log = folder / "episodes" / "eval.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:12]))
    return folder


@pytest.fixture
def client(folder: Path) -> Iterator[http.client.HTTPConnection]:
    with make_server(Live([folder], "Half", seconds=0.0)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        server.shutdown()


def get(
    client: http.client.HTTPConnection, path: str, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    client.request("GET", path, headers={name.replace("_", "-"): v for name, v in headers.items()})
    answer = client.getresponse()
    return answer, answer.read()


def test_the_page_and_its_data_are_served(client: http.client.HTTPConnection) -> None:
    answer, page = get(client, "/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"connect-src 'self'" in page
    answer, body = get(client, "/data/index.json")
    index = json.loads(body)
    assert (answer.headers["Content-Type"], index["title"]) == ("application/json", "Half")
    assert index["live"]
    _, body = get(client, "/data/half-0.json")
    assert len(json.loads(body)) == 12


@pytest.mark.case(42)
@pytest.mark.parametrize(
    "path",
    [
        "/data/../../../etc/passwd",
        "/data/%2e%2e/evaluation.json",
        "/evaluation.json",
        "/data/half-1.json",
        f"/data/half-{'9' * 5000}.json",
        "/data/index",
        "//etc/passwd",
        "/data/.json",
    ],
)
def test_nothing_else_is_served(client: http.client.HTTPConnection, path: str) -> None:
    assert get(client, path)[0].status == 404


@pytest.mark.case(42)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_nothing_can_be_sent(client: http.client.HTTPConnection, method: str) -> None:
    client.request(method, "/data/index.json")
    assert client.getresponse().status == 501


@pytest.mark.case(42)
@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("localhost:9", 200), ("evil.example", 403), ("evil.localhost", 403)],
)
def test_only_this_machine_is_answered(
    client: http.client.HTTPConnection, host: str, status: int
) -> None:
    assert get(client, "/", Host=host)[0].status == status


def test_what_is_known_is_not_sent_again(client: http.client.HTTPConnection) -> None:
    tag = get(client, "/data/index.json")[0].headers["ETag"]
    answer, body = get(client, "/data/index.json", If_None_Match=tag)
    assert (answer.status, body) == (304, b"")


def test_what_is_appended_is_served(
    client: http.client.HTTPConnection, folder: Path, evaluations: Path
) -> None:
    def count() -> int:
        (run,) = json.loads(get(client, "/data/index.json")[1])["runs"]
        return int(run["episodes"]["count"])

    whole = (evaluations / "random" / "episodes" / "eval.jsonl").read_text()
    log = folder / "episodes" / "eval.jsonl"
    assert count() == 12
    with log.open("a") as file:
        file.write(whole.splitlines(keepends=True)[12][:50])
    assert count() == 12
    log.write_text(whole)
    until = time.monotonic() + 20  # a slow look at the folder is followed by a rest
    while count() == 12 and time.monotonic() < until:
        time.sleep(0.05)
    assert count() == 24
    assert len(json.loads(get(client, "/data/half-0.json")[1])) == 24
