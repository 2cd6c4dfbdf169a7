"""python -m bench OP|MODEL ...: one table, and with --keep a line of JSON a case.

`report` writes README's tables and plots, `instructions` counts those of the hottest kernels, `embed` times calls from
other frameworks.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import littlecore as lc
from bench import embed, harness, instructions, peers, report, results

HERE = Path(__file__).parent


def names(kind: str) -> list[str]:
    return sorted(p.stem for p in (HERE / kind).glob("*.py") if p.stem != "__init__")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=harness.__doc__)
    parser.add_argument("what", nargs="*", help="ops or models, `ops`, `models` or `all` of them; none lists them")
    parser.add_argument("--peer", action="append", help="torch (the default), torch_best, torch_compile, numpy, jax")
    parser.add_argument("--no-peer", action="store_true", help="ours alone")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true", help="the smallest case of each, and less time for it")
    parser.add_argument("--keep", action="store_true", help="into bench/results/, behind README's tables")
    parser.add_argument("--check", action="store_true", help="with `instructions`: fail where they have risen")
    parser.add_argument("--seconds", type=float, help="spent on each case (1)")
    parser.add_argument("--case", default="", help="only cases whose name contains this")
    return parser.parse_args()


def load_peers(wanted: list[str] | None, threads: int) -> dict[str, Any]:
    needed = {key: value for name in wanted or [] for key, value in peers.environment(name, threads).items()}
    if needed.items() - os.environ.items():
        os.execve(sys.executable, [sys.executable, "-m", "bench", *sys.argv[1:]], {**os.environ, **needed})
    loaded = {}
    for name in wanted or ["torch"]:
        try:
            loaded[name] = peers.load(name, threads)
        except ImportError:
            if wanted:
                sys.exit(f"bench: --peer {name}: not installed")
        except KeyError:
            sys.exit(f"bench: --peer {name}: not known; torch, torch_best, torch_compile, numpy and jax are")
    return loaded


def show(row: harness.Row) -> None:
    rate = f"{row.gflops:8.1f} GFLOP/s" if row.gflops > row.gbs else f"{row.gbs:8.1f} GB/s   "
    share = f"{100 * row.limit_share:5.1f} % of limit"
    line = f"{row.op:18.18} {row.case:34.34} {row.direction:8} {row.ms:10.4f} ms {rate} {share}"
    for name, ms in row.peer.items():
        line += f"   {name} {ms:10.4f} ms  {ms / row.ms:5.2f}x"
    print(line, flush=True)


def main() -> None:
    args = arguments()
    if not args.what:
        sys.exit(f"ops: {' '.join(names('ops'))}\nmodels: {' '.join(names('models'))}")
    if args.what == ["report"]:
        return report.main()
    if args.what == ["embed"]:
        return embed.main()
    if args.what == ["instructions"]:
        sys.exit(instructions.main(args.keep, args.check) > 0)
    if args.keep and (args.quick or args.no_peer):
        sys.exit("bench: --keep is for whole measurements beside a peer: leave out --quick and --no-peer")
    if {"torch", "torch_best"} <= set(args.peer or []):
        sys.exit("bench: torch_best's heap would be torch's too: measure them in two runs")
    lc.set_num_threads(args.threads)
    beside = {} if args.no_peer else load_peers(args.peer, args.threads)
    if args.keep and not beside:
        sys.exit("bench: --keep needs PyTorch to measure beside: pip install torch")
    seconds = args.seconds or (0.2 if args.quick else 1.0)
    machine = results.cpu_name()
    stamp = {"machine": machine, "version": lc.__version__, "commit": results.commit()}
    stamp |= {name: peer.__version__ for name, peer in beside.items()}
    known = {"ops": names("ops"), "models": names("models")}
    known["all"] = known["ops"] + known["models"]
    failed = False
    for name in [n for w in args.what for n in known.get(w, [w])]:
        if name not in known["all"]:
            sys.exit(f"bench: no op or model is called {name!r}; known: {' '.join(known['all'])}")
        kind = "ops" if name in known["ops"] else "models"
        cases = [c for c in importlib.import_module(f"bench.{kind}.{name}").cases() if args.case in c.name]
        rows = []
        try:
            for row in harness.run(name, cases[:1] if args.quick else cases, beside, args.threads, seconds):
                show(row)
                rows.append(row)
        except harness.WrongResult as error:
            print(f"WRONG {error}", flush=True)
            failed = True
        rows += harness.limits(args.threads) if args.keep else ()
        time_now = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        if args.keep:
            results.add(results.file_of(machine), [dataclasses.asdict(row) | stamp | time_now for row in rows])
    sys.exit(failed)


if __name__ == "__main__":
    main()
