# The general part of the Makefile: pattern rules made once per folder.

PROGRAM_FILES := $(foreach p,$(PROCESSES),$(p)/main.c) \
    $(foreach e,$(EXTRA),$(lastword $(subst :, ,$(e)))/$(firstword $(subst :, ,$(e))).c)
FOLDERS := common $(PROCESSES) tools
PROGRAMS := $(foreach f,$(wildcard $(PROGRAM_FILES)),$(BUILD)/bin/$(if $(filter main.c,$(notdir $(f))),$(patsubst %/,%,$(dir $(f))),$(basename $(notdir $(f)))))

.PHONY: all
all: programs $(BUILD)/built
programs: $(PROGRAMS)

# Newer than every source of the last build: `pipeline` compares it with the sources.
SOURCES := $(wildcard $(foreach f,$(FOLDERS),$(f)/*.* $(f)/*/*.* $(f)/*/*/*.*))
$(BUILD)/built: $(PROGRAMS) $(SOURCES)
	@touch $@

.DELETE_ON_ERROR:

# $(call quiet,WHAT) begins a command: in its place one line is shown, "WHAT file". V=1 shows the
# command itself.
quiet = $(if $(V),,@printf '  %-6s %s\n' $(1) $@;)

# trainer/cuda/ is the plugin's.
define folder_rules
OBJECTS_$(1) := $$(patsubst %.c,$$(BUILD)/%.o,$$(filter-out $$(PROGRAM_FILES) trainer/cuda/%,\
    $$(wildcard $(1)/*.c $(1)/*/*.c)))
$$(BUILD)/$(1)/%.o: $(1)/%.c $$(BUILD)/flags
	@mkdir -p $$(@D)
	$$(call quiet,CC)$$(CC) $$(CFLAGS) $$(CFLAGS_$(1)) -I$(1) -Icommon -I$$(BUILD) -c $$< -o $$@
$$(BUILD)/lib$(1).a: $$(OBJECTS_$(1))
	@rm -f $$@
	@ar qcs $$@ $$(OBJECTS_$(1))
-include $$(wildcard $$(BUILD)/$(1)/*.d $$(BUILD)/$(1)/*/*.d)
endef
$(foreach f,$(FOLDERS),$(eval $(call folder_rules,$(f))))

# room_rules: one room by itself, build/rooms/DIR/ROOM.a; the fuzz targets link it.
define room_rules
$$(BUILD)/rooms/$(1).a: $$(patsubst %.c,$$(BUILD)/%.o,$$(wildcard $(1)/*.c))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar qcs $$@ $$^
endef
$(foreach r,$(sort $(patsubst rooms/%.a,%,$(filter rooms/%,$(foreach f,$(FUZZ),$(FUZZ_$(firstword $(subst :, ,$(f)))))))),\
    $(eval $(call room_rules,$(r))))

# ONNX's own description of its files, as C.
ONNX_PROTO := /usr/include/onnx/onnx.proto
$(BUILD)/onnx.pb-c.h: $(ONNX_PROTO)
	@mkdir -p $(@D)
	$(call quiet,PROTOC)protoc-c --proto_path=$(<D) --c_out=$(@D) $<
$(BUILD)/onnx.pb-c.o: $(BUILD)/onnx.pb-c.h $(BUILD)/flags
	$(call quiet,CC)$(CC) $(CFLAGS) -w -I$(BUILD) -c $(BUILD)/onnx.pb-c.c -o $@
$(BUILD)/trainer/weights/onnx_file.o: $(BUILD)/onnx.pb-c.h
$(BUILD)/libtrainer.a: $(BUILD)/onnx.pb-c.o
OBJECTS_trainer += $(BUILD)/onnx.pb-c.o

# program_rules: program name, its folder, its object, the folder's process
define program_rules
$$(BUILD)/bin/$(1): $$(BUILD)/$(2)/$(3).o $$(BUILD)/lib$(4).a $$(BUILD)/libcommon.a
	@mkdir -p $$(@D)
	$$(call quiet,LINK)$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LIBS_$(4)) $$(LIBS_common)
endef
process_of = $(firstword $(subst /, ,$(1)))
$(foreach p,$(PROCESSES),$(eval $(call program_rules,$(p),$(p),main,$(p))))
$(foreach e,$(EXTRA),$(eval $(call program_rules,$(firstword $(subst :, ,$(e))),$(lastword $(subst :, ,$(e))),$(firstword $(subst :, ,$(e))),$(call process_of,$(lastword $(subst :, ,$(e)))))))

# test_X.c and bench_X.c of tests/FOLDER/ and tests/FOLDER/ROOM/
define test_rules
TESTS_$(1) := $$(patsubst %.c,$$(BUILD)/%,$$(wildcard tests/$(1)/test_*.c tests/$(1)/*/test_*.c))
.PRECIOUS: $$(BUILD)/tests/$(1)/%.o
$$(BUILD)/tests/$(1)/%.o: tests/$(1)/%.c $$(BUILD)/flags
	@mkdir -p $$(@D)
	$$(call quiet,CC)$$(CC) $$(CFLAGS) $$(CFLAGS_$(1)) -I$(1) -Icommon -I$$(BUILD) -Itests -c $$< -o $$@
$$(TESTS_$(1)): %: %.o $$(BUILD)/lib$(1).a $$(BUILD)/libcommon.a
	$$(call quiet,LINK)$$(CC) $$(LDFLAGS) -o $$@ -Wl,--start-group $$^ -Wl,--end-group $$(LIBS_$(1)) $$(LIBS_common) -lcmocka
-include $$(wildcard $$(BUILD)/tests/$(1)/*.d $$(BUILD)/tests/$(1)/*/*.d)
endef
$(foreach f,$(FOLDERS),$(eval $(call test_rules,$(f))))
TESTS := $(foreach f,$(FOLDERS),$(TESTS_$(f)))
# bench_rules: source without .c, its process
define bench_rules
$$(BUILD)/bin/$(notdir $(1)): $$(BUILD)/$(1).o $$(BUILD)/lib$(2).a $$(BUILD)/libcommon.a
	@mkdir -p $$(@D)
	$$(call quiet,LINK)$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LIBS_$(2)) $$(LIBS_common)
endef
BENCH_FILES := $(basename $(wildcard tests/*/bench_*.c tests/*/*/bench_*.c))
$(foreach b,$(BENCH_FILES),$(eval $(call bench_rules,$(b),$(call process_of,$(patsubst tests/%,%,$(b))))))
BENCHES := $(addprefix $(BUILD)/bin/,$(notdir $(BENCH_FILES)))

# fuzz_rules: target, its folder. Built by tests/fuzz/run with flags of its own.
define fuzz_rules
$$(BUILD)/tests/fuzz/fuzz_$(1).o: tests/fuzz/fuzz_$(1).c $$(BUILD)/flags
	@mkdir -p $$(@D)
	$$(call quiet,CC)$$(CC) $$(CFLAGS) -I$(2) -Icommon -Itests -c $$< -o $$@
$$(BUILD)/bin/fuzz_$(1): $$(BUILD)/tests/fuzz/fuzz_$(1).o $$(BUILD)/tests/fuzz/fuzz.o \
    $$(addprefix $$(BUILD)/,$$(or $$(FUZZ_$(1)),lib$(2).a)) $$(BUILD)/libcommon.a
	@mkdir -p $$(@D)
	$$(call quiet,LINK)$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(FUZZ_LIBS_$(1)) $$(LIBS_common)
endef
$(foreach f,$(FUZZ),$(eval $(call fuzz_rules,$(firstword $(subst :, ,$(f))),$(lastword $(subst :, ,$(f))))))
$(BUILD)/tests/fuzz/fuzz.o: tests/fuzz/fuzz.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(CFLAGS) -Icommon -Itests -c $< -o $@
-include $(wildcard $(BUILD)/tests/fuzz/*.d)
fuzz_targets: $(foreach f,$(FUZZ),$(BUILD)/bin/fuzz_$(firstword $(subst :, ,$(f))))

# The oracle of the ops of the backends.
$(BUILD)/tests/trainer/cpu/test_ops $(BUILD)/tests/trainer/nets/test_penalty: $(BUILD)/tests/trainer/oracle/ops.o

# Tests that compare modules of two processes.
$(BUILD)/tests/common/image/test_image $(BUILD)/tests/common/image/test_image_mutants: $(BUILD)/loader/preprocess.o
$(addprefix $(BUILD)/tests/common/image/,test_image.o test_image_mutants.o): CFLAGS_common += -Iloader
$(BUILD)/tests/trainer/judge/test_picture_sets: $(BUILD)/curator/pictures/stats.o
$(BUILD)/tests/trainer/judge/test_picture_sets.o: CFLAGS_trainer += -Icurator

# The golden program tests trainer, pool and images. build/tests/golden is the program, so its objects
# have another folder.
GOLDEN := $(BUILD)/tests/golden
GOLDEN_OBJECTS := $(BUILD)/tests/golden-objects
$(GOLDEN_OBJECTS)/%.o: tests/golden/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(CFLAGS) $(CFLAGS_trainer) -Itrainer -Icommon -I$(BUILD) -Itests -c $< -o $@
$(GOLDEN): $(patsubst tests/golden/%.c,$(GOLDEN_OBJECTS)/%.o,$(wildcard tests/golden/*.c)) \
    $(BUILD)/pool/replay_rule.o $(BUILD)/loader/preprocess.o $(BUILD)/libtrainer.a $(BUILD)/libcommon.a
	$(call quiet,LINK)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_trainer) $(LIBS_common)
$(GOLDEN_OBJECTS)/pool.o: CFLAGS_trainer += -Ipool
$(GOLDEN_OBJECTS)/image.o: CFLAGS_trainer += -Iloader
-include $(wildcard $(GOLDEN_OBJECTS)/*.d)

# -MMD does not see the files of .incbin.
$(BUILD)/monitor/page.o: monitor/page.html monitor/page.css monitor/page.js
$(BUILD)/monitor/schema.o: $(wildcard monitor/schema*.sql)

# Rebuild everything when the flags change.
$(BUILD)/flags: FORCE
	@mkdir -p $(BUILD)
	@echo '$(CC) $(CFLAGS)' | cmp -s - $@ || echo '$(CC) $(CFLAGS)' > $@
$(BUILD)/version.h: FORCE
	@mkdir -p $(BUILD)
	@echo '#define VERSION_TEXT "$(VERSION)+$(GIT_HASH)"' | cmp -s - $@ || \
	    echo '#define VERSION_TEXT "$(VERSION)+$(GIT_HASH)"' > $@
$(BUILD)/common/base/version.o: $(BUILD)/version.h
.PHONY: FORCE
FORCE:

include tools/cuda.mk
programs: $(PLUGINS)

tests: programs $(TESTS) $(BUILD)/bin/gpu_check $(GOLDEN)
benches: $(PROGRAMS) $(BENCHES)

.PHONY: programs tests benches fuzz_targets help test bench lint format soak fuzz clean deps deps-test \
    install
help:
	@sed -n 's/^#   //p; /^SHELL/q' Makefile
test:
	@tools/deps.sh test
	@$(MAKE) --no-print-directory tests
	@BUILD=$(BUILD) tests/run $(T)
bench: benches
	@BUILD=$(BUILD) tests/run_bench
deps:
	@tools/deps.sh build
deps-test:
	@tools/deps.sh test
soak: programs
	@BUILD=$(BUILD) tests/soak
fuzz:
	@tests/fuzz/run
lint:
	@tools/lint.sh
format:
	clang-format -i $$(git ls-files '*.c' '*.h' '*.cu')
clean:
	rm -rf build build-san build-fuzz

# The script finds its programs beside itself, so they are installed as they lie here. Runs then go
# to runs/ of the folder where the script is called.
PREFIX ?= /usr/local
SHARE := $(DESTDIR)$(PREFIX)/share/cyclegan-pipeline
install: programs
	install -d $(SHARE)/build/bin $(SHARE)/tools $(SHARE)/presets $(DESTDIR)$(PREFIX)/bin
	install pipeline $(SHARE)
	install tools/deps.sh $(SHARE)/tools
	install -m 644 VERSION LICENSE pipeline.conf $(SHARE)
	install -m 644 presets/* $(SHARE)/presets
	install $(PROGRAMS) $(SHARE)/build/bin
	$(if $(filter %.so,$(PLUGINS)),install -D -t $(SHARE)/build/lib $(filter %.so,$(PLUGINS)))
	ln -sf ../share/cyclegan-pipeline/pipeline $(DESTDIR)$(PREFIX)/bin/pipeline
