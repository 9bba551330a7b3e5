// OpenJDK: hundreds of threads, locks, timed waits, sockets, executors, timers, processes, collections of garbage
// that stop every thread.
import java.io.*;
import java.net.*;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.concurrent.locks.*;
import java.util.stream.*;

public class Threads {
    static void counters() throws Exception {
        int[] total = {0};
        Object lock = new Object();
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < 300; i++) {
            Thread thread = new Thread(() -> {
                for (int n = 0; n < 200; n++) synchronized (lock) { total[0]++; }
            }, "worker-" + i);
            threads.add(thread);
            thread.start();
        }
        for (Thread thread : threads) thread.join();
        System.out.println("synchronized " + total[0]);
    }

    static void waits() throws Exception {
        Object monitor = new Object();
        long start = System.nanoTime();
        synchronized (monitor) { monitor.wait(30); }
        System.out.println("wait " + (System.nanoTime() - start >= 30_000_000L));
        start = System.nanoTime();
        LockSupport.parkNanos(5_000_000L);
        ReentrantLock lock = new ReentrantLock(true);
        Condition condition = lock.newCondition();
        lock.lock();
        System.out.println("await " + condition.await(5, TimeUnit.MILLISECONDS));
        lock.unlock();
        Thread sleeper = new Thread(() -> {
            try { Thread.sleep(60_000); System.out.println("slept"); }
            catch (InterruptedException e) { System.out.println("interrupted"); }
        });
        sleeper.start();
        while (sleeper.getState() != Thread.State.TIMED_WAITING) Thread.onSpinWait();
        sleeper.interrupt();
        sleeper.join();
        Semaphore semaphore = new Semaphore(0);
        CountDownLatch latch = new CountDownLatch(100);
        CyclicBarrier barrier = new CyclicBarrier(100);
        for (int i = 0; i < 100; i++) new Thread(() -> {
            try { barrier.await(); semaphore.release(); } catch (Exception e) { throw new RuntimeException(e); }
            latch.countDown();
        }).start();
        latch.await();
        System.out.println("barrier " + semaphore.availablePermits());
    }

    static void executors() throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(64);
        List<Future<Integer>> futures = new ArrayList<>();
        for (int i = 0; i < 2000; i++) { int n = i; futures.add(pool.submit(() -> n % 97)); }
        int sum = 0;
        for (Future<Integer> future : futures) sum += future.get();
        pool.shutdown();
        System.out.println("pool " + sum + " " + pool.awaitTermination(30, TimeUnit.SECONDS));
        System.out.println("parallel " + IntStream.range(0, 1_000_000).parallel().filter(n -> n % 3 == 0).count());
        ScheduledExecutorService timer = Executors.newScheduledThreadPool(4);
        CountDownLatch ticks = new CountDownLatch(10);
        timer.scheduleAtFixedRate(ticks::countDown, 1, 2, TimeUnit.MILLISECONDS);
        ticks.await();
        timer.shutdownNow();
        System.out.println("timer " + CompletableFuture.supplyAsync(() -> 20).thenApplyAsync(n -> n + 1)
            .thenCombine(CompletableFuture.supplyAsync(() -> 2), (a, b) -> a * b).get());
    }

    static void sockets() throws Exception {
        try (ServerSocket server = new ServerSocket(0, 200, InetAddress.getLoopbackAddress())) {
            Thread acceptor = new Thread(() -> {
                try {
                    for (;;) {
                        Socket client = server.accept();
                        new Thread(() -> {
                            try (client) {
                                BufferedReader in = new BufferedReader(new InputStreamReader(client.getInputStream()));
                                PrintWriter out = new PrintWriter(client.getOutputStream(), true);
                                for (String line; (line = in.readLine()) != null;) out.println(line.toUpperCase());
                            } catch (IOException e) { System.out.println(e); }
                        }).start();
                    }
                } catch (SocketException e) { System.out.println("closed"); }
                catch (IOException e) { System.out.println(e); }
            });
            acceptor.start();
            AtomicInteger good = new AtomicInteger();
            List<Thread> clients = new ArrayList<>();
            for (int i = 0; i < 100; i++) {
                int number = i;
                Thread thread = new Thread(() -> {
                    try (Socket socket = new Socket(server.getInetAddress(), server.getLocalPort())) {
                        BufferedReader in = new BufferedReader(new InputStreamReader(socket.getInputStream()));
                        PrintWriter out = new PrintWriter(socket.getOutputStream(), true);
                        for (int n = 0; n < 20; n++) {
                            out.println("line " + number + " " + n);
                            if (in.readLine().equals("LINE " + number + " " + n)) good.incrementAndGet();
                        }
                    } catch (IOException e) { System.out.println(e); }
                });
                clients.add(thread);
                thread.start();
            }
            for (Thread thread : clients) thread.join();
            System.out.println("echo " + good.get());
            server.close();
            acceptor.join();
        }
        try (ServerSocket lonely = new ServerSocket(0)) {
            lonely.setSoTimeout(20);
            lonely.accept();
        } catch (SocketTimeoutException e) { System.out.println("accept timeout"); }
    }

    // From JDK 21 on; older ones print nothing, natively and here.
    static void virtual() throws Exception {
        ExecutorService pool;
        try {
            pool = (ExecutorService) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
        } catch (NoSuchMethodException e) { return; }
        AtomicInteger done = new AtomicInteger();
        for (int i = 0; i < 5000; i++) pool.submit(() -> { Thread.sleep(1); return done.incrementAndGet(); });
        pool.shutdown();
        System.out.println("virtual " + pool.awaitTermination(30, TimeUnit.SECONDS) + " " + done.get());
    }

    static void garbage() throws Exception {
        AtomicLong kept = new AtomicLong();
        AtomicBoolean stop = new AtomicBoolean();
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < 50; i++) {
            Thread thread = new Thread(() -> {
                long n = 0;
                while (!stop.get()) { n += new byte[1024].length; if (n > 20_000_000) break; }
                kept.addAndGet(n > 0 ? 1 : 0);
            });
            threads.add(thread);
            thread.start();
        }
        for (int i = 0; i < 5; i++) System.gc();
        stop.set(true);
        for (Thread thread : threads) thread.join();
        System.out.println("garbage " + kept.get() + " traces " + (Thread.getAllStackTraces().size() > 0));
        try { recurse(0); } catch (StackOverflowError e) { System.out.println("overflow on main"); }
        Thread deep = new Thread(null, () -> {
            try { recurse(0); } catch (StackOverflowError e) { System.out.println("overflow on a thread"); }
        }, "deep", 1 << 20);
        deep.start();
        deep.join();
        try { Object none = System.getProperty("no such"); none.hashCode(); }
        catch (NullPointerException e) { System.out.println("null pointer"); }
    }

    static int recurse(int n) { return recurse(n + 1) + 1; }

    static void processes() throws Exception {
        List<Thread> threads = new ArrayList<>();
        AtomicInteger good = new AtomicInteger();
        for (int i = 0; i < 8; i++) {
            int number = i;
            Thread thread = new Thread(() -> {
                try {
                    Process process = new ProcessBuilder("sh", "-c", "read x; echo $x " + number + "; exit " + number).start();
                    process.getOutputStream().write("hi\n".getBytes());
                    process.getOutputStream().close();
                    String line = new BufferedReader(new InputStreamReader(process.getInputStream())).readLine();
                    if (line.equals("hi " + number) && process.waitFor() == number) good.incrementAndGet();
                } catch (Exception e) { System.out.println(e); }
            });
            threads.add(thread);
            thread.start();
        }
        for (Thread thread : threads) thread.join();
        System.out.println("processes " + good.get());
        Path file = Files.createTempFile("threads", "");
        Files.writeString(file, "text");
        System.out.println("file " + Files.readString(file) + " " + Files.deleteIfExists(file));
        java.lang.management.ThreadMXBean bean = java.lang.management.ManagementFactory.getThreadMXBean();
        System.out.println("cpu time " + (bean.getCurrentThreadCpuTime() > 0) + " deadlocks "
            + (bean.findDeadlockedThreads() == null));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("shutdown hook")));
    }

    public static void main(String[] args) throws Exception {
        counters();
        waits();
        executors();
        sockets();
        virtual();
        garbage();
        processes();
        System.exit(3);
    }
}
