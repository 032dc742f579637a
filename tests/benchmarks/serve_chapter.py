"""A long recording through the API, as events and on the page: text comes early, progress moves, memory stays flat.

python tests/benchmarks/serve_chapter.py MODEL RECORDING [--times 2]

MODEL is a recogniser, exported or not. The server is `speech serve --demo true` in a process of its own.
"""

import argparse
import os
import re
import threading
import time
from pathlib import Path

from gradio_client import Client, handle_file
from openai import OpenAI
from serve_load import server

EVERY_SECONDS = 0.05


def memory(pid: int) -> float:
    """MiB of a process and its children; 0 for one that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return 0.0
    pages = re.search(r"VmRSS:\s+(\d+)", status)
    return (int(pages[1]) / 1024 if pages else 0.0) + sum(memory(int(child)) for child in " ".join(lists).split())


class Peak:
    """Looks at the memory of a process all the time."""

    def __init__(self, pid: int):
        self.pid, self.highest, self.ended = pid, 0.0, threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Peak":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.ended.wait(EVERY_SECONDS):
            self.highest = max(self.highest, memory(self.pid))


def whole(url: str, path: Path) -> tuple[str, float, int]:
    """Text, seconds until the first of it, how often it grew."""
    begin = time.perf_counter()
    found = OpenAI(base_url=f"{url}/v1", api_key="-").audio.transcriptions.create(model="m", file=path)
    return found.text, time.perf_counter() - begin, 1


def events(url: str, path: Path) -> tuple[str, float, int]:
    begin, came, told = time.perf_counter(), [], ""
    for event in OpenAI(base_url=f"{url}/v1", api_key="-").audio.transcriptions.create(
        model="m", file=path, stream=True
    ):
        came.append(time.perf_counter() - begin)
        if event.type == "transcript.text.done":
            assert event.text == told
        elif event.type == "transcript.text.delta":
            told += event.delta
    return told, came[0], len(came) - 1


def page(url: str, path: Path) -> tuple[str, float, int]:
    begin, came = time.perf_counter(), []
    job = Client(url, verbose=False, analytics_enabled=False).submit(handle_file(path), api_name="/transcribe")
    done: list[int] = []
    for _ in job:
        came.append(time.perf_counter() - begin)
        done += [unit.index or 0 for unit in job.status().progress_data or []]
    assert done == sorted(done) and len({*done}) > 1, done
    texts = [update[0] for update in job.outputs()]
    return texts[-1], came[0], len({*texts})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("recording", type=Path)
    parser.add_argument("--times", type=int, default=2)
    args = parser.parse_args()
    print("way | s | first text, s | grew | characters | MiB before | peak | after")
    with server(args.model, "--demo", "true") as (url, pid):
        texts = set()
        for _ in range(args.times):
            for way in (whole, events, page):
                begin, before = time.perf_counter(), memory(pid)
                with Peak(pid) as peak:
                    text, first, grew = way(url, args.recording)
                took = f"{time.perf_counter() - begin:.1f} | {first:.1f} | {grew} | {len(text)}"
                texts.add(text)
                used = f"{before:.0f} | {peak.highest:.0f} | {memory(pid):.0f}"
                print(f"{way.__name__} | {took} | {used}", flush=True)
    print(f"{len(texts)} text(s), load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
