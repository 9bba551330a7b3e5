// One run, or many: sim --seed N --processors P --cpus C --workload W --steps M
//                   sim --set FILE | --soak SECONDS
// Each run is a process of its own with fixed addresses, so that a seed always gives the same run.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/sim/workload.h"

namespace pfiber::sim {

namespace {

struct Plan {
    uint64_t seed;
    int processors, cpus;
    std::string workload;
    bool faults;
    std::vector<std::string> arguments(const char* program) const {
        std::vector<std::string> list{program,
                                      "--seed",
                                      std::to_string(seed),
                                      "--processors",
                                      std::to_string(processors),
                                      "--cpus",
                                      std::to_string(cpus),
                                      "--workload",
                                      workload};
        if (faults) list.push_back("--faults");
        return list;
    }
};

struct Tally {
    const char* program;
    size_t jobs = 2;
    int passed = 0, failed = 0;
    std::vector<std::pair<pid_t, Plan>> running;

    void start(const Plan& plan) {
        if (running.size() >= jobs) finish_one();
        const pid_t child = fork();
        if (child == 0) {
            std::vector<char*> argv;
            std::vector<std::string> list = plan.arguments(program);
            for (std::string& argument : list) argv.push_back(argument.data());
            argv.push_back(nullptr);
            char* environment[] = {nullptr};
            execve("/proc/self/exe", argv.data(), environment);
            _exit(127);
        }
        running.emplace_back(child, plan);
    }

    void finish_one() {
        int status = 0;
        const pid_t child = wait(&status);
        for (size_t i = 0; i < running.size(); i++) {
            if (running[i].first != child) continue;
            if (status == 0) {
                passed++;
            } else {
                failed++;
                if (WIFSIGNALED(status)) fprintf(stderr, "ended by signal %d\n", WTERMSIG(status));
                fprintf(stderr, "replay:");
                for (const std::string& argument : running[i].second.arguments(program))
                    fprintf(stderr, " %s", argument.c_str());
                fprintf(stderr, "\n");
            }
            running.erase(running.begin() + static_cast<long>(i));
            return;
        }
    }

    int end() {
        while (!running.empty()) finish_one();
        printf("sim: %d passed, %d failed, 0 skipped\n", passed, failed);
        return failed == 0 ? 0 : 1;
    }
};

Plan draw(Random* random, const char* only) {
    constexpr int kProcessors[] = {1, 2, 3, 4, 8, 16, 64, 192};
    Plan plan;
    plan.seed = random->next() % 100000000;
    plan.processors = kProcessors[random->below(only == nullptr && random->one_in(4) ? 8 : 5)];
    plan.cpus = random->one_in(3) ? 2 : plan.processors + 1;
    if (random->one_in(8)) plan.cpus = 1;
    plan.workload = only != nullptr ? only : kWorkloads[random->below(kWorkloadCount)].name;
    plan.faults = random->one_in(5);
    return plan;
}

int run_set(Tally* tally, const char* path) {
    FILE* file = fopen(path, "r");
    if (file == nullptr) {
        perror(path);
        return 2;
    }
    char line[256], workload[64], faults[16];
    while (fgets(line, sizeof line, file) != nullptr) {
        unsigned long long first = 0, count = 0;
        Plan plan;
        const int fields = sscanf(line, "%63s %llu %llu %d %d %15s", workload, &first, &count,
                                  &plan.processors, &plan.cpus, faults);
        if (line[0] == '#' || fields < 5) continue;
        plan.workload = workload;
        plan.faults = fields == 6;
        for (unsigned long long seed = first; seed < first + count; seed++) {
            plan.seed = seed;
            tally->start(plan);
        }
    }
    fclose(file);
    return tally->end();
}

int soak(Tally* tally, int64_t seconds, uint64_t seed, const char* only, int most_failures) {
    Random random{seed};
    const time_t end = time(nullptr) + seconds;
    printf("sim: soaking for %lld s from seed %llu\n", static_cast<long long>(seconds),
           static_cast<unsigned long long>(seed));
    fflush(stdout);
    while (time(nullptr) < end && tally->failed < most_failures) tally->start(draw(&random, only));
    return tally->end();
}

[[noreturn]] void usage() {
    fprintf(stderr,
            "usage: sim --seed N [--processors 1..192] [--cpus C] [--workload W] [--steps M]\n"
            "           [--faults] [--verbose] [--pollers processor|global]\n"
            "           [--count N]  this seed and the next ones, up to a failure\n"
            "       sim --set FILE [--jobs J]\n"
            "       sim --soak SECONDS [--seed N] [--workload W] [--failures N] [--jobs J]\n"
            "workloads:");
    for (int i = 0; i < kWorkloadCount; i++) fprintf(stderr, " %s", kWorkloads[i].name);
    fprintf(stderr, "\n");
    exit(2);
}

}  // namespace

int simulator_main(int argc, char** argv) {
    if ((personality(0xffffffff) & ADDR_NO_RANDOMIZE) == 0) {
        personality(ADDR_NO_RANDOMIZE);
        execv("/proc/self/exe", argv);
    }
    Tally tally;
    tally.program = "build/tests/sim/sim";
    const char* set = nullptr;
    const char* workload = nullptr;
    int64_t seconds = 0, count = 0;
    bool has_seed = false;
    int most_failures = 10;
    for (int i = 1; i < argc; i++) {
        const std::string name = argv[i];
        if (name == "--faults") {
            g_config.faults = true;
            continue;
        }
        if (name == "--verbose") {
            g_config.verbose = true;
            continue;
        }
        if (i + 1 >= argc) usage();
        const char* value = argv[++i];
        if (name == "--seed")
            g_config.seed = strtoull(value, nullptr, 10), has_seed = true;
        else if (name == "--processors")
            g_config.processors = atoi(value);
        else if (name == "--cpus")
            g_config.cpus = atoi(value);
        else if (name == "--workload")
            workload = value;
        else if (name == "--steps")
            g_config.steps = atoll(value);
        else if (name == "--pollers")
            g_config.pollers = value;
        else if (name == "--set")
            set = value;
        else if (name == "--count")
            count = atoll(value);
        else if (name == "--soak")
            seconds = atoll(value);
        else if (name == "--failures")
            most_failures = atoi(value);
        else if (name == "--jobs")
            tally.jobs = static_cast<size_t>(atoi(value));
        else
            usage();
    }
    if (g_config.processors < 1 || g_config.processors > 192 || g_config.cpus < 1) usage();
    if (set != nullptr) return run_set(&tally, set);
    if (seconds > 0) {
        const uint64_t seed = has_seed ? g_config.seed : static_cast<uint64_t>(time(nullptr));
        return soak(&tally, seconds, seed, workload, most_failures);
    }
    if (!has_seed) usage();
    for (int64_t i = 0; i < count && tally.failed == 0; i++)
        tally.start({g_config.seed + static_cast<uint64_t>(i), g_config.processors, g_config.cpus,
                     workload != nullptr ? workload : g_config.workload, g_config.faults});
    if (count > 0) return tally.end();
    if (workload != nullptr) g_config.workload = workload;
    if (g_config.steps == 0) g_config.steps = 4000000 + 400000 * g_config.processors;
    setvbuf(stderr, nullptr, _IONBF, 0);
    g_machine.start(workload_start, nullptr, 256 * 1024);
    return 1;
}

}  // namespace pfiber::sim

int main(int argc, char** argv) { return pfiber::sim::simulator_main(argc, argv); }
