// Implementation of engine.h on libtorch (1.13 and later).
#include "engine.h"

#include "allocator.h"
#include "border.h"
#include "choice.h"
#include "kernels.h"
#ifdef PIPE_CUDA_KERNELS
#include "gpu.h"
#endif
#include "processor.h"
#include "transfer.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/GradMode.h>
#include <torch/cuda.h>
#include <torch/library.h>
#include <torch/version.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/variable.h>

#include <atomic>
#include <cstring>
#include <string>
#include <vector>

namespace {

using engine::free_message;
using engine::guarded;
using engine::hand_out;
using engine::tensor;

std::atomic<int64_t> live_tensors{0};

c10::IValue to_ivalue(const pipe_value& v) {
  switch (v.tag) {
    case PIPE_NONE:
      return c10::IValue();
    case PIPE_TENSOR:
      return c10::IValue(tensor(v.p));
    case PIPE_INT:
      return c10::IValue(v.i);
    case PIPE_DOUBLE:
      return c10::IValue(v.d);
    case PIPE_BOOL:
      return c10::IValue(v.i != 0);
    case PIPE_INT_LIST: {
      const auto* p = static_cast<const int64_t*>(v.p);
      return c10::IValue(c10::List<int64_t>(at::IntArrayRef(p, v.i)));
    }
    case PIPE_TENSOR_LIST: {
      const auto* p = static_cast<const pipe_tensor*>(v.p);
      c10::List<at::Tensor> list;
      list.reserve(v.i);
      for (int64_t k = 0; k < v.i; ++k) list.push_back(tensor(p[k]));
      return c10::IValue(std::move(list));
    }
  }
  TORCH_CHECK(false, "unknown argument tag ", v.tag);
}

void append_result(const c10::IValue& v, std::vector<at::Tensor>& out) {
  if (v.isTensor()) {
    out.push_back(v.toTensor());
  } else if (v.isTensorList()) {
    for (const auto& t : v.toTensorVector()) out.push_back(t);
  } else {
    TORCH_CHECK(false, "operator returned a ", v.tagKind(), ", not a tensor");
  }
}

}  // namespace

namespace engine {

void* hand_out(at::Tensor t) {
  auto* owned = new at::Tensor(std::move(t));
  live_tensors.fetch_add(1, std::memory_order_relaxed);
  return owned;
}

}  // namespace engine

extern "C" {

int pipe_engine_abi(void) {
  engine::install_caching_allocator();  // the first call that any client makes
  return PIPE_ENGINE_ABI;
}

const char* pipe_engine_torch_version(void) { return TORCH_VERSION; }

const char* pipe_engine_torch_loaded(void) {
  static const std::string loaded = [] {
    const std::string key = "TORCH_VERSION=", config = at::show_config();
    const auto at = config.find(key);
    if (at == std::string::npos) return std::string();
    const auto from = at + key.size();
    return config.substr(from, config.find_first_of(", \n", from) - from);
  }();
  return loaded.c_str();
}

const char* pipe_engine_simd(void) { return engine::kernels().isa; }

const char* pipe_engine_bfloat16(void) { return engine::bfloat16_is_onednns() ? "onednn" : "own"; }

void pipe_engine_free_string(char* s) { free_message(s); }

int64_t pipe_engine_live_tensors(void) { return live_tensors.load(); }

void pipe_engine_trim(void) { engine::trim_caching_allocator(); }

void pipe_engine_set_threads(int64_t n) {
  // Throws when called after the inter-op pool is busy; the intra-op setting
  // alone never does, but nothing may cross this border.
  free_message(guarded([&] { at::set_num_threads(static_cast<int>(n)); }));
}

int64_t pipe_engine_threads(void) { return at::get_num_threads(); }

char* pipe_engine_try_device(const char* device) {
  return guarded([&] { at::empty({1}, c10::Device(std::string(device))); });
}

int64_t pipe_engine_cuda_devices(void) {
  int64_t n = 0;
  free_message(guarded([&] { n = static_cast<int64_t>(torch::cuda::device_count()); }));
  return n;
}

char* pipe_engine_try_kernels(const char* device) {
  return guarded([&] {
    // A tensor has the number that "cuda" alone stands for.
    auto where = at::empty({1}, c10::Device(std::string(device))).device();
    TORCH_CHECK(where.is_cuda(), "the kernels are for CUDA devices, not for ", where);
#ifdef PIPE_CUDA_KERNELS
    const auto& missing = engine::gpu_kernels_missing(where);
    TORCH_CHECK(missing.empty(), "the kernels are not compiled for this device: ", missing);
#else
    TORCH_CHECK(false, "the engine was built without nvcc");
#endif
  });
}

char* pipe_engine_measured(void) { return engine::copy_message(engine::measured().c_str()); }

void pipe_engine_set_cuda_numbers(int tf32, int benchmark, int deterministic) {
  auto& c = at::globalContext();
  c.setAllowTF32CuBLAS(tf32 != 0);
  c.setAllowTF32CuDNN(tf32 != 0);
  c.setBenchmarkCuDNN(benchmark != 0);
  c.setDeterministicCuDNN(deterministic != 0);
}

char* pipe_engine_find_op(const char* name, const char* overload, pipe_op* out) {
  return guarded([&] {
    auto op = c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
    *out = new c10::OperatorHandle(op);  // one per operator and process, never freed
  });
}

char* pipe_engine_call(pipe_op op, const pipe_value* args, int64_t n_args,
                       pipe_tensor* out, int64_t max_out, int64_t* n_out) {
  return guarded([&] {
    const auto& handle = *static_cast<const c10::OperatorHandle*>(op);
    const auto& params = handle.schema().arguments();
    TORCH_CHECK(n_args <= static_cast<int64_t>(params.size()), handle.schema().name(), " takes ",
                params.size(), " arguments, got ", n_args);
    torch::jit::Stack stack;
    stack.reserve(params.size());
    for (int64_t k = 0; k < n_args; ++k) stack.push_back(to_ivalue(args[k]));
    for (size_t k = n_args; k < params.size(); ++k) {
      TORCH_CHECK(params[k].default_value().has_value(), handle.schema().name(),
                  " needs the argument ", params[k].name());
      stack.push_back(*params[k].default_value());
    }
    handle.callBoxed(stack);
    std::vector<at::Tensor> results;
    for (const auto& v : stack) append_result(v, results);
    TORCH_CHECK(static_cast<int64_t>(results.size()) <= max_out, handle.schema().name(),
                " returned ", results.size(), " tensors, room for ", max_out);
    *n_out = static_cast<int64_t>(results.size());
    for (size_t k = 0; k < results.size(); ++k) out[k] = hand_out(std::move(results[k]));
  });
}

char* pipe_engine_from_data(const pipe_array* arrays, int64_t n, const char* device, pipe_tensor like,
                            pipe_tensor* out) {
  return guarded([&] {
    std::vector<engine::Array> all;
    for (const auto* a = arrays; a < arrays + n; ++a)
      all.push_back({a->data, static_cast<at::ScalarType>(a->dtype), {a->shape, a->shape + a->ndim}});
    auto where = like ? tensor(like).device() : c10::Device(std::string(device));
    for (auto& t : engine::upload(all, where)) *out++ = hand_out(std::move(t));
  });
}

char* pipe_engine_to_data(pipe_tensor t, void* dst, int64_t bytes) {
  return guarded([&] {
    engine::count_blocking_call();
    auto host = tensor(t).detach().to(at::kCPU).contiguous();
    TORCH_CHECK(static_cast<int64_t>(host.nbytes()) == bytes, "tensor holds ", host.nbytes(),
                " bytes, destination ", bytes);
    if (bytes > 0) std::memcpy(dst, host.data_ptr(), bytes);
  });
}

char* pipe_engine_fetch(pipe_tensor t, pipe_fetch* out) {
  return guarded([&] { *out = new engine::Fetch(tensor(t)); });
}

char* pipe_engine_fetched(pipe_fetch f, void* dst, int64_t bytes) {
  std::unique_ptr<engine::Fetch> fetch(static_cast<engine::Fetch*>(f));
  return guarded([&] {
    if (dst != nullptr) fetch->read(dst, bytes);
  });
}

int64_t pipe_engine_blocking_calls(void) { return engine::blocking_calls(); }

char* pipe_engine_info(pipe_tensor t, int64_t* dtype, int64_t* ndim, int64_t* shape,
                       int64_t max_dim) {
  return guarded([&] {
    const auto& x = tensor(t);
    TORCH_CHECK(x.dim() <= max_dim, "tensor has ", x.dim(), " dimensions, room for ", max_dim);
    *dtype = static_cast<int64_t>(x.scalar_type());
    *ndim = x.dim();
    for (int64_t k = 0; k < x.dim(); ++k) shape[k] = x.size(k);
  });
}

void pipe_engine_release(pipe_tensor t) {
  if (t == nullptr) return;
  free_message(guarded([&] { delete static_cast<at::Tensor*>(t); }));
  live_tensors.fetch_sub(1, std::memory_order_relaxed);
}

char* pipe_engine_set_requires_grad(pipe_tensor t, int on) {
  return guarded([&] { tensor(t).set_requires_grad(on != 0); });
}

char* pipe_engine_backward(pipe_tensor loss) {
  return guarded([&] { torch::autograd::backward({tensor(loss)}, {}); });
}

char* pipe_engine_grad(pipe_tensor t, pipe_tensor* out) {
  return guarded([&] {
    const auto& g = tensor(t).grad();
    *out = g.defined() ? hand_out(g) : nullptr;
  });
}

char* pipe_engine_clear_grad(pipe_tensor t) {
  return guarded([&] { tensor(t).mutable_grad().reset(); });
}

void pipe_engine_set_grad_enabled(int on) { c10::GradMode::set_enabled(on != 0); }

}  // extern "C"
