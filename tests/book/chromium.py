"""A headless Chromium, spoken to in the DevTools protocol through a pipe."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell")
SECONDS = 60  # no answer takes so long


def found() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One tab. `events` holds what has happened since the last `open`: (method, parameters)."""

    def __init__(self, read: int, write: int) -> None:
        self.read, self.write = read, write
        self.buffer, self.count, self.session = b"", 0, ""
        self.events: list[tuple[str, dict[str, Any]]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self.count:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read], [], [], SECONDS)
            assert ready, "Chromium does not answer"
            piece = os.read(self.read, 1 << 20)
            assert piece, "Chromium has gone"
            self.buffer += piece
        line, _, self.buffer = self.buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self.events.append((message["method"], message["params"]))
        return message

    def open(self, page: Path, width: int, *, phone: bool = False) -> None:
        """Show the page in a window of `width` CSS pixels and wait until it is loaded, images too."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=844,
                  deviceScaleFactor=2 if phone else 1, mobile=phone)  # fmt: skip
        self.events.clear()
        self.send("Page.navigate", url=page.as_uri())
        while not any(method == "Page.loadEventFired" for method, _ in self.events):
            self._receive()

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """Errors and warnings on the console."""
        return [
            p.get("entry", p).get("text") or str(p)
            for method, p in self.events
            if method in ("Runtime.exceptionThrown", "Log.entryAdded")
            or (method == "Runtime.consoleAPICalled" and p["type"] in ("error", "warning", "assert"))
        ]

    def requests(self) -> list[str]:
        """The addresses that were asked for."""
        return [p["request"]["url"] for method, p in self.events if method == "Network.requestWillBeSent"]


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Chromium without a network, its profile in the folder `profile`."""
    program = found()
    assert program is not None
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    command = [
        program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe",
        "--disable-dev-shm-usage", "--disable-background-networking", "--proxy-server=127.0.0.1:9",
        f"--user-data-dir={profile}",
    ]  # fmt: skip
    # It reads from 3 and writes to 4; a shell cannot copy descriptors above 9, but it can open them.
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" 3</dev/fd/{theirs_in} 4>/dev/fd/{theirs_out}', "sh", *command],
        pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_in, ours_out)
    finally:
        process.kill()
        process.wait()
        os.close(ours_in)
        os.close(ours_out)
