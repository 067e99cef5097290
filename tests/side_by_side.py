"""Runs the test programs that `cargo test --no-run --message-format=json` lists, several at a time, each in the directory
that cargo would use. Prints the output of a program when it ends. Fails if one of them fails."""

import json
import pathlib
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

AT_ONCE = 3


def programs():
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("executable") and message["profile"]["test"]:
            yield pathlib.Path(message["executable"]), pathlib.Path(message["manifest_path"]).parent


def run(program, directory):
    start = time.monotonic()
    done = subprocess.run([program], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout, time.monotonic() - start


def main():
    failed = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(run, *program): program[0].name for program in programs()}
        for ended in as_completed(running):
            code, output, seconds = ended.result()
            print(f"=== {running[ended]}, {seconds:.1f} s", flush=True)
            sys.stdout.buffer.write(output)
            sys.stdout.flush()
            if code != 0:
                failed.append(running[ended])
    if not running:
        failed.append("no test program was built")
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


main()
