#!/usr/bin/env python3
"""Record more behaviour of the engine of pytorch-ignite 0.5.5, in the format of the `engine` traces of generate.py.

    python generate_engine.py --seed 1 --count 60 --out DIRECTORY

These traces add to those of generate.py: epochs that are shorter or longer than the data (`epoch_length`), the item of each
step (`items`: the process entry is "process ITEM"), the batch events and TERMINATE_SINGLE_EPOCH (`all_events`), requests at
every event, `every` with `before` and `after`, and further runs of the same engine (`runs`: the number of items of each).
Needs torch and pytorch-ignite==0.5.5.
"""
import argparse, json, logging, pathlib, random

from ignite.engine import Engine, Events
import ignite

logging.disable(logging.CRITICAL)

NAMES = {"started": Events.STARTED, "completed": Events.COMPLETED, "epoch_started": Events.EPOCH_STARTED,
         "epoch_completed": Events.EPOCH_COMPLETED, "iteration_started": Events.ITERATION_STARTED,
         "iteration_completed": Events.ITERATION_COMPLETED, "terminate": Events.TERMINATE,
         "get_batch_started": Events.GET_BATCH_STARTED, "get_batch_completed": Events.GET_BATCH_COMPLETED,
         "terminate_single_epoch": Events.TERMINATE_SINGLE_EPOCH}
OF_ITERATIONS = ["iteration_started", "iteration_completed", "get_batch_started", "get_batch_completed"]


def window(r):
    f = {"every": r.randrange(1, 5)} if r.random() < 0.7 else {}
    if r.random() < 0.6:
        f["before"] = r.randrange(1, 12)
    if r.random() < 0.6 or not f:
        f["after"] = r.randrange(0, 6)
    return f


def engine(r, i):
    config = {"batches": r.randrange(1, 6), "max_epochs": r.randrange(1, 5), "resume_at": None, "action": None,
              "filtered": [], "items": True, "all_events": r.random() < 0.5, "runs": []}
    if r.random() < 0.5:
        config["epoch_length"] = r.randrange(1, 9)
    length = config.get("epoch_length", config["batches"])
    if r.random() < 0.75:
        kind = r.choice(["terminate", "terminate", "terminate_epoch"])
        # Ignite 0.5.5 raises an error if terminate_epoch is called outside an epoch or before its first batch.
        on = r.choice(["started", "completed", "epoch_started", "epoch_completed"] + OF_ITERATIONS
                      if kind == "terminate" else ["iteration_started", "iteration_completed"])
        total = length * config["max_epochs"]
        if on == "started":
            at = 0
        elif on in OF_ITERATIONS:
            at = r.randrange(1, total + 1)
            if on.startswith("get_batch"):
                at -= 1
        else:
            at = r.randrange(1, config["max_epochs"] + 1)
        config["action"] = {"kind": kind, "on": on, "at": at}
    for _ in range(r.choice([0, 0, 1, 2])):
        config["runs"].append(r.choice([config["batches"], r.randrange(1, 6)]))
    log = []
    e = Engine(lambda en, b: log.append([f"process {b}", en.state.epoch, en.state.iteration]))
    for n, ev in NAMES.items():
        if (n.startswith("get_batch") or n == "terminate_single_epoch") and not config["all_events"]:
            continue
        e.add_event_handler(ev, lambda en, *_, n=n, **__: log.append([n, en.state.epoch, en.state.iteration]))
    for k in range(r.randrange(0, 4)):
        on = r.choice(["iteration_started", "iteration_completed", "epoch_started", "epoch_completed"])
        f = window(r)
        config["filtered"].append({"on": on, **f})
        e.add_event_handler(NAMES[on](**f), lambda en, k=k: log.append([f"filtered {k}", en.state.epoch, en.state.iteration]))
    a = config["action"]
    if a:
        def act(en):
            here = en.state.iteration if a["on"] in OF_ITERATIONS else en.state.epoch
            if here == a["at"]:
                getattr(en, a["kind"])()
        e.add_event_handler(NAMES[a["on"]], act)
    given = {"epoch_length": config["epoch_length"]} if "epoch_length" in config else {}
    e.run(list(range(config["batches"])), max_epochs=config["max_epochs"], **given)
    for batches in config["runs"]:
        e.run(list(range(batches)), max_epochs=config["max_epochs"], **given)
    return {"id": f"engine_more-{i}", "kind": "engine", "config": config, "log": log,
            "reference": f"pytorch-ignite {ignite.__version__}"}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seed", type=int, required=True)
    p.add_argument("--count", type=int, default=60)
    p.add_argument("--out", type=pathlib.Path, required=True)
    a = p.parse_args()
    assert ignite.__version__ == "0.5.5", ignite.__version__
    a.out.mkdir(parents=True, exist_ok=True)
    r = random.Random(f"{a.seed}-engine-more")
    with open(a.out / "engine_more.newest.jsonl", "w") as out:
        for i in range(a.count):
            out.write(json.dumps(engine(r, i), allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
