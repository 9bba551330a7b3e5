// flags: -DBOOST_THREAD_VERSION=4 -DBOOST_BIND_GLOBAL_PLACEHOLDERS -lboost_thread -lboost_chrono
// -lboost_system header: /usr/include/boost/thread.hpp Boost.Thread: threads, interruption, shared
// and upgrade mutexes, barriers, futures with continuations, thread-specific data.
#include <boost/thread.hpp>
#include <boost/thread/barrier.hpp>
#include <boost/thread/future.hpp>
#include <boost/thread/sync_bounded_queue.hpp>
#include <cstdio>

int main() {
    boost::mutex mutex;
    int total = 0;
    boost::thread_group group;
    for (int i = 0; i < 50; i++)
        group.create_thread([&] {
            for (int n = 0; n < 200; n++) {
                boost::lock_guard<boost::mutex> guard(mutex);
                total++;
            }
        });
    group.join_all();
    std::printf("group %d\n", total);

    boost::atomic<int> interrupted(0);
    boost::condition_variable condition;
    std::vector<boost::thread> sleepers;
    for (int i = 0; i < 4; i++)
        sleepers.emplace_back([&, i] {
            try {
                boost::unique_lock<boost::mutex> lock(mutex);
                if (i % 2 == 0) condition.wait(lock, [] { return false; });
                lock.unlock();
                boost::this_thread::sleep_for(boost::chrono::seconds(60));
            } catch (boost::thread_interrupted&) {
                interrupted++;
            }
        });
    for (auto& thread : sleepers) thread.interrupt(), thread.join();
    std::printf("interrupted %d\n", interrupted.load());

    boost::barrier barrier(10);
    boost::atomic<int> serial(0);
    boost::thread_group phases;
    for (int i = 0; i < 10; i++)
        phases.create_thread([&] {
            for (int n = 0; n < 30; n++) serial += barrier.wait();
        });
    phases.join_all();
    std::printf("barrier %d\n", serial.load());

    boost::shared_mutex shared;
    int value = 0, seen = 0;
    boost::thread_group readers;
    for (int i = 0; i < 20; i++)
        readers.create_thread([&, i] {
            for (int n = 0; n < 50; n++) {
                if (i < 4) {
                    boost::upgrade_lock<boost::shared_mutex> upgrade(shared);
                    boost::upgrade_to_unique_lock<boost::shared_mutex> unique(upgrade);
                    value++;
                } else {
                    boost::shared_lock<boost::shared_mutex> lock(shared);
                    seen |= value;
                }
            }
        });
    readers.join_all();
    std::printf("shared %d\n", value);

    boost::thread_specific_ptr<int> own;
    boost::thread_group locals;
    boost::atomic<int> right(0);
    for (int i = 0; i < 30; i++)
        locals.create_thread([&, i] {
            own.reset(new int(i));
            boost::this_thread::yield();
            right += *own == i;
        });
    locals.join_all();
    std::printf("specific %d main %d\n", right.load(), own.get() == nullptr);

    auto answer = boost::async(boost::launch::async, [] { return 20; }).then([](auto f) {
        return f.get() + 1;
    });
    std::printf("future %d\n", answer.get() * 2);
    boost::promise<int> broken;
    auto failing = broken.get_future();
    boost::thread setter(
        [&] { broken.set_exception(boost::copy_exception(std::runtime_error("failed"))); });
    try {
        failing.get();
    } catch (std::exception& error) {
        std::printf("exception %s\n", error.what());
    }
    setter.join();
    boost::sync_bounded_queue<int> queue(3);
    boost::thread producer([&] {
        for (int i = 0; i < 500; i++) queue.push_back(i);
        queue.close();
    });
    long sum = 0;
    for (int n; queue.wait_pull_front(n) == boost::queue_op_status::success;) sum += n;
    producer.join();
    std::printf("queue %ld\n", sum);
    boost::timed_mutex timed;
    boost::unique_lock<boost::timed_mutex> holds(timed);
    boost::thread tries(
        [&] { std::printf("timed %d\n", timed.try_lock_for(boost::chrono::milliseconds(5))); });
    tries.join();
    std::printf("try_join %d\n", boost::thread([] {}).try_join_for(boost::chrono::seconds(30)));
}
