"""Which cuts an epoch holds and in which order: a pure function of (seed, epoch), also for weighted corpora."""

from collections.abc import Sequence

import numpy as np


class Order:
    """Epochs over several sources of rows. A source is drawn by its weight and gone through pass by pass.

    An epoch has as many cuts as there are rows. With one source, or weights like the numbers of rows, it holds every
    row once. `groups` (one array of group numbers per source) keeps rows of a group together, as shards want to be
    read; their order and the order inside are shuffled.
    """

    def __init__(
        self,
        sources: Sequence[np.ndarray],
        weights: Sequence[float] | None = None,
        seed: int = 0,
        shuffle: bool = True,
        groups: Sequence[np.ndarray | None] | None = None,
    ):
        self.sources, self.seed, self.shuffle = [np.asarray(rows) for rows in sources], seed, shuffle
        self.groups = groups or [None] * len(sources)
        self.total = sum(len(rows) for rows in sources)
        shares = np.array([len(rows) for rows in sources] if weights is None else weights, float)
        self.shares = shares / shares.sum()

    def epoch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows [N] and how many passes over its source came before each [N]."""
        ends = np.rint(np.cumsum(self.shares)[:, None] * self.total * np.array([number, number + 1]))
        # differences of rounded sums: every epoch has exactly `total` cuts
        counts = np.diff(np.concatenate([[[0, 0]], ends]), axis=0).astype(np.int64)
        parts = [self._stream(s, int(begin), int(end)) for s, (begin, end) in enumerate(counts)]
        rows, passes = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        # sources alternate in proportion
        when = np.concatenate([(np.arange(end - begin) + 0.5) / max(1, end - begin) for begin, end in counts])
        mixed = np.argsort(when, kind="stable")
        return rows[mixed], passes[mixed]

    def _stream(self, source: int, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Places begin ... end - 1 of the endless stream of a source."""
        n = len(self.sources[source])
        passes = range(begin // n, -(-end // n))
        rows = [self._pass(source, p)[max(0, begin - p * n) : end - p * n] for p in passes]
        empty = np.zeros(0, np.int64)
        return np.concatenate([empty, *rows]), np.repeat([*passes], [len(r) for r in rows]).astype(np.int64)

    def _pass(self, source: int, number: int) -> np.ndarray:
        rows, groups = self.sources[source], self.groups[source]
        if not self.shuffle:
            return rows
        rng = np.random.default_rng([self.seed, 0, source, number])
        order = rng.permutation(len(rows))
        if groups is not None:
            place = rng.permutation(int(groups.max()) + 1)
            order = order[np.argsort(place[groups[order]], kind="stable")]
        return rows[order]
