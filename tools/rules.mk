# The general part of the Makefile: pattern rules made once per folder.

PROGRAM_FILES := $(foreach p,$(PROCESSES),$(p)/main.c) \
    $(foreach e,$(EXTRA),$(lastword $(subst :, ,$(e)))/$(firstword $(subst :, ,$(e))).c)
FOLDERS := common $(PROCESSES) tools
PROGRAMS := $(foreach f,$(wildcard $(PROGRAM_FILES)),$(BUILD)/bin/$(if $(filter main.c,$(notdir $(f))),$(patsubst %/,%,$(dir $(f))),$(basename $(notdir $(f)))))

.PHONY: all
all: programs $(BUILD)/built
programs: $(PROGRAMS)

# Newer than every source that was there when all was built: `pipeline` compares.
SOURCES := $(wildcard $(foreach f,$(FOLDERS),$(f)/*.* $(f)/*/*.*))
$(BUILD)/built: $(PROGRAMS) $(SOURCES)
	@touch $@

.DELETE_ON_ERROR:

define folder_rules
OBJECTS_$(1) := $$(patsubst %.c,$$(BUILD)/%.o,$$(filter-out $$(PROGRAM_FILES),$$(wildcard $(1)/*.c)))
$$(BUILD)/$(1)/%.o: $(1)/%.c $$(BUILD)/flags
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(CFLAGS_$(1)) -I$(1) -Icommon -I$$(BUILD) -c $$< -o $$@
$$(BUILD)/lib$(1).a: $$(OBJECTS_$(1))
	@rm -f $$@
	@ar rcs $$@ $$(OBJECTS_$(1))
-include $$(wildcard $$(BUILD)/$(1)/*.d)
endef
$(foreach f,$(FOLDERS),$(eval $(call folder_rules,$(f))))

# ONNX's own description of its files, as C.
ONNX_PROTO := /usr/include/onnx/onnx.proto
$(BUILD)/onnx.pb-c.h: $(ONNX_PROTO)
	@mkdir -p $(@D)
	protoc-c --proto_path=$(<D) --c_out=$(@D) $<
$(BUILD)/onnx.pb-c.o: $(BUILD)/onnx.pb-c.h $(BUILD)/flags
	$(CC) $(CFLAGS) -w -I$(BUILD) -c $(BUILD)/onnx.pb-c.c -o $@
$(BUILD)/trainer/onnx_file.o: $(BUILD)/onnx.pb-c.h
$(BUILD)/libtrainer.a: $(BUILD)/onnx.pb-c.o
OBJECTS_trainer += $(BUILD)/onnx.pb-c.o

# program_rules: program name, its folder, its object
define program_rules
$$(BUILD)/bin/$(1): $$(BUILD)/$(2)/$(3).o $$(BUILD)/lib$(2).a $$(BUILD)/libcommon.a
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LIBS_$(2)) $$(LIBS_common)
endef
$(foreach p,$(PROCESSES),$(eval $(call program_rules,$(p),$(p),main)))
$(foreach e,$(EXTRA),$(eval $(call program_rules,$(firstword $(subst :, ,$(e))),$(lastword $(subst :, ,$(e))),$(firstword $(subst :, ,$(e))))))

# tests/FOLDER/test_X.c and tests/FOLDER/bench_X.c
define test_rules
.PRECIOUS: $$(BUILD)/tests/$(1)/%.o
$$(BUILD)/tests/$(1)/%.o: tests/$(1)/%.c $$(BUILD)/flags
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(CFLAGS_$(1)) -I$(1) -Icommon -I$$(BUILD) -Itests -c $$< -o $$@
$$(BUILD)/tests/$(1)/test_%: $$(BUILD)/tests/$(1)/test_%.o $$(BUILD)/lib$(1).a $$(BUILD)/libcommon.a
	$$(CC) $$(LDFLAGS) -o $$@ -Wl,--start-group $$^ -Wl,--end-group $$(LIBS_$(1)) $$(LIBS_common) -lcmocka
$$(BUILD)/bin/bench_%: $$(BUILD)/tests/$(1)/bench_%.o $$(BUILD)/lib$(1).a $$(BUILD)/libcommon.a
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LIBS_$(1)) $$(LIBS_common)
-include $$(wildcard $$(BUILD)/tests/$(1)/*.d)
endef
$(foreach f,$(FOLDERS),$(eval $(call test_rules,$(f))))
TESTS := $(foreach f,$(FOLDERS),$(patsubst %.c,$(BUILD)/%,$(wildcard tests/$(f)/test_*.c)))
BENCHES := $(foreach f,$(FOLDERS),$(patsubst tests/$(f)/%.c,$(BUILD)/bin/%,$(wildcard tests/$(f)/bench_*.c)))

# fuzz_rules: target, its folder. Built by tests/fuzz/run with flags of its own.
define fuzz_rules
$$(BUILD)/tests/fuzz/fuzz_$(1).o: tests/fuzz/fuzz_$(1).c $$(BUILD)/flags
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) -I$(2) -Icommon -Itests/fuzz -c $$< -o $$@
$$(BUILD)/bin/fuzz_$(1): $$(BUILD)/tests/fuzz/fuzz_$(1).o $$(BUILD)/tests/fuzz/fuzz.o \
    $$(addprefix $$(BUILD)/,$$(or $$(FUZZ_$(1)),lib$(2).a)) $$(BUILD)/libcommon.a
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(FUZZ_LIBS_$(1)) $$(LIBS_common)
endef
$(foreach f,$(FUZZ),$(eval $(call fuzz_rules,$(firstword $(subst :, ,$(f))),$(lastword $(subst :, ,$(f))))))
$(BUILD)/tests/fuzz/fuzz.o: tests/fuzz/fuzz.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Icommon -c $< -o $@
-include $(wildcard $(BUILD)/tests/fuzz/*.d)
fuzz_targets: $(foreach f,$(FUZZ),$(BUILD)/bin/fuzz_$(firstword $(subst :, ,$(f))))

# The judge of the backends' ops.
$(BUILD)/tests/trainer/test_ops $(BUILD)/tests/trainer/test_penalty: $(BUILD)/tests/trainer/reference_ops.o

# The golden program judges trainer, pool and pictures alike.
$(BUILD)/tests/golden: $(patsubst tests/%.c,$(BUILD)/tests/%.o,$(wildcard tests/trainer/golden*.c tests/trainer/json*.c)) \
    $(BUILD)/pool/exchange.o $(BUILD)/libtrainer.a $(BUILD)/libcommon.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_trainer) $(LIBS_common)
$(BUILD)/tests/trainer/golden_pool.o: CFLAGS_trainer += -Ipool

# What .incbin takes in, -MMD does not see.
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
$(BUILD)/common/version.o: $(BUILD)/version.h
.PHONY: FORCE
FORCE:

include tools/cuda.mk
programs: $(PLUGINS)

tests: programs $(TESTS) $(BUILD)/bin/gpu_check $(if $(wildcard tests/trainer/golden.c),$(BUILD)/tests/golden)
benches: $(PROGRAMS) $(BENCHES)

.PHONY: programs tests benches fuzz_targets test bench lint format soak fuzz clean deps deps-test
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
