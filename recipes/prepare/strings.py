"""Connected strings: recordings of single words joined into longer utterances, as lhotse MixedCuts."""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lhotse import MonoCut
from lhotse.cut import MixedCut, MixTrack, PaddingCut
from lhotse.utils import LOG_EPSILON, fastcopy

from speech.errors import DataError

EDGE_SECONDS = (0.05, 0.3)
PAUSE_SECONDS = (0.0, 0.35)


@dataclass(frozen=True)
class Strings:
    """A set of strings to draw: `singles` of them are one word long, the others `lengths[0]` to `lengths[1]` words.
    `pauses` are the seconds between two words."""

    name: str
    count: int
    lengths: tuple[int, int]
    singles: int = 0
    pauses: tuple[float, float] = PAUSE_SECONDS


def draw_strings(words: Iterable[MonoCut], strings: Strings, seed: int) -> Iterator[MixedCut]:
    """Strings of words of one speaker each: speaker, words, recordings and pauses uniform, same seed same strings."""
    rng = random.Random(f"{seed} {strings.name}")
    recordings: dict[str, dict[str, list[MonoCut]]] = defaultdict(lambda: defaultdict(list))
    for word in words:
        said = word.supervisions[0]
        recordings[said.speaker or ""][said.text or ""].append(word)
    for index in range(strings.count):
        length = 1 if index < strings.singles else rng.randint(*strings.lengths)
        of_speaker = recordings[rng.choice(sorted(recordings))]
        drawn = [rng.choice(of_speaker[rng.choice(sorted(of_speaker))]) for _ in range(length)]
        edges = rng.uniform(*EDGE_SECONDS), rng.uniform(*EDGE_SECONDS)
        pauses = [rng.uniform(*strings.pauses) for _ in drawn[1:]]
        yield join(f"{strings.name}-{index:05d}", drawn, edges, pauses)


def join(name: str, words: Sequence[MonoCut], edges: tuple[float, float], pauses: Sequence[float]) -> MixedCut:
    """The words one after another over silence; `edges` and the `pauses` between words in seconds.

    One supervision, from the first word's start to the last one's end, holds the whole text. It lies on the first
    word's track, where lhotse's own `merge_supervisions` puts it.
    """
    rate = words[0].sampling_rate
    if other := next((word for word in words if word.sampling_rate != rate), None):
        raise DataError(f"{other.id} has {other.sampling_rate} Hz, {words[0].id} {rate} Hz; resample the corpus to one")
    # Counted in samples, so that every offset is exact and the length of the sum is known.
    starts, end = [], 0
    for gap, word in zip((edges[0], *pauses), words, strict=True):
        starts.append(end + round(gap * rate))
        end = starts[-1] + round(word.duration * rate)
    total = end + round(edges[1] * rate)
    silence = PaddingCut(f"{name}-silence", total / rate, rate, feat_value=LOG_EPSILON, num_samples=total)
    supervision = fastcopy(
        words[0].supervisions[0],
        id=name,
        start=0.0,
        duration=(end - starts[0]) / rate,
        text=" ".join(word.supervisions[0].text or "" for word in words),
        custom=None,
    )
    tracks = [MixTrack(silence)]
    for word, start in zip(words, starts, strict=True):
        supervisions = [supervision] if len(tracks) == 1 else []
        tracks.append(MixTrack(word.copy(supervisions=supervisions), offset=start / rate))
    return MixedCut(name, tracks)
