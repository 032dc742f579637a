import pytest
import torch


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    from tiny_run import make_corpus

    return make_corpus(tmp_path_factory.mktemp("sines"))


@pytest.fixture(autouse=True)
def one_thread():
    """Training sets both for the whole process."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)  # also the condition for forking
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
