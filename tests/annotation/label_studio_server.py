"""A real Label Studio on loopback, in a folder of its own, and its HTTP interface as far as tests need it.

It is a program of its own with many pinned dependencies, so it is looked for and never installed beside the host: the
command in $LABEL_STUDIO, or `label-studio` on the path. `make label-studio` makes one.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MADE = Path(__file__).resolve().parents[2] / ".venv-label-studio/bin/label-studio"
COMMAND = os.environ.get("LABEL_STUDIO") or shutil.which("label-studio") or (str(MADE) if MADE.exists() else None)
NO_COMMAND = "no Label Studio here: `make label-studio` makes one, or set LABEL_STUDIO to the path of its command"

USER, PASSWORD, TOKEN = "reviewer@example.org", "a-password-of-tests", "0123456789abcdef" * 2 + "01234567"
_START_SECONDS = 480  # its migrations are slow where the machine is busy


class Server:
    """`url`, and `call` for its interface."""

    def __init__(self, url: str):
        self.url = url

    def get(self, address: str, token: str = TOKEN) -> bytes:
        request = urllib.request.Request(self.url + address, headers={"Authorization": f"Token {token}"})
        with _OPENER.open(request, timeout=60) as reply:
            return reply.read()

    def call(self, method: str, address: str, body: Any = None) -> Any:
        """The decoded reply; an error with the server's own words."""
        headers = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + address, data, headers, method=method)
        try:
            with _OPENER.open(request, timeout=60) as reply:
                content = reply.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {address}: {error.code} {error.read()[:1000]!r}") from None
        return json.loads(content) if content else None

    def make_project(self, folder: Path) -> int:
        """A project of an exported folder: its configuration, its media, its tasks."""
        configuration = (folder / "label_config.xml").read_text()
        project = self.call("POST", "/api/projects", {"title": "rows", "label_config": configuration})["id"]
        storage = {"project": project, "path": str(folder / "media"), "use_blob_urls": True}
        self.call("POST", "/api/storages/localfiles", storage)
        self.call("POST", f"/api/projects/{project}/import", json.loads((folder / "tasks.json").read_text()))
        return project

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """The project's tasks with their predictions, in the order of their import."""
        listed = self.call("GET", f"/api/tasks?project={project}&fields=all&page_size=100")["tasks"]
        return sorted(listed, key=lambda task: task["id"])

    def export(self, project: int, path: Path) -> Path:
        """The JSON export, as its page downloads it."""
        path.write_bytes(self.get(f"/api/projects/{project}/export?exportType=JSON"))
        return path


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def label_studio(folder: Path) -> Iterator[Server]:
    """The server while the context lasts: SQLite in `folder`, local files below it, no telemetry, nothing outside."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "server"
    data.mkdir()
    nowhere = "http://127.0.0.1:9"  # whatever it would ask from elsewhere ends here
    environment = {
        "PATH": f"{Path(COMMAND).parent}:/usr/bin:/bin",
        "HOME": str(data),
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_USERNAME": USER,
        "LABEL_STUDIO_PASSWORD": PASSWORD,
        "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(folder),
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "NO_PROXY": "127.0.0.1,localhost",
    }
    words = [COMMAND, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(words, env=environment, cwd=data, stdout=log, stderr=log)
        try:
            server = Server(f"http://127.0.0.1:{port}")
            _wait(server, process, folder / "server.log")
            yield server
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(server: Server, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        try:
            if json.loads(server.get("/health"))["status"] == "UP":
                return
        except OSError:
            pass
        if process.poll() is not None:
            break
        time.sleep(0.5)
    raise AssertionError(f"Label Studio did not start: {log.read_text(errors='replace')[-3000:]}")
