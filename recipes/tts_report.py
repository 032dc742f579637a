"""What `recipes.evaluate_tts` found, as tables in Markdown and as a page that can be listened to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader

SOUNDS = ("recording", "copy", "synthesis")
READ_BACK = {
    "wer": ("WER", "{:.2%}"), "cer": ("CER", "{:.2%}"), "substitutions": ("sub", "{}"), "deletions": ("del", "{}"),
    "insertions": ("ins", "{}"), "words": ("words", "{}"), "right": ("right", "{:.2%}"),
}  # fmt: skip
COMPARED = {
    "mcd": ("MCD, dB", "{:.2f}"), "rmse_cents": ("F0 RMSE, cents", "{:.0f}"), "gross_error": ("GPE", "{:.2%}"),
    "voicing_error": ("voicing error", "{:.2%}"), "frame_error": ("FFE", "{:.2%}"),
}  # fmt: skip
READING = {
    "sentences": ("sentences", "{}"), "spoken": ("spoken", "{}"), "repeat": ("with a repeat", "{}"),
    "skip": ("with a skip", "{}"), "either": ("with either", "{}"), "capped": ("cut at the longest mel", "{}"),
    "rate_ratio": ("speaking rate, synthesis / recording", "{:.3f}"),
    "duration_mae_ms": ("mean absolute error of a phoneme's duration", "{:.1f} ms"),
    "mel_l1": ("L1 of the natural log-mel with true durations", "{:.3f}"),
    "mel_mcd": ("MCD of the predicted mel itself, dB", "{:.2f}"),
    "phonemes": ("phonemes", "{}"), "reached": ("phonemes that have a frame", "{}"),
    "ended": ("ended by themselves", "{:.2%}"), "focus_rate": ("focus rate", "{:.3f}"),
    "jumps": ("jumps of the attention", "{}"),
}  # fmt: skip
SPEED = {part: (part, "{:.4f}") for part in ("text", "acoustic model", "vocoder", "all")}
HEARD = """The recogniser {} read all three: what it gets wrong on recordings is its own. Synthesis less copy: {}
(bootstrap over utterances). Texts have their numbers in words and are normalised by the rule {}."""
SOUND = """Mean over {} utterances, against their recordings along the DTW path. MCD: 13 cepstra without the first, of
the orthonormal DCT of {} times sqrt(2 / bins); values of other mels and scalings do not compare. F0 where both are
voiced; GPE: further off than 20 %; FFE: GPE or voicing error."""
ATTENTION = """Attention of the head with the largest product of focus rate and phonemes reached. A phoneme has a frame
that looks at it most; a jump goes more than 3 phonemes back or 5 forward."""


class Table(NamedTuple):
    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""


def tables(found: Mapping[str, Any]) -> list[Table]:
    """Of what results.json holds."""
    made, hard = [], found["hard"]
    if trip := found["round_trip"]:
        less = trip["synthesis_minus_copy"]
        points = (
            f"{rate.upper()} {100 * less[rate]:.2f} points, 95 % interval {100 * low:.2f} ... {100 * high:.2f}"
            for rate, (low, high) in (("wer", less["wer_interval"]), ("cer", less["cer_interval"]))
        )
        note = HEARD.format(found["recognizer"], "; ".join(points), found["normalize"])
        made.append(_across("Read back", {name: trip[name] for name in SOUNDS}, READ_BACK, note))
    made.append(_across("Sound", found["sound"], COMPARED, SOUND.format(len(found["rows"]), found["mel"])))
    made.append(_down("Reading", found["reading"], READING, ATTENTION if found["reading"]["ended"] is not None else ""))
    if hard:
        note = "A repeat is a word that the recogniser heard too much, a skip one that it missed."
        made.append(_down("Hard sentences", hard, READING, note if "repeat" in hard else ""))
    note = f"{found['clock']} per second of audio, threads: {found['threads']}, a sentence at a time."
    made.append(_down("Speed", found["speed"], SPEED, note))
    if hard and hard["unspoken"]:
        made.append(Table("Not spoken", [""], [[f"{u['text']}: {u['reason']}"] for u in hard["unspoken"]]))
    return made


def _across(title: str, by_name: Mapping[str, Any], columns: Mapping[str, tuple[str, str]], note: str) -> Table:
    rows = [[name, *(_cell(r[key], form) for key, (_, form) in columns.items())] for name, r in by_name.items()]
    return Table(title, ["", *(label for label, _ in columns.values())], rows, note)


def _down(title: str, values: Mapping[str, Any], lines: Mapping[str, tuple[str, str]], note: str) -> Table:
    told = {key: line for key, line in lines.items() if values.get(key) is not None}
    return Table(title, ["", ""], [[label, _cell(values[key], form)] for key, (label, form) in told.items()], note)


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value).replace("%", " %")


def markdown(made: Sequence[Table]) -> str:
    parts = []
    for table in made:
        head, *rows = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in (table.head, *table.rows))
        lines = [f"## {table.title}", "", f"| {head} |", "|---|" + "--:|" * (len(table.head) - 1)]
        parts.append("\n".join([*lines, *(f"| {row} |" for row in rows), "", table.note]).rstrip() + "\n")
    return "\n".join(parts)


def write_mel(path: Path, log_mel: np.ndarray) -> None:
    """[T, F] -> a picture of T columns, all of one scale of colours."""
    from matplotlib.image import imsave

    imsave(path, log_mel.T, origin="lower", cmap="magma", vmin=-9.0, vmax=1.5)


def page(title: str, about: str, made: Sequence[Table], rows: Sequence[Mapping[str, Any]]) -> str:
    """HTML of one file but for the sounds and pictures of the rows that have some; every text is escaped."""
    folder = FileSystemLoader(Path(__file__).parent)
    template = Environment(loader=folder, autoescape=True).get_template("tts_report.html")
    return template.render(title=title, about=about, tables=made, rows=rows, sounds=SOUNDS)
