"""Whatever the schema of the API allows, and what it forbids, is answered and is no fault of ours."""

from collections import Counter

import httpx
import pytest
import schemathesis
from api_server import RATE, TEXT, VOICE, noise, wav
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

SOUNDS = {f"{seconds} s": wav(noise(0, round(seconds * RATE))) for seconds in (0.001, 1, 40)}
HEARD = {"model": st.just("tiny"), "language": st.just("en"), "file": st.sampled_from(sorted(SOUNDS)) | st.binary()}
WORDS = st.text(TEXT, min_size=1) | st.text(min_size=1)
SAID = {"model": st.just(VOICE), "language": st.sampled_from(["de", "fr"]), "voice": st.just("Bo"), "input": WORDS}
WORK = {"transcriptions": HEARD, "translations": HEARD, "speech": SAID}
SETTINGS = dict(deadline=None, database=None, derandomize=True, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck))  # fmt: skip
SECRETS = ("Traceback", "site-packages", ".py", "/tmp")


@pytest.fixture(scope="module")
def schema(url):
    raw = httpx.get(f"{url}/openapi.json").json()
    for component in raw["components"]["schemas"].values():
        component["additionalProperties"] = False
    return schemathesis.openapi.from_dict(raw)


@pytest.mark.parametrize("count", [25, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("name", WORK)
def test_no_request_is_too_much(schema, url, name, mode, count):
    operation, seen = schema[f"/v1/audio/{name}"]["POST"], Counter()

    @settings(max_examples=count, **SETTINGS)
    @given(operation.as_strategy(generation_mode=mode), st.fixed_dictionaries(WORK[name]))
    def ask(case, values):
        if isinstance(case.body, dict) and mode == GenerationMode.POSITIVE:  # so that it comes to work
            case.body |= {field: SOUNDS.get(value, value) for field, value in values.items()}
        answer = case.call(base_url=url)
        seen[answer.status_code] += 1
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
            assert answer.headers["x-request-id"] and not any(secret in answer.text for secret in SECRETS)

    ask()
    assert seen[200] or mode == GenerationMode.NEGATIVE or name == "translations", seen
