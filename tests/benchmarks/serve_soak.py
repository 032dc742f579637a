"""Short requests for hours at one server: memory and file handles that stay, no wrong answer, no file left behind.

python tests/benchmarks/serve_soak.py GRAPHS AUDIO... [--requests 20000]

GRAPHS is an exported recogniser; a request is one of the AUDIO files, of one rate.
"""

import argparse
import asyncio
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from serve_load import load, recordings, server

from serve.transcriber import OnnxTranscriber

WARM_UP = 500  # requests before memory counts
CLIENTS, BATCH_SIZE = 8, 16


def family(pid: int) -> list[int]:
    """The server and the processes that decode for it."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [pid, *(int(child) for thread in threads for child in (thread / "children").read_text().split())]


def mebibytes(pid: int) -> float:
    """Resident, without what is shared with files."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs")
    parser.add_argument("audio", nargs="+")
    parser.add_argument("--requests", type=int, default=20000)
    args = parser.parse_args()
    sounds = recordings(args.audio, 100, 1)
    model = OnnxTranscriber(args.graphs, "cpu", threads=1)
    truth = [model.transcribe(data).text for data, _ in sounds]
    seen: list[tuple[float, ...]] = []
    with TemporaryDirectory() as temporary:
        os.environ["TMPDIR"] = temporary  # of the server
        with server(args.graphs, "--batch_size", str(BATCH_SIZE)) as (url, pid):

            def look(done: int) -> None:
                if done % 100 == 0:
                    memory, *decoders = map(mebibytes, family(pid))
                    seen.append((done, memory, sum(decoders), len(os.listdir(f"/proc/{pid}/fd"))))

            many = [i % len(sounds) for i in range(args.requests)]
            _, wrong, _ = asyncio.run(load(url, [sounds[i] for i in many], [truth[i] for i in many], CLIENTS, look))
            left = os.listdir(temporary)
    done, *columns = np.array([one for one in seen if one[0] >= min(WARM_UP, args.requests // 2)]).T
    print(f"{args.requests} short requests, {wrong} wrong, temporary files left: {left or 'none'}\n")
    print("| | after the warm-up | at the end | per 1,000 |\n|---|--:|--:|--:|")
    for name, column in zip(("memory, MiB", "of the decoders, MiB", "file handles"), columns, strict=True):
        slope = 1000 * np.polyfit(done, column, 1)[0]
        print(f"| {name} | {column[0]:.0f} | {column[-1]:.0f} | {slope:+.2f} |")


if __name__ == "__main__":
    main()
