import pytest

from speech.data.sources import read_sources
from speech.errors import DataError


def read(tmp_path, text):
    (tmp_path / "sources.yaml").write_text(text)
    return read_sources(tmp_path / "sources.yaml")


def shares(mixture, *cuts):
    return mixture.shares({source.manifest: n for source, n in zip(mixture.sources, cuts, strict=True)})


def test_a_manifest_is_one_source(tmp_path):
    one = read_sources(tmp_path / "a.jsonl.gz")
    assert [s.manifest for s in one.sources] == [tmp_path / "a.jsonl.gz"] and shares(one, 5) == [1.0]


def test_without_weights_sources_count_by_their_cuts(tmp_path):
    both = read(tmp_path, "sources: [{manifest: a.jsonl}, {manifest: /x/b.jsonl.gz}]")
    assert [str(s.manifest) for s in both.sources] == [str(tmp_path / "a.jsonl"), "/x/b.jsonl.gz"]
    assert shares(both, 30, 10) == [0.75, 0.25]


def test_a_folder_is_one_shar_and_a_list_may_hold_both(tmp_path):
    (tmp_path / "a").mkdir()
    (only,), (other,) = (read_sources(tmp_path / name).sources for name in ("a", "b.jsonl"))
    assert (only.manifest, only.shar) == (tmp_path / "a", True) and not other.shar
    three = read(tmp_path, "sources: [{manifest: a.jsonl}, {shar: a, weight: 3}, {shar: /x/none}]")
    assert [(str(s.manifest), s.shar) for s in three.sources] == [
        (str(tmp_path / "a.jsonl"), False),
        (str(tmp_path / "a"), True),
        ("/x/none", True),
    ]
    assert shares(three, 1, 10, 2) == pytest.approx([1 / 6, 3 / 6, 2 / 6])


@pytest.mark.parametrize("temperature, expected", [(1, [0.8, 0.2]), (0.5, [2 / 3, 1 / 3]), (0, [0.5, 0.5])])
def test_temperature(tmp_path, temperature, expected):
    text = f"temperature: {temperature}\nsources: [{{manifest: a.jsonl, weight: 4}}, {{manifest: b.jsonl, weight: 1}}]"
    assert shares(read(tmp_path, text), 1, 1) == pytest.approx(expected)


def test_nested_weights_multiply_and_each_level_has_its_temperature(tmp_path):
    text = """
temperature: 0.5
sources:
  - weight: 9
    sources: [{manifest: a.jsonl, weight: 3}, {manifest: b.jsonl, weight: 1}]
  - temperature: 0
    sources: [{manifest: c.jsonl, weight: 100}, {manifest: d.jsonl}]
"""
    # outer: sqrt(9) : sqrt(4 + 12 cuts) = 3 : 4
    found = shares(read(tmp_path, text), 50, 50, 4, 12)
    assert found == pytest.approx([3 / 7 * 0.75, 3 / 7 * 0.25, 2 / 7, 2 / 7])


@pytest.mark.parametrize(
    "text, told",
    [
        ("sources: [{manifest: a.jsonl, wieght: 2}]", r"sources\[0\]: unknown key wieght; known are manifest, weight"),
        ("sources: [{manifest: a.jsonl}]\nseed: 3", "unknown key seed; known are sources, temperature, weight"),
        ("sources: [{manifest: a.jsonl, weight: -1}]", "weight -1 must be a number above 0"),
        ("sources: [{manifest: a.jsonl, weight: yes}]", "weight True must be a number above 0"),
        ("sources: [{shar: a, manifest: a.jsonl}]", "unknown key shar; known are manifest, weight"),
        ("sources: [{shar: a, temperature: 1}]", "unknown key temperature; known are shar, weight"),
        ("sources: [{shar: 3}]", "shar 3 is not the name of a folder"),
        ("sources: [{manifest: a.txt}]", "manifest 'a.txt' does not end in .jsonl"),
        ("sources: [{manifest: a.jsonl}, {manifest: a.jsonl}]", "a.jsonl stands there twice"),
        ("sources: []", r"sources \[\] is not a list of corpora"),
        ("sources: [{sources: [3]}]", r"sources\[0\], sources\[0\]: 3 is not a mapping"),
        ("- a.jsonl", r"\['a.jsonl'\] is not a mapping"),
        ("temperature: .nan\nsources: [{manifest: a.jsonl}]", "temperature nan must be"),
        ("sources: !!python/object/apply:os.system [ls]", "not YAML"),
        ("sources: [", "not YAML"),
    ],
)
def test_faults_are_named_in_one_line(tmp_path, text, told):
    with pytest.raises(DataError, match=told) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(DataError, match="none.yaml: cannot be read"):
        read_sources(tmp_path / "none.yaml")
