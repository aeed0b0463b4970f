# Builds everything into build/. One library per folder, one program per main.
#
#   make            programs            make deps        what building and the demo need
#   make test       every test          make deps-test   what the tests need besides
#   make test T=x   tests named *x*     make SAN=1 test  under the address and UB sanitizers
#   make lint format bench soak fuzz    make clean
#
# Rules: DIR/*.c and DIR/ROOM/*.c without the programs' own files make build/libDIR.a; a program sees
# its own folder and common/. tests/DIR/test_X.c and tests/DIR/ROOM/test_X.c link libDIR.a and
# libcommon.a.

SHELL := /bin/bash
MAKEFLAGS += -j$(shell nproc)
BUILD := build$(if $(SAN),-san)
VERSION := $(shell cat VERSION)
GIT_HASH := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
CC ?= gcc

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wundef \
        -Wvla -Wno-unused-parameter
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
