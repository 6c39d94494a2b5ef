"""Opens a page of lanes in headless Chromium and uses it as a reader would: zooms, pans, hovers, pins, searches.

    python3 lanes_in_a_browser.py PAGE.html [--pictures FOLDER]

It fails, with exit code 1, if the page reports an error, asks for anything but itself, or does not do what it is asked.
It prints one sentence and exits with 0 if all is well, or `NOT RUN: no Chromium` and 0 where none is installed. With
`--pictures` it leaves PNGs of the whole run, of a part of it, and of both in the dark.

Chromium is spoken to by its DevTools protocol over a pair of pipes, so that Python's standard library is all it needs.
"""

import argparse
import base64
import fcntl
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update
    --disable-sync --disable-extensions --hide-scrollbars --remote-debugging-pipe""".split()
WIDTH, HEIGHT = 1440, 900
ANSWER_SECONDS_MAX = 60
RUN = "JSON.parse(document.getElementById('run').textContent)"


class Wrong(Exception):
    """The page did not do what it should."""


class Browser:
    """A Chromium with one page. Fds 3 and 4 of the child are where it reads and writes messages, each ended by a zero."""

    def __init__(self, program, profile):
        child_reads, self.to = (high(fd) for fd in os.pipe())
        self.source, child_writes = (high(fd) for fd in os.pipe())

        def place_pipes():
            os.dup2(child_reads, 3)
            os.dup2(child_writes, 4)

        command = [program, *FLAGS, f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}", "about:blank"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, close_fds=False, preexec_fn=place_pipes)
        os.close(child_reads)
        os.close(child_writes)
        self.pending, self.number, self.session, self.events = b"", 0, None, []
        targets = self.ask("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]

    def ask(self, method, **params):
        """Sends a command and waits for its answer; events that come before it are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data) :]
        until = time.monotonic() + ANSWER_SECONDS_MAX
        while True:
            got = self.receive(until, method)
            if got.get("id") == self.number:
                if "error" in got:
                    raise Wrong(f"{method}: {got['error']['message']}")
                return got["result"]
            self.events.append(got)

    def receive(self, until, what):
        while b"\0" not in self.pending:
            if not select.select([self.source], [], [], max(0.0, until - time.monotonic()))[0]:
                raise Wrong(f"Chromium gave no answer to {what} within {ANSWER_SECONDS_MAX} s")
            data = os.read(self.source, 1 << 20)
            if not data:
                raise Wrong(f"Chromium ended before it answered {what}")
            self.pending += data
        message, self.pending = self.pending.split(b"\0", 1)
        return json.loads(message)

    def value(self, expression):
        """What an expression is in the page."""
        got = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in got:
            details = got["exceptionDetails"]
            raise Wrong(f"{expression}: {details.get('exception', {}).get('description', details['text'])}")
        return got["result"].get("value")

    def settle(self):
        """Waits until what was asked is drawn."""
        self.value("new Promise(done => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(() => done())), 320))")

    def mouse(self, kind, x, y, **more):
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def key(self, key):
        text = {"text": key} if len(key) == 1 else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)
        self.settle()

    def range(self):
        self.settle()
        return self.value("lanes.range()")

    def picture(self, path):
        self.settle()
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def complaints(self):
        """Errors that the page reported, and whatever it asked for beside itself."""
        self.value("0")
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                yield details.get("exception", {}).get("description", details["text"])
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                yield f"console.{params['type']}: {params['args']}"
            elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                yield f"{params['entry']['level']}: {params['entry']['text']}"
            elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:")):
                yield f"it asked for {params['request']['url']}"

    def close(self):
        self.process.terminate()
        self.process.wait()


def high(fd):
    """The same file under a number that is not in the way of 3 and 4."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return moved


def must(truth, otherwise):
    if not truth:
        raise Wrong(otherwise)


def width(range_):
    return range_[1] - range_[0]


def near(a, b, range_):
    """Whether two times are the same as far as can be seen."""
    return abs(a - b) < width(range_) / 1e4


def use(browser, page, pictures):
    """Everything that a reader does, in turn. Gives back how long a frame took."""
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.ask(f"{domain}.enable")
    browser.ask("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)
    browser.ask("Page.navigate", url=page.resolve().as_uri())
    until = time.monotonic() + ANSWER_SECONDS_MAX
    while not browser.value("document.readyState === 'complete' && typeof lanes === 'object'"):
        must(time.monotonic() < until, f"the page was not ready after {ANSWER_SECONDS_MAX} s: {list(browser.complaints())}")
        time.sleep(0.05)
    left, top, across, down = browser.value(
        "(box => [box.left, box.top, box.width, box.height])(document.getElementById('canvas').getBoundingClientRect())"
    )
    middle = (left + across * 0.6, top + down * 0.5)
    whole = browser.range()
    take(browser, pictures, "whole")

    keyboard(browser, whole)
    wheel_and_drag(browser, middle)
    hover_and_pin(browser, left, top, across, down)
    search(browser)
    take(browser, pictures, "part")
    return frame_ms(browser)


def keyboard(browser, whole):
    browser.key("+")
    closer = browser.range()
    must(width(closer) < width(whole), f"+ did not zoom in: {whole}, then {closer}")
    browser.key("ArrowRight")
    right = browser.range()
    must(right[0] > closer[0] and near(width(right), width(closer), closer), f"the right arrow did not pan: {closer}, then {right}")
    browser.key("-")
    must(width(browser.range()) > width(right), "- did not zoom out")
    browser.key("0")
    again = browser.range()
    must(all(near(a, b, whole) for a, b in zip(again, whole)), f"0 did not show the whole run: {whole}, then {again}")
    if browser.value(f"{RUN}.lanes.some(lane => lane.marks.kind.includes({RUN}.kinds.indexOf('Broken')))"):
        browser.key("f")
        must(browser.value("lanes.pinned()") is not None, "f did not pin the broken promise")
        must(width(browser.range()) < width(whole), "f did not go to the broken promise")
        browser.key("0")


def wheel_and_drag(browser, middle):
    before = browser.range()
    under = f"lanes.timeAt({middle[0]} - document.getElementById('canvas').getBoundingClientRect().left)"
    at = browser.value(under)
    for _ in range(10):
        browser.mouse("mouseWheel", *middle, deltaX=0, deltaY=-240)
    zoomed = browser.range()
    must(width(zoomed) < width(before) / 10, f"the wheel did not zoom in: {before}, then {zoomed}")
    must(abs(browser.value(under) - at) < width(zoomed) / 100, "what was under the pointer did not stay there")
    browser.mouse("mousePressed", *middle, button="left", buttons=1, clickCount=1)
    browser.mouse("mouseMoved", middle[0] - 200, middle[1], button="left", buttons=1)
    browser.mouse("mouseReleased", middle[0] - 200, middle[1], button="left", buttons=0, clickCount=1)
    dragged = browser.range()
    must(dragged[0] > zoomed[0] and near(width(dragged), width(zoomed), zoomed), f"dragging did not pan: {zoomed}, then {dragged}")


def hover_and_pin(browser, left, top, across, down):
    if not sum(browser.value("lanes.visible()")[kind] for kind in ("spans", "arrowsDrawn")):
        return
    for step in range(int(down // 7)):
        place = (left + across * 0.6, top + 26 + step * 7)
        browser.mouse("mouseMoved", *place)
        if not browser.value("document.getElementById('tip').hidden"):
            break
    else:
        raise Wrong("nothing under a whole column of the page has a tooltip")
    words = browser.value("document.querySelector('#tip .label').textContent")
    browser.mouse("mousePressed", *place, button="left", buttons=1, clickCount=1)
    browser.mouse("mouseReleased", *place, button="left", buttons=0, clickCount=1)
    browser.settle()
    pinned = browser.value("lanes.pinned()")
    must(pinned is not None and words.startswith(pinned), f"a click on {words!r} pinned {pinned!r}")
    browser.value("document.querySelector('#names button').click()")
    browser.settle()
    must(not browser.value("document.getElementById('found').hidden"), "a lane's button did not list what the lane shows")


def search(browser):
    word = browser.value(f"{RUN}.labels.find(label => label.trim().length > 2)?.trim() ?? ''")
    if not word:
        return
    find(browser, word)
    must(not browser.value("document.querySelector('#found h2').textContent.startsWith('0 ')"), f"a search for {word!r} found nothing")
    browser.ask("Input.dispatchKeyEvent", type="keyDown", key="Enter", text="\r")
    browser.settle()
    must(browser.value("lanes.pinned()") is not None, "Enter did not go to what was found")
    find(browser, "")


def find(browser, word):
    field = "document.getElementById('search')"
    browser.value(f"{field}.focus(); {field}.value = {json.dumps(word)}; {field}.dispatchEvent(new Event('input'))")
    browser.settle()


def frame_ms(browser):
    """The longest of the frames of a way from the whole run down to little of it, in milliseconds."""
    browser.value("document.getElementById('canvas').focus()")
    browser.key("0")
    longest = 0.0
    for _ in range(12):
        frame = "(begun => { lanes.draw(); return performance.now() - begun })(performance.now())"
        longest = max(longest, browser.value(frame))
        browser.key("+")
    return longest


def take(browser, pictures, name):
    if pictures is None:
        return
    browser.picture(pictures / f"{name}.png")
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.picture(pictures / f"{name}-dark.png")
    browser.ask("Emulation.setEmulatedMedia", features=[])
    browser.settle()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("page", type=pathlib.Path)
    arguments.add_argument("--pictures", type=pathlib.Path)
    options = arguments.parse_args()
    program = next((found for found in map(shutil.which, NAMES) if found), None)
    if program is None:
        print("NOT RUN: no Chromium")
        return 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        try:
            longest = use(browser, options.page, options.pictures)
            complaints = list(browser.complaints())
        except Wrong as wrong:
            complaints = [str(wrong), *browser.complaints()]
        finally:
            browser.close()
    for complaint in complaints:
        print(f"{options.page}: {complaint}")
    if complaints:
        return 1
    print(f"{options.page.name} zooms, pans, shows, pins and finds, without an error; its slowest frame took {longest:.0f} ms.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
