"""Find how many cuts of each bin fit the memory of this device, by real training steps in processes of their own."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from speech.config import require
from speech.errors import SpeechError
from speech.training.config import AEDRecipe
from speech.training.log import start_log
from speech.training.settings import parse_recipe

log = logging.getLogger(__name__)
CONFIRM_STEPS, CONFIRM_TIMES, SCALE = 50, 8, 0.97


@dataclass
class BatchSizesRecipe(AEDRecipe):
    """The settings of the training, and the limit. Writes data.batch_sizes for data.bins."""

    memory_gb: float = 0.0
    """limit in GiB; 0: `fraction` of the GPU. Needed on a CPU, where it counts resident memory"""
    fraction: float = 0.9
    """of the GPU's memory that training may use"""
    timeout: float = 600.0
    """seconds for one probe"""


def main(argv: Sequence[str] | None = None) -> None:
    recipe = parse_recipe(BatchSizesRecipe, argv, "speech data batch-sizes", "Write data.batch_sizes for data.bins.")
    start_log()
    data = recipe.data
    require(recipe, "data.bins", "data.batch_sizes", "data.tokenizer")
    if not 0 < recipe.fraction <= 1 or recipe.memory_gb < 0 or recipe.timeout <= 0:
        raise SpeechError(
            f"fraction {recipe.fraction} is a share, memory_gb {recipe.memory_gb} and timeout are above 0"
        )

    import numpy as np

    from speech.data.batch_search import find_batch_sizes
    from speech.data.batch_sizes import BatchSizes, table
    from speech.data.bins import Bins, budget_sizes
    from speech.data.corpus import made_for
    from speech.text.load import load_tokenizer
    from speech.training.probe import Prober, device_memory, gpu, on_cuda

    tokenizer = load_tokenizer(data.tokenizer)
    bins = Bins.load(data.bins, made_for(tokenizer, data, recipe.model.decoder.max_tokens))
    fraction = recipe.fraction
    if on_cuda(recipe):
        _, total = gpu()
        fraction = min(fraction, recipe.memory_gb * 2**30 / total) if recipe.memory_gb else fraction
        limit = fraction * total
    elif recipe.memory_gb:
        limit = recipe.memory_gb * 2**30
    else:
        raise SpeechError("memory_gb is 0: on a CPU the limit has to be given, --memory_gb 4")
    prober = Prober(recipe, tokenizer.size, tokenizer.blank_id or 0, limit, fraction, recipe.timeout)
    left = iter(range(len(bins.edges) - 1, -1, -1))

    def told(i: int, size: int) -> None:
        d, u = bins.edges[i]
        log.info(f"{d:g} s, {u} tokens: {size or 'not even one fits'}; {next(left)} bins left")

    log.info(f"limit {limit / 2**30:.1f} GiB, {len(bins.edges)} bins, largest first")
    sizes, probes = find_batch_sizes(bins.edges, prober, limit, told)
    if not any(sizes):
        raise SpeechError(f"not one cut of the smallest bin {bins.edges[0]} fits {limit / 2**30:.1f} GiB")
    for _ in range(CONFIRM_TIMES):
        probe = prober.confirm(bins.edges, sizes, CONFIRM_STEPS, recipe.train.seed)
        probes.append(probe)
        if probe.outcome == "ok" and (probe.peak or 0) <= limit:
            break
        if probe.outcome not in ("ok", "oom"):
            raise SpeechError(f"the confirmation ended with '{probe.outcome}': {probe.note}")
        # the excess is known on a CPU only, where a GPU just refuses
        lowest = min(p.peak for p in probes if p.peak is not None)
        excess = (limit - lowest) / (probe.peak - lowest) if probe.peak and probe.peak > limit else 1.0
        scale = SCALE * max(0.5, excess)
        log.info("the confirmation of all bins in turn did not fit: all sizes times %.2f", scale)
        sizes = [max(1, int(scale * n)) if n else 0 for n in sizes]
    else:
        raise SpeechError(f"{CONFIRM_TIMES} confirmations did not fit; lower --fraction or --memory_gb")
    path = Path(data.batch_sizes)
    BatchSizes(tuple(sizes), device_memory(recipe), limit, [asdict(p) for p in probes]).save(path)
    edges = np.array(bins.edges)
    rule = budget_sizes(data.batch_seconds, data.quadratic_seconds)(edges[:, 0], edges[:, 1])
    print(table(bins.edges, sizes, rule.tolist()))
    print(f"{path}: confirmed by {CONFIRM_STEPS} steps, peak {(probe.peak or 0) / 2**30:.2f} GiB; {len(probes)} probes")
