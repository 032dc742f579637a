"""Training that starts from a model folder, with its tokenizer or another one."""

import logging

import torch
from torch import Tensor

from speech.folder import load_folder
from speech.models.aed import AED
from speech.text.base import BaseTokenizer
from speech.training.config import AEDRecipe

log = logging.getLogger(__name__)

BY_TOKEN = ("decoder.embed.weight", "decoder.head.weight", "decoder.head_bias")  # a row for each token
CTC_BY_TOKEN = ("ctc.weight", "ctc.bias")
ROLES = ("pad_id", "unk_id", "eos_id", "bos_id")
SHOWN = 20  # pieces told of each kind


def start_model(recipe: AEDRecipe, tokenizer: BaseTokenizer) -> AED:
    """A model of the recipe with the weights and feature statistics of the folder `init`.

    With another tokenizer the rows of tokens that both have are kept and the others drawn anew; the log names them.
    """
    loaded = load_folder(recipe.init)
    model = AED(recipe.model, tokenizer.size)
    same = tokenizer.fingerprint == loaded.tokenizer.fingerprint
    rows = kept_rows(tokenizer, loaded.tokenizer)
    maps = dict.fromkeys(BY_TOKEN, rows) | dict.fromkeys(CTC_BY_TOKEN, ctc_rows(rows, tokenizer, loaded.tokenizer))
    silent = set(loaded.tokenizer.special_ids)
    text = [i for i in range(loaded.tokenizer.size) if i not in silent]
    theirs = loaded.model.state_dict()
    for name, tensor in model.state_dict().items():
        if name not in theirs:  # of a new CTC head
            continue
        if same or name not in maps:
            tensor.copy_(theirs[name])
        else:
            copy_rows(tensor, theirs[name], maps[name], text)
    _tell(recipe, tokenizer, rows, loaded.model.ctc is not None)
    return model


def kept_rows(new: BaseTokenizer, old: BaseTokenizer) -> dict[int, int]:
    """New id -> old id of tokens that both have: text by its piece, special symbols by name or role.

    Of a piece that several vocabularies of the old tokenizer hold, the first one's is taken.
    """
    silent_old, silent_new = set(old.special_ids), set(new.special_ids)
    places: dict[tuple[str, bool], int] = {}
    for i, piece in enumerate(old.pieces):
        places.setdefault((piece, i in silent_old), i)
    keys = ((piece, i in silent_new) for i, piece in enumerate(new.pieces))
    rows = {i: places[key] for i, key in enumerate(keys) if key in places}
    return rows | {getattr(new, role): getattr(old, role) for role in ROLES}


def ctc_rows(rows: dict[int, int], new: BaseTokenizer, old: BaseTokenizer) -> dict[int, int]:
    """The same for the CTC head: the row of the blank goes to the blank, whatever its name, and to nothing else."""
    kept = {i: j for i, j in rows.items() if i != new.blank_id and j != old.blank_id}
    return kept if new.blank_id is None or old.blank_id is None else kept | {new.blank_id: old.blank_id}


def copy_rows(new: Tensor, old: Tensor, rows: dict[int, int], text: list[int]) -> None:
    """Fill a weight [V, C] or bias [V] in place: known rows are the old ones, the others like the old text rows.

    Weights are drawn with the mean and deviation of each column, biases are the mean (J. Hewitt 2021, "Initializing
    new word embeddings for pretrained language models"): rows as long as the trained ones neither drown in the softmax
    nor outshout it, which those of `init_weights` may beside imported ones, and unlike a plain mean they differ.
    """
    mean = old[text].mean(0)
    new.copy_(mean.expand_as(new))
    if new.ndim > 1:
        new += old[text].std(0, correction=0) * torch.randn_like(new)
    new[list(rows)] = old[list(rows.values())]


def _tell(recipe: AEDRecipe, tokenizer: BaseTokenizer, rows: dict[int, int], had_ctc: bool) -> None:
    for what, is_kept in ("kept", True), ("new", False):
        pieces = [piece for i, piece in enumerate(tokenizer.pieces) if (i in rows) == is_kept]
        more = " ..." if len(pieces) > SHOWN else ""
        log.info(f"init {recipe.init}: rows of {len(pieces)} tokens {what}: {' '.join(pieces[:SHOWN])}{more}")
    if recipe.model.ctc != had_ctc:
        log.info(f"init {recipe.init}: " + ("no CTC head there, a new one" if not had_ctc else "its CTC head left out"))
