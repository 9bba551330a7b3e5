// Proves the formatter against snprintf and the rule where messages go.
#include "scheduler/host/report.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace pfiber::host {
namespace {

std::string read_file(const std::string& path) {
    std::string text;
    FILE* file = fopen(path.c_str(), "r");
    if (file == nullptr) return "(missing)";
    char buffer[4096];
    size_t size;
    while ((size = fread(buffer, 1, sizeof buffer, file)) > 0) text.append(buffer, size);
    fclose(file);
    return text;
}

class ReportTest : public testing::Test {
  protected:
    ReportTest() {
        char name[] = "/tmp/pfiber-report-XXXXXX";
        folder_ = mkdtemp(name);
    }
    ~ReportTest() override {
        report_init(nullptr);
        report_set_verbose(false);
        std::string command = "rm -rf " + folder_;
        EXPECT_EQ(0, system(command.c_str()));
    }

    // What `body` writes to descriptor 2, which is a file of its own meanwhile.
    std::string captured(const std::function<void()>& body) {
        std::string path = folder_ + "/stderr";
        int saved = dup(2);
        int file = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
        dup2(file, 2);
        close(file);
        report_init(nullptr);
        body();
        dup2(saved, 2);
        close(saved);
        report_init(nullptr);
        return read_file(path);
    }

    std::string folder_;
};

template <typename... Arguments>
std::string formatted(const char* format, Arguments... arguments) {
    Line line;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
    line.add(format, arguments...);
#pragma GCC diagnostic pop
    return line.text();
}

template <typename... Arguments>
void expect_as_libc(const char* format, Arguments... arguments) {
    char expected[2048];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
    snprintf(expected, sizeof expected, format, arguments...);
#pragma GCC diagnostic pop
    EXPECT_EQ(expected, formatted(format, arguments...)) << format;
}

TEST_F(ReportTest, integers_as_libc) {
    for (int value : {0, 1, -1, 7, -7, 12345, INT_MAX, INT_MIN}) {
        for (const char* format :
             {"%d", "%i", "%u", "%x", "%X", "%5d|", "%05d|", "%-5d|", "%012d|"}) {
            expect_as_libc(format, value);
        }
        expect_as_libc("%*d|", 9, value);
    }
    for (long value : {0L, -1L, LONG_MAX, LONG_MIN, 1L << 40}) {
        for (const char* format : {"%ld", "%lu", "%lx", "%lld", "%llu", "%llx", "%zu", "%zd", "%jd",
                                   "%td", "%20ld|", "%020ld|", "%-20lx|", "%022lx|"}) {
            expect_as_libc(format, value);
        }
    }
    for (int value : {0, 1, 127, 42}) {
        expect_as_libc("%hd", value);
        expect_as_libc("%hhu", value);
    }
}

TEST_F(ReportTest, text_as_libc) {
    for (const char* text : {"", "a", "fiber", "a rather long text"}) {
        for (const char* format : {"%s", "%8s|", "%-8s|", "%.3s|", "%8.2s|"}) {
            expect_as_libc(format, text);
        }
        expect_as_libc("%.*s|", 2, text);
    }
    expect_as_libc("%c%c|%3c|%-3c|", 'a', 'b', 'c', 'd');
    expect_as_libc("100%% %s", "sure");
    expect_as_libc("%p", reinterpret_cast<void*>(0xdeadbeefUL));
    const char* volatile nothing = nullptr;  // volatile: the compiler objects to a visible nullptr
    EXPECT_EQ("(null)", formatted("%s", nothing));
    EXPECT_EQ("0x0", formatted("%p", static_cast<void*>(nullptr)));
}

TEST_F(ReportTest, mixed_arguments_keep_their_places) {
    expect_as_libc("%s=%d %s=%lld %c %5u/%-5u %p %s", "a", -1, "b", -5000000000LL, 'x', 7u, 8u,
                   reinterpret_cast<void*>(0x1234UL), "end");
}

TEST_F(ReportTest, an_unknown_letter_ends_the_line) {
    EXPECT_EQ("a ", formatted("a %f b", 1.0));
    EXPECT_EQ("a ", formatted("a %", 1));
}

TEST_F(ReportTest, a_precision_bounds_the_read) {
    char unterminated[4] = {'a', 'b', 'c', 'd'};
    EXPECT_EQ("abcd", formatted("%.4s", static_cast<const char*>(unterminated)));
}

TEST_F(ReportTest, a_long_line_is_cut_and_says_so) {
    std::string text(3000, 'x');
    Line line;
    line.add("%s", text.c_str()).add("more");
    EXPECT_TRUE(line.is_truncated());
    EXPECT_EQ(std::string(Line::kSizeMax - 4, 'x') + "...", line.text());
    line.clear();
    EXPECT_FALSE(line.is_truncated());
    line.add("%s", std::string(Line::kSizeMax - 1, 'y').c_str());
    EXPECT_FALSE(line.is_truncated());
    EXPECT_EQ(std::string(Line::kSizeMax - 1, 'y'), line.text());
    std::string written = captured([&] { line.write(); });
    EXPECT_EQ(std::string(Line::kSizeMax - 1, 'y') + "\n", written);
    EXPECT_EQ(0u, line.size());
}

TEST_F(ReportTest, levels_have_their_prefix) {
    std::string text = captured([] {
        info("not shown");
        report_set_verbose(true);
        info("shown %d", 1);
        warn("two %s", "words");
        error("three");
        raw_line("SCHED %dms: x=%d", 5, 6);
    });
    EXPECT_EQ(
        "pfiber: info: shown 1\npfiber: warning: two words\npfiber: error: three\nSCHED 5ms: x=6\n",
        text);
}

TEST_F(ReportTest, warn_once_is_once_per_flag) {
    std::string text = captured([] {
        std::atomic<bool> first{false};
        std::atomic<bool> second{false};
        for (int i = 0; i < 3; i++) {
            warn_once(first, "first %d", i);
            warn_once(second, "second %d", i);
        }
    });
    EXPECT_EQ("pfiber: warning: first 0\npfiber: warning: second 0\n", text);
}

TEST_F(ReportTest, errno_stays) {
    captured([] {
        errno = 77;
        warn("x");
        EXPECT_EQ(77, errno);
    });
}

TEST_F(ReportTest, lines_of_threads_do_not_mix) {
    std::string text = captured([] {
        std::vector<std::thread> threads;
        for (int i = 0; i < 8; i++) {
            threads.emplace_back([i] {
                for (int k = 0; k < 200; k++) raw_line("%s", std::string(80, 'a' + i).c_str());
            });
        }
        for (auto& thread : threads) thread.join();
    });
    ASSERT_EQ(8u * 200u * 81u, text.size());
    for (size_t at = 0; at < text.size(); at += 81) {
        ASSERT_EQ(std::string(80, text[at]) + "\n", text.substr(at, 81));
    }
}

TEST_F(ReportTest, a_stranger_on_descriptor_2_gets_nothing) {
    std::string other = folder_ + "/client";
    std::string text = captured([&] {
        warn("before");
        int file = open(other.c_str(), O_RDWR | O_CREAT, 0600);
        dup2(file, 2);
        close(file);
        warn("lost");
    });
    EXPECT_EQ("pfiber: warning: before\n", text);
    EXPECT_EQ("", read_file(other));
}

TEST_F(ReportTest, descriptor_2_closed_at_start_stays_unused) {
    std::string other = folder_ + "/client";
    captured([&] {
        close(2);
        report_init(nullptr);
        int file = open(other.c_str(), O_RDWR | O_CREAT, 0600);
        ASSERT_EQ(2, file);
        warn("lost");
    });
    EXPECT_EQ("", read_file(other));
}

TEST_F(ReportTest, a_duplicate_of_the_same_file_counts_as_the_same) {
    std::string text = captured([&] {
        int copy = dup(2);
        close(2);
        dup2(copy, 2);
        close(copy);
        warn("kept");
    });
    EXPECT_EQ("pfiber: warning: kept\n", text);
}

TEST_F(ReportTest, the_log_takes_everything_and_no_descriptor) {
    std::string log = folder_ + "/log";
    std::string text = captured([&] {
        report_init(log.c_str());
        int before = dup(0);
        warn("one");
        warn("two");
        int after = dup(0);
        EXPECT_EQ(before + 1, after);
        close(before);
        close(after);
    });
    EXPECT_EQ("", text);
    EXPECT_EQ("pfiber: warning: one\npfiber: warning: two\n", read_file(log));
}

TEST_F(ReportTest, a_relative_log_survives_chdir) {
    char before[PATH_MAX];
    ASSERT_NE(nullptr, getcwd(before, sizeof before));
    ASSERT_EQ(0, chdir(folder_.c_str()));
    report_init("relative.log");
    ASSERT_EQ(0, chdir("/"));
    warn("here");
    ASSERT_EQ(0, chdir(before));
    EXPECT_EQ("pfiber: warning: here\n", read_file(folder_ + "/relative.log"));
}

TEST_F(ReportTest, a_log_that_cannot_be_opened_falls_back) {
    std::string text = captured([&] {
        report_init("/nowhere/at/all/log");
        warn("still seen");
    });
    EXPECT_EQ("pfiber: warning: still seen\n", text);
}

TEST_F(ReportTest, a_log_pipe_without_reader_does_not_hang) {
    std::string fifo = folder_ + "/fifo";
    ASSERT_EQ(0, mkfifo(fifo.c_str(), 0600));
    std::string text = captured([&] {
        report_init(fifo.c_str());
        warn("to nobody");
    });
    EXPECT_EQ("pfiber: warning: to nobody\n", text);
}

TEST_F(ReportTest, no_sigpipe_from_a_broken_pipe_or_socket) {
    int pipes[2];
    ASSERT_EQ(0, pipe(pipes));
    close(pipes[0]);
    Line line;
    line.add("x").write_to(pipes[1]);
    close(pipes[1]);
    ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pipes));
    close(pipes[0]);
    line.add("x").write_to(pipes[1]);
    close(pipes[1]);
    line.add("x").write_to(-1);
}

TEST_F(ReportTest, write_to_reaches_any_descriptor) {
    int pair[2];
    ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    Line line;
    line.add("fiber %d", 3).write_to(pair[1]);
    char text[64] = "";
    EXPECT_EQ(8, read(pair[0], text, sizeof text));
    EXPECT_STREQ("fiber 3\n", text);
    close(pair[0]);
    close(pair[1]);
}

// Runs the body in a child whose descriptor 2 is a file; the wait status and that file's text.
std::string dying(const std::string& path, const std::function<void()>& body, int* status) {
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        int file = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
        dup2(file, 2);
        report_init(nullptr);
        body();
        _exit(0);
    }
    waitpid(child, status, 0);
    return read_file(path);
}

TEST_F(ReportTest, fatal_aborts_whatever_the_program_did_with_sigabrt) {
    int status = 0;
    std::string text = dying(
        folder_ + "/dying",
        [] {
            signal(SIGABRT, SIG_IGN);
            sigset_t all;
            sigfillset(&all);
            sigprocmask(SIG_SETMASK, &all, nullptr);
            fatal("fiber %d is lost", 9);
        },
        &status);
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(SIGABRT, WTERMSIG(status));
    EXPECT_EQ("pfiber: fatal: fiber 9 is lost\n", text);
}

TEST_F(ReportTest, fatal_calls_its_hook_once) {
    int status = 0;
    std::string text = dying(
        folder_ + "/dying",
        [] {
            report_set_fatal_hook([] {
                raw_line("on fiber 1");
                fatal("again");
            });
            fatal("first");
        },
        &status);
    EXPECT_EQ(SIGABRT, WTERMSIG(status));
    EXPECT_EQ("pfiber: fatal: first\non fiber 1\npfiber: fatal: again\n", text);
}

TEST_F(ReportTest, check_names_place_condition_and_values) {
    int status = 0;
    int one = 1;
    PFIBER_CHECK(one == 1);
    std::string text = dying(
        folder_ + "/dying", [&] { PFIBER_CHECK(one == 2, "one is %d", one); }, &status);
    EXPECT_EQ(SIGABRT, WTERMSIG(status));
    EXPECT_NE(std::string::npos, text.find("report_test.cc:"));
    EXPECT_NE(std::string::npos, text.find(": one == 2 does not hold; one is 1\n")) << text;
    text = dying(
        folder_ + "/dying", [&] { PFIBER_CHECK(one == 3); }, &status);
    EXPECT_NE(std::string::npos, text.find(": one == 3 does not hold\n")) << text;
}

}  // namespace
}  // namespace pfiber::host
