// Proves Go's rule and the search for the cgroup's limit, in made-up /proc/self folders.
#include "scheduler/host/cpu_count.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <string>

namespace pfiber::host {
namespace {

TEST(CpuCount, go_rule) {
    EXPECT_EQ(8, processor_count_for(8, {0, 0}));
    EXPECT_EQ(2, processor_count_for(8, {50000, 100000}));   // half a CPU: never below 2
    EXPECT_EQ(3, processor_count_for(8, {250000, 100000}));  // rounded up
    EXPECT_EQ(2, processor_count_for(8, {200000, 100000}));
    EXPECT_EQ(3, processor_count_for(8, {200001, 100000}));
    EXPECT_EQ(8, processor_count_for(8, {900000, 100000}));  // only if smaller
    EXPECT_EQ(1, processor_count_for(1, {50000, 100000}));
    EXPECT_EQ(1, processor_count_for(0, {0, 0}));
    EXPECT_EQ(kCpuCountMax, processor_count_for(5000, {0, 0}));
    EXPECT_EQ(4, processor_count_for(4, {INT64_MAX / 20, 1}));
}

TEST(CpuCount, affinity_is_what_the_kernel_says) {
    cpu_set_t before;
    ASSERT_EQ(0, sched_getaffinity(0, sizeof before, &before));
    EXPECT_EQ(CPU_COUNT(&before), affinity_cpu_count());
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++) {
        if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
    }
    ASSERT_EQ(0, sched_setaffinity(0, sizeof one, &one));
    EXPECT_EQ(1, affinity_cpu_count());
    EXPECT_EQ(1, default_processor_count());
    ASSERT_EQ(0, sched_setaffinity(0, sizeof before, &before));
}

int open_descriptors() {
    int count = 0;
    DIR* folder = opendir("/proc/self/fd");
    while (readdir(folder) != nullptr) count++;
    closedir(folder);
    return count;
}

TEST(CpuCount, default_leaves_no_descriptor) {
    int before = open_descriptors();
    int count = default_processor_count();
    EXPECT_GE(count, 1);
    EXPECT_LE(count, affinity_cpu_count());
    EXPECT_EQ(before, open_descriptors());
}

class CgroupTest : public testing::Test {
  protected:
    CgroupTest() {
        char name[] = "/tmp/pfiber-cgroup-XXXXXX";
        folder_ = mkdtemp(name);
    }
    ~CgroupTest() override {
        std::string command = "rm -rf '" + folder_ + "'";
        EXPECT_EQ(0, system(command.c_str()));
    }
    void write(const std::string& path, const std::string& text) {
        std::string full = folder_ + "/" + path;
        std::string command = "mkdir -p '" + full.substr(0, full.rfind('/')) + "'";
        ASSERT_EQ(0, system(command.c_str()));
        FILE* file = fopen(full.c_str(), "w");
        ASSERT_NE(nullptr, file);
        fwrite(text.data(), 1, text.size(), file);
        fclose(file);
    }
    void expect(int64_t quota_us, int64_t period_us) {
        CpuLimit limit = read_cgroup_limit(folder_.c_str());
        EXPECT_EQ(quota_us, limit.quota_us);
        EXPECT_EQ(period_us, limit.period_us);
    }
    std::string mount(const std::string& root, const std::string& point, const std::string& type,
                      const std::string& options) {
        return "31 24 0:27 " + root + " " + folder_ + point + " rw,nosuid shared:9 - " + type +
               " cgroup " + options + "\n";
    }

    std::string folder_;
};

TEST_F(CgroupTest, no_files_no_limit) { expect(0, 0); }

TEST_F(CgroupTest, version_2) {
    write("cgroup", "0::/a/b\n");
    write("mountinfo",
          "22 1 8:1 / / rw - ext4 /dev/root rw\n" + mount("/", "/v2", "cgroup2", "rw"));
    expect(0, 0);
    write("v2/a/b/cpu.max", "150000 100000\n");
    expect(150000, 100000);
    write("v2/a/b/cpu.max", "max 100000\n");
    expect(0, 0);
    write("v2/a/b/cpu.max", "rubbish");
    expect(0, 0);
    write("v2/a/b/cpu.max", "");
    expect(0, 0);
    write("v2/a/cpu.max", "1 100000\n");  // a parent's limit is not read, as in Go
    expect(0, 0);
}

TEST_F(CgroupTest, version_2_at_its_root) {
    write("cgroup", "0::/\n");
    write("mountinfo", mount("/", "/v2", "cgroup2", "rw"));
    write("v2/cpu.max", "300000 100000");
    expect(300000, 100000);
}

// The way of the monitor: found once, then followed.
TEST_F(CgroupTest, followed) {
    cpu_set_t mask;
    ASSERT_EQ(0, sched_getaffinity(0, sizeof mask, &mask));
    const int cpus = CPU_COUNT(&mask);
    write("cgroup", "0::/g\n");
    write("mountinfo", mount("/", "/v2", "cgroup2", "rw"));
    write("v2/g/cpu.max", "max 100000\n");
    CpuGroup group;
    EXPECT_EQ(cpus, default_processor_count(&group, folder_.c_str()));
    EXPECT_TRUE(group.is_found);
    const int before = open_descriptors();
    write("cgroup", "0::/elsewhere\n");  // not looked at again
    write("v2/g/cpu.max", "150000 100000\n");
    EXPECT_EQ(cpus < 2 ? cpus : 2, default_processor_count(&group, folder_.c_str()));
    EXPECT_EQ(150000, read_limit(&group).quota_us);
    write("v2/g/cpu.max", "50000 100000\n");
    EXPECT_EQ(50000, read_limit(&group).quota_us);
    ASSERT_EQ(0, remove((folder_ + "/v2/g/cpu.max").c_str()));
    EXPECT_EQ(cpus, default_processor_count(&group, folder_.c_str()));
    EXPECT_EQ(before, open_descriptors());
    CpuGroup nowhere;
    EXPECT_EQ(cpus, default_processor_count(&nowhere, "/nonexistent"));
    EXPECT_TRUE(nowhere.is_sought);
    EXPECT_FALSE(nowhere.is_found);
}

TEST_F(CgroupTest, version_1) {
    write("cgroup", "5:memory:/m\n4:cpuset:/x\n3:cpu,cpuacct:/c/d\n");
    write("mountinfo", mount("/", "/cpuset", "cgroup", "rw,cpuset") +
                           mount("/", "/v1", "cgroup", "rw,cpu,cpuacct"));
    write("v1/c/d/cpu.cfs_quota_us", "-1\n");
    write("v1/c/d/cpu.cfs_period_us", "100000\n");
    expect(0, 0);
    write("v1/c/d/cpu.cfs_quota_us", "250000\n");
    expect(250000, 100000);
}

TEST_F(CgroupTest, version_1_with_cpu_goes_first) {
    std::string mounts =
        mount("/", "/v2", "cgroup2", "rw") + mount("/", "/v1", "cgroup", "rw,cpuacct,cpu");
    write("mountinfo", mounts);
    write("v2/g/cpu.max", "400000 100000");
    write("v1/h/cpu.cfs_quota_us", "200000");
    write("v1/h/cpu.cfs_period_us", "100000");
    write("cgroup", "0::/g\n7:cpuacct,cpu:/h\n");
    expect(200000, 100000);
    write("cgroup", "7:cpuacct,cpu:/h\n0::/g\n");
    expect(200000, 100000);
    write("cgroup", "7:memory:/h\n0::/g\n");  // hybrid without the cpu controller
    expect(400000, 100000);
}

TEST_F(CgroupTest, a_container_sees_a_subtree) {
    write("cgroup", "0::/docker/id/sub\n");
    write("mountinfo", mount("/other", "/wrong", "cgroup2", "rw") +
                           mount("/docker/i", "/wrong", "cgroup2", "rw") +
                           mount("/docker/id", "/v2", "cgroup2", "rw"));
    write("v2/sub/cpu.max", "100 200");
    expect(100, 200);
}

TEST_F(CgroupTest, blanks_and_colons_in_paths) {
    write("cgroup", "0::/a b:c\n");
    write("mountinfo", mount("/", "/v\\0402", "cgroup2", "rw"));
    write("v 2/a b:c/cpu.max", "7 8\n");
    expect(7, 8);
}

TEST_F(CgroupTest, long_lines_are_skipped_at_every_length) {
    write("cgroup", "0::/a\n");
    write("v2/a/cpu.max", "7 8\n");
    for (size_t size : {100u, 4000u, 4094u, 4095u, 4096u, 4097u, 5000u, 8191u, 8192u, 20000u}) {
        std::string overlay = "1 1 0:1 / / rw - overlay x ";
        overlay += std::string(size - overlay.size(), 'o') + "\n";
        write("mountinfo", overlay + mount("/", "/v2", "cgroup2", "rw") + overlay);
        expect(7, 8);
        write("mountinfo", overlay);
        expect(0, 0);
    }
}

TEST_F(CgroupTest, the_tail_of_a_long_line_is_no_line) {
    write("cgroup", "0::/a\n");
    write("v2/a/cpu.max", "7 8\n");
    std::string overlay(4096, 'o');  // one buffer: the rest looks like a mount of its own
    write("mountinfo", overlay + mount("/", "/v2", "cgroup2", "rw"));
    expect(0, 0);
}

TEST_F(CgroupTest, malformed_files_are_no_limit) {
    write("cgroup", "\n:\n::\n0\n0:\n0:::\nx");
    write("mountinfo", "\n - \n1 - cgroup2\n1 2 3 - cgroup2 x y\nno newline - cgroup2");
    expect(0, 0);
    write("cgroup", "0::/a\n");
    expect(0, 0);
    write("cgroup", "0::/" + std::string(3000, 'p') + "\n");
    write("mountinfo", mount("/", "/v2", "cgroup2", "rw"));
    expect(0, 0);
}

}  // namespace
}  // namespace pfiber::host
