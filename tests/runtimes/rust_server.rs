// Rust's std: threads, channels, Mutex, Condvar, RwLock, Barrier, park, scoped threads, thread locals, panics, TCP, processes.
use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Barrier, Condvar, Mutex, Once, RwLock};
use std::thread;
use std::time::{Duration, Instant};

struct Dropped(Arc<AtomicUsize>);
impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
thread_local! {
    static LOCAL: Cell<u32> = Cell::new(7);
    static KEPT: std::cell::RefCell<Option<Dropped>> = std::cell::RefCell::new(None);
}

fn main() {
    let total = Arc::new(Mutex::new(0));
    let handles: Vec<_> = (0..200)
        .map(|_| {
            let total = total.clone();
            thread::spawn(move || (0..500).for_each(|_| *total.lock().unwrap() += 1))
        })
        .collect();
    handles.into_iter().for_each(|h| h.join().unwrap());
    println!("mutex {}", *total.lock().unwrap());

    let (sender, receiver) = mpsc::sync_channel(4);
    for n in 0..20u64 {
        let sender = sender.clone();
        thread::spawn(move || (0..100).for_each(|i| sender.send(n * i).unwrap()));
    }
    drop(sender);
    println!("channel {}", receiver.iter().sum::<u64>());
    let (_keep, none) = mpsc::channel::<u8>();
    println!("timeout {:?}", none.recv_timeout(Duration::from_millis(5)));

    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let other = pair.clone();
    let waiter = thread::spawn(move || {
        let guard = other.0.lock().unwrap();
        let _guard = other.1.wait_while(guard, |ready| !*ready).unwrap();
        "woken"
    });
    *pair.0.lock().unwrap() = true;
    pair.1.notify_all();
    println!("condvar {}", waiter.join().unwrap());
    let guard = pair.0.lock().unwrap();
    println!("timed {}", pair.1.wait_timeout(guard, Duration::from_millis(5)).unwrap().1.timed_out());

    let parked = thread::spawn(|| {
        thread::park();
        thread::current().name().map(str::to_string)
    });
    parked.thread().unpark();
    println!("park {:?}", parked.join().unwrap());
    let start = Instant::now();
    thread::park_timeout(Duration::from_millis(5));
    thread::sleep(Duration::from_millis(5));
    println!("slept {}", start.elapsed() >= Duration::from_millis(5));

    let (lock, barrier, once) = (RwLock::new(0), Barrier::new(30), Once::new());
    let (leaders, calls) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for i in 0..30 {
            let (lock, barrier, leaders, calls, once) = (&lock, &barrier, &leaders, &calls, &once);
            scope.spawn(move || {
                once.call_once(|| { calls.fetch_add(1, Ordering::SeqCst); });
                if barrier.wait().is_leader() {
                    leaders.fetch_add(1, Ordering::SeqCst);
                }
                if i % 3 == 0 { *lock.write().unwrap() += i } else { let _ = *lock.read().unwrap(); }
            });
        }
    });
    println!("scope {} leaders {} once {}", *lock.read().unwrap(), leaders.into_inner(), calls.into_inner());

    let drops = Arc::new(AtomicUsize::new(0));
    let locals: u32 = (0..50)
        .map(|i| {
            let drops = drops.clone();
            thread::spawn(move || {
                KEPT.with(|k| *k.borrow_mut() = Some(Dropped(drops)));
                LOCAL.with(|l| { l.set(l.get() + i); thread::yield_now(); l.get() })
            })
        })
        .map(|h| h.join().unwrap())
        .sum();
    println!("locals {} main {} dropped {}", locals, LOCAL.with(|l| l.get()), drops.load(Ordering::SeqCst));
    std::panic::set_hook(Box::new(|_| {}));
    let failed = thread::spawn(|| { if true { panic!("on purpose") } }).join();
    println!("panic {:?}", failed.unwrap_err().downcast_ref::<&str>());
    let named = thread::Builder::new().name("a name".into()).stack_size(1 << 20);
    println!("named {:?}", named.spawn(|| thread::current().name().map(str::to_string)).unwrap().join().unwrap());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || {
                let mut out = stream.try_clone().unwrap();
                for line in BufReader::new(stream).lines() {
                    writeln!(out, "{}", line.unwrap().to_uppercase()).unwrap();
                }
            });
        }
    });
    let good: usize = (0..100)
        .map(|n| {
            thread::spawn(move || {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                let mut out = stream.try_clone().unwrap();
                let mut lines = BufReader::new(stream).lines();
                (0..20)
                    .filter(|i| {
                        writeln!(out, "line {} {}", n, i).unwrap();
                        lines.next().unwrap().unwrap() == format!("LINE {} {}", n, i)
                    })
                    .count()
            })
        })
        .collect::<Vec<_>>()
        .into_iter()
        .map(|h| h.join().unwrap())
        .sum();
    println!("echo {}", good);
    let quiet = TcpStream::connect(address).unwrap();
    quiet.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    println!("read timeout {:?}", (&quiet).read(&mut [0; 4]).unwrap_err().kind());

    let outputs = (0..8)
        .map(|n| {
            thread::spawn(move || {
                let mut child = Command::new("sh").args(["-c", "read x; echo $x"]).stdin(Stdio::piped())
                    .stdout(Stdio::piped()).spawn().unwrap();
                writeln!(child.stdin.take().unwrap(), "{}", n).unwrap();
                let done = child.wait_with_output().unwrap();
                done.status.success() && done.stdout == format!("{}\n", n).into_bytes()
            })
        })
        .collect::<Vec<_>>();
    println!("processes {}", outputs.into_iter().filter(|_| true).map(|h| h.join().unwrap()).filter(|&ok| ok).count());
    println!("parallelism {}", thread::available_parallelism().is_ok());
}
