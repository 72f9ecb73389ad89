# SPDX-License-Identifier: Apache-2.0
"""The peers of bench/run: a program on the host, or a machine, that runs rows on demand."""
import json
import os
import selectors
import signal
import subprocess
import time


class Gone(Exception):
    """The peer does not answer any more; the text says how."""


class Peer:
    """Its output comes through bench/timeline, so that the host's clock stamps each line."""

    def __init__(self, name, command, is_machine, log):
        self.name = name
        self.command = command
        self.is_machine = is_machine
        self.log = log
        self.process = None

    def start(self, timeout):
        """Answers what the boot took, {clock, cpu}; None for a peer that is no machine."""
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=log, start_new_session=True)
        self.pending = b""
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        deadline = time.monotonic() + timeout
        boot = None
        while True:
            clock, cpu, words = self.line(deadline)
            if words[:2] == ["umbra-bench:", "init"]:
                boot = {"clock": clock, "cpu": cpu}
            if words == ["ready"]:
                return boot if self.is_machine else None

    def line(self, deadline):
        """The next line of output: its two stamps, its words."""
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            if left <= 0 or not self.selector.select(left):
                self.kill()
                raise Gone("timeout")
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                self.kill()
                raise Gone("its process ended")
            self.pending += more
        line, self.pending = self.pending.split(b"\n", 1)
        words = line.decode("ascii", "replace").split()
        if len(words) > 2 and words[2] == "end-of-run":
            self.kill()
            raise Gone("its machine ended" if self.is_machine else "its process ended")
        return float(words[0]), float(words[1]), words[2:]

    def ask(self, row, scale, timeout):
        """Runs a row; answers {clock, cpu, sum}, {missing: why} or {failed: why}."""
        deadline = time.monotonic() + timeout
        try:
            self.process.stdin.write(f"{row} {scale}\n".encode())
            self.process.stdin.flush()
            begin = None
            while True:
                clock, cpu, words = self.line(deadline)
                if words[1:2] != [row]:
                    continue
                if words[0] == "begin":
                    begin = (clock, cpu)
                elif words[0] == "end":
                    # rows are children of the native program, which knows their processor time itself
                    spent = cpu - begin[1] if self.is_machine else int(words[3]) / 1e3
                    return {"clock": clock - begin[0], "cpu": spent, "sum": words[2]}
                elif words[0] in ("missing", "failed"):
                    return {words[0]: " ".join(words[2:])}
        except (Gone, OSError) as gone:
            self.kill()
            return {"failed": str(gone)}

    def stop(self):
        """Ends the peer in order, or by force when it does not."""
        if not self.process:
            return
        try:
            self.process.stdin.write(b"quit\n")
            self.process.stdin.flush()
            deadline = time.monotonic() + 60
            while True:
                self.line(deadline)
        except (Gone, OSError):
            self.kill()

    def kill(self):
        if self.process:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.selector.close()
        self.process = None


def numbers(tree, path=""):
    """All numbers of a JSON tree: {path: number}."""
    if isinstance(tree, dict):
        return {key: value for name, branch in tree.items()
                for key, value in numbers(branch, f"{path}.{name}" if path else name).items()}
    if isinstance(tree, list):
        return {key: value for i, branch in enumerate(tree) for key, value in numbers(branch, f"{path}[{i}]").items()}
    return {path: tree} if isinstance(tree, (int, float)) and not isinstance(tree, bool) else {}


def counters(umbra, name, pattern):
    """Counters of a running VM whose names match: {name: number}."""
    said = subprocess.run([umbra, "stat", name, "--json"], capture_output=True, text=True, check=False)
    if said.returncode:
        return {}
    return {key: value for key, value in numbers(json.loads(said.stdout)).items() if pattern.search(key)}
