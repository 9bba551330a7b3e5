// packages: tbb
// flags: -std=c++17
// oneTBB: parallel loops, reductions, sort, pipelines, task groups, arenas, concurrent containers,
// flow graphs.
#include <tbb/tbb.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <numeric>
#include <vector>

int main() {
    tbb::global_control control(tbb::global_control::max_allowed_parallelism, 8);
    std::atomic<long> sum{0};
    tbb::parallel_for(0, 100000, [&](int i) { sum += i; });
    std::printf("for %ld\n", sum.load());
    const long reduced = tbb::parallel_reduce(
        tbb::blocked_range<int>(0, 1000000), 0L,
        [](const auto& range, long value) {
            for (int i = range.begin(); i < range.end(); i++) value += i % 7;
            return value;
        },
        std::plus<long>());
    std::printf("reduce %ld\n", reduced);
    std::vector<int> numbers(200000);
    std::iota(numbers.begin(), numbers.end(), 0);
    std::reverse(numbers.begin(), numbers.end());
    tbb::parallel_sort(numbers.begin(), numbers.end());
    std::printf("sort %d\n", std::is_sorted(numbers.begin(), numbers.end()));
    int next = 0;
    long piped = 0;
    tbb::parallel_pipeline(
        8, tbb::make_filter<void, int>(tbb::filter_mode::serial_in_order,
                                       [&](tbb::flow_control& flow) {
                                           if (next == 2000) flow.stop();
                                           return next++;
                                       }) &
               tbb::make_filter<int, int>(tbb::filter_mode::parallel, [](int n) { return n * 2; }) &
               tbb::make_filter<int, void>(tbb::filter_mode::serial_in_order,
                                           [&](int n) { piped = piped * 3 % 1000003 + n; }));
    std::printf("pipeline %ld\n", piped);
    tbb::concurrent_hash_map<int, int> map;
    tbb::concurrent_bounded_queue<int> queue;
    queue.set_capacity(4);
    tbb::task_group group;
    std::thread producer([&] {
        for (int i = 0; i < 1000; i++) queue.push(i);
    });
    long popped = 0;
    for (int i = 0, n; i < 1000; i++) queue.pop(n), popped += n;
    producer.join();
    for (int i = 0; i < 500; i++)
        group.run([&, i] {
            decltype(map)::accessor at;
            map.insert(at, i % 50);
            at->second++;
        });
    group.wait();
    std::printf("queue %ld map %zu\n", popped, map.size());
    tbb::task_arena arena(4);
    std::atomic<int> inside{0};
    arena.execute([&] { tbb::parallel_for(0, 1000, [&](int) { inside++; }); });
    std::printf("arena %d\n", inside.load());
    tbb::flow::graph graph;
    std::atomic<int> out{0};
    tbb::flow::function_node<int, int> twice(graph, tbb::flow::unlimited,
                                             [](int n) { return 2 * n; });
    tbb::flow::function_node<int> add(graph, tbb::flow::serial, [&](int n) { out += n; });
    tbb::flow::make_edge(twice, add);
    for (int i = 0; i < 300; i++) twice.try_put(i);
    graph.wait_for_all();
    std::printf("graph %d\n", out.load());
    try {
        tbb::parallel_for(0, 1000, [](int i) {
            if (i == 500) throw i;
        });
    } catch (int thrown) {
        std::printf("thrown %d\n", thrown);
    }
}
