"""Kills a small sweep of the organism again and again, and looks whether anything is lost.

    python benchmarks/kills.py --kills 50

Every call is a process of its own, ended by SIGKILL: in turn at a random moment of the run, and in the middle of a
random write with half of it on the disk. The same call goes on until the run is whole, then the next run begins. After
every kill each group of cells that had been kept must be there; every whole run's tables must equal, byte for byte,
those of a run that nobody disturbed. POSIX only; exit status 1 if anything was lost.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

import torch

from steering_lab import safe_files
from steering_lab.analysis.plots import export
from steering_lab.cli.run import run as run_command
from steering_lab.runs import CELLS, PARTIAL
from steering_lab.safe_files import whole_lines
from steering_lab.study import settings
from steering_lab.study.finding import experiments_folder

SWEEP = experiments_folder() / "actadd_sweep.toml"
SETTINGS = (
    "layers=[1]", "front_coeffs=[-2, -1, 1, 2]", "everywhere_coeffs=[]", "n_prompts=2", "n_samples=1",
    "max_new_tokens=8", "n_random=3", "n_random_confirm=3", "perplexity_budget=1e9", "batch_size=6",
)  # fmt: skip

SOON = 5  # writes that a call may get to before it dies in one: a run is to die many times

_write = safe_files._write


def sweep(results: Path, log: Path, dies_in_write: int | None = None) -> int:
    """The process of one call of the sweep; it kills itself in the middle of its n-th write, if one is named."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with log.open("a") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            writes = 0

            def write(file: BinaryIO, data: bytes) -> None:
                nonlocal writes
                writes += 1
                if writes == dies_in_write:
                    file.write(data[: len(data) // 2])
                    file.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
                _write(file, data)

            safe_files._write = write
            run_command(SWEEP, set=SETTINGS, results=results)
            sys.stderr.write(f"writes: {writes}\n")
            sys.stderr.flush()
            code = 0
    finally:
        os._exit(code)


def ended(child: int, after: float | None) -> int:
    """How a call ended: its exit status, or -9 where it was killed, `after` so many seconds if it still ran then."""
    until = None if after is None else time.monotonic() + after
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if until is not None and time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            until = None
        time.sleep(0.002)


def tables(run: Path) -> dict[str, str]:
    """The hash of every table of a whole run by its name."""
    files = [*run.glob("*.parquet"), *run.glob("*.jsonl"), run / "config.json", run / "model.json"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}


def groups(results: Path) -> list[bytes]:
    """The groups of cells that the unfinished run in `results` has kept."""
    return [line for path in results.glob(f"*/*{PARTIAL}/{CELLS}") for line in whole_lines(path)]


def whole_runs(results: Path) -> list[Path]:
    """The runs in `results` whose page is drawn too."""
    return [page.parent for page in results.glob("*/*/index.html") if not (page.parent / ".undrawn").exists()]


def warm() -> None:
    """Imports everything and loads the organism, so that every call that is forked from here begins with its work."""
    torch.set_num_threads(1)
    loaded = settings.load_model("organism")
    settings.load_model = lambda *_, **__: loaded  # type: ignore[assignment]
    export.find_chrome = lambda: None  # a browser would outlive its process, and takes most of the time


def main() -> None:
    """Kills, compares, prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=None, help="of the random moments; unset: another every time")
    wanted = parser.parse_args()
    seed = random.randrange(10**6) if wanted.seed is None else wanted.seed
    rng = random.Random(seed)
    warm()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if kill(Path(folder), wanted.kills, seed, rng) else 1)


def kill(home: Path, kills: int, seed: int, rng: random.Random) -> bool:
    """Whether `kills` kills lost nothing."""
    log, results = home / "log", home / "undisturbed"
    since = time.monotonic()
    if ended(sweep(results, log), None) != 0:
        print(log.read_text())
        return False
    seconds = time.monotonic() - since
    writes = int(log.read_text().rsplit("writes: ", 1)[1])
    reference = tables(whole_runs(results)[0])
    print(f"undisturbed: {seconds:.1f} s, {writes} writes, {len(reference)} files compared; seed {seed}")

    killed = {"at a random moment": 0, "in the middle of a write": 0}
    lost, differing, runs, before, resumed = 0, 0, 0, [], []
    results = home / "run 0"
    while sum(killed.values()) < kills or groups(results) or not runs:
        done, left = sum(killed.values()), max(1, writes - len(groups(results)))
        moment = rng.uniform(0, seconds * left / writes) if done < kills and done % 2 == 0 else None
        write = rng.randint(1, min(left, SOON)) if done < kills and done % 2 == 1 else None
        since = time.monotonic()
        code = ended(sweep(results, log, write), moment)
        if code == -signal.SIGKILL:
            killed["at a random moment" if moment is not None else "in the middle of a write"] += 1
            now = groups(results)
            lost += bool(set(before) - set(now)) and not _named(results)
            before = now
            continue
        found = whole_runs(results)
        if code != 0 or len(found) != 1 or len(list(results.glob("*/*"))) != 1:
            print(log.read_text()[-3000:])
            print(f"a call ended with {code} and left {[path.name for path in results.glob('*/*')]}")
            return False
        resumed.append(time.monotonic() - since)
        differing += tables(found[0]) != reference
        shutil.rmtree(results)
        runs, before, results = runs + 1, [], home / f"run {runs + 1}"
    said = ", ".join(f"{count} {how}" for how, count in killed.items())
    print(f"{sum(killed.values())} kills ({said}) over {runs} runs that became whole")
    print(f"groups of cells lost: {lost}; runs whose tables differ from the undisturbed run's: {differing}")
    print(f"the call that made a run whole: median {statistics.median(resumed):.1f} s")
    return not lost and not differing


def _named(results: Path) -> bool:
    """Whether the run has its final name already: its cells are in its tables then."""
    return any(not path.name.endswith(PARTIAL) for path in results.glob("*/*"))


if __name__ == "__main__":
    main()
