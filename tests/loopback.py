"""A server on this machine that answers as W&B's does, so far as uploading and publishing need it, and keeps all."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Loopback(ThreadingHTTPServer):
    """``asked``: the variables of each GraphQL question, by the name of what it asks for. ``rows``: of each run's
    history, by the run's id. ``silent``: questions of runs get no answer, as from a server that hangs.
    ``has_project``: whether runs have been uploaded to the one that is asked for."""

    daemon_threads = True

    def __init__(self, *, silent: bool = False, has_project: bool = True):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.rows: dict[str, list[dict]] = {}
        self.silence = threading.Event()
        self.silent, self.has_project = silent, has_project

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        for name, answer in ANSWERS.items():
            if name in query:
                self.asked.append((name, variables))
                if self.silent and name != "viewer":
                    self.silence.wait()
                return answer(self, variables)
        raise AssertionError(f"The server has no answer to {query}")


def _run(server: Loopback, asked: dict[str, Any]) -> dict[str, Any]:
    project = {"id": "P", "name": asked["project"], "entity": {"id": "E", "name": "me"}}
    run = {"id": "R", "name": asked["name"], "displayName": asked["name"], "config": "{}", "project": project}
    return {"upsertBucket": {"bucket": run, "inserted": True}}


def _files(server: Loopback, asked: dict[str, Any]) -> dict[str, Any]:
    files = [{"name": name, "uploadUrl": f"{server.url}/{name}"} for name in asked["files"]]
    return {"createRunFiles": {"runID": "R", "uploadHeaders": [], "files": files}}


LAST_PAGE = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
PROJECT = {"__typename": "Project", "id": "P", "name": "adam-repro", "entityName": "me", "createdAt": "2020-01-01"}
PROJECT |= {"isBenchmark": False, "user": None}
ANSWERS: dict[str, Callable[[Loopback, dict[str, Any]], dict[str, Any]]] = {
    "upsertBucket": _run,
    "ServerFeaturesQuery": lambda server, asked: {"serverInfo": {"features": []}},
    "createRunFiles": _files,
    "createArtifact(": lambda server, asked: {"createArtifact": {"artifact": {"id": "A", "state": "COMMITTED"}}},
    "upsertView": lambda server, asked: {"upsertView": {"view": {"id": "V", "name": "nw-0-v"}, "inserted": True}},
    "internalId": lambda server, asked: {"project": {"internalId": "1"} if server.has_project else None},
    "models(": lambda server, asked: {"models": {"pageInfo": LAST_PAGE, "edges": [{"node": PROJECT}]}},
    "viewer": lambda server, asked: {"viewer": {"id": "1", "entity": "me", "username": "me", "flags": "{}"}},
}


class _Handler(BaseHTTPRequestHandler):
    server: Loopback

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/sdk/otel/"):  # where W&B's client tells now and then, not in JSON, how it fares
            self.send_error(404)
            return
        text = gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content
        body = json.loads(text or "{}")
        if self.path == "/graphql":
            self._send({"data": self.server.answer(body["query"], body.get("variables") or {})})
            return
        id = self.path.split("/")[-2]
        lines = body.get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
        self.server.rows.setdefault(id, []).extend(map(json.loads, lines))
        self._send({})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._send({})

    def _send(self, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def loopback(**settings: Any) -> Iterator[Loopback]:
    with Loopback(**settings) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.silence.set()
            server.shutdown()
