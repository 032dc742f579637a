"""Bulk transcription on a Ray cluster, an example: workers hold a model each, results are those of
`speech transcribe --jsonl`.

    python -m serve.deploy.ray_transcribe MODEL AUDIO... --jsonl OUT.jsonl --workers 8 --gpus 1

Ray starts another worker for one that dies; a run that was ended goes on when it is started again. Model and recordings
lie where every node finds them, the driver alone writes. `ray.data.read_json(OUT).write_parquet(FOLDER)` for Parquet.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from speech.bulk import Results, recordings, share, to_line
from speech.errors import SpeechError, run
from speech.open import open_recognizer
from speech.request import Request


class Worker:
    def __init__(self, model: str, device: str, precision: str, threads: int, request: Request, batch_size: int):
        self.recognizer = open_recognizer(model, device, precision, threads)
        self.request, self.batch_size = request, batch_size

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, list]:
        paths = [str(path) for path in rows["path"]]
        found = self.recognizer.transcribe_each(paths, self.request, self.batch_size)
        return {"line": [to_line(paths[i], one, words=self.request.word_timestamps) for i, one in found]}


def main(argv: Sequence[str] | None = None) -> int:
    try:
        import ray.data  # pyright: ignore[reportMissingImports]  (optional extra)
    except ImportError as error:
        raise SpeechError(f"Ray Data is missing ({error}); pip install 'parlance-speech[ray]'") from None

    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)  # type: ignore[union-attr]
    p.add_argument("model", help="model folder, exported or not")
    p.add_argument("audio", nargs="*", help="audio files and folders of them")
    p.add_argument("--list", metavar="FILE", help="file with the path of a recording on each line; - is stdin")
    p.add_argument("--jsonl", required=True, metavar="FILE", help="gets a line of JSON for each file")
    p.add_argument("--workers", type=int, default=1, help="models at work at once (default: 1)")
    p.add_argument("--gpus", type=float, default=0, help="of each worker; 0.5 puts two on one (default: 0)")
    p.add_argument("--threads", type=int, default=1, help="CPU threads of each worker (default: 1)")
    p.add_argument("--precision", default="32", help="of the weights (default: 32)")
    p.add_argument("--language", help="language spoken (default: the model's)")
    p.add_argument("--word_timestamps", action="store_true", help="times of every word")
    p.add_argument("--batch_size", type=int, default=16, help="pieces recognised at once (default: 16)")
    args = p.parse_args(argv)
    request = Request(language=args.language, word_timestamps=args.word_timestamps)
    with Results(args.jsonl) as results:
        plan = share(recordings(args.audio, args.list), "1/1")
        todo = [{"path": path} for path in plan if path not in results.done]
        if todo:
            tasks = -(-len(todo) // (8 * args.batch_size))  # a task that is lost is done again as a whole
            lines = ray.data.from_items(todo, override_num_blocks=tasks).map_batches(
                Worker,
                batch_size=None,
                fn_constructor_args=(
                    args.model,
                    "cuda" if args.gpus else "cpu",
                    args.precision,
                    args.threads,
                    request,
                    args.batch_size,
                ),
                compute=ray.data.ActorPoolStrategy(size=args.workers),
                num_cpus=args.threads,
                num_gpus=args.gpus,
            )
            for row in lines.iter_rows():
                results.add(row["line"])
        return 1 if any(results.done[path] for path in plan) else 0


if __name__ == "__main__":
    run(main)
