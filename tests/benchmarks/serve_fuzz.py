"""Broken recordings at one server: what it answers, how long the slowest takes, what it still holds afterwards.

python tests/benchmarks/serve_fuzz.py GRAPHS [--requests 10000] [--first 0]

GRAPHS is an exported recogniser. The uploads are `mutant(kind, number)` of tests/mutations.py with numbers from --first
on. Exit status 1: an answer was 5xx, or none came in time.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from serve_load import server
from serve_soak import family, mebibytes

sys.path.insert(0, str(Path(__file__).parents[1]))
from mutations import containers, mutant

from serve.limits import Limits

CLIENTS, MARGIN_SECONDS = 4, 10.0
ENDED = '"file: cannot be decoded"'  # with no reason: the process has ended


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs")
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--first", type=int, default=0)
    args = parser.parse_args()
    each = -(-args.requests // len(containers()))
    todo = [(kind, number) for number in range(args.first, args.first + each) for kind in containers()]
    todo = todo[: args.requests]
    with server(args.graphs) as (url, pid), httpx.Client(timeout=Limits.decode_seconds + MARGIN_SECONDS) as http:

        def post(one: tuple[str, int]) -> tuple[str, int, str, float, bool]:
            """Kind and number, the status or what went wrong, seconds, whether a decoder ended."""
            begin, form, ended = time.perf_counter(), {"model": "m"}, False
            try:
                answer = http.post(f"{url}/v1/audio/transcriptions", data=form, files={"file": mutant(*one)})
                what, ended = str(answer.status_code), ENDED in answer.text
            except httpx.HTTPError as error:
                what = type(error).__name__
            if ended or not "200" <= what < "500":
                print(f"{what}{' decoder ended' * ended}: mutant{one}", flush=True)
            return *one, what, time.perf_counter() - begin, ended

        def state() -> str:
            memory, *decoders = map(mebibytes, family(pid))
            files = len(os.listdir(f"/proc/{pid}/fd"))
            return f"{memory:.0f} MiB, decoders {sum(decoders):.0f} MiB, {files} file handles"

        warm = min(500, len(todo) // 2)
        with ThreadPoolExecutor(CLIENTS) as threads:
            done = list(threads.map(post, todo[:warm]))
            before = state()
            done += threads.map(post, todo[warm:])
        after = state()
    kind, number, _, seconds, _ = max(done, key=lambda one: one[3])
    print(f"{len(done)} uploads, the slowest {seconds:.1f} s: mutant{kind, number}")
    print(f"after {warm}: {before}; after all: {after}\n")
    columns = sorted({one[2] for one in done})
    print(f"| container | {' | '.join(columns)} | decoders ended |\n|---|{'--:|' * (len(columns) + 1)}")
    for kind in containers():
        mine = [one for one in done if one[0] == kind]
        counts = [sum(one[2] == what for one in mine) for what in columns]
        print(f"| {kind} | {' | '.join(map(str, counts))} | {sum(one[4] for one in mine)} |")
    return int(not all("200" <= what < "500" for what in columns))


if __name__ == "__main__":
    sys.exit(main())
