import html
import re

import numpy as np

from speech.subtitles import Cue, to_srt, to_tsv, to_txt, to_vtt

CUES = [
    Cue(0.0, 1.2344, "one <b>two</b> & three"),
    Cue(1.0, 1.0, "a --> b ---> c"),  # begins before the last ends, and has no length
    Cue(59.9996, 60.5, " tab\there\nand a line "),
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


def milliseconds(clock: str, mark: str) -> int:
    hours, minutes, seconds, ms = re.fullmatch(rf"(\d\d+):(\d\d):(\d\d){mark}(\d\d\d)", clock).groups()
    assert int(minutes) < 60 and int(seconds) < 60
    return 1000 * (60 * (60 * int(hours) + int(minutes)) + int(seconds)) + int(ms)


def parse_block(lines: list[str], mark: str) -> Cue:
    """Times in milliseconds."""
    times, text = lines
    start, end = times.split(" --> ")
    return Cue(milliseconds(start, mark), milliseconds(end, mark), text)


def parse_srt(text: str) -> list[Cue]:
    blocks = [block.split("\n") for block in text.removesuffix("\n").split("\n\n")] if text else []
    assert [block[0] for block in blocks] == [str(i + 1) for i in range(len(blocks))]
    return [parse_block(block[1:], ",") for block in blocks]


def parse_vtt(text: str) -> list[Cue]:
    head, *blocks = text.removesuffix("\n").split("\n\n")
    assert head == "WEBVTT"
    assert not any("<" in block or re.search("-->.*-->", block, re.DOTALL) for block in blocks)
    cues = [parse_block(block.split("\n"), r"\.") for block in blocks]
    return [cue._replace(text=html.unescape(cue.text)) for cue in cues]


def parse_tsv(text: str) -> list[Cue]:
    head, *lines = text.removesuffix("\n").split("\n")
    assert head == "start\tend\ttext"
    return [Cue(int(a), int(b), t) for a, b, t in (line.split("\t") for line in lines)]


def test_five_hundred_random_transcripts_come_back():
    rng = np.random.default_rng(0)
    pieces = ["one", "-->", "--->", "-", ">", "<i>", "&amp;", "&", "\t", "\n", "\n\n", "\r\n", " ", "5", "\u2028", "五"]
    for _ in range(500):
        times = rng.exponential(3.0, size=(rng.integers(0, 6), 2)).cumsum(0)
        times = [sorted(pair) if rng.random() < 0.8 else (pair[0], pair[0]) for pair in times]
        cues = [Cue(a, b, "".join(rng.choice(pieces, rng.integers(0, 8)))) for a, b in times]
        said = [cue for cue in cues if cue.text.split()]
        plain = [" ".join(cue.text.split()) for cue in said]
        srt, vtt, tsv = parse_srt(to_srt(cues)), parse_vtt(to_vtt(cues)), parse_tsv(to_tsv(cues))
        assert [cue.text for cue in vtt] == [cue.text for cue in tsv] == plain == to_txt(cues).split("\n")[:-1]
        assert [cue.text for cue in srt] == [re.sub("--+>", "->", text) for text in plain]
        assert [cue[:2] for cue in srt] == [cue[:2] for cue in vtt] == [cue[:2] for cue in tsv]
        end = 0
        for cue, source in zip(srt, said, strict=True):
            assert cue.start == max(end, round(source.start * 1000))
            assert cue.end == max(cue.start + 1, round(source.end * 1000))
            end = cue.end
