"""CPython: threading, queues, futures, asyncio.to_thread, socketserver, subprocess, multiprocessing by fork, signals."""
import asyncio
import concurrent.futures
import multiprocessing
import os
import queue
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time


def counters():
    lock, total = threading.Lock(), [0]
    barrier = threading.Barrier(50)
    serials = []

    def work():
        if barrier.wait() == 0:
            serials.append(1)
        for _ in range(200):
            with lock:
                total[0] += 1

    threads = [threading.Thread(target=work, name=f"worker-{i}") for i in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("counters", total[0], len(serials), threading.active_count())


def native_ids():
    ids, ready = set(), threading.Barrier(20)

    def work():
        ids.add(threading.get_native_id())
        ready.wait()

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("ids", len(ids), threading.main_thread().native_id == os.getpid(), os.getpid() in ids)


def queues():
    jobs, results = queue.Queue(8), queue.PriorityQueue()

    def work():
        while True:
            job = jobs.get()
            if job is None:
                return
            results.put(job * job)
            jobs.task_done()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for i in range(500):
        jobs.put(i)
    jobs.join()
    for _ in threads:
        jobs.put(None)
    for thread in threads:
        thread.join()
    print("queue", sum(results.get() for _ in range(500)))
    try:
        queue.Queue().get(timeout=0.02)
    except queue.Empty:
        print("queue empty")
    event, condition = threading.Event(), threading.Condition()
    print("event", event.wait(0.01))
    threading.Timer(0.01, event.set).start()
    print("event", event.wait(20))
    with condition:
        print("condition", condition.wait(0.01))


def futures():
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        print("map", sum(pool.map(lambda n: n + 1, range(1000))))
        bad = pool.submit(lambda: 1 // 0)
        print("raised", type(bad.exception()).__name__)
        slow = pool.submit(time.sleep, 0.3)
        try:
            slow.result(timeout=0.01)
        except concurrent.futures.TimeoutError:
            print("timeout")

    async def main():
        values = await asyncio.gather(*(asyncio.to_thread(pow, 2, n) for n in range(64)))
        try:
            await asyncio.wait_for(asyncio.sleep(20), 0.01)
        except asyncio.TimeoutError:
            print("asyncio timeout")
        process = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        out, _ = await process.communicate(b"through cat\n" * 1000)
        return sum(values), len(out), process.returncode

    print("asyncio", asyncio.run(main()))


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


def servers():
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    loop = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    loop.start()
    replies = []

    def client(number):
        with socket.create_connection(server.server_address, timeout=30) as connection:
            stream = connection.makefile("rw")
            for i in range(20):
                stream.write(f"line {number} {i}\n")
                stream.flush()
                replies.append(stream.readline() == f"LINE {number} {i}\n")

    clients = [threading.Thread(target=client, args=(n,)) for n in range(40)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    server.shutdown()
    loop.join()
    server.server_close()
    print("server", len(replies), all(replies))
    with socket.socket() as lonely:
        lonely.bind(("127.0.0.1", 0))
        lonely.listen()
        lonely.settimeout(0.02)
        try:
            lonely.accept()
        except TimeoutError:
            print("accept timeout")


def processes():
    outs = []

    def run(n):
        done = subprocess.run(["sh", "-c", f"read x; echo $x {n}; exit {n % 7}"], input=b"hello\n",
                              stdout=subprocess.PIPE, check=False)
        outs.append((done.stdout == b"hello %d\n" % n) and done.returncode == n % 7)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("subprocess", len(outs), all(outs))
    try:
        subprocess.run(["sleep", "30"], timeout=0.05, check=False)
    except subprocess.TimeoutExpired:
        print("subprocess timeout")
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as pool:
        print("pool", sum(pool.map(abs, range(-200, 0))))
    pipe, other = context.Pipe()
    child = context.Process(target=lambda: other.send(threading.active_count()))
    child.start()
    print("fork", pipe.recv())
    child.join()
    print("exit", child.exitcode)


def signals():
    seen = []
    # Before any other thread: join may return a moment before the thread has ended, which could be
    # the one that is ended by SIGUSR2.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    signal.signal(signal.SIGUSR1, lambda *_: seen.append(threading.current_thread() is threading.main_thread()))
    other = threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGUSR1))
    other.start()
    other.join()
    while not seen:
        time.sleep(0.001)
    print("handler on main", seen)
    got = []
    waiter = threading.Thread(target=lambda: got.append(signal.sigwait([signal.SIGUSR2])))
    waiter.start()
    os.kill(os.getpid(), signal.SIGUSR2)
    waiter.join()
    print("sigwait", got[0] == signal.SIGUSR2)
    signal.signal(signal.SIGALRM, lambda *_: seen.append("alarm"))
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        signal.pause()
    finally:
        print("alarm", seen[-1])

    def interrupted(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupted)
    threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        threading.Event().wait(30)
    except KeyboardInterrupt:
        print("interrupted")


def deep():
    threading.stack_size(16 << 20)
    sys.setrecursionlimit(20000)
    depth = []

    def down(n):
        return 0 if n == 0 else 1 + down(n - 1)

    thread = threading.Thread(target=lambda: depth.append(down(15000)))
    thread.start()
    thread.join()
    threading.stack_size(0)
    print("deep", depth)
    local = threading.local()
    local.value = "main"
    values = []

    def work(n):
        local.value = n
        time.sleep(0.001)
        values.append(local.value == n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("local", all(values), len(values), local.value)


def times():
    start = time.thread_time()
    end = time.monotonic() + 30
    while time.thread_time() - start < 0.02 and time.monotonic() < end:
        pass
    print("thread time", time.thread_time() - start >= 0.02)
    idle = []

    def sleeper():
        begin = time.thread_time()
        time.sleep(0.05)
        idle.append(time.thread_time() - begin < 0.05)

    thread = threading.Thread(target=sleeper)
    thread.start()
    thread.join()
    print("idle", idle)


for part in (counters, native_ids, queues, futures, servers, processes, signals, deep, times):
    part()
    sys.stdout.flush()
