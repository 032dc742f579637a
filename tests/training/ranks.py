"""Processes that train together over gloo."""

import multiprocessing
import os
import socket
import traceback

from speech.training.callbacks import Stopped


def start_ranks(work, world=2):
    """Run `work(rank)` in forked processes that find each other, each in a process group of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def child(rank):
        os.setpgid(0, 0)
        places = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
        os.environ.update({k: str(v) for k, v in places.items()})
        os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"})
        code = 1
        try:
            work(rank)
            code = 0
        except Stopped as stop:
            code = stop.exit_code
        except BaseException:
            traceback.print_exc()  # os._exit would say nothing
        finally:
            os._exit(code)

    processes = [multiprocessing.get_context("fork").Process(target=child, args=(rank,)) for rank in range(world)]
    for process in processes:
        process.start()
    return processes


def in_ranks(work, world=2):
    """Exit codes of `work(rank)` in all ranks."""
    processes = start_ranks(work, world)
    for process in processes:
        process.join(300)
        process.kill()
    return [process.exitcode for process in processes]
