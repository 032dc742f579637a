import datetime
import html
import re
from typing import NamedTuple

import pysubs2
import srt
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.subtitles import to_srt, to_tsv, to_txt, to_vtt


class Cue(NamedTuple):
    start: float
    end: float
    text: str


CUES = [
    Cue(0.0, 1.2344, "one <b>two</b> & three"),
    Cue(1.0, 1.0, "a --> b ---> c"),  # begins before the last ends, and has no length
    Cue(59.9996, 60.5, " tab\there\r\n\nand\u2028a line "),
    Cue(61.0, 62.0, " \n"),
    Cue(3599.9994, 36000.25, "“fünf” 五"),
]

SRT = """\
1
00:00:00,000 --> 00:00:01,234
one <b>two</b> & three

2
00:00:01,234 --> 00:00:01,235
a -> b -> c

3
00:01:00,000 --> 00:01:00,500
tab here and a line

4
00:59:59,999 --> 10:00:00,250
“fünf” 五
"""

VTT = """\
WEBVTT

00:00:00.000 --> 00:00:01.234
one &lt;b&gt;two&lt;/b&gt; &amp; three

00:00:01.234 --> 00:00:01.235
a --&gt; b ---&gt; c

00:01:00.000 --> 00:01:00.500
tab here and a line

00:59:59.999 --> 10:00:00.250
“fünf” 五
"""

TSV = """\
start\tend\ttext
0\t1234\tone <b>two</b> & three
1234\t1235\ta --> b ---> c
60000\t60500\ttab here and a line
3599999\t36000250\t“fünf” 五
"""


def test_by_hand():
    assert to_srt(CUES) == SRT
    assert to_vtt(CUES) == VTT
    assert to_tsv(CUES) == TSV
    assert to_txt(CUES) == "one <b>two</b> & three\na --> b ---> c\ntab here and a line\n“fünf” 五\n"


def test_nothing_said():
    assert (to_txt([]), to_srt([]), to_vtt([]), to_tsv([])) == ("", "", "WEBVTT\n", "start\tend\ttext\n")


def test_more_than_a_hundred_hours():
    assert "100:00:00,000 --> 100:00:01,000" in to_srt([Cue(360000, 360001, "late")])


PIECES = "--> ---> - > < <i> </i> &amp; & {\\an8} \\N 5 NOTE STYLE".split() + [
    "\t",
    "\n",
    "\n\n",
    "\r\n",
    " ",
    "\u2028",
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=["Cs"])), max_size=8).map("".join)
SECONDS = st.floats(0, 100_000) | st.integers(0, 100).map(float)
ANY = st.lists(st.builds(lambda a, b, text: Cue(min(a, b), max(a, b), text), SECONDS, SECONDS, TEXTS), max_size=8)
MANY = settings(max_examples=1000, deadline=None, database=None)


def said(cues: list[Cue]) -> list[str]:
    return [" ".join(cue.text.split()) for cue in cues if cue.text.split()]


@MANY
@given(ANY.map(sorted))
def test_an_independent_parser_reads_srt(cues):
    parsed = list(srt.parse(to_srt(cues)))
    assert [cue.index for cue in parsed] == list(range(1, len(said(cues)) + 1))
    assert [cue.content for cue in parsed] == [re.sub("--+>", "->", text) for text in said(cues)]
    ends = [datetime.timedelta(0), *(cue.end for cue in parsed)]
    assert all(end <= cue.start < cue.end for end, cue in zip(ends, parsed, strict=False))


@MANY
@given(ANY.map(sorted))
def test_an_independent_parser_reads_vtt(cues):
    parsed = pysubs2.SSAFile.from_string(to_vtt(cues), format_="vtt", keep_unknown_html_tags=True)
    assert [html.unescape(cue.text) for cue in parsed] == said(cues)
