# The CUDA backend, trainer/cuda/: a plugin of the trainer's programs, $(BUILD)/lib/device_cuda.so,
# built if nvcc and cuDNN are there. Its emulation on the CPU, for the tests, needs neither.
#
#   make CUDA=0          no plugin            CUDA_HOME=DIR     the toolkit
#   make CUDA_ARCHS=90   for sm_90 only       CUDNN_HOME=DIR    cuDNN in DIR/include, DIR/lib
#   NVCC=FILE            its compiler         PYTHON=FILE       its wheel of cuDNN is used
#
# cuDNN is searched in CUDA_HOME, /usr/local and /usr, then among python3's packages (PyTorch installs
# the wheel nvidia-cudnn-cu13).

NVCC ?= $(firstword $(shell command -v nvcc) $(wildcard /usr/local/cuda/bin/nvcc))
NVCC := $(NVCC)
PYTHON ?= python3
# The toolkit of nvcc; nvcc itself may be a script or a link in another folder.
CUDA_HOME ?= $(patsubst %/include/cuda_runtime_api.h,%,$(firstword $(wildcard $(addsuffix \
    /include/cuda_runtime_api.h,$(patsubst %/bin/,%,$(dir $(realpath $(NVCC)))) /usr/local/cuda))))
CUDA_HOME := $(CUDA_HOME)
CUDA_LIB := $(firstword $(patsubst %/,%,$(dir $(wildcard $(addprefix $(CUDA_HOME)/,lib64/libcudart.so \
    lib/libcudart.so targets/x86_64-linux/lib/libcudart.so lib/x86_64-linux-gnu/libcudart.so)))))

# The folder of cuDNN 9 below a home, and the folder of its header.
cudnn_lib = $(firstword $(patsubst %/libcudnn.so.9,%,$(wildcard $(addsuffix /libcudnn.so.9,$1/lib64 \
    $1/lib $1/lib/x86_64-linux-gnu $1/targets/x86_64-linux/lib))))
cudnn_include = $(firstword $(patsubst %/cudnn.h,%,$(wildcard $(addsuffix /cudnn.h,$1/include \
    $1/include/x86_64-linux-gnu $1/targets/x86_64-linux/include))))
cudnn_in = $(firstword $(foreach h,$1,$(if $(call cudnn_lib,$h),$(if $(call cudnn_include,$h),$h))))
cudnn_wheel = $(shell $(PYTHON) -c 'import importlib.util as i; \
    print(*i.find_spec("nvidia.cudnn").submodule_search_locations)' 2>/dev/null)
ifneq ($(NVCC),)
CUDNN_HOME ?= $(or $(call cudnn_in,$(CUDA_HOME) /usr/local /usr),$(call cudnn_in,$(cudnn_wheel)))
CUDNN_HOME := $(CUDNN_HOME)
CUDNN_LIB := $(call cudnn_lib,$(CUDNN_HOME))
CUDNN_INCLUDE := $(call cudnn_include,$(CUDNN_HOME))
endif
# Naming one of gcc's own folders would change the order of its search.
CUDA_INCLUDE = $(patsubst %,-isystem %,$(filter-out /usr/include /usr/local/include, \
    $(CUDNN_INCLUDE) $(CUDA_HOME)/include))
# cuDNN's parts lie beside it, where it looks for them. A wheel has no libcudnn.so. An RPATH, not a
# RUNPATH: LD_LIBRARY_PATH, which containers set, would name other libraries than those built with.
CUDA_LINK = -L$(CUDNN_LIB) -L$(CUDA_LIB) -Wl,--disable-new-dtags -Wl,-rpath,$(CUDNN_LIB) \
    -Wl,-rpath,$(CUDA_LIB) -l:libcudnn.so.9 -lcudart
# The sanitizers do not see a GPU's memory.
CUDA ?= $(if $(SAN),0,$(if $(NVCC),$(if $(CUDA_LIB),$(if $(CUDNN_LIB),1,0),0),0))
# On the machine that runs it, code for its own GPU suffices. nvidia-smi prints its failures where
# its answers go: those of the form 9.0 are taken alone.
CUDA_LOCAL := $(if $(filter gpu-check gpu-sanitize gpu-peers gpu-plugin,$(MAKECMDGOALS)), \
    $(filter-out 1_% 2_% 3_% 5_% 6_% 7_%,$(sort $(subst .,_,$(shell \
    nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | grep -x '[0-9]*\.[0-9]*')))))
CUDA_ARCHS ?= $(or $(subst _,,$(CUDA_LOCAL)),80 86 89 90)

# Headers from `make gpu-pack`, for a machine without Debian's packages.
GPU_PACK := gpu-pack
CUDA_OWN := -Itrainer -Icommon -I$(BUILD) \
    $(if $(wildcard $(GPU_PACK)/include),-isystem $(GPU_PACK)/include)
CUDA_KERNELS := $(wildcard trainer/cuda/kernels/*.cu)
CUDA_SOURCES := $(wildcard trainer/cuda/*.c)
# The emulation replaces these, which call cuDNN.
CUDA_CUDNN := trainer/cuda/conv.c trainer/cuda/dnn.c trainer/cuda/engine.c trainer/cuda/tune.c
# The plugin uses these of the program that loads it, and its own copy where the program lacks one.
# (It uses the program's backend/backend.c.)
CUDA_SHARED := $(patsubst %,common/base/%.c,err fs rng util text)

# Program and plugin must be built from the same interface: a plugin of another build is refused.
INTERFACE := trainer/backend/backend.h common/base/err.h common/base/err.def
$(BUILD)/device_interface.h: $(INTERFACE)
	@mkdir -p $(@D)
	@echo "#define DEVICE_INTERFACE \"$$(cat $(INTERFACE) | sha256sum | cut -c1-16)\"" >$@
$(BUILD)/trainer/device/plugin.o $(BUILD)/gpu/trainer/device/plugin.o $(BUILD)/cuda/trainer/cuda/cuda.o \
    $(BUILD)/cuda_host/trainer/cuda/cuda.o: $(BUILD)/device_interface.h

# ---- the plugin ----

CUDA_OBJECTS := $(patsubst %.cu,$(BUILD)/cuda/%.o,$(CUDA_KERNELS)) \
    $(patsubst %.c,$(BUILD)/cuda/%.o,$(CUDA_SOURCES))
CUDA_SHARED_OBJECTS := $(patsubst %.c,$(BUILD)/cuda/%.o,$(CUDA_SHARED))
CUDA_GENCODE := $(foreach a,$(CUDA_ARCHS),-gencode arch=compute_$a,code=sm_$a) \
    -gencode arch=compute_$(lastword $(CUDA_ARCHS)),code=compute_$(lastword $(CUDA_ARCHS))
NVCCFLAGS := -O3 -std=c++17 $(CUDA_GENCODE) -Xcompiler=-fPIC,-Wall,-Wextra,-Wno-unused-parameter

$(BUILD)/cuda/%.o: %.cu $(BUILD)/cuda_flags
	@mkdir -p $(@D)
	$(call quiet,NVCC)$(NVCC) $(NVCCFLAGS) $(CUDA_OWN) -MMD -MP -MF $(@:.o=.d) -c $< -o $@
$(BUILD)/cuda/%.o: %.c $(BUILD)/flags $(BUILD)/cuda_link
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(CFLAGS) -fPIC $(CUDA_OWN) $(CUDA_INCLUDE) -c $< -o $@
$(BUILD)/lib/device_cuda.so: $(CUDA_OBJECTS) $(CUDA_SHARED_OBJECTS) $(BUILD)/cuda_link
	@mkdir -p $(@D)
	$(call quiet,LINK)$(CC) $(LDFLAGS) -shared -o $@ $(CUDA_OBJECTS) $(CUDA_SHARED_OBJECTS) $(CUDA_LINK) -lstdc++ -lm
-include $(wildcard $(BUILD)/cuda/*/*/*.d $(BUILD)/cuda/*/*/*/*.d)

$(BUILD)/cuda_flags: FORCE
	@mkdir -p $(BUILD)
	@echo '$(NVCC) $(NVCCFLAGS)' | cmp -s - $@ || echo '$(NVCC) $(NVCCFLAGS)' > $@
$(BUILD)/cuda_link: FORCE
	@mkdir -p $(BUILD)
	@echo '$(CUDA_INCLUDE) $(CUDA_LINK)' | cmp -s - $@ || echo '$(CUDA_INCLUDE) $(CUDA_LINK)' > $@
$(BUILD)/no_cuda:
	@mkdir -p $(BUILD)
	@echo 'no nvcc or no cuDNN 9: build/lib/device_cuda.so is not built, device = "cuda" will not be there'
	@touch $@

PLUGINS := $(if $(wildcard trainer/cuda/cuda.c),$(if $(filter 1,$(CUDA)),$(BUILD)/lib/device_cuda.so,$(if $(filter command% environment%,$(origin CUDA))$(SAN),,$(BUILD)/no_cuda)))

# ---- the emulation ----

CUDA_HOST := tests/trainer/cuda/emulation
CUDA_HOST_OWN := -I$(CUDA_HOST) $(CUDA_OWN) -Itests
CUDA_HOST_OBJECTS := $(patsubst %.cu,$(BUILD)/cuda_host/%.o,$(CUDA_KERNELS)) \
    $(patsubst %.c,$(BUILD)/cuda_host/%.o,$(filter-out $(CUDA_CUDNN),$(CUDA_SOURCES)) \
        $(wildcard $(CUDA_HOST)/*.c))
CXX ?= g++
CXX_HOST_FLAGS := -x c++ -std=c++17 -g -O2 $(filter -fsanitize% -fno-sanitize% -fno-omit%,$(OPT)) \
    -Wall -Wextra -Wno-unused-parameter -Wno-unknown-pragmas $(if $(WERROR),-Werror) -ffp-contract=off -fno-math-errno -fPIC -MMD -MP

$(BUILD)/cuda_host/%.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,CXX)$(CXX) $(CXX_HOST_FLAGS) $(CUDA_HOST_OWN) -c $< -o $@
$(BUILD)/cuda_host/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(CFLAGS) -fPIC $(CUDA_HOST_OWN) -c $< -o $@
$(BUILD)/libcuda_host.a: $(CUDA_HOST_OBJECTS)
	@rm -f $@
	@ar rcs $@ $^
$(BUILD)/lib/device_cuda-host.so: $(CUDA_HOST_OBJECTS) $(CUDA_SHARED_OBJECTS)
	@mkdir -p $(@D)
	$(call quiet,LINK)$(CC) $(LDFLAGS) -shared -o $@ $^ -lstdc++ -lm
-include $(wildcard $(BUILD)/cuda_host/*/*/*.d $(BUILD)/cuda_host/*/*/*/*.d)

# A program searches plugins in ../lib, relative to itself.
$(BUILD)/tests/lib:
	@mkdir -p $(@D)
	@ln -sfn ../lib $@
$(BUILD)/tests/trainer/lib:
	@mkdir -p $(@D)
	@ln -sfn ../../lib $@
CUDA_LOADERS := test_backend test_faults test_flow test_touch
$(CUDA_LOADERS:%=$(BUILD)/tests/trainer/cuda/%): | $(BUILD)/lib/device_cuda-host.so $(BUILD)/tests/trainer/lib
$(GOLDEN): | $(BUILD)/lib/device_cuda-host.so $(BUILD)/tests/lib

# Tests of kernels, in the program itself; tests of the backend load the plugin.
$(BUILD)/tests/trainer/cuda/test_%: LIBS_trainer += -lstdc++ -ldl
$(BUILD)/tests/trainer/cuda/test_%.o: CFLAGS_trainer += -I$(CUDA_HOST)
$(patsubst %.c,$(BUILD)/%,$(wildcard tests/trainer/cuda/test_kernels_*.c)): \
    $(BUILD)/libcuda_host.a $(BUILD)/tests/trainer/oracle/ops.o
$(BUILD)/tests/trainer/cuda/test_plans: $(patsubst %,$(BUILD)/cuda/trainer/cuda/%.o,layer plans problem)
CUDA_DESCRIBED := $(BUILD)/tests/trainer/cuda/test_described
$(CUDA_DESCRIBED): $(patsubst %,$(BUILD)/cuda/trainer/cuda/%.o,layer problem \
    $(if $(filter 1,$(CUDA)),conv dnn engine error plans trial tune))
CUDA_TUNE := $(BUILD)/tests/trainer/cuda/test_tune
$(CUDA_TUNE): LIBS_trainer += -Wl,--wrap=now_us
$(CUDA_TUNE): $(patsubst %,$(BUILD)/cuda/trainer/cuda/%.o,problem \
    $(if $(filter 1,$(CUDA)),dnn error trial tune))
ifeq ($(CUDA),1)
$(CUDA_DESCRIBED).o $(CUDA_TUNE).o: CFLAGS_trainer += -DWITH_CUDNN $(CUDA_INCLUDE)
$(CUDA_DESCRIBED): LIBS_trainer += $(CUDA_LINK)
endif

# ---- gpu-check: needs gcc, nvcc, cuDNN and gpu-pack/ alone ----

GPU_ROOMS := $(addprefix trainer/,backend device graph nets models) tests/trainer/oracle tests/gpu
GPU_FILES := $(patsubst %,common/base/%.c,err fs program_path rng text util) \
    common/image/image.c trainer/checkpoint/plateau.c trainer/training/schedule.c \
    $(patsubst %,tests/golden/%.c,check json nets run small training)
GPU_OBJECTS := $(patsubst %.c,$(BUILD)/gpu/%.o,$(GPU_FILES) $(wildcard $(addsuffix /*.c,$(GPU_ROOMS))))
$(BUILD)/gpu/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(CFLAGS) -O3 -fopenmp -Itests $(CUDA_OWN) -c $< -o $@
$(BUILD)/bin/gpu_check: $(GPU_OBJECTS)
	@mkdir -p $(@D)
	$(call quiet,LINK)$(CC) $(LDFLAGS) -o $@ $^ -rdynamic -fopenmp -ldl -lm
-include $(wildcard $(BUILD)/gpu/*/*/*.d $(BUILD)/gpu/*/*/*/*.d)

DEVICE ?= cuda
SHAPE ?= resnet_9blocks,128,1
.PHONY: gpu-pack gpu-check gpu-sanitize gpu-peers gpu-plugin
gpu-pack: $(GOLDEN) $(PROGRAMS)
	@mkdir -p $(GPU_PACK)/include
	@cp -r /usr/include/Random123 $(GPU_PACK)/include/
	@if [ -e ../shared/golden/cases.json ]; then \
	    $(GOLDEN) --pack $(GPU_PACK)/golden.bin ../shared/golden/cases.json; \
	else echo 'gpu-pack: there are no golden cases to pack'; fi
	@tests/gpu/pack.sh $(BUILD) $(GPU_PACK) $(DATA)
	@du -sh $(GPU_PACK)
# Both need these; if they are missing, gpu-tools-missing says why.
GPU_READY := $(BUILD)/bin/gpu_check $(BUILD)/lib/device_$(DEVICE).so
ifeq ($(DEVICE)$(filter 1,$(CUDA)),cuda)
GPU_READY := gpu-tools-missing
endif
.PHONY: gpu-tools-missing
gpu-tools-missing:
	@echo 'not run: nvcc: $(or $(NVCC),not found). CUDA runtime: $(or $(CUDA_LIB),not found in CUDA_HOME=$(CUDA_HOME)). cuDNN 9: $(or $(CUDNN_LIB),not found). NVCC=FILE, CUDA_HOME=DIR, CUDNN_HOME=DIR name them'
	@exit 77
gpu-plugin: $(lastword $(GPU_READY)) # for the scripts in tests/gpu/
gpu-check: $(GPU_READY)
	@tests/gpu/check $(BUILD) $(DEVICE) $(GPU_PACK)/golden.bin $(PARTS)
gpu-sanitize: $(GPU_READY)
	@tests/gpu/sanitize.sh $(BUILD) $(DEVICE) $(TOOLS)
gpu-peers: $(GPU_READY)
	@PYTHON=$(PYTHON) tests/peers/gpu.sh $(BUILD) $(DEVICE) '$(SHAPE)'
