"""Whatever a client sends as a recording, the server answers: a text, or a fault of the file in OpenAI's form."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from api_server import serving
from mutations import containers, mutant

from serve.limits import Limits
from serve.server import open_models

COUNT = 25  # of each container; tests/benchmarks/serve_fuzz.py sends as many as one likes
SECRETS = ("Traceback", ".py", "/tmp", "0x")


@pytest.fixture(scope="module")
def post(exported):
    """A form's file in, the answer out."""
    models = open_models({"tiny": exported}, "cpu", "32", 1)
    with (
        serving(models, Limits(decode_seconds=10.0, window_seconds=0.0)) as (url, _),
        httpx.Client(timeout=15.0) as client,
    ):
        yield lambda data: client.post(
            f"{url}/v1/audio/transcriptions", data={"model": "tiny"}, files={"file": ("a", data)}
        )


@pytest.mark.parametrize("kind", containers())
def test_a_broken_upload_is_heard_or_told(post, kind):
    assert post(containers()[kind]).status_code == 200
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda number: post(mutant(kind, number)), range(COUNT)))
    for number, answer in enumerate(answers):
        body = answer.json()
        if answer.status_code == 200:
            assert body["usage"]["seconds"] > 0
        else:
            assert answer.status_code in (400, 413, 415), f"mutant('{kind}', {number}): {answer.text}"
            assert set(body["error"]) == {"message", "type", "param", "code"} and body["error"]["param"] == "file"
            assert not any(secret in body["error"]["message"] for secret in SECRETS), body
            assert body["error"]["message"] != "file: cannot be decoded", f"mutant('{kind}', {number}) ended a decoder"
    assert {answer.status_code for answer in answers} - {200}
