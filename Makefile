# pfiber: build, test, measure.  Sources are found by wildcard; nothing is listed twice.
# make | make demo | make test | make help

MODE     ?= release
BUILD    := build
OBJ      := $(BUILD)/$(MODE)
CXX      ?= g++
CC       ?= gcc
Q        := $(if $(V),,@)
say       = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))

OPT_release := -O2
OPT_debug   := -O0 -DPFIBER_DEBUG
OPT_mutants := -O2 -DPFIBER_MUTANTS
OPT_asan    := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
# Fibers leave their stacks without returning, so frames are not told apart there.
SIM_asan    := --param asan-stack=0
WARN     := -Wall -Wextra -Wshadow -Werror
CXXFLAGS += -std=c++17 -g $(OPT_$(MODE)) $(WARN) -fPIC -fvisibility=hidden -fvisibility-inlines-hidden \
            -fno-rtti -fexceptions -fasynchronous-unwind-tables -fno-plt -ftls-model=initial-exec -I.
LDLIBS   := -l:libboost_context.a -ldl
LDFLAGS_SO := -shared -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL -Wl,-z,now -Wl,-z,nodelete \
              -Wl,--no-undefined -Wl,--hash-style=gnu -Wl,--version-script=interpose/exports.map

# The preloaded object: every layer but the launcher, which unwinds and never runs fibers.
SO_SRC   := $(filter-out interpose/launcher% scheduler/host/backtrace.cc,$(wildcard scheduler/host/*.cc scheduler/base/*.cc scheduler/*.cc \
              shim/*.cc interpose/*.cc)) $(wildcard scheduler/host/*.S interpose/*.S)
SO_OBJ   := $(addprefix $(OBJ)/,$(addsuffix .o,$(SO_SRC)))
LAUNCH_SRC := $(wildcard interpose/launcher*.cc)
LAUNCH_OBJ := $(addprefix $(OBJ)/,$(addsuffix .o,$(LAUNCH_SRC) scheduler/base/options.cc \
              scheduler/host/report.cc scheduler/host/backtrace.cc))

all: $(BUILD)/libpfiber.so $(BUILD)/pfiber  ## build the library and the launcher

$(BUILD)/libpfiber.so: $(SO_OBJ) interpose/exports.map
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS_SO) -o $@ $(SO_OBJ) $(LDLIBS)

$(BUILD)/pfiber: $(LAUNCH_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(OPT_$(MODE)) -static-libstdc++ -static-libgcc -o $@ $(LAUNCH_OBJ)

$(OBJ)/%.cc.o: %.cc
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(CXX) $(CXXFLAGS) -MMD -MP -c -o $@ $<

$(OBJ)/%.S.o: %.S
	@mkdir -p $(@D)
	$(call say,AS,$<)
	$(Q)$(CC) -g -I. -MMD -MP -c -o $@ $<

# Unit and model tests link the objects they need out of an archive of the scheduler's layers (but
# unwind as programs do).
UNIT_LIB := $(OBJ)/libunit.a
UNIT_OBJ := $(filter-out %/host/unwind.cc.o,$(filter $(OBJ)/scheduler/%,$(SO_OBJ)))
UNIT_BIN := $(patsubst %.cc,$(BUILD)/%,$(wildcard tests/unit/*_test.cc))
MODEL_BIN := $(patsubst %.cc,$(BUILD)/%,$(wildcard tests/model/*_test.cc))

$(UNIT_LIB): $(UNIT_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(UNIT_BIN) $(MODEL_BIN): $(BUILD)/%: %.cc $(UNIT_LIB)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CXX) $(filter-out -fno-rtti,$(CXXFLAGS)) -MMD -MP -MF $@.d -MT $@ -o $@ $< $(UNIT_LIB) \
	  -lgtest_main -lgtest $(LDLIBS) -pthread

unit: $(UNIT_BIN)  ## build and run the unit tests
	$(Q)tests/unit/run --filter '$(UNIT_FILTER)' $(UNIT_BIN)

model: $(MODEL_BIN)  ## build and run the scheduler's protocols under a simulator
	$(Q)tests/unit/run --filter '$(UNIT_FILTER)' $(MODEL_BIN)

# The simulator compiles the scheduler's own sources a second time, with another host underneath.
SIM_SRC  := $(filter-out scheduler/chaos.cc,$(wildcard scheduler/*.cc)) $(wildcard tests/sim/*.cc)
SIM_OBJ  := $(addprefix $(OBJ)/sim/,$(addsuffix .o,$(SIM_SRC)))
SIM_HOST := $(addprefix $(OBJ)/scheduler/,$(addsuffix .cc.o,host/report host/stack base/options))
SIM      := $(BUILD)/tests/sim/sim
SIM_FLAGS := -Itests/sim/shadow $(CXXFLAGS) $(SIM_$(MODE)) -include tests/sim/platform.h \
             -DPFIBER_SIMULATOR_PLATFORM=::pfiber::sim::SimPlatform

$(OBJ)/sim/%.cc.o: %.cc
	@mkdir -p $(@D)
	$(call say,SIM,$<)
	$(Q)$(CXX) $(SIM_FLAGS) -MMD -MP -c -o $@ $<

$(SIM): $(SIM_OBJ) $(SIM_HOST)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(CXXFLAGS) -o $@ $^ $(LDLIBS)

SIM_SEEDS ?= tests/sim/seeds
sim: $(SIM)  ## the scheduler on a simulated machine with virtual time: a set of seeds
	$(Q)$(SIM) --set $(SIM_SEEDS)

SECONDS ?= 60
soak: $(SIM) all sanitize  ## the same with random seeds: make soak SECONDS=600; then preemption at length
	$(Q)$(SIM) --soak $(SECONDS)
	$(Q)tests/stress/run

sanitize:  ## unit, model and simulator under the address and undefined behaviour sanitizers
	@mkdir -p $(BUILD)/asan
	$(Q)awk '!/^#/ && NF { if ($$3 > 2) $$3 = 2; print }' tests/sim/seeds > $(BUILD)/asan/seeds
	$(Q)$(MAKE) --no-print-directory MODE=asan BUILD=$(BUILD)/asan SIM_SEEDS=$(BUILD)/asan/seeds \
	  unit model sim

-include $(SIM_OBJ:.o=.d) $(SO_OBJ:.o=.d) $(LAUNCH_OBJ:.o=.d) $(UNIT_BIN:=.d) $(MODEL_BIN:=.d)

PREFIX ?= /usr/local
install: all  ## the command, the library and pfiber.h into PREFIX (DESTDIR goes before it)
	$(Q)install -D -m 755 $(BUILD)/pfiber $(DESTDIR)$(PREFIX)/bin/pfiber
	$(Q)install -D -m 755 $(BUILD)/libpfiber.so $(DESTDIR)$(PREFIX)/lib/libpfiber.so
	$(Q)install -D -m 644 interpose/pfiber.h $(DESTDIR)$(PREFIX)/include/pfiber.h

# Each row of the ledger in turn is replaced by libc's own function, or by one that fails; a twin
# that names it has to notice.  Not part of `make test`: it takes a while.
MUTANTS := $(BUILD)/mutants/libpfiber.so
mutate: all  ## do the twins notice a missing hook? make mutate HOOK=name
	$(Q)$(MAKE) --no-print-directory MODE=mutants BUILD=$(BUILD)/mutants $(MUTANTS)
	$(Q)tests/mutants/hooks --library $(MUTANTS) $(HOOK)

deps:  ## install what building and testing need (root, Debian)
	$(Q).ci/deps

test: deps-check all  ## unit, conformance twins, real servers, layering and ledger checks
	$(Q)tests/run

demo: deps-check all  ## the sample servers natively and under pfiber, side by side
	$(Q)examples/demo

scenarios: all  ## convoy, slow calls, pollers, namespaces: small programs natively and under pfiber
	$(Q)examples/scenarios/run

demo-servers: deps-check all  ## stock Debian servers under pfiber, driven by their clients
	$(Q)tests/servers/matrix

bench: all  ## native against pfiber in alternating runs
	$(Q)tests/bench/run

opts: all  ## the Open POSIX Test Suite, built elsewhere: make opts SUITE=dir
	$(Q)tests/opts/run $(OPTS) $(or $(SUITE),$(error SUITE=dir is needed: a folder for each feature, with its programs))

deps-check:
	$(Q).ci/deps --quiet

lint:  ## formatting, shell and python scripts, architecture
	$(Q).ci/lint

format:  ## format the sources
	$(Q)git ls-files '*.c' '*.cc' '*.h' '*.inc' | xargs clang-format -i

docs: $(BUILD)/pfiber  ## write the generated tables of README.md
	$(Q)tests/tidy/run --write-tables

clean:  ## remove build/
	rm -rf $(BUILD)

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: all deps deps-check install unit model sim soak sanitize mutate test demo scenarios demo-servers bench opts lint format docs clean help
.DELETE_ON_ERROR:
