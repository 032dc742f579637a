import numpy as np
import pytest

from speech.data.arrays import Arrays, save_arrays
from speech.errors import DataError


def test_what_was_saved_comes_back_by_id(tmp_path):
    saved = {f"cut-{i}": np.arange(i, dtype=np.int64) for i in (3, 0, 5)}
    assert save_arrays(tmp_path / "new" / "d.npz", saved.items()) == 3
    found = Arrays(tmp_path / "new" / "d.npz")
    assert list(found) == list(saved) and len(found) == 3
    assert "cut-0" in found and "cut-1" not in found
    for name, values in saved.items():
        assert found[name].dtype == np.int64 and np.array_equal(found[name], values)


def test_rows_of_a_width_and_what_they_were_divided_by(tmp_path):
    saved = {"a": np.ones((3, 2), np.float16), "b": np.zeros((1, 2), np.float16)}
    save_arrays(tmp_path / "m.npz", saved.items(), scale=2.5)
    found = Arrays(tmp_path / "m.npz")
    assert found.scale == 2.5
    for name, values in saved.items():
        assert found[name].dtype == np.float16 and np.array_equal(found[name], values)


def test_what_cannot_be_read_is_named(tmp_path):
    save_arrays(tmp_path / "d.npz", [("a", np.zeros(2))])
    with pytest.raises(DataError, match="d.npz: nothing for cut b; make it anew"):
        Arrays(tmp_path / "d.npz")["b"]
    (tmp_path / "e.npz").write_bytes(b"junk")
    np.savez(tmp_path / "f.npz", ids=np.array(["a"]), lengths=np.array([3]), values=np.zeros(2), scale=1)
    np.savez(
        tmp_path / "g.npz", ids=np.array([{"a": 1}], dtype=object), lengths=np.array([3]), values=np.zeros(2), scale=1
    )
    for name in ("e", "f", "g", "none"):
        with pytest.raises(DataError, match=f"{name}.npz: "):
            Arrays(tmp_path / f"{name}.npz")
    with pytest.raises(DataError, match="no arrays to write"):
        save_arrays(tmp_path / "h.npz", [])
