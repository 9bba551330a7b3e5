// Proves the parser: every row, every kind of bad value, unknown names, origin and the generated
// texts.
#include "scheduler/base/options.h"

#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "scheduler/base/counters.h"
#include "scheduler/host/report.h"

namespace pfiber {
namespace {

std::string read_and_remove(const std::string& path) {
    std::string text;
    FILE* file = fopen(path.c_str(), "r");
    if (file == nullptr) return "";
    int character;
    while ((character = fgetc(file)) != EOF) text += static_cast<char>(character);
    fclose(file);
    unlink(path.c_str());
    return text;
}

// Parses these entries and returns the messages, caught through PFIBER_LOG.
class OptionsTest : public testing::Test {
  protected:
    OptionsTest() : log_("/tmp/pfiber-options-" + std::to_string(getpid())) {}
    ~OptionsTest() override { options_parse(nullptr); }

    std::string parse(std::vector<std::string> entries, bool is_secure = false) {
        entries.push_back("PFIBER_LOG=" + log_);
        std::vector<char*> envp;
        for (std::string& entry : entries) envp.push_back(&entry[0]);
        envp.push_back(nullptr);
        options_parse(envp.data(), is_secure);
        for (std::string& entry : entries) std::fill(entry.begin(), entry.end(), '#');
        return read_and_remove(log_);
    }

    std::string log_;
};

TEST_F(OptionsTest, defaults) {
    EXPECT_EQ("", parse({}));
    EXPECT_EQ(0, options().gomaxprocs);
    EXPECT_FALSE(options().off);
    EXPECT_TRUE(options().redirect);
    EXPECT_EQ(Preempt::kAuto, options().preempt);
    EXPECT_EQ(10, options().slice_ms);
    EXPECT_EQ(0, options().stack_kb);
    EXPECT_EQ(0, options().schedtrace_ms);
    EXPECT_FALSE(options().stats);
    EXPECT_FALSE(options().verbose);
    EXPECT_EQ(log_, options().log);  // copied: parse() overwrote the environment meanwhile
    EXPECT_EQ(0u, options().chaos_seed);
    EXPECT_TRUE(options().children);
    EXPECT_EQ(Pollers::kProcessor, options().pollers);
    EXPECT_EQ(23, options().signal);
    EXPECT_EQ(5000, options().spare_ms);
}

TEST_F(OptionsTest, every_row_is_read) {
    EXPECT_EQ(
        "", parse({"GOMAXPROCS=7", "PFIBER_OFF=1", "PFIBER_REDIRECT=0", "PFIBER_PREEMPT=tgkill",
                   "PFIBER_SLICE_MS=20", "PFIBER_STACK_KB=64", "PFIBER_SCHEDTRACE_MS=1000",
                   "PFIBER_STATS=1", "PFIBER_CHAOS_SEED=18446744073709551615", "PFIBER_CHILDREN=0",
                   "PFIBER_POLLERS=global", "PFIBER_SIGNAL=10", "PFIBER_SPARE_MS=100", "HOME=/",
                   "PATH=/bin"}));
    EXPECT_EQ(7, options().gomaxprocs);
    EXPECT_TRUE(options().off);
    EXPECT_FALSE(options().redirect);
    EXPECT_EQ(Preempt::kTgkill, options().preempt);
    EXPECT_EQ(20, options().slice_ms);
    EXPECT_EQ(64, options().stack_kb);
    EXPECT_EQ(1000, options().schedtrace_ms);
    EXPECT_TRUE(options().stats);
    EXPECT_EQ(UINT64_MAX, options().chaos_seed);
    EXPECT_FALSE(options().children);
    EXPECT_EQ(Pollers::kGlobal, options().pollers);
    EXPECT_EQ(10, options().signal);
    EXPECT_EQ(100, options().spare_ms);
}

TEST_F(OptionsTest, every_choice_and_boolean_word) {
    struct {
        const char* word;
        Preempt value;
    } const kWords[] = {{"auto", Preempt::kAuto},
                        {"timer", Preempt::kTimer},
                        {"tgkill", Preempt::kTgkill},
                        {"off", Preempt::kOff}};
    for (auto& row : kWords) {
        EXPECT_EQ("", parse({std::string("PFIBER_PREEMPT=") + row.word}));
        EXPECT_EQ(row.value, options().preempt);
    }
    for (const char* word : {"1", "yes", "on", "true"}) {
        EXPECT_EQ("", parse({std::string("PFIBER_OFF=") + word}));
        EXPECT_TRUE(options().off);
    }
    for (const char* word : {"0", "no", "off", "false"}) {
        EXPECT_EQ("", parse({std::string("PFIBER_REDIRECT=") + word}));
        EXPECT_FALSE(options().redirect);
    }
}

TEST_F(OptionsTest, limits_of_each_range) {
    EXPECT_EQ("", parse({"GOMAXPROCS=1", "PFIBER_SLICE_MS=1", "PFIBER_STACK_KB=16",
                         "PFIBER_SCHEDTRACE_MS=0", "PFIBER_SIGNAL=1"}));
    EXPECT_EQ("", parse({"GOMAXPROCS=1024", "PFIBER_SLICE_MS=1000", "PFIBER_STACK_KB=1048576",
                         "PFIBER_SCHEDTRACE_MS=3600000", "PFIBER_SIGNAL=64"}));
    EXPECT_EQ(1024, options().gomaxprocs);
    EXPECT_EQ("", parse({"PFIBER_STACK_KB=0"}));
}

TEST_F(OptionsTest, a_bad_value_is_one_line_and_the_default) {
    for (const char* value : {"abc", "-3", "0", "1e9", "1025", "99999999999999999999999", " 4",
                              "4 ", "0x4", "+4", "4.0", "4,"}) {
        EXPECT_EQ(
            std::string("pfiber: warning: GOMAXPROCS=") + value +
                " is malformed or out of range; allowed: 1..1024 processors; using automatic\n",
            parse({std::string("GOMAXPROCS=") + value}));
        EXPECT_EQ(0, options().gomaxprocs);
    }
    EXPECT_EQ(
        "pfiber: warning: PFIBER_SLICE_MS=1001 is malformed or out of range; allowed: 1..1000 ms; "
        "using 10\n",
        parse({"PFIBER_SLICE_MS=1001"}));
    EXPECT_EQ(10, options().slice_ms);
    EXPECT_EQ(
        "pfiber: warning: PFIBER_STACK_KB=15 is malformed or out of range; allowed: 0 or "
        "16..1048576 KiB; using 0\n",
        parse({"PFIBER_STACK_KB=15"}));
    EXPECT_EQ(
        "pfiber: warning: PFIBER_PREEMPT=never is malformed or out of range; allowed: "
        "auto|timer|tgkill|off; using auto\n",
        parse({"PFIBER_PREEMPT=never"}));
    EXPECT_EQ(
        "pfiber: warning: PFIBER_OFF=maybe is malformed or out of range; allowed: 0|1; using 0\n",
        parse({"PFIBER_OFF=maybe"}));
    EXPECT_NE("", parse({"PFIBER_CHAOS_SEED=18446744073709551616"}));
    EXPECT_EQ(0u, options().chaos_seed);
}

TEST_F(OptionsTest, signals_that_cannot_serve) {
    for (int number : {0, 4, 5, 6, 7, 8, 9, 11, 19, 31, 32, 33, 65, 1000}) {
        EXPECT_NE("", parse({"PFIBER_SIGNAL=" + std::to_string(number)})) << number;
        EXPECT_EQ(23, options().signal);
    }
    for (int number : {1, 10, 12, 34, 63, 64}) {
        EXPECT_EQ("", parse({"PFIBER_SIGNAL=" + std::to_string(number)})) << number;
        EXPECT_EQ(number, options().signal);
    }
}

TEST_F(OptionsTest, several_mistakes_are_several_lines) {
    std::string text = parse({"PFIBER_OFF=2", "PFIBER_STATS=x", "PFIBER_NO=1", "GOMAXPROCS=3"});
    EXPECT_EQ(3, std::count(text.begin(), text.end(), '\n')) << text;
    EXPECT_EQ(3, options().gomaxprocs);
}

TEST_F(OptionsTest, an_unknown_name_gets_the_nearest) {
    struct {
        const char* name;
        const char* nearest;
    } const kNames[] = {
        {"PFIBER_SLICE", "PFIBER_SLICE_MS"},       {"PFIBER_SCHEDTRACE", "PFIBER_SCHEDTRACE_MS"},
        {"PFIBER_STAT", "PFIBER_STATS"},           {"PFIBER_off", "PFIBER_OFF"},
        {"PFIBER_GOMAXPROC", "GOMAXPROCS"},        {"PFIBER_REDIRET", "PFIBER_REDIRECT"},
        {"PFIBER_CHAOSSEED", "PFIBER_CHAOS_SEED"}, {"PFIBER_STACK_SIZE", "PFIBER_STACK_KB"}};
    for (auto& row : kNames) {
        EXPECT_EQ(std::string("pfiber: warning: ") + row.name +
                      " is no variable of pfiber and has no effect; the nearest is " + row.nearest +
                      "\n",
                  parse({std::string(row.name) + "=1"}));
        EXPECT_STREQ(row.nearest, option_nearest(row.name));
    }
    EXPECT_NE("", parse({"PFIBER_=1"}));
    EXPECT_NE("", parse({"PFIBER_" + std::string(500, 'X') + "=1"}));
    EXPECT_EQ("", parse({"PFIBERS=1", "MY_PFIBER_OFF=1", "GOMAXPROC=x", "PFIBER_OFF", "=", ""}));
    EXPECT_FALSE(options().off);
}

TEST_F(OptionsTest, a_hostile_value_stays_one_short_line) {
    std::string text = parse({"PFIBER_OFF=a\nb\x1b[2J%s%n" + std::string(5000, 'z')});
    EXPECT_EQ(1, std::count(text.begin(), text.end(), '\n'));
    EXPECT_EQ(std::string::npos, text.find('\x1b'));
    EXPECT_LT(text.size(), 300u);
    EXPECT_NE(std::string::npos, text.find("PFIBER_OFF=a?b?[2J%s%nzzz"));
    EXPECT_NE(std::string::npos, text.find("zzz... is malformed"));
}

TEST_F(OptionsTest, an_empty_value_is_unset) {
    EXPECT_EQ("", parse({"GOMAXPROCS=", "PFIBER_OFF=", "PFIBER_PREEMPT="}));
    EXPECT_EQ(0, options().gomaxprocs);
}

TEST_F(OptionsTest, the_first_of_equal_names_counts) {
    EXPECT_EQ("", parse({"GOMAXPROCS=3", "GOMAXPROCS=x"}));
    EXPECT_EQ(3, options().gomaxprocs);
}

TEST_F(OptionsTest, a_secure_process_keeps_the_defaults_silently) {
    EXPECT_EQ("", parse({"GOMAXPROCS=3", "PFIBER_OFF=1", "PFIBER_X=1"}, true));
    EXPECT_EQ(0, options().gomaxprocs);
    EXPECT_FALSE(options().off);
    EXPECT_STREQ("", options().log);
}

TEST_F(OptionsTest, a_path_too_long_is_refused) {
    std::string entry = "PFIBER_LOG=/tmp/" + std::string(5000, 'p');
    char* envp[] = {&entry[0], nullptr};
    testing::internal::CaptureStderr();
    options_parse(envp, false);
    std::string text = testing::internal::GetCapturedStderr();
    EXPECT_STREQ("", options().log);
    EXPECT_NE(std::string::npos, text.find("allowed: path of at most 4095 bytes; using none"))
        << text;
}

TEST_F(OptionsTest, print_gives_value_and_origin) {
    parse({"PFIBER_VERBOSE=1", "PFIBER_SLICE_MS=20", "PFIBER_STACK_KB=1", "PFIBER_POLLERS=global"});
    options_print();
    std::string text = read_and_remove(log_);
    for (const char* line : {"pfiber: info: GOMAXPROCS=automatic (default)\n",
                             "pfiber: info: PFIBER_OFF=0 (default)\n",
                             "pfiber: info: PFIBER_SLICE_MS=20 (environment)\n",
                             "pfiber: info: PFIBER_STACK_KB=0 (default)\n",
                             "pfiber: info: PFIBER_POLLERS=global (environment)\n",
                             "pfiber: info: PFIBER_VERBOSE=1 (environment)\n",
                             "pfiber: info: PFIBER_CHAOS_SEED=0 (default)\n"}) {
        EXPECT_NE(std::string::npos, text.find(line)) << line << text;
    }
    EXPECT_EQ(15, std::count(text.begin(), text.end(), '\n'));
    parse({});
    options_print();
    EXPECT_EQ("", read_and_remove(log_));
}

std::string sunk(void (*function)(TextSink)) {
    std::string text;
    function({[](void* context, const char* piece, size_t size) {
                  static_cast<std::string*>(context)->append(piece, size);
              },
              &text});
    return text;
}

TEST_F(OptionsTest, help_and_table_have_every_row) {
    std::string help = sunk(options_help);
    std::string table = sunk(options_markdown);
#define PFIBER_OPTION(kind, member, variable, value, minimum, maximum, unit, sentence) \
    EXPECT_NE(std::string::npos, help.find(std::string("    ") + variable + "="));     \
    EXPECT_NE(std::string::npos, table.find(std::string("| `") + variable + "` | "));  \
    EXPECT_NE(std::string::npos, table.find(std::string(" | ") + sentence + " |\n"));  \
    EXPECT_TRUE(option_is_known(variable));                                            \
    EXPECT_STREQ(variable, option_nearest(variable));
#include "scheduler/base/options.def"
#undef PFIBER_OPTION
    EXPECT_FALSE(option_is_known("PFIBER_"));
    EXPECT_FALSE(option_is_known("PFIBER_OF"));
    EXPECT_FALSE(option_is_known("PFIBER_OFFF"));
    EXPECT_EQ(17, std::count(table.begin(), table.end(), '\n'));
    for (size_t start = 0, end; start < help.size(); start = end + 1) {
        end = help.find('\n', start);
        EXPECT_LE(end - start, 80u) << help.substr(start, end - start);
    }
}

TEST_F(OptionsTest, counters) {
    counters_reset();
    COUNT(forks);
    COUNT_ADD(steals, 5);
    COUNT_PEAK(fibers_peak, 9);
    COUNT_PEAK(fibers_peak, 4);
    EXPECT_EQ(9, COUNT_VALUE(fibers_peak));
    host::Line line;
    counters_line(line);
    std::string text = line.text();
    EXPECT_EQ(0u, text.find("pfiber: stats: fibers=0 fibers_peak=9 parks_io=0 ")) << text;
    EXPECT_NE(std::string::npos, text.find(" steals=5 "));
    EXPECT_NE(std::string::npos, text.find(" forks=1 "));
#define PFIBER_COUNTER(name, meaning) g_counters.name = INT64_MIN;
#include "scheduler/base/counters.def"
#undef PFIBER_COUNTER
    line.clear();
    counters_line(line);
    EXPECT_FALSE(line.is_truncated());  // the largest possible line fits
    counters_reset();
    EXPECT_EQ(0, COUNT_VALUE(forks));
}

}  // namespace
}  // namespace pfiber
