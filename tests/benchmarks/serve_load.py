"""Many clients at one server: speed against one at a time, no answer mixed up.

python tests/benchmarks/serve_load.py GRAPHS AUDIO... [--requests 2000]

GRAPHS is an exported recogniser; the recordings are strings of 1 to 8 of the AUDIO files, of one rate, drawn at random.
"""

import argparse
import asyncio
import io
import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
import numpy as np
import soundfile

from serve.transcriber import OnnxTranscriber

LONGEST = 8


def recordings(paths: Sequence[str], count: int, longest: int) -> list[tuple[bytes, float]]:
    """wav and seconds."""
    pieces, rates = zip(*(soundfile.read(path, dtype="float32") for path in paths), strict=True)
    rng, made = random.Random(0), []
    for _ in range(count):
        x = np.concatenate(rng.choices(pieces, k=rng.randint(1, longest)))
        soundfile.write(out := io.BytesIO(), x, rates[0], format="WAV")
        made.append((out.getvalue(), len(x) / rates[0]))
    return made


@contextmanager
def server(model: str, *options: str) -> Iterator[tuple[str, int]]:
    """Address and process of a recogniser `m`."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    command = ["speech", "serve", "--model", f"m={model}", "--device", "cpu", "--threads", "1"]
    process = subprocess.Popen(
        [*command, "--port", f"{port}", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert process.poll() is None, "the server ended"
            try:
                httpx.get(f"{url}/health")
                break
            except httpx.ConnectError:
                time.sleep(0.2)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()


def posted(url: str, data: bytes) -> bytes:
    """A request as it goes over the wire: clients that made one each time would take more time than the server."""
    request = httpx.Request("POST", f"{url}/v1/audio/transcriptions", data={"model": "m"}, files={"file": data})
    body = request.read()
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([f"POST {request.url.raw_path.decode()} HTTP/1.1", *lines, "", ""]).encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers, body."""
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def load(url: str, sounds: Sequence[tuple[bytes, float]], truth: Sequence[str], clients: int, each=None):
    """Seconds of each request, how many answers were wrong, how often the house was full."""
    todo, took, wrong, full = iter([(i, posted(url, data)) for i, (data, _) in enumerate(sounds)]), [], 0, 0
    host, port = url.removeprefix("http://").split(":")

    async def client() -> None:
        nonlocal wrong, full
        reader, writer = await asyncio.open_connection(host, int(port))
        for number, request in todo:
            begin = time.perf_counter()
            while True:
                writer.write(request)
                status, headers, body = await answer(reader)
                if status != 429:
                    break
                full += 1
                await asyncio.sleep(float(headers["retry-after"]))
            took.append(time.perf_counter() - begin)
            wrong += status != 200 or json.loads(body)["text"] != truth[number]
            if each is not None:
                each(len(took))
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return took, wrong, full


def measure(graphs: str, sounds: Sequence[tuple[bytes, float]], truth: Sequence[str]) -> None:
    seconds = sum(length for _, length in sounds)
    print(f"{len(sounds)} requests, {len(set(truth))} texts, {seconds:.0f} s of audio, load {os.getloadavg()[0]:.1f}\n")
    print("clients | batch | s | audio s/s | p50 ms | p95 ms | wrong | 429")
    for clients, batch_size in ((1, 1), (32, 1), (32, 8), (32, 16), (96, 16)):
        with server(graphs, "--batch_size", str(batch_size)) as (url, _):
            asyncio.run(load(url, sounds[:20], truth, 4))
            begin = time.perf_counter()
            took, wrong, full = asyncio.run(load(url, sounds, truth, clients))
            whole = time.perf_counter() - begin
        p50, p95 = 1000 * np.percentile(took, (50, 95))
        row = f"{whole:.1f} | {seconds / whole:.1f} | {p50:.0f} | {p95:.0f} | {wrong} | {full}"
        print(f"{clients} | {batch_size} | {row}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs")
    parser.add_argument("audio", nargs="+")
    parser.add_argument("--requests", type=int, default=2000)
    args = parser.parse_args()
    model = OnnxTranscriber(args.graphs, "cpu", threads=1)
    sounds = recordings(args.audio, args.requests, LONGEST)
    measure(args.graphs, sounds, [model.transcribe(data).text for data, _ in sounds])


if __name__ == "__main__":
    main()
