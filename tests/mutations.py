"""A valid file of every container that is taken, and what can go wrong with its bytes."""

import zlib
from functools import cache

import numpy as np
from sounds import libav, noise, snd

RATE, SECONDS = 16000, 0.5
EXTREME = [0, 1, 2, *(value for bits in (8, 16, 32, 64) for value in (2**bits // 2 - 1, 2**bits // 2, 2**bits - 1))]
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@cache
def containers() -> dict[str, bytes]:
    x = noise(RATE, SECONDS)
    return {
        "wav": snd(x, RATE, "WAV"),
        "flac": snd(x, RATE, "FLAC"),
        "mp3": snd(x, RATE, "MP3"),
        "ogg": snd(x, RATE, "OGG", "VORBIS"),
        "opus": snd(x, RATE, "OGG", "OPUS"),
        "aiff": snd(x, RATE, "AIFF"),
        "sph": snd(x, RATE, "NIST"),
        "m4a": libav(x, RATE, "ipod", "aac"),
        "fast.m4a": libav(x, RATE, "ipod", "aac", options={"movflags": "faststart"}),
        "webm": libav(x, RATE, "webm", "libopus"),
        "mkv": libav(x, RATE, "matroska", "flac"),
        "aac": libav(x, RATE, "adts", "aac"),
    }


def mutant(kind: str, number: int) -> bytes:
    """The file with one or two faults, the same for the same number. Half of those of Ogg have the right checksums."""
    rng = np.random.default_rng([number, *kind.encode()])
    data = bytearray(containers()[kind])
    for _ in range(rng.integers(1, 3)):
        if data:
            FAULTS[rng.integers(len(FAULTS))](data, rng)
    return _checksummed(data) if kind in ("ogg", "opus") and rng.random() < 0.5 else bytes(data)


def _place(data: bytearray, rng: np.random.Generator) -> int:
    """Of a byte, as often among the first 400 as anywhere."""
    return int(rng.integers(min(len(data), 400) if rng.random() < 0.5 else len(data)))


def _span(data: bytearray, rng: np.random.Generator) -> slice:
    begin = _place(data, rng)
    return slice(begin, begin + int(2 ** rng.uniform(0, 12)))


def _flip(data: bytearray, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(1, 20)):
        data[_place(data, rng)] ^= 1 << rng.integers(8)


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[_place(data, rng) :]


def _drop(data: bytearray, rng: np.random.Generator) -> None:
    del data[_span(data, rng)]


def _double(data: bytearray, rng: np.random.Generator) -> None:
    part = data[_span(data, rng)]
    at = _place(data, rng)
    data[at:at] = part * int(rng.choice([1, 2, 100]))


def _splice(data: bytearray, rng: np.random.Generator) -> None:
    """A part of another file instead of one of this."""
    other = bytearray(list(containers().values())[rng.integers(len(containers()))])
    data[_span(data, rng)] = other[_span(other, rng)]


def _number(data: bytearray, rng: np.random.Generator) -> None:
    """Anything in a header may be huge."""
    at, size = _place(data, rng), int(rng.choice([1, 2, 4, 8]))
    value = EXTREME[rng.integers(len(EXTREME))] & ((1 << 8 * size) - 1)
    data[at : at + size] = value.to_bytes(size, str(rng.choice(["big", "little"])))


def _length(data: bytearray, rng: np.random.Generator) -> None:
    """What looks like the length of something: four bytes that are a number between 1 and the size of the file."""
    order = str(rng.choice(["big", "little"]))
    numbers = [int.from_bytes(data[at : at + 4], order) for at in range(len(data) - 3)]
    places = [at for at, number in enumerate(numbers) if 0 < number <= len(data)]
    if places:
        at = places[rng.integers(len(places))]
        old = numbers[at]
        new = [0, old - 1, old + 1, 2 * old, len(data), 0x7FFFFFFF, 0xFFFFFFFF][rng.integers(7)]
        data[at : at + 4] = new.to_bytes(4, order)


FAULTS = (_flip, _cut, _drop, _double, _splice, _number, _length)


def _checksummed(data: bytearray) -> bytes:
    """Ogg pages with wrong checksums would be passed over."""
    begin = data.find(b"OggS")
    while begin >= 0:
        end = data.find(b"OggS", begin + 4)
        page = data[begin : len(data) if end < 0 else end]
        if len(page) >= 27:
            page[22:26] = bytes(4)
            crc = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF  # of bits in the other order
            data[begin + 22 : begin + 26] = int(f"{crc:032b}"[::-1], 2).to_bytes(4, "little")
        begin = end
    return bytes(data)
