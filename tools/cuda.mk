# The CUDA backend, trainer/cuda/: a plugin of the trainer's programs, $(BUILD)/lib/device_cuda.so,
# made where nvcc and cuDNN are; and its emulation on the CPU for the tests, which needs neither.
#
#   make CUDA=0          no plugin            CUDA_HOME=DIR     where the toolkit is
#   make CUDA_ARCHS=90   for sm_90 only       NVCC=FILE         its compiler

CUDA_ARCHS ?= 80 86 89 90
NVCC ?= $(firstword $(shell command -v nvcc) $(wildcard /usr/local/cuda/bin/nvcc))
CUDA_HOME ?= $(patsubst %/bin/,%,$(dir $(realpath $(NVCC))))
CUDA_LIB = $(firstword $(wildcard $(CUDA_HOME)/lib64 $(CUDA_HOME)/lib))
CUDA_INCLUDE = -isystem $(CUDA_HOME)/include
# The sanitizers know nothing of a GPU's memory.
CUDA ?= $(if $(SAN),0,$(if $(NVCC),$(shell printf '\#include <cudnn.h>\n' | \
    $(CC) -E $(CUDA_INCLUDE) - >/dev/null 2>&1 && echo 1 || echo 0),0))

CUDA_OWN := -Itrainer/cuda -Itrainer -Icommon -I$(BUILD)
CUDA_KERNELS := $(wildcard trainer/cuda/*.cu)
CUDA_SOURCES := $(wildcard trainer/cuda/*.c)
# Where cuDNN has a stand-in.
CUDA_CUDNN := trainer/cuda/cuda_conv.c trainer/cuda/cuda_engine.c trainer/cuda/cuda_tune.c
CUDA_STAND_IN := trainer/cuda/cuda_conv_host.c
# What the plugin uses of the program that loads it; what a program lacks of these it gets from
# here. (Of backend.c it uses the program's own.)
CUDA_SHARED := common/err.c common/fs.c common/rng.c common/util.c trainer/text.c

# ---- the plugin ----

CUDA_OBJECTS := $(patsubst %.cu,$(BUILD)/cuda/%.o,$(CUDA_KERNELS)) \
    $(patsubst %.c,$(BUILD)/cuda/%.o,$(filter-out $(CUDA_STAND_IN),$(CUDA_SOURCES)))
CUDA_SHARED_OBJECTS := $(patsubst %.c,$(BUILD)/cuda/%.o,$(CUDA_SHARED))
CUDA_GENCODE := $(foreach a,$(CUDA_ARCHS),-gencode arch=compute_$a,code=sm_$a) \
    -gencode arch=compute_$(lastword $(CUDA_ARCHS)),code=compute_$(lastword $(CUDA_ARCHS))
NVCCFLAGS := -O3 -std=c++17 $(CUDA_GENCODE) -Xcompiler=-fPIC,-Wall,-Wextra,-Wno-unused-parameter

$(BUILD)/cuda/%.o: %.cu $(BUILD)/cuda_flags
	@mkdir -p $(@D)
	$(NVCC) $(NVCCFLAGS) $(CUDA_OWN) -MMD -MP -MF $(@:.o=.d) -c $< -o $@
$(BUILD)/cuda/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fPIC $(CUDA_OWN) $(CUDA_INCLUDE) -c $< -o $@
$(BUILD)/lib/device_cuda.so: $(CUDA_OBJECTS) $(CUDA_SHARED_OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -shared -o $@ $^ -L$(CUDA_LIB) -Wl,-rpath,$(CUDA_LIB) -lcudnn \
	    -lcudart -lstdc++ -lm
-include $(wildcard $(BUILD)/cuda/*/*.d $(BUILD)/cuda/*/*/*.d)

$(BUILD)/cuda_flags: FORCE
	@mkdir -p $(BUILD)
	@echo '$(NVCC) $(NVCCFLAGS)' | cmp -s - $@ || echo '$(NVCC) $(NVCCFLAGS)' > $@
$(BUILD)/no_cuda:
	@mkdir -p $(BUILD)
	@echo 'no nvcc or no cuDNN: build/lib/device_cuda.so is not built, device = "cuda" will not be there'
	@touch $@

PLUGINS := $(if $(wildcard trainer/cuda/backend_cuda.c),$(if $(filter 1,$(CUDA)),$(BUILD)/lib/device_cuda.so,$(if $(filter command% environment%,$(origin CUDA))$(SAN),,$(BUILD)/no_cuda)))

# ---- the emulation ----

CUDA_HOST := tests/trainer/cuda
CUDA_HOST_OWN := -I$(CUDA_HOST) $(CUDA_OWN)
CUDA_HOST_OBJECTS := $(patsubst %.cu,$(BUILD)/cuda_host/%.o,$(CUDA_KERNELS)) \
    $(patsubst %.c,$(BUILD)/cuda_host/%.o,$(filter-out $(CUDA_CUDNN),$(CUDA_SOURCES)) \
        $(wildcard $(CUDA_HOST)/*.c))
CXX ?= g++
CXX_HOST_FLAGS := -x c++ -std=c++17 -g -O2 $(filter -fsanitize% -fno-sanitize% -fno-omit%,$(OPT)) \
    -Wall -Wextra -Wno-unused-parameter -Wno-unknown-pragmas -ffp-contract=off -fno-math-errno -fPIC -MMD -MP

$(BUILD)/cuda_host/%.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D)
	$(CXX) $(CXX_HOST_FLAGS) $(CUDA_HOST_OWN) -c $< -o $@
$(BUILD)/cuda_host/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fPIC $(CUDA_HOST_OWN) -c $< -o $@
$(BUILD)/libcuda_host.a: $(CUDA_HOST_OBJECTS)
	@rm -f $@
	@ar rcs $@ $^
$(BUILD)/lib/device_cuda-host.so: $(CUDA_HOST_OBJECTS) $(CUDA_SHARED_OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -shared -o $@ $^ -lstdc++ -lm
-include $(wildcard $(BUILD)/cuda_host/*/*.d $(BUILD)/cuda_host/*/*/*.d)

# A program looks for plugins in ../lib from where it lies.
$(BUILD)/tests/lib:
	@mkdir -p $(@D)
	@ln -sfn ../lib $@
$(BUILD)/tests/trainer/test_cuda_backend $(BUILD)/tests/golden: | $(BUILD)/lib/device_cuda-host.so \
    $(BUILD)/tests/lib

# Tests of kernels, in the program itself; tests of the backend load the plugin.
$(BUILD)/tests/trainer/test_cuda_%: LIBS_trainer += -lstdc++ -ldl
$(BUILD)/tests/trainer/test_cuda_%.o: CFLAGS_trainer += -I$(CUDA_HOST) -Itrainer/cuda
$(patsubst tests/trainer/%.c,$(BUILD)/tests/trainer/%,$(wildcard tests/trainer/test_cuda_kernels*.c)): \
    $(BUILD)/libcuda_host.a $(BUILD)/tests/trainer/reference_ops.o
$(BUILD)/tests/fuzz/fuzz_plans.o: override CFLAGS += -Itrainer/cuda
$(BUILD)/tests/trainer/test_cuda_plans: $(patsubst %,$(BUILD)/cuda/trainer/cuda/%.o,cuda_layer \
    cuda_plans cuda_site)
CUDA_DESCRIBED := $(BUILD)/tests/trainer/test_cuda_described
$(CUDA_DESCRIBED): $(patsubst %,$(BUILD)/cuda/trainer/cuda/%.o,cuda_layer cuda_site \
    $(if $(filter 1,$(CUDA)),cuda_conv cuda_engine cuda_error cuda_plans cuda_tune))
ifeq ($(CUDA),1)
$(CUDA_DESCRIBED).o: CFLAGS_trainer += -DWITH_CUDNN $(CUDA_INCLUDE)
$(CUDA_DESCRIBED): LIBS_trainer += -L$(CUDA_LIB) -Wl,-rpath,$(CUDA_LIB) -lcudnn -lcudart
endif

# ---- gpu-check: needs gcc, nvcc, cuDNN and gpu-pack/ alone ----

GPU_PACK := gpu-pack
GPU_TRAINER := backend plugin text graph graph_backward graph_cut graph_order graph_penalty \
    graph_place graph_run model model_average model_cut model_cyclegan model_gather model_pix2pix \
    model_step model_translate nets net_forward net_layers net_params optimizer init penalty \
    plateau schedule
GPU_TESTS := golden_check golden_nets golden_run golden_small golden_training json reference_ops
GPU_OBJECTS := $(patsubst %,$(BUILD)/gpu/common/%.o,err fs plugin_path rng util) \
    $(patsubst %,$(BUILD)/gpu/trainer/%.o,$(GPU_TRAINER)) \
    $(patsubst %,$(BUILD)/gpu/tests/trainer/%.o,$(GPU_TESTS)) \
    $(patsubst %.c,$(BUILD)/gpu/%.o,$(wildcard tests/gpu/*.c))
$(BUILD)/gpu/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -O3 -fopenmp -Itests/gpu -Itests/trainer -Itrainer -Icommon -I$(BUILD) \
	    -isystem $(GPU_PACK)/include -c $< -o $@
$(BUILD)/bin/gpu_check: $(GPU_OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -rdynamic -fopenmp -ldl -lm
-include $(wildcard $(BUILD)/gpu/*/*.d $(BUILD)/gpu/*/*/*.d)

DEVICE ?= cuda
SHAPE ?= resnet_9blocks,128,1
.PHONY: gpu-pack gpu-check gpu-peers
gpu-pack: $(BUILD)/tests/golden
	@mkdir -p $(GPU_PACK)/include
	@cp -r /usr/include/Random123 $(GPU_PACK)/include/
	@if [ -e ../shared/golden/cases.json ]; then \
	    $(BUILD)/tests/golden --pack $(GPU_PACK)/golden.bin ../shared/golden/cases.json; \
	else echo 'gpu-pack: there are no golden cases to pack'; fi
	@du -sh $(GPU_PACK)
gpu-check: $(BUILD)/bin/gpu_check $(BUILD)/lib/device_$(DEVICE).so
	@tests/gpu/check $(BUILD) $(DEVICE) $(GPU_PACK)/golden.bin
gpu-peers: $(BUILD)/bin/gpu_check $(BUILD)/lib/device_$(DEVICE).so
	@tests/peers/gpu.sh $(BUILD) $(DEVICE) $(SHAPE)
