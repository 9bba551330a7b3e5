// The simulated programs.
#include "tests/sim/workload.h"
#include "tests/sim/workloads.h"

#include <memory>

namespace pfiber::sim {

namespace {

constexpr int64_t kUs = 1000, kMs = 1000000;

// Pairs that wake each other in turn.
void ping_pong() {
    const int64_t pairs = g_program.between(1, 2 * g_config.processors + 2);
    const int64_t rounds = g_program.between(10, 60);
    Group group(2 * pairs);
    struct Pair {
        Semaphore ping, pong;
    };
    for (int64_t i = 0; i < pairs; i++) {
        auto pair = std::make_shared<Pair>();
        go([pair, rounds, &group] {
            for (int64_t k = 0; k < rounds; k++) {
                pair->ping.post();
                pair->pong.take();
            }
            group.done();
        });
        go([pair, rounds, &group] {
            for (int64_t k = 0; k < rounds; k++) {
                pair->ping.take();
                burn(g_program.skewed(5 * kUs));
                pair->pong.post();
            }
            group.done();
        });
    }
    group.wait();
}

// A bounded buffer with several ends.
void producers() {
    const int64_t ends = g_program.between(1, 8), items = g_program.between(20, 120);
    Semaphore full, room;
    room.count = g_program.between(1, 4);
    Group group(2 * ends);
    for (int64_t i = 0; i < ends; i++) {
        go([&, items] {
            for (int64_t k = 0; k < items; k++) {
                room.take();
                burn(g_program.skewed(10 * kUs));
                full.post();
            }
            group.done();
        });
        go([&, items] {
            for (int64_t k = 0; k < items; k++) {
                full.take();
                if (g_program.one_in(8)) let_others();
                room.post();
            }
            group.done();
        });
    }
    group.wait();
}

// Many short fibers that make more: overflows the ring.
void spawn_tree(int depth, Group* group) {
    const int64_t children = depth == 0 ? 0 : 3;
    for (int64_t i = 0; i < children; i++)
        go([depth, group] {
            burn(g_program.skewed(3 * kUs));
            spawn_tree(depth - 1, group);
            group->done();
        });
}

void mass_spawn() {
    int64_t all = 0, level = 1;
    const int depth = static_cast<int>(g_program.between(2, 5));
    for (int i = 0; i < depth; i++) all += level *= 3;
    const int64_t flat = g_program.one_in(2) ? 400 : 0;
    Group group(all + flat);
    spawn_tree(depth, &group);
    for (int64_t i = 0; i < flat; i++) go([&group] { group.done(); });
    group.wait();
}

void sleepers() {
    const int64_t fibers = g_program.between(1, 60);
    Group group(fibers);
    for (int64_t i = 0; i < fibers; i++)
        go([&group] {
            const int64_t naps = g_program.between(1, 12);
            for (int64_t k = 0; k < naps; k++) {
                sleep_for(g_program.skewed(3 * kMs));
                if (g_program.one_in(3)) burn(g_program.skewed(100 * kUs));
            }
            group.done();
        });
    group.wait();
}

// ---- sockets

struct Client {
    File* file = nullptr;
    int64_t left = 0;  // requests still to be sent
    int64_t unanswered = 0;
};
std::vector<std::unique_ptr<Client>> clients;

int64_t soon(int64_t most_ns) { return g_machine.now_ns() + 1 + g_program.skewed(most_ns); }

// A client's reaction to each answer: think, send the next request or go.
void on_answer(File* file) {
    Client* client = clients[static_cast<size_t>(file->peer)].get();
    g_machine.at(soon(80 * kUs), [client, file] {
        g_kernel.peer_reads(file, 1);
        client->unanswered--;
        if (client->unanswered > 0) return;
        if (client->left == 0) {
            g_kernel.peer_ends(file);
            return;
        }
        const int64_t burst = 1 + g_program.below(client->left < 3 ? client->left : 3);
        client->left -= burst;
        client->unanswered = burst;
        g_machine.at(soon(500 * kUs), [file, burst] { g_kernel.peer_sends(file, burst); });
    });
}

Client* new_client(int64_t requests) {
    clients.push_back(std::make_unique<Client>());
    clients.back()->left = requests - 1;
    clients.back()->unanswered = 1;
    return clients.back().get();
}

// One connection, served until the client ends it.
void serve(int fd, int64_t expected, int64_t work_ns, Group* group) {
    int64_t served = 0;
    for (;;) {
        const long got = socket_receive(fd);
        if (got == 0) break;
        if (got != 1) fail("receive: %ld", got);
        burn(g_program.skewed(work_ns));
        if (socket_send(fd) != 1) fail("send failed");
        served++;
    }
    if (served != expected)
        fail("B1: %lld requests served of %lld", (long long)served, (long long)expected);
    socket_close(fd);
    group->done();
}

// Thread per connection behind a listener.
void echo() {
    const int64_t connections = g_program.between(1, 40), requests = g_program.between(1, 12);
    const int64_t work = g_program.one_in(3) ? 100 * kUs : 5 * kUs;
    const int listener = g_kernel.open_socket(FileKind::kListener);
    File* listening = g_kernel.file(listener);
    for (int64_t i = 0; i < connections; i++) {
        new_client(requests);
        g_machine.at(soon(2 * kMs),
                     [listening, i] { g_kernel.peer_connects(listening, static_cast<int>(i)); });
    }
    Group group(connections);
    for (int64_t i = 0; i < connections; i++) {
        const auto fd = static_cast<int>(socket_accept(listener));
        if (fd < 0) fail("accept: %d", fd);
        File* file = g_kernel.file(fd);
        clients[static_cast<size_t>(file->peer)]->file = file;
        file->on_sent = on_answer;
        file->capacity = file->room = g_program.between(1, 4);
        go([fd, requests, work, &group] { serve(fd, requests, work, &group); });
        g_machine.at(soon(100 * kUs), [file] { g_kernel.peer_sends(file, 1); });
    }
    group.wait();
}

// More descriptors become ready at one moment than one look at an instance returns.
void burst() {
    const int64_t connections = g_program.between(100, 400), rounds = g_program.between(1, 4);
    Group group(connections);
    std::vector<File*> files;
    for (int64_t i = 0; i < connections; i++) {
        const int fd = g_kernel.open_socket(FileKind::kSocket);
        files.push_back(g_kernel.file(fd));
        go([fd, rounds, &group] {
            for (int64_t k = 0; k < rounds; k++)
                if (socket_receive(fd) != 1) fail("receive failed");
            group.done();
        });
    }
    for (int64_t k = 0; k < rounds; k++)
        g_machine.at(g_machine.now_ns() + (k + 1) * 20 * kMs, [files] {
            for (File* file : files) g_kernel.peer_sends(file, 1);
        });
    group.wait();
}

// Several fibers wait at one socket; each message is one fiber's.  One edge stands for several
// messages: whoever takes one tells the next (B2).
void shared_socket() {
    const bool one_each = g_program.one_in(2);
    const int64_t messages = g_program.between(20, 100);
    const int64_t readers = one_each ? messages : g_program.between(2, 12);
    const int fd = g_kernel.open_socket(FileKind::kSocket);
    File* file = g_kernel.file(fd);
    int64_t got = 0;
    Group group(readers);
    for (int64_t i = 0; i < readers; i++)
        go([&, fd, one_each] {
            while (socket_receive(fd) == 1) {
                got++;
                if (one_each) break;
                burn(g_program.skewed(20 * kUs));
            }
            group.done();
        });
    for (int64_t sent = 0; sent < messages;) {
        int64_t count = g_program.between(1, 4);
        if (count > messages - sent) count = messages - sent;
        sent += count;
        sleep_for(g_program.skewed(200 * kUs));
        g_kernel.peer_sends(file, count);
    }
    for (int i = 0; i < 40 && got < messages; i++) sleep_for(5 * kMs);
    if (got != messages) fail("B2: %lld of %lld messages", (long long)got, (long long)messages);
    g_kernel.peer_ends(file);
    // The end of a stream is one event; whoever sees it tells the next.
    while (group.left() > 0) {
        {
            RuntimeSection section(self());
            io_wake_next(descriptor_of(fd), kRead);
        }
        sleep_for(50 * kUs);
    }
}

// Numbers are closed and reused while others wait on them with deadlines.
void closing() {
    const int64_t rounds = g_program.between(10, 50);
    for (int64_t k = 0; k < rounds; k++) {
        const int64_t readers = g_program.between(1, 4);
        const int fd = g_kernel.open_socket(FileKind::kSocket);
        {
            RuntimeSection section(self());
            descriptor_opened(fd, DescriptorKind::kSocket, true);
        }
        File* file = g_kernel.file(fd);
        int64_t got = 0;
        Group group(readers);
        for (int64_t i = 0; i < readers; i++)
            go([&, fd] {
                for (;;) {
                    const long rc = socket_receive(fd, now() + 1 + g_program.skewed(300 * kUs));
                    if (rc == 1) got++;
                    if (rc == 0 || rc < 0) break;
                }
                group.done();
            });
        if (g_program.one_in(2)) sleep_for(g_program.skewed(100 * kUs));
        if (g_program.one_in(2)) g_kernel.peer_sends(file, 1);
        if (g_program.one_in(2)) sleep_for(g_program.skewed(100 * kUs));
        socket_close(fd);
        if (g_program.one_in(2)) g_kernel.peer_ends(file);
        group.wait();
    }
}

// ---- calls, CPU time, binding

void calls() {
    const int64_t fibers = g_program.between(1, 3 * g_config.processors + 3);
    const int64_t rounds = g_program.between(5, 40);
    const bool is_long = g_program.one_in(4);
    if (is_long) g_lateness_bound_ns += 12 * kMs;  // the monitor may be in its longest sleep
    Group group(fibers);
    for (int64_t i = 0; i < fibers; i++)
        go([&group, rounds, is_long] {
            for (int64_t k = 0; k < rounds; k++) {
                switch (g_program.below(5)) {
                    case 0:
                        short_call(g_program.skewed(is_long ? 100 * kMs : 300 * kUs));
                        break;
                    case 1:
                        short_call(0);
                        break;
                    case 2:
                        blocking_call(g_program.skewed(200 * kUs));
                        break;
                    case 3:
                        is_long ? sleep_for(g_program.skewed(kMs)) : let_others();
                        break;
                    default:
                        burn(g_program.skewed(20 * kUs));
                }
            }
            group.done();
        });
    group.wait();
}

// Long computations among fibers that want to be served.
void hogs() {
    const int64_t hog_count = g_program.between(1, g_config.processors + 2);
    const int64_t others = g_program.between(1, 10);
    // All hogs' CPU time, when there are fewer CPUs than processors.
    const int64_t bound = 1000 * kMs + hog_count * 80 * kMs / g_config.cpus;
    Group group(hog_count + others);
    for (int64_t i = 0; i < hog_count; i++)
        go([&group] {
            burn(g_program.between(10 * kMs, 80 * kMs));
            group.done();
        });
    for (int64_t i = 0; i < others; i++)
        go([&group, bound] {
            for (int k = 0; k < 3; k++) {
                const int64_t start = now();
                let_others();
                const int64_t waited = now() - start;
                if (waited > bound && !refuses_every_thread())
                    fail("a yield took %lld ms", (long long)(waited / kMs));
                burn(g_program.skewed(100 * kUs));
                if (g_program.one_in(2)) short_call(g_program.skewed(100 * kUs));
            }
            group.done();
        });
    group.wait();
}

void locked() {
    const int64_t fibers = g_program.between(1, 8), rounds = g_program.between(5, 40);
    Group group(2 * fibers);
    struct Pair {
        Semaphore ping, pong;
    };
    for (int64_t i = 0; i < fibers; i++) {
        auto pair = std::make_shared<Pair>();
        const bool both = g_program.one_in(3), ends_locked = g_program.one_in(2);
        go([pair, rounds, ends_locked, &group] {
            lock_to_worker(self());
            if (self()->locked_worker != self()->worker) fail("a locked fiber is not bound");
            const int tid = worker_tid(self());
            for (int64_t k = 0; k < rounds; k++) {
                pair->ping.post();
                if (g_program.one_in(4)) let_others();
                if (g_program.one_in(4)) short_call(g_program.skewed(100 * kUs));
                if (g_program.one_in(8)) blocking_call(g_program.skewed(50 * kUs));
                if (g_program.one_in(8)) sleep_for(g_program.skewed(100 * kUs));
                pair->pong.take();
                if (worker_tid(self()) != tid) fail("a locked fiber changed its thread");
            }
            if (!ends_locked) unlock_from_worker(self());
            group.done();
        });
        go([pair, rounds, both, &group] {
            if (both) lock_to_worker(self());
            for (int64_t k = 0; k < rounds; k++) {
                pair->ping.take();
                burn(g_program.skewed(10 * kUs));
                pair->pong.post();
            }
            if (both) unlock_from_worker(self());
            group.done();
        });
    }
    group.wait();
    // In the memory of those that ended bound, for one.
    Group later(fibers);
    for (int64_t i = 0; i < fibers; i++)
        go([&later] {
            lock_to_worker(self());
            if (self()->locked_worker != self()->worker) fail("a locked fiber is not bound");
            unlock_from_worker(self());
            if (self()->locked_worker != nullptr) fail("an unlocked fiber is bound");
            later.done();
        });
    later.wait();
}

// Blocking where no hook sees it.
void unseen() {
    const int64_t fibers = g_program.between(1, 2 * g_config.processors);
    Group group(2 * fibers);
    Semaphore posts;
    g_lateness_bound_ns += 20 * kMs;
    for (int64_t i = 0; i < fibers; i++) {
        go([&group, &posts] {
            for (int k = 0; k < 8; k++) {
                unseen_call(g_program.one_in(2) ? g_program.between(5 * kMs, 8 * kMs)
                                                : g_program.skewed(40 * kMs));
                for (int post = 0; post < 4; post++) posts.post();  // some time in the runtime
                burn(g_program.skewed(50 * kUs));
            }
            group.done();
        });
        go([&group] {
            for (int k = 0; k < 20; k++) {
                burn(g_program.skewed(200 * kUs));
                let_others();
            }
            group.done();
        });
    }
    group.wait();
}

}  // namespace

const Workload kWorkloads[] = {
    {"ping_pong", ping_pong},
    {"producers", producers},
    {"mass_spawn", mass_spawn},
    {"sleepers", sleepers},
    {"echo", echo},
    {"burst", burst},
    {"shared_socket", shared_socket},
    {"closing", closing},
    {"calls", calls},
    {"hogs", hogs},
    {"locked", locked},
    {"unseen", unseen},
    {"interrupts", interrupts},
    {"foreign", foreign},
    {"idle", idle},
    {"mix", mix},
    {"mutexes", mutexes},
    {"counts", counts},
    {"conditions", conditions},
    {"convoy", convoy},
    {"pair", pair},
    {"tight_pair", tight_pair},
    {"starved_global", starved_global},
    {"ready_io", ready_io},
    {"crowded_io", crowded_io},
    {"crowd", crowd},
    {"late_timers", late_timers},
    {"uncovered_timers", uncovered_timers},
    {"attended_pollers", attended_pollers},
    {"quiet_server", quiet_server},
    {"unfair_mutex", unfair_mutex},
    {"long_rest", long_rest},
    {"surplus", surplus},
    {"spilled", spilled},
    {"newcomer", newcomer},
    {"many_sockets", many_sockets},
    {"fairness", fairness},
    {"resizing", resizing},
    {"grown", grown},
    {"returns", returns},
    {"predicted", predicted},
    {"rules", rules},
    // Not beside resizing, see kAloneCount.
    {"timers_beside_calls", timers_beside_calls},
    {"many_workers", many_workers},
};
const int kWorkloadCount = sizeof kWorkloads / sizeof kWorkloads[0];

}  // namespace pfiber::sim
