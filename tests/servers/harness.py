"""Shared by the server tests: starts a stock program natively or under pfiber, checks how it ends.

Each test is a script of its own, `tests/servers/NAME [--native]`. Its last line is `ok: figure`,
`fail: why` or `skip: why`; the exit status is 0, 1 or 77. Clients and helpers always run natively,
so that a failure is the server's. Everything started here is ended by its process id or by the
process group that was made for it, and the temporary directory goes with the test.

KEEP=1 keeps the directory, SECONDS_MAX=N changes the limit of 60 s, PFIBER_SO=path takes another
library. Other PFIBER_ variables and GOMAXPROCS reach the server, so a test can be run in variants.
"""
import hashlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LIBRARY = pathlib.Path(os.environ.get("PFIBER_SO", ROOT / "build" / "libpfiber.so")).resolve()
LAUNCHER = ROOT / "build" / "pfiber"
PASSED, FAILED, SKIPPED = 0, 1, 77
HOST = "127.0.0.1"
PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What a caller may have set for itself and what would change the clients.
NOT_INHERITED = re.compile(r"LD_PRELOAD|PFIBER_(SO|STATS|LOG)|\w*_proxy|\w*_PROXY|LC_\w+|LANG")


class Failure(Exception):
    pass


def fail(why):
    raise Failure(why)


def expect(got, want, what):
    if got != want:
        fail(f"{what}: {got!r}, expected {want!r}")


def is_alive(pid):
    """Running; a zombie is not."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def children(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            pass
    return found


def until(condition, seconds, what):
    """Polls a condition of another process, which has no way to tell us."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            fail(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def free_port():
    """Below the ephemeral range, where a client could take the number meanwhile."""
    for port in random.sample(range(12000, 32000), 500):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
                return port
            except OSError:
                pass
    fail("no free port")


class Server:
    """A program in the background, in a session of its own."""

    def __init__(self, test, command, env, log, under_test):
        self.test, self.log, self.under_test = test, log, under_test
        self.name = os.path.basename(command[0])
        with open(log, "wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            cwd=test.work, env=env, start_new_session=True)
        self.pid = self.process.pid
        self.threads_peak = 0

    def is_listening(self, port):
        if self.process.poll() is not None:
            fail(f"{self.name} ended before it listened: {describe(self.process.returncode)}")
        with socket.socket() as probe:
            return probe.connect_ex((HOST, port)) == 0

    def wait_port(self, port, seconds=15):
        until(lambda: self.is_listening(port), seconds, f"{self.name} does not listen")
        if self.under_test:
            self.check_loaded(self.pid)

    def check_loaded(self, pid):
        if self.test.library is None:
            return
        if str(self.test.library) not in pathlib.Path(f"/proc/{pid}/maps").read_text():
            fail(f"the library is not mapped in {self.name}")

    def count_threads(self):
        for pid in [self.pid, *children(self.pid)]:
            try:
                self.threads_peak = max(self.threads_peak, len(os.listdir(f"/proc/{pid}/task")))
            except OSError:
                pass

    def wait(self, seconds=10):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            fail(f"{self.name} still runs after {seconds} s")

    def stop(self, how=signal.SIGTERM, statuses=(0,)):
        """As its users stop it: a signal, then an end with one of the statuses (-N: by signal N)."""
        if self.process.poll() is not None:
            fail(f"{self.name} ended on its own: {describe(self.process.returncode)}")
        self.process.send_signal(how)
        self.ended(statuses, f"after {signal.Signals(how).name}")

    def ended(self, statuses=(0,), when="at its end"):
        status = self.wait()
        if status not in statuses:
            fail(f"{self.name} {when}: {describe(status)}")

    def kill_group(self):
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, how)
            except OSError:
                return
            if how == signal.SIGTERM:
                time.sleep(0.2)
        self.process.wait()


def describe(status):
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"


class Test:
    def __init__(self, library, no_statistics):
        self.library, self.no_statistics = library, no_statistics
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="pfiber-server-"))
        self.work.chmod(0o755)  # daemons that change their user must reach it
        self.servers = []
        self.messages = self.work / "pfiber.log"
        self.messages.touch()
        self.messages.chmod(0o666)
        self.fibers = 0
        self.is_over = threading.Event()
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while not self.is_over.wait(0.1):
            for server in list(self.servers):
                if server.under_test:
                    server.count_threads()

    def env(self, under_test):
        env = {k: v for k, v in os.environ.items() if not NOT_INHERITED.fullmatch(k)}
        env.update(PATH=PATHS, LC_ALL="C.UTF-8", TMPDIR=str(self.work), HOME=str(self.work))
        if under_test and self.library:
            env.update(LD_PRELOAD=str(self.library), PFIBER_STATS="1", PFIBER_LOG=str(self.messages))
        return env

    def start(self, *command, under_test=True):
        """The server under test, or (under_test=False) a helper."""
        command = [str(part) for part in command]
        log = self.work / f"out.{len(self.servers)}.{os.path.basename(command[0])}"
        server = Server(self, command, self.env(under_test), log, under_test)
        self.servers.append(server)
        return server

    def run(self, *command, seconds=30, under_test=False, input=None, statuses=(0,)):
        """A client to its end; returns its standard output."""
        command = [str(part) for part in command]
        if isinstance(input, str):
            input = input.encode()
        # A group of its own, so that the end of a client that hangs takes its children along.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, cwd=self.work, env=self.env(under_test),
                                   start_new_session=True)
        try:
            out, err = process.communicate(input, timeout=seconds)
        except subprocess.TimeoutExpired:
            fail(f"{' '.join(command[:3])} has not ended after {seconds} s")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        out = out.decode(errors="surrogateescape")
        if statuses is not None and process.returncode not in statuses:
            words = (err.decode(errors="replace").strip() or out.strip()).splitlines()
            fail(f"{os.path.basename(command[0])}: {describe(process.returncode)}: {' / '.join(words[-2:])[:300]}")
        return out

    def file(self, name, content):
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    # ---- files over http, used by five of the servers

    def web_files(self, count=24):
        """Files of many sizes below work/www; returns {name: hash}."""
        source = random.Random(4711)
        sizes = [1, 90, 1023, 4096, 16385, 65536, 70001, 262144]
        sums = {}
        for i in range(count):
            content = source.randbytes(sizes[i % len(sizes)])
            sums[f"file{i:02}.bin"] = hashlib.sha256(content).hexdigest()
            self.file(f"www/file{i:02}.bin", content)
        return sums

    def web_server(self):
        port = free_port()
        # Not `-m http.server`: its backlog of 5 makes parallel clients wait for a second try.
        # On ::1 as well: "localhost" may be that first.
        code = ("import functools, http.server as web, socket, sys, threading\n"
                "class Four(web.ThreadingHTTPServer): request_queue_size = 128\n"
                "class Six(Four): address_family = socket.AF_INET6\n"
                "port = int(sys.argv[2])\n"
                "serve = functools.partial(web.SimpleHTTPRequestHandler, directory=sys.argv[3])\n"
                "try: threading.Thread(target=Six(('::1', port), serve).serve_forever, daemon=True).start()\n"
                "except OSError: pass\n"
                "Four((sys.argv[1], port), serve).serve_forever()")
        helper = self.start(sys.executable, "-c", code, HOST, port, self.work / "www", under_test=False)
        helper.wait_port(port)
        return port

    def fetch(self, sums, base, *options, parallel=8):
        """Every file by curl, a connection for each, `parallel` of them at the same time."""
        got = self.work / "got"
        shutil.rmtree(got, ignore_errors=True)
        got.mkdir()
        lines = "".join(f'url = "{base}/{name}"\noutput = "{got / name}"\n' for name in sums)
        self.run("curl", "-q", "--parallel", "--parallel-immediate", "--parallel-max", parallel, "-sS", "--fail",
                 "--max-time", 20, "-H", "Connection: close", *options, "-K", self.file("curl.conf", lines))
        for name, want in sums.items():
            path = got / name
            if not path.exists():
                fail(f"{base}/{name} was not served")
            if hashlib.sha256(path.read_bytes()).hexdigest() != want:
                fail(f"{base}/{name} came with other content ({path.stat().st_size} bytes)")

    # ---- judgement

    def check_messages(self):
        """The statistics of every process that ended: only fibers, no kernel thread in their place."""
        if self.library is None:
            return
        text = self.messages.read_text(errors="replace")
        complaint = re.search(r"pfiber: (fatal|error|warning): .*", text)
        if complaint:
            fail(complaint[0])
        for line in text.splitlines():
            if "pfiber: stats:" not in line:
                continue
            stats = dict(re.findall(r"(\w+)=(-?\d+)", line))
            self.fibers = max(self.fibers, int(stats["fibers"]))
            if stats["native_fallbacks"] != "0":
                fail(f"native_fallbacks={stats['native_fallbacks']} in process {stats.get('pid', '?')}")
        if self.fibers == 0 and not self.no_statistics:
            fail("no process left statistics with fibers")

    def figures(self):
        peak = max((server.threads_peak for server in self.servers if server.under_test), default=0)
        words = [f"{peak} kernel threads"] if peak else []
        if self.fibers:
            words.append(f"{self.fibers} fibers")
        return ", ".join(words)

    def print_details(self):
        for server in self.servers:
            if server.under_test and self.library and is_alive(server.pid) and LAUNCHER.exists():
                print(f"--- fibers of {server.name}")
                sys.stdout.flush()
                try:
                    subprocess.run([str(LAUNCHER), "dump", str(server.pid)], timeout=5, stderr=subprocess.STDOUT)
                except subprocess.TimeoutExpired:
                    pass
        for path in [*(server.log for server in self.servers if server.under_test), self.messages]:
            lines = path.read_text(errors="replace").splitlines()[-12:]
            if lines:
                print(f"--- end of {path.name}", *(line[:300] for line in lines), sep="\n")

    def close(self):
        self.is_over.set()
        for server in self.servers:
            if server.process.poll() is None or children(server.pid):
                server.kill_group()
            else:
                try:  # children that outlived their parent
                    os.killpg(server.pid, signal.SIGKILL)
                except OSError:
                    pass
        if os.environ.get("KEEP"):
            print(f"kept: {self.work}")
        else:
            shutil.rmtree(self.work, ignore_errors=True)


def main(body, needs, no_statistics=""):
    """Runs body(test), which returns the figure. no_statistics: why the server leaves none."""
    native = sys.argv[1:] == ["--native"]
    if sys.argv[1:] and not native:
        sys.exit(f"usage: {sys.argv[0]} [--native]")
    os.environ["PATH"] = PATHS
    for program in needs:
        if not (os.path.exists(program) if "/" in program else shutil.which(program)):
            print(f"skip: {program} is not installed")
            sys.exit(SKIPPED)
    if not native and not LIBRARY.exists():
        sys.exit(f"fail: {LIBRARY} does not exist: run make first")

    def late(*_):
        fail("out of time")

    signal.signal(signal.SIGALRM, late)
    for how in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(how, lambda number, _: fail(f"interrupted by signal {number}"))
    signal.alarm(int(os.environ.get("SECONDS_MAX", 60)))
    test = Test(None if native else LIBRARY, no_statistics)
    status, last = PASSED, ""
    try:
        figure = body(test)
        test.check_messages()
        last = f"ok: {figure}" + (f"; {test.figures()}" if test.figures() else "")
    except Failure as failure:
        signal.alarm(0)
        status, last = FAILED, f"fail: {' '.join(str(failure).split())}"
        test.print_details()
    finally:
        signal.alarm(0)
        test.close()
    print(last)
    sys.exit(status)
