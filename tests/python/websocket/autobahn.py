"""The cases of the Autobahn test suite, as kosoku runs them.

    autobahn.py server URL CASE...    against a server that echoes
    autobahn.py client CASE...        for a client that echoes; says where it listens

A case is an id, or a pattern such as `12.*`; with a `-` before it, it is left out. Every result that is not
OK is printed; cases that only inform count as passed.
"""

import asyncio
import collections
import os
import sys

import kosoku


def tell(results):
    for result in results:
        if result.behavior.value != "OK":
            print(result.case_id, result.behavior.value, result.behavior_close.value, result.result)
    counts = collections.Counter(result.behavior.value for result in results)
    print(" ".join(f"{name}={count}" for name, count in sorted(counts.items())))


async def main():
    side, *rest = sys.argv[1:]
    url = rest.pop(0) if side == "server" else None
    cases = [case for case in rest if not case.startswith("-")]
    without = [case[1:] for case in rest if case.startswith("-")]
    try:
        if side == "server":
            results = await kosoku.run_fuzzingclient(url, cases, without, concurrency=2)
        else:
            async with kosoku.run_fuzzingserver(cases, without, host="127.0.0.1", port=0) as server:
                print("listening", server.port, flush=True)
                results = await server.get_result()
    except kosoku.FailureError as failure:
        print(failure)
        leave(1)
    tell(results)
    leave(0)


def leave(status):
    # kosoku's threads may abort the process when they outlive the interpreter.
    sys.stdout.flush()
    os._exit(status)


asyncio.run(main())
