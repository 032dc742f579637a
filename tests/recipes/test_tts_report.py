from html.parser import HTMLParser

import matplotlib.image
import numpy as np

from recipes.tts_report import Table, markdown, page, tables, write_mel

EVIL = "\"'><script>alert(1)</script><img src=x onerror='a'>&amp; `|"
COMPARED = {"mcd": 5.432, "rmse_cents": None, "gross_error": None, "voicing_error": 0.25, "frame_error": 0.125}
READING = {"rate_ratio": 1.05, "phonemes": 9, "reached": 8, "duration_mae_ms": None, "mel_l1": None, "ended": None}
FOUND = {
    "recognizer": None, "normalize": "en", "mel": "80 log-mels", "clock": "CPU seconds", "threads": 1, "rows": [{}] * 7,
    "round_trip": None, "sound": {"copy": COMPARED, "synthesis": COMPARED},
    "reading": READING, "hard": None, "speed": {"text": 0.001, "acoustic model": 0.02, "vocoder": 0.03, "all": 0.051},
}  # fmt: skip
UNSPOKEN = {"text": EVIL, "reason": "none | of it"}
HARD = {"sentences": 2, "spoken": 1, "phonemes": 4, "reached": 4, "unspoken": [UNSPOKEN]}


class Elements(HTMLParser):
    """Names of elements, their attributes, and the text outside of the style."""

    def __init__(self, html):
        super().__init__()
        self.names, self.attributes, self.text, self.open = [], [], "", ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += attrs
        self.open = tag

    def handle_data(self, data):
        self.text += data * (self.open != "style")


def example(**changed):
    sounds = ("recording", "copy", "synthesis")
    shown = {"files": "examples/0", "text": "one", "phonemes": {"synthesis": [["", 1], ["W", 2], ["", 1]]}}
    row = {"id": "c0", "heard": dict.fromkeys(sounds), "frames": dict.fromkeys(sounds, 4), "shown": shown}
    return {**row, **changed}


def test_no_text_becomes_markup():
    plain = example(heard=dict.fromkeys(("recording", "copy", "synthesis"), "one"))
    shown = {
        "files": EVIL,
        "text": EVIL,
        "phonemes": {"copy": [[EVIL, 3]], "synthesis": [[EVIL, 1], [EVIL, 2], [EVIL, 1]]},
    }
    evil = example(id=EVIL, heard=dict.fromkeys(("recording", "copy", "synthesis"), EVIL), shown=shown)
    plain["shown"]["phonemes"]["copy"] = [["W", 3]]
    good, bad = (
        Elements(page(title, title, [Table(title, ["", title], [[title, title]], title)], [row]))
        for title, row in (("one", plain), (EVIL, evil))
    )
    assert bad.names == good.names and [name for name, _ in bad.attributes] == [name for name, _ in good.attributes]
    unmarked = [good.text.count(word) for word in ("one", "W", "c0")]
    assert "script" not in bad.names and bad.text.count(EVIL) == sum(unmarked) + 2  # start and end
    assert ("src", f"{EVIL}-copy.flac") in bad.attributes and ("title", f"{EVIL}, 3 frames") in bad.attributes


def test_the_phonemes_stand_below_their_frames():
    html = Elements(page("v", "", [], [example()]))
    widths = [value for name, value in html.attributes if name == "style"]
    assert widths == ["width:12px", "width:12px", "width:12px", "width:3px", "width:6px", "width:3px"]
    assert "heard:" not in html.text and "examples/0-attention.png" not in str(html.attributes)
    assert "(nothing)" in page("v", "", [], [example(heard=dict.fromkeys(("recording", "copy", "synthesis"), ""))])
    assert "examples/0-attention.png" in page("v", "", [], [example(focus_rate=0.5)])


def test_only_rows_with_files_are_shown():
    assert page("v", "", [], [{"id": "c0"}, example()]).count("<article>") == 1
    assert "Examples" not in page("v", "", [], [{"id": "c0"}])


def test_tables_leave_out_what_was_not_measured():
    text = markdown(tables(FOUND))
    assert [line for line in text.split("\n") if line.startswith("#")] == ["## Sound", "## Reading", "## Speed"]
    assert "| copy | 5.43 | - | - | 25.00 % | 12.50 % |" in text and "Mean over 7 utterances" in text
    assert "| phonemes that have a frame | 8 |" in text and "duration" not in text and "Attention" not in text
    slow = {**READING, "ended": 1.0, "focus_rate": 0.5, "jumps": 0}
    text = markdown(tables({**FOUND, "reading": slow, "hard": HARD}))
    assert "| ended by themselves | 100.00 % |" in text and "| jumps of the attention | 0 |" in text
    assert "| spoken | 1 |" in text and "repeat" not in text


def test_a_bar_ends_no_cell_of_a_table():
    text = markdown(tables({**FOUND, "hard": HARD}))
    (row,) = [line for line in text.split("\n") if "script" in line]
    assert row.replace("\\|", "").count("|") == 2 and row.endswith("\\|: none \\| of it |")


def test_pictures_of_mels_have_a_column_for_each_frame_and_one_scale(tmp_path):
    mel = np.linspace(-9, 1.5, 12).reshape(4, 3)
    write_mel(tmp_path / "a.png", mel)
    write_mel(tmp_path / "b.png", mel[:2])
    a, b = (matplotlib.image.imread(tmp_path / name) for name in ("a.png", "b.png"))
    assert a.shape[:2] == (3, 4) and b.shape[:2] == (3, 2)
    np.testing.assert_array_equal(a[:, :2], b)
    assert a[2, 0, :3].sum() < a[0, 3, :3].sum()  # low bins below, loud ones bright
