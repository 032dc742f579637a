"""The shell scripts: they parse, and a wrong option is told before anything is installed or made."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted(ROOT.glob("egs/**/run.sh"))


@pytest.mark.parametrize("script", [*RECIPES, ROOT / "egs/common.sh", ROOT / "tests/run.sh", ROOT / ".ci/run"], ids=str)
def test_scripts_parse(script: Path):
    assert subprocess.run(["bash", "-n", script], capture_output=True).returncode == 0


@pytest.mark.parametrize("script", RECIPES, ids=str)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stage", "two"], "--stage 'two' and --stop_stage '100' are numbers"),
        (["--corpus"], "--corpus needs a value"),
    ],
)
def test_a_wrong_option_is_one_line(script: Path, options: list[str], message: str, tmp_path: Path):
    done = subprocess.run(["bash", script, *options], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr.strip()) == (2, f"error: {message}")


def test_options_set_the_named_variables_and_leave_the_rest(tmp_path: Path):
    words = "--corpus 'a b' --train.max_steps 3 --stage 2 --x"
    code = f'source "{ROOT}/egs/common.sh"; options "corpus exp" {words}; echo "$corpus|$stage|${{rest[*]}}"'
    done = subprocess.run(["bash", "-euc", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "a b|2|--train.max_steps 3 --x\n", done.stderr


def test_every_recipe_has_a_readme_and_a_configuration():
    for script in RECIPES:
        assert (script.parent / "README.md").is_file() and list(script.parent.glob("conf/*.yaml"))
