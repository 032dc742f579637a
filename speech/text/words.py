"""Tokens to words."""

from collections.abc import Sequence

BLANK_MARK = "\u2581"


def _is_cjk(piece: str) -> bool:
    """A character that is a word: Chinese, with extension A."""
    return len(piece) == 1 and ("\u4e00" <= piece <= "\u9fff" or "\u3400" <= piece <= "\u4dbf")


def group_words(pieces: Sequence[str]) -> list[list[int]]:
    """Positions of the pieces of each word: a blank mark or a Chinese character begins one, which ends after itself.

    A lone blank mark belongs to what follows it.
    """
    words: list[list[int]] = []
    closed = True
    for i, piece in enumerate(pieces):
        if closed or piece.startswith(BLANK_MARK) or _is_cjk(piece):
            lone = words and all(pieces[k] == BLANK_MARK for k in words[-1])
            if lone and not piece.startswith(BLANK_MARK):
                words[-1].append(i)
            else:
                words.append([i])
        else:
            words[-1].append(i)
        closed = _is_cjk(piece)
    return words
