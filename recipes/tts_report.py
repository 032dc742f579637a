"""What `recipes.evaluate_tts` found, as tables in Markdown and as a page that can be listened to."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SOUNDS = ("recording", "copy", "synthesis")
PIXELS = 3  # of the page to a mel frame
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


STYLE = """
:root { color-scheme: light dark; --ink: #1b1d21; --soft: #5c626b; --paper: #fbfbfa; --card: #fff; --line: #dcdee2 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7e8ea; --soft: #9aa1ab; --paper: #15171a; --card: #1e2125; --line: #343941 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem } h3 { font-size: 1rem; margin: 0 }
p { margin: .4rem 0; overflow-wrap: anywhere } .soft { color: var(--soft); font-size: .875rem }
.wide { overflow-x: auto; max-width: 100% }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); gap: 0 2.5rem }
.tables > :first-child, .tables > :last-child { grid-column: 1 / -1 }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; font-variant-numeric: tabular-nums }
th, td { padding: .3rem clamp(.3rem, 1.2vw, .7rem); border-bottom: 1px solid var(--line); text-align: right }
th { color: var(--soft); font-weight: 500; font-size: .8125rem } th:empty { padding: 0 } td + td { white-space: nowrap }
:is(th, td):first-child { text-align: left; padding-left: 0 } :is(th, td):last-child { padding-right: 0 }
article { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; margin: 1rem 0 }
.sounds { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; margin: .8rem 0 }
.sounds > div { flex: 1 1 17rem; max-width: 100% } audio { width: 100%; height: 2.4rem }
.wide img { display: block; height: 8rem; image-rendering: pixelated; margin-top: .5rem }
.strip { display: flex; font-size: .62rem; line-height: 1.5; color: var(--soft) }
.strip span { overflow: hidden; text-align: center; border-left: 1px solid var(--line); flex: none; white-space: pre }
.attention { max-width: 100%; max-height: 26rem; border-radius: .3rem }
"""


def page(title: str, about: str, made: Sequence[Table], rows: Sequence[Mapping[str, Any]]) -> str:
    """HTML of one file but for the sounds and pictures of the rows that have some; every text is escaped."""
    head = "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    body = [f"<header><h1>{escape(title)}</h1><p class=soft>{escape(about)}</p></header>"]
    body += ["<div class=tables>", *map(_table, made), "</div>"]
    examples = [_example(row) for row in rows if "shown" in row]
    body += ["<h2>Examples</h2>", *examples] if examples else []
    return f"{head}<title>{escape(title)}</title>\n<style>{STYLE}</style>\n" + "\n".join(body) + "\n</html>\n"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in table.rows)
    inner = f"<div class=wide><table><tr>{head}</tr>\n{rows}</table></div><p class=soft>{escape(table.note)}</p>"
    return f"<section><h2>{escape(table.title)}</h2>{inner}</section>"


def _example(row: Mapping[str, Any]) -> str:
    files, sounds = escape(row["shown"]["files"]), []
    for name in SOUNDS:
        heard = row["heard"][name]
        text = "" if heard is None else f"<p class=soft>heard: {escape(heard) or '(nothing)'}</p>"
        strip = "".join(
            f"<span style='width:{PIXELS * n}px' title='{escape(symbol)}, {n} frames'>{escape(symbol)}</span>"
            for symbol, n in row["shown"]["phonemes"].get(name, ())
        )
        picture = f"<img src='{files}-{name}.png' style='width:{PIXELS * row['frames'][name]}px' alt=mel>"
        player = f"<b>{name}</b><audio controls preload=none src='{files}-{name}.flac'></audio>{text}"
        sounds.append(f"<div>{player}<div class=wide>{picture}<div class=strip>{strip}</div></div></div>")
    attention = f"<img class=attention src='{files}-attention.png' alt=attention>" if "focus_rate" in row else ""
    said = f"<h3>{escape(row['shown']['text'])}</h3><p class=soft>{escape(row['id'])}</p>"
    return f"<article>{said}<div class=sounds>{''.join(sounds)}</div>{attention}</article>"
