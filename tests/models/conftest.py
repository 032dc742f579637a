import pytest
import torch
from tiny import CANARY, FIRERED, lively

from speech.models.aed import AED


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=[FIRERED, CANARY], ids=["firered", "canary"])
def aed(request) -> AED:
    """A tiny recogniser of 29 tokens in either style."""
    return lively(AED(request.param, 29))
