# SPDX-License-Identifier: Apache-2.0
# The front door: installs what is missing and calls Meson and Ninja. `make help` lists what it can do.
# make SANITIZE=1 ...   the same in build-sanitize/ with address and undefined-behaviour sanitizers
# make CC=clang BUILD=build-clang ...   another compiler beside the first

BUILD ?= $(if $(SANITIZE),build-sanitize,build)
SETUP  = $(if $(SANITIZE),-Db_sanitize=address$(comma)undefined -Db_lundef=false)
comma := ,

.PHONY: all deps run check bench bench-memory bench-pool tidy coverage guest install clean help

all: deps $(BUILD)/build.ninja
	@ninja -C $(BUILD)

deps:
	@tools/install-deps build

$(BUILD)/build.ninja: | deps
	@meson setup $(BUILD) $(SETUP)

guest: deps
	@tools/get-guest

run: all guest
	@tools/run-guest $(BUILD)/umbra
	@tools/run-pool $(BUILD)

check:
	@tools/install-deps build test
	@$(MAKE) --no-print-directory all
	@tools/check $(BUILD) $(if $(SANITIZE),--timeout-multiplier 5)

# make bench ROUNDS=5: also $(BUILD)/bench.json, and $(BUILD)/bench.html with plots
bench: all guest
	@bench/run --build $(BUILD) --rounds $(or $(ROUNDS),3) --json $(BUILD)/bench.json --html $(BUILD)/bench.html

bench-memory: all guest
	@bench/memory --build $(BUILD) --rounds $(or $(ROUNDS),3)

bench-pool: all guest
	@bench/pool --build $(BUILD)

tidy:
	@tools/install-deps build tidy
	@$(MAKE) --no-print-directory all
	@tools/tidy $(BUILD)

coverage: deps
	@test -e build-coverage/build.ninja || CC=gcc meson setup build-coverage -Db_coverage=true -Doptimization=0
	@tools/coverage build-coverage

install: all
	@meson install -C $(BUILD)

clean:
	@rm -rf build build-sanitize build-coverage

help:
	@echo 'make            install what is missing, build build/umbra'
	@echo 'make run        boot the guest: a shell on a terminal, a demonstration without one;'
	@echo '                then three guests on less than half of their memory, one restarted under shortage'
	@echo 'make check      build and run all tests'
	@echo 'make bench      compare with native and with QEMU (TCG) what programs and a boot cost'
	@echo 'make bench-memory   compare a guest on half of its memory with QEMU (TCG) on the kernel'"'"'s swap'
	@echo 'make bench-pool     measure what the idle-memory tax gains a busy guest beside an idle one'
	@echo 'make tidy       look for mistakes with clang-tidy'
	@echo 'make coverage   lines that the unit and MMU tests reach, per folder'
	@echo 'make guest      fetch the Debian kernel and busybox into your cache folder (no root)'
	@echo 'make install    install umbra and its man pages under /usr/local'
	@echo 'make clean      remove build folders'
	@echo 'SANITIZE=1      with any of these: address and undefined-behaviour sanitizers'
