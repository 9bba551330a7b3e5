"""Starting, metering and stopping the processes of a benchmark, and the arithmetic on results."""

import atexit
import os
import select
import statistics
import subprocess
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, "build", "bench")
SERVER_CPU, LOAD_CPU = "0", "1"
MOST_FOREIGN = 0.3  # of one CPU: from here on a run is repeated


class Failed(Exception):
    """A run that must not be counted, with the reason."""


class Settings:
    """What the command line chose."""

    library = os.environ.get("PFIBER_SO") or os.path.join(TOP, "build", "libpfiber.so")
    rounds = 5
    quick = False
    go = False
    quiet_seconds = 10
    no_repeats_after = 0  # monotonic time; keeps a run on a busy machine within bounds


def environment(side, gomaxprocs):
    """The environment of one side; PFIBER_* of the caller pass through, so variants can be run."""
    env = dict(os.environ)
    for name in ("LD_PRELOAD", "GOMAXPROCS", "PFIBER_SO"):
        env.pop(name, None)
    if gomaxprocs and side != "native":
        env["GOMAXPROCS"] = str(gomaxprocs)
    return env


def command(side, argv, cpus):
    """taskset and env exec in place, so the pid is the program's and neither runs preloaded."""
    prefix = ["taskset", "-c", cpus] if cpus else []
    if side == "pfiber":
        prefix += ["env", "LD_PRELOAD=" + Settings.library]
    return prefix + argv


_running = []


class Child:
    """A process of ours, reached line by line; ends with us at the latest."""

    def __init__(self, side, argv, cpus=None, gomaxprocs=None, log=None, env=None):
        self.side = side
        self.log = log
        err = open(log, "wb") if log else subprocess.DEVNULL
        self.process = subprocess.Popen(
            command(side, argv, cpus), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err,
            env=dict(environment(side, gomaxprocs), **(env or {})), bufsize=0)
        if log:
            err.close()
        self.pid = self.process.pid
        self.buffer = b""
        _running.append(self)

    def line(self, seconds):
        """Next line of output; None at its end."""
        deadline = time.monotonic() + seconds
        fd = self.process.stdout.fileno()
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise Failed("%s: no output for %d s" % (self.process.args[-1], seconds))
            data = os.read(fd, 65536)
            if not data:
                rest, self.buffer = self.buffer, b""
                return rest.decode(errors="replace") or None
            self.buffer += data
        text, self.buffer = self.buffer.split(b"\n", 1)
        return text.decode(errors="replace")

    def rest(self, seconds):
        """All remaining lines."""
        lines = []
        deadline = time.monotonic() + seconds
        while True:
            text = self.line(max(0.1, deadline - time.monotonic()))
            if text is None:
                return lines
            lines.append(text)

    def say(self, text):
        try:
            self.process.stdin.write((text + "\n").encode())
        except BrokenPipeError:
            raise Failed("ended too early: " + self.buffer.decode(errors="replace"))

    def loaded(self):
        """With a preload that was refused both columns would show native."""
        if self.side != "pfiber":
            return
        with open("/proc/%d/maps" % self.pid) as maps:
            if os.path.realpath(Settings.library) not in maps.read():
                raise Failed("%s is not mapped in the process" % Settings.library)

    def not_refused(self):
        """The same for programs that may be gone before their maps could be read."""
        if self.side == "pfiber" and self.log:
            with open(self.log, errors="replace") as file:
                if "cannot be preloaded" in file.read():
                    raise Failed("%s cannot be preloaded" % Settings.library)

    def wait(self, seconds):
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed("still runs after %d s" % seconds)
        self.forget()
        return status

    def stop(self, seconds=10):
        """SIGTERM, then wait for the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.wait(seconds)

    def forget(self):
        for stream in (self.process.stdin, self.process.stdout):
            stream.close()
        if self in _running:
            _running.remove(self)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.forget()

    def last_words(self):
        if not self.log:
            return ""
        with open(self.log, errors="replace") as file:
            lines = file.read().strip().splitlines()
        return " | ".join(lines[-2:])[:300]


@atexit.register
def kill_all():
    for child in list(_running):
        child.kill()


def read_fields(path, names):
    found = {}
    with open(path) as file:
        for line in file:
            name, _, value = line.partition(":")
            if name in names:
                found[name] = int(value.split()[0])
    return found


def cpu_seconds(pid):
    """User and system time of a process, ended threads included."""
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def machine_busy():
    """CPU seconds that the whole machine has been busy."""
    with open("/proc/stat") as file:
        fields = [int(x) for x in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICK


def memory_kb(pid):
    """The four places where a connection's memory goes; the last two are the machine's."""
    own = read_fields("/proc/%d/status" % pid, ("VmRSS", "VmPTE"))
    machine = read_fields("/proc/meminfo", ("KernelStack", "Slab"))
    return {"rss": own["VmRSS"], "page tables": own["VmPTE"],
            "kernel stacks": machine["KernelStack"], "slab": machine["Slab"]}


class Peak:
    """Most kernel threads of a process, sampled every 50 ms.

    From the status file: listing /proc/PID/task would itself create thousands of kernel objects.
    """

    def __init__(self, pid):
        self.pid = pid
        self.threads = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)
        self.thread.start()

    def sample(self):
        while not self.ended.is_set():
            try:
                now = read_fields("/proc/%d/status" % self.pid, ("Threads",))
            except (OSError, ValueError):
                return
            self.threads = max(self.threads, now.get("Threads", 0))
            self.ended.wait(0.05)

    def stop(self):
        self.ended.set()
        self.thread.join()
        return self.threads


def wait_until_quiet():
    """Waits for a second with under 5 % of the machine busy; gives up after some seconds."""
    cpus = os.cpu_count()
    end = time.monotonic() + Settings.quiet_seconds
    while True:
        before, start = machine_busy(), time.monotonic()
        time.sleep(min(1.0, max(0.2, Settings.quiet_seconds / 4)))
        busy = (machine_busy() - before) / (time.monotonic() - start) / cpus
        if busy < 0.05 or time.monotonic() > end:
            return busy


def number(value):
    if abs(value) >= 1000:
        return format(value, ",.0f")
    return "%.3g" % value


def spread(values, unit=""):
    """Median [lowest..highest]."""
    if not values:
        return "-"
    middle = number(statistics.median(values)) + (" " + unit if unit else "")
    if len(values) == 1:
        return middle
    return "%s [%s..%s]" % (middle, number(min(values)), number(max(values)))


class Line:
    """One line of the result table."""

    def __init__(self, row, what, native, pfiber, ratio="", target="", reached=None, go="",
                 go_ratio=""):
        self.row, self.what, self.native, self.pfiber = row, what, native, pfiber
        self.ratio, self.target, self.reached = ratio, target, reached
        self.go, self.go_ratio = go, go_ratio


def paired(row, what, results, key, unit, target="", most=None, least=None):
    """A line from per-round results: {side: [dict or None per round]}."""
    value = {side: [r[key] if r and key in r else None for r in rounds]
             for side, rounds in results.items()}

    def ratios(above, below):
        return [a / b for a, b in zip(value.get(above, []), value.get(below, []))
                if a is not None and b]

    def shown(side):
        return spread([v for v in value.get(side, []) if v is not None], unit)

    ratio = ratios("pfiber", "native")
    disturbed = ratio and any(r and r["foreign"] > MOST_FOREIGN for rounds in results.values()
                              for r in rounds)
    reached = None
    if most is not None:
        reached = bool(ratio) and statistics.median(ratio) <= most
    if least is not None:
        reached = bool(ratio) and statistics.median(ratio) >= least
    return Line(row, what, shown("native"), shown("pfiber"),
                spread(ratio) + (" (disturbed)" if disturbed else ""), target, reached,
                shown("go") if "go" in value else "", spread(ratios("pfiber", "go")))


def own_cpu():
    """CPU seconds of this process and of all children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def once(run, side, index, report):
    """One run; the result carries what part of a CPU others used meanwhile."""
    busy, own, start = machine_busy(), own_cpu(), time.monotonic()
    try:
        result = run(side, index)
    except (Failed, OSError, ValueError, subprocess.SubprocessError) as error:
        report("%s, round %d: %s" % (side, index + 1, error))
        return None
    foreign = machine_busy() - busy - (own_cpu() - own)
    result["foreign"] = max(0.0, foreign) / max(0.1, time.monotonic() - start)
    return result


def alternate(sides, rounds, run, report):
    """run(side, round) for every side in every round, the order turned round each time.

    A run that failed, or beside which others used much CPU, is repeated once.  Of two good runs
    the less disturbed one counts; what failed twice stays empty.
    """
    results = {side: [None] * rounds for side in sides}
    for index in range(rounds):
        for side in sides if index % 2 == 0 else list(reversed(sides)):
            result = once(run, side, index, report)
            late = time.monotonic() > Settings.no_repeats_after
            if not late and (result is None or result["foreign"] > MOST_FOREIGN):
                wait_until_quiet()
                again = once(run, side, index, report)
                if result is None or (again and again["foreign"] < result["foreign"]):
                    result = again
            if result and result["foreign"] > MOST_FOREIGN:
                report("%s, round %d: others used %.0f %% of a CPU meanwhile" % (
                    side, index + 1, 100 * result["foreign"]))
            results[side][index] = result
    return results
