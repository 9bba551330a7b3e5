"""The rows of the comparison, except MariaDB's: each returns lines of the result table."""

import os
import statistics
import subprocess
import time

import harness
from harness import Child, Failed, Line, LOAD_CPU, Peak, SERVER_CPU, Settings, paired

STACK = "65536"  # the smallest common choice of servers with many threads; the same on both sides
MORE_THREADS = 4  # what may be there besides one kernel thread per processor


def sides(go_program=None):
    names = ["native", "pfiber"]
    if Settings.go and go_program and os.path.exists(os.path.join(harness.BUILD, go_program)):
        names.append("go")
    return names


def program(name):
    return os.path.join(harness.BUILD, name)


def log_path(row, side, index):
    return os.path.join(harness.BUILD, "log", "%s-%s-%d.log" % (row, side, index + 1))


def shorter(full, quick):
    return quick if Settings.quick else full


# --- servers ---------------------------------------------------------------------------------

def serve(row, server, connections, active, seconds, side, index, memory=False):
    """One server, one load on it; what was metered as a dict."""
    argv = [program("echo_go"), "0"] if side == "go" else [program(server), "0", STACK]
    child = Child(side, argv, SERVER_CPU, 1, log_path(row, side, index))
    load = None
    try:
        first = (child.line(10) or "").split()
        if not first or first[0] != "listening":
            raise Failed("%s does not listen: %s" % (server, child.last_words()))
        child.loaded()
        peak = Peak(child.pid)
        if memory:
            time.sleep(1.0)  # what the run before freed reaches the kernel's counters late
            before = harness.memory_kb(child.pid)
        load = Child("native", [program("echo_load"), first[1], str(connections), str(seconds),
                                "--active", str(active), "--sync"], LOAD_CPU)
        await_word(load, "ready", 100, child)
        result = {}
        if memory:
            time.sleep(1.0)
            after = harness.memory_kb(child.pid)
            for name in before:
                result["kb " + name] = (after[name] - before[name]) / connections
            result["kb"] = sum(after[n] - before[n] for n in before) / connections
        own = harness.cpu_seconds(child.pid)
        load.say("go")
        await_word(load, "done", seconds + 30, child)
        used = harness.cpu_seconds(child.pid) - own
        load.say("end")
        lines = load.rest(100)
        if load.wait(10) != 0:
            raise Failed("; ".join(lines))
        for item in lines[0].split():
            name, value = item.split("=")
            result[name] = float(value)
        result["threads"] = peak.stop()
        result["cpu_us"] = used * 1e6 / result["requests"]
        status = child.stop(20)
        if side != "go" and status != 0:
            raise Failed("exit status %d: %s" % (status, child.last_words()))
        return result
    finally:
        for one in (load, child):
            if one:
                one.kill()


def await_word(load, word, seconds, server):
    got = load.line(seconds)
    if got != word:
        lines = [got or "the load ended"] + load.rest(5)
        raise Failed("%s %s" % ("; ".join(lines), server.last_words()))


def served(results, report):
    """What a reader needs to trust the figures: how much was served, and how evenly."""
    for side, rounds in results.items():
        good = [r for r in rounds if r]
        if not good:
            continue
        middle = lambda key: statistics.median(r[key] for r in good)
        report("%s: accepted %.0f, active %.0f, requests %s, bytes %s, share %.0f/%.0f/%.0f, "
               "%s req/s, p50 %s us, p99 %s us, kernel threads %d, other CPU use %.0f %%" % (
                   side, middle("accepted"), middle("active"),
                   format(sum(r["requests"] for r in good), ",.0f"),
                   format(sum(r["bytes"] for r in good), ",.0f"),
                   min(r["share_min"] for r in good), middle("share_median"),
                   max(r["share_max"] for r in good), format(middle("req_s"), ",.0f"),
                   harness.number(middle("p50_us")), harness.number(middle("p99_us")),
                   max(r["threads"] for r in good), 100 * max(r["foreign"] for r in good)))


def threads_line(row, results, what="kernel threads, most seen"):
    most = {side: max((r["threads"] for r in rounds if r), default=None)
            for side, rounds in results.items()}
    reached = most["pfiber"] is not None and most["pfiber"] <= 1 + MORE_THREADS
    text = {side: "-" if n is None else format(n, ",") for side, n in most.items()}
    return Line(row, what, text["native"], text["pfiber"], "", "≤ GOMAXPROCS + %d" % MORE_THREADS,
                reached, text.get("go", ""))


def echo1000(report):
    results = harness.alternate(
        sides("echo_go"), shorter(Settings.rounds, 2),
        lambda side, i: serve("echo1000", "echo_server", 1000, 1000, shorter(4, 2), side, i),
        report)
    served(results, report)
    return [paired("echo1000", "echo, 1,000 connections, 64 B, one CPU: server CPU per request",
                   results, "cpu_us", "us", "≤ 0.5×", most=0.5)]


def echo8000idle(report):
    results = harness.alternate(
        sides("echo_go"), shorter(min(3, Settings.rounds), 1),
        lambda side, i: serve("echo8000idle", "echo_server", 8000, 100, shorter(2, 1), side, i,
                              memory=True), report)
    served(results, report)
    for side, rounds in results.items():
        good = [r for r in rounds if r]
        if good:
            report("%s, KB per connection: %s" % (side, ", ".join(
                "%s %.1f" % (n, statistics.median(r["kb " + n] for r in good))
                for n in ("rss", "page tables", "kernel stacks", "slab"))))
    return [threads_line("echo8000idle", results,
                         "echo, 8,000 connections of which 100 active: kernel threads"),
            paired("echo8000idle", "the same: memory per connection", results, "kb", "KB",
                   "≤ 0.4×", most=0.4),
            paired("echo8000idle", "the same: server CPU per request", results, "cpu_us", "us")]


def stdio1000(report):
    results = harness.alternate(
        sides(), shorter(min(3, Settings.rounds), 1),
        lambda side, i: serve("stdio1000", "stdio_server", 1000, 1000, shorter(3, 2), side, i),
        report)
    served(results, report)
    return [threads_line("stdio1000", results, "stdio server, 1,000 connections: kernel threads"),
            paired("stdio1000", "the same: server CPU per request", results, "cpu_us", "us")]


# --- micro -----------------------------------------------------------------------------------

def micro(side, name, count="", cpus=SERVER_CPU, gomaxprocs=1, seconds=60, env=None):
    """One sub-command of micro; {name: value}, CPU time where it is given, else wall time."""
    argv = [program("micro_go" if side == "go" else "micro"), name] + ([count] if count else [])
    child = Child(side, argv, cpus, gomaxprocs, log_path("micro-" + name, side, 0), env)
    try:
        lines = child.rest(seconds)
        status = child.wait(10)
        if status != 0:
            raise Failed("micro %s: exit status %d %s %s" % (name, status, "; ".join(lines),
                                                             child.last_words()))
        child.not_refused()
    finally:
        child.kill()
    values = {}
    for line in lines:
        fields = line.split()
        if fields[0].endswith("-stopped"):
            values["stopped"] = " ".join(fields[2:])
        else:
            values[fields[0]] = float(fields[-1])
    return values


GO_MICRO = ("create", "burst", "condpp", "sempp", "mutex1", "mutex8", "yield8", "ring8", "rwlock8",
            "nanosleep", "hog", "fileserve")


def micro_row(name, what, target, most, rounds=None):
    def row(report):
        results = harness.alternate(sides("micro_go" if name in GO_MICRO else None),
                                    rounds or Settings.rounds,
                                    lambda side, i: micro(side, name), report)
        return [paired(name, what, results, name, "ns", target, most=most)]
    return row


condpp = micro_row("condpp", "mutex+cond ping-pong of two threads, one CPU: CPU per hand-over",
                   "≤ 0.15×", 0.15)
create = micro_row("create", "pthread_create + join, one processor: CPU each", "≤ 0.15×", 0.15)
mutex1 = micro_row("mutex1", "uncontended mutex lock + unlock: CPU each", "≤ 1.2×", 1.2)


def micro_all(cpus, gomaxprocs, label):
    def row(report):
        lines = []
        for name in ("create", "burst", "condpp", "sempp", "pipepp", "sockpp", "mutex1", "mutex8",
                     "yield8", "ring8", "rwlock8", "nanosleep", "hog", "fsync64", "fileserve"):
            results = harness.alternate(
                sides("micro_go" if name in GO_MICRO else None), min(3, Settings.rounds),
                lambda side, i: micro(side, name, "", cpus, gomaxprocs), report)
            first = next((r for r in results["native"] if r), {})
            keys = [key for key in first if key != "foreign"]
            lines += [paired(label, key, results, key, "ns") for key in keys]
        return lines
    return row



def blocking(report):
    """Calls that block in the kernel, on one CPU and on two: CPU time of each operation."""
    lines = []
    for label, cpus, gomaxprocs in (("1 CPU", SERVER_CPU, 1), ("2 CPUs", "0,1", 2)):
        for name, what in (("servecached", "open, read, close of a cached file"),
                           ("servefiles", "the same, one file in eight not in the cache"),
                           ("semping", "ping to another process by System V semaphores"),
                           ("fifoopen", "open of a FIFO, both ends"),
                           ("slowstat", "stat on a file system that takes 0.3 ms")):
            results = harness.alternate(
                sides(), min(3, Settings.rounds),
                lambda side, i: micro(side, name, "", cpus, gomaxprocs), report)
            for side, rounds in results.items():
                for one in [r for r in rounds if r and "stopped" in r]:
                    report("%s %s: %s" % (name, side, one["stopped"]))
            lines.append(paired("blocking", "%s: %s, CPU each" % (label, what), results, name, "ns"))
        results = harness.alternate(
            sides(), min(3, Settings.rounds),
            lambda side, i: micro(side, "fsync64", "", cpus, gomaxprocs), report)
        lines.append(paired("blocking", "%s: a counting thread beside 64 in fsync, per count" % label,
                            results, "fsync64-count", "ns"))
    return lines


FAIR = (("convoy", "from pthread_create to the first instruction, beside 4 that compute"),
        ("newtask", "the same, beside 4 that yield every 20 us"),
        ("pairtasks", "hand-over to a partner and back, beside 4 that compute"),
        ("readyio", "from another process's write to the end of read, beside 4 that yield"),
        ("timercalls", "how late a sleep of 1 ms ends, beside 4 with a call every 20 us"),
        ("lockagain", "wait for a mutex that 4 take again at once"))


def fairness(report):
    """How long somebody waits beside busy threads, on one CPU: medians and the slowest per cent."""
    lines = []
    for name, what in FAIR:
        results = harness.alternate(
            sides(), min(3, Settings.rounds),
            lambda side, i: micro(side, name, "", SERVER_CPU, 1), report)
        for part in ("p50", "p99"):
            lines.append(paired("fairness", "%s: %s" % (what, part), results,
                                "%s-%s" % (name, part), "ns"))
    return lines


micro1 = micro_all(SERVER_CPU, 1, "micro1")
micro2 = micro_all("0,1", 2, "micro2")


def alive100000(report):
    """Where every thread is a kernel thread it runs with fewer, so that others can start too."""
    pid_max = int(open("/proc/sys/kernel/pid_max").read())
    few = min(20000, pid_max // 2)
    counts = {"native": few, "pfiber": 100000, "go": 100000}
    try:
        if micro("pfiber", "alive", "2000", "0,1", 2)["alive-kernel-threads"] > 1000:
            report("pfiber: its threads are kernel threads, so no run with 100,000")
            counts["pfiber"] = few
    except (Failed, KeyError) as error:
        report("pfiber, 2,000 threads: %s" % error)
        counts["pfiber"] = few
    results = harness.alternate(
        sides("micro_go"), shorter(min(3, Settings.rounds), 1),
        lambda side, i: micro(side, "alive", str(counts[side]), "0,1", 2), report)
    for side, rounds in results.items():
        for one in [r for r in rounds if r]:
            report("%s: %s" % (side, ", ".join(
                "%s %s" % (k.replace("alive-", ""), v if isinstance(v, str) else harness.number(v))
                for k, v in one.items() if k != "foreign")))
    most, go = (max((r["alive-reached"] for r in results.get(side, []) if r), default=0)
                for side in ("pfiber", "go"))
    return [Line("alive100000", "pthreads alive at once", "< %s (kernel.pid_max)" %
                 format(pid_max, ","), format(most, ",.0f"), "", "100,000", most >= 100000,
                 format(go, ",.0f") if go else ""),
            paired("alive100000", "memory per blocked thread (native: %s threads)" %
                   format(few, ","), results, "alive-kb-total", "KB")]


# --- programs without threads ----------------------------------------------------------------

PROGRAMS = (["bash", "-c", "true"], ["ls"], ["git", "--version"], ["gcc", "--version"])


def nothreads(report):
    lines = []
    for argv in PROGRAMS:
        said = [subprocess.run(harness.command(side, argv, None), capture_output=True, timeout=20,
                               env=harness.environment(side, None), cwd=harness.TOP)
                for side in ("native", "pfiber")]
        same = all(getattr(said[0], part) == getattr(said[1], part)
                   for part in ("stdout", "stderr", "returncode"))
        child = Child("native", [program("micro"), "startup", str(shorter(300, 60))] + argv,
                      SERVER_CPU, env={"STARTUP_PRELOAD": Settings.library})
        name = " ".join(argv)
        try:
            output = child.rest(60)
            value = {k: (float(wall) / 1e6, float(cpu) / 1e6)
                     for k, wall, cpu in (line.split() for line in output)}
            cost = value["startup-cost"]
        except (Failed, ValueError, KeyError) as error:
            report("%s: %s" % (name, error))
            lines.append(Line("nothreads", "`%s`" % name, "-", "-", "", "< 1 ms", False))
            continue
        finally:
            child.kill()
        report("%s: same output: %s; CPU %.2f ms, with preload %.2f ms" % (
            name, "yes" if same else "NO", value["startup-native"][1], value["startup-preload"][1]))
        lines.append(Line("nothreads", "`LD_PRELOAD` on `%s`: start-up time" % name,
                          "%.2f ms" % value["startup-native"][0],
                          "%.2f ms" % value["startup-preload"][0], "%+.2f ms" % cost[0],
                          "same output, < 1 ms more", same and cost[0] < 1))
    return lines
