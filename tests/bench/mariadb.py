"""The MariaDB row: stock server, 200 sysbench clients, transactions per second of server CPU."""

import getpass
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

import harness
from harness import Child, Failed, Line, LOAD_CPU, Peak, SERVER_CPU, Settings, paired

CLIENTS, TABLES, ROWS = 200, 4, 10000
MOST_THREADS = 60
NEEDED = ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-admin", "sysbench")


def run(argv, seconds, what):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=seconds, env=harness.environment("native", None))
    if done.returncode != 0:
        raise Failed("%s: %s" % (what, (done.stderr or done.stdout).strip()[-300:]))
    return done.stdout


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    """One server on a data folder of its own."""

    def __init__(self, side, folder, log):
        self.folder, self.port = folder, free_port()
        self.client = ["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-P%d" % self.port,
                       "-u" + getpass.getuser()]
        self.child = Child(side, [
            "mariadbd", "--no-defaults", "--user=" + getpass.getuser(),
            "--datadir=" + os.path.join(folder, "data"), "--socket=" + os.path.join(folder, "s"),
            "--pid-file=" + os.path.join(folder, "pid"), "--tmpdir=" + folder,
            "--port=%d" % self.port, "--bind-address=127.0.0.1", "--back-log=512",
            "--max-connections=%d" % (CLIENTS + 50), "--innodb-buffer-pool-size=128M",
            "--innodb-log-file-size=64M"], SERVER_CPU, 1, log)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                if self.child.process.poll() is not None or time.monotonic() > deadline:
                    raise Failed("does not listen: " + self.child.last_words())
                time.sleep(0.1)
        self.child.loaded()

    def query(self, text, seconds=30):
        return run(["mariadb"] + self.client + ["-N", "-B", "-e", text], seconds, text[:60])

    def sysbench(self, action, extra=()):
        return ["sysbench", "oltp_read_write", "--mysql-host=127.0.0.1",
                "--mysql-port=%d" % self.port, "--mysql-user=" + getpass.getuser(),
                "--tables=%d" % TABLES, "--table-size=%d" % ROWS] + list(extra) + [action]

    def sum_of_k(self):
        return sum(int(self.query("select sum(k) from sbtest.sbtest%d" % t))
                   for t in range(1, TABLES + 1))

    def shutdown(self):
        run(["mariadb-admin"] + self.client + ["shutdown"], 30, "shutdown")
        status = self.child.wait(30)
        if status != 0:
            raise Failed("exit status %d: %s" % (status, self.child.last_words()))


def prepare(folder):
    """Made once, natively; every run starts from a copy."""
    os.mkdir(folder)
    run(["mariadb-install-db", "--no-defaults", "--datadir=" + os.path.join(folder, "data"),
         "--user=" + getpass.getuser(), "--auth-root-authentication-method=normal",
         "--skip-test-db"], 120, "mariadb-install-db")
    server = Server("native", folder, os.path.join(folder, "log"))
    try:
        server.query("create database sbtest")
        run(server.sysbench("prepare"), 60, "sysbench prepare")
        server.shutdown()
    finally:
        server.child.kill()


def committed(client):
    """COMMITs so far, asked over a connection that stays: connecting under load takes too long."""
    client.say("show global status like 'Com_commit';")
    answer = (client.line(60) or "").split()
    if len(answer) != 2:
        raise Failed("the server does not answer")
    return int(answer[1])


def timed(server, seconds):
    """Transactions and server CPU between two looks, while all clients are at work."""
    client = Child("native", ["mariadb"] + server.client + ["-N", "-B", "-n"], LOAD_CPU)
    peak = Peak(server.child.pid)
    warm_up = 2 if seconds > 3 else 1
    load = None
    try:
        committed(client)
        load = Child("native", server.sysbench("run", [
            "--threads=%d" % CLIENTS, "--time=%d" % (seconds + warm_up + 1), "--events=0"]),
            LOAD_CPU)
        deadline = time.monotonic() + 30
        while "Threads started" not in (load.line(30) or "Threads started"):
            if time.monotonic() > deadline:
                raise Failed("sysbench does not start")
        time.sleep(warm_up)
        first, cpu = committed(client), harness.cpu_seconds(server.child.pid)
        start = time.monotonic()
        time.sleep(seconds)
        done, used = committed(client) - first, harness.cpu_seconds(server.child.pid) - cpu
        elapsed = time.monotonic() - start
        report = "\n".join(load.rest(60))
        if load.wait(30) != 0 or done <= 0 or used <= 0:
            raise Failed("sysbench: " + report[-300:])
    finally:
        for one in (client, load):
            if one:
                one.kill()
    return report, {"per_cpu": done / used, "tps": done / elapsed, "threads": peak.stop()}


def fairness(report):
    """Events per client: a server that starves some of them looks fast."""
    found = re.search(r"events \(avg/stddev\):\s+([\d.]+)/([\d.]+)", report)
    if not found:
        raise Failed("no summary by sysbench")
    average, deviation = float(found.group(1)), float(found.group(2))
    if average < 4:
        raise Failed("only %.1f transactions per client: run longer" % average)
    if deviation > 0.5 * average:
        raise Failed("refused: transactions per client %.1f ± %.1f" % (average, deviation))
    return average, deviation


def verify(server):
    """Row counts, CHECK TABLE, and an exact sum.

    Without its delete/insert pair each sysbench transaction adds 1 to the column k of one row, so
    the sum of k has to grow by the number of transactions that sysbench saw committed.
    """
    before = server.sum_of_k()
    output = run(server.sysbench("run", ["--threads=%d" % CLIENTS, "--time=1", "--events=0",
                                         "--delete_inserts=0"]), 60, "sysbench, sum check")
    count = int(re.search(r"transactions:\s+(\d+)", output).group(1))
    grown = server.sum_of_k() - before
    if grown != count:
        raise Failed("sum of k grew by %d in %d transactions" % (grown, count))
    names = ["sbtest.sbtest%d" % t for t in range(1, TABLES + 1)]
    for name in names:
        rows = int(server.query("select count(*) from " + name))
        if rows != ROWS:
            raise Failed("%s has %d rows, not %d" % (name, rows, ROWS))
    checked = server.query("check table %s extended" % ", ".join(names))
    if checked.count("status\tOK") != TABLES:
        raise Failed("CHECK TABLE: " + checked)
    return count


def one_run(template, work, seconds, side, index):
    folder = os.path.join(work, "run")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    server = None
    log = os.path.join(harness.BUILD, "log", "mariadb-%s-%d.log" % (side, index + 1))
    try:
        server = Server(side, folder, log)
        report, result = timed(server, seconds)
        result["average"], result["deviation"] = fairness(report)
        result["summed"] = verify(server)
        server.shutdown()
        return result
    finally:
        if server:
            server.child.kill()
        shutil.rmtree(folder, ignore_errors=True)


def mariadb(report):
    what = "MariaDB, 200 connections, oltp_read_write, one CPU: transactions per s of server CPU"
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        report("skipped: not installed: " + ", ".join(missing))
        return [Line("mariadb", what, "-", "-", "", "≥ 0.95×", None)]
    seconds = 3 if Settings.quick else 8
    work = tempfile.mkdtemp(prefix="bench-mariadb-")
    try:
        template = os.path.join(work, "template")
        prepare(template)
        results = harness.alternate(
            ("native", "pfiber"), 1 if Settings.quick else Settings.rounds,
            lambda side, i: one_run(template, work, seconds, side, i), report)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for side, rounds in results.items():
        for r in [r for r in rounds if r]:
            report("%s: %.0f transactions/s, per client %.0f ± %.1f, kernel threads %d; sum, row "
                   "counts and CHECK TABLE right after %d more" % (
                       side, r["tps"], r["average"], r["deviation"], r["threads"], r["summed"]))
    most = {side: max((r["threads"] for r in rounds if r), default=0)
            for side, rounds in results.items()}
    whole = all(r for rounds in results.values() for r in rounds)
    speed = paired("mariadb", what, results, "per_cpu", "", "≥ 0.95×, every check right",
                   least=0.95)
    speed.reached = speed.reached and whole
    return [speed, Line("mariadb", "the same: kernel threads", str(most["native"] or "-"),
                        str(most["pfiber"] or "-"), "", "< %d" % MOST_THREADS,
                        0 < most["pfiber"] < MOST_THREADS)]
