"""(h) What going on with a run costs: its cells computed and kept on the disk, against the same cells read back."""

import tempfile
from pathlib import Path

from benchmarks.subjects import Subject, cells
from benchmarks.timing import interleaved, times_table
from steering_lab.evaluation.running.evaluate import Decoding, run_conditions
from steering_lab.models.generation import GREEDY
from steering_lab.runs import RunFolder


def report(subject: Subject, *, n_prompts: int = 8, new_tokens: int = 16, scale: int = 2, rounds: int = 3) -> str:
    """The table; reading back includes opening the folder, hashing every cell's settings and making the table."""
    conditions = [cell.condition("everywhere") for cell in cells(subject, scale)]
    prompts, decoding = subject.prompts(n_prompts), Decoding(new_tokens, 1, GREEDY, log_probs=False)
    tables = {}
    with tempfile.TemporaryDirectory() as home:

        def run(folder: RunFolder | None) -> object:
            kept, keep = (None, None) if folder is None else (folder.kept, folder.keep)
            return run_conditions(
                subject.model, conditions, prompts, decoding, kept=kept, keep=keep, progress=False
            )  # fmt: skip

        def fresh() -> None:
            with RunFolder.open(home, f"fresh {len(list(Path(home).iterdir()))}", "model", {}) as folder:
                tables["kept"] = run(folder)

        def again() -> None:
            with RunFolder.open(home, "done", "model", {}) as folder:
                tables["read back"] = run(folder)

        again()
        calls = {
            "computed": lambda: run(None), "computed, kept on the disk": fresh, "finished cells read back": again,
        }  # fmt: skip
        times = interleaved(calls, rounds)
    assert tables["kept"].equals(tables["read back"])  # type: ignore[attr-defined]
    what = f"(h) {len(conditions)} cells x {n_prompts} prompts x {new_tokens} new tokens ({subject.model.name})"
    return times_table(what, times, "computed")
