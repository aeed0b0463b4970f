# Builds everything into build/: one library for each process, one program for each main.
#
#   make             the programs
#   make test        every test; installs what the tests need
#   make test T=x    the tests whose name contains x
#   make SAN=1 test  every test under the address and undefined-behaviour sanitizers
#   make lint        format, rooms, shellcheck, cppcheck, clang-tidy
#   make format      clang-format on every file
#   make bench       measures speed
#   make soak, fuzz  long runs with kills; damaged input
#   make gpu-check   compares a GPU with the CPU; gpu-peers compares it with PyTorch
#   make deps        installs what building needs; deps-test: what the tests need
#   make install     into PREFIX (/usr/local) below DESTDIR
#   make clean       removes what was built
#
#   V=1 shows the commands. CUDA=0 leaves the GPU backend out. WERROR=1 turns warnings into errors.
#
# Rules: DIR/*.c and DIR/ROOM/*.c, without the programs' own files, make build/libDIR.a. A program
# sees its own folder and common/. tests/DIR/test_X.c and tests/DIR/ROOM/test_X.c link libDIR.a and
# libcommon.a.

SHELL := /bin/bash
MAKEFLAGS += -j$(shell nproc)
BUILD := build$(if $(SAN),-san)
VERSION := $(shell cat VERSION)
GIT_HASH := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
CC ?= gcc

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wundef \
        -Wvla -Wno-unused-parameter $(if $(WERROR),-Werror)
OPT := $(if $(SAN),-O1 -fno-omit-frame-pointer -fsanitize=address -fsanitize=undefined -fno-sanitize-recover=undefined,-O2)
CFLAGS ?=
override CFLAGS += -std=gnu17 -g $(OPT) $(WARN) -fno-math-errno -ffp-contract=off -D_GNU_SOURCE -MMD -MP
override LDFLAGS += $(if $(SAN),-fsanitize=address -fsanitize=undefined) -pthread

PROCESSES := curator loader trainer pool monitor
# Programs that are not a folder's main.c: NAME:FOLDER, source FOLDER/NAME.c
EXTRA := translate:trainer import:trainer export:trainer bench_step:trainer ctl:tools/ctl \
    draw:tools/draw

LIBS_common  := -lzmq -lmsgpackc -lsodium -lconfig -lyajl -lturbojpeg -ljpeg -lspng -lwebp -lexif -lz -lm
LIBS_curator :=
LIBS_loader  :=
LIBS_trainer := -lzip -lprotobuf-c -ldnnl -fopenmp -rdynamic
LIBS_pool    :=
LIBS_monitor := -lsqlite3 -lmicrohttpd
LIBS_tools   := -lsqlite3
# Fuzz targets, tests/fuzz/fuzz_NAME.c, NAME:FOLDER; of the trainer only what is named here
FUZZ := msg:common config:common manifest:common image:common ring:common landmarks:curator \
        labels:curator lists:curator exec:curator safetensors:trainer weights:trainer state:trainer \
        options:tools plans:trainer cache:curator
FUZZ_safetensors := rooms/trainer/weights.a
FUZZ_weights := rooms/trainer/weights.a
FUZZ_LIBS_weights := -lzip
FUZZ_state := rooms/trainer/checkpoint.a
FUZZ_plans := cuda/trainer/cuda/plans.o cuda/trainer/cuda/problem.o
CFLAGS_trainer := -fopenmp $(if $(SAN),,-O3)

include tools/rules.mk

# Loops over every pixel of a data set.
$(BUILD)/curator/pictures/stats.o: CFLAGS_curator += $(if $(SAN),,-O3)
