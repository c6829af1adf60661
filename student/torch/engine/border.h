// What every implementation of engine.h's functions needs at the border to Go.
#ifndef PIPE_BORDER_H
#define PIPE_BORDER_H

#include <ATen/ATen.h>

#include <cstdlib>
#include <cstring>
#include <exception>

namespace engine {

inline char out_of_memory[] = "out of memory while reporting an error";

inline char* copy_message(const char* what) {
  char* s = strdup(what);
  return s ? s : out_of_memory;
}

inline void free_message(char* s) {
  if (s != out_of_memory) free(s);
}

// Runs body and turns whatever it throws into a message.
template <typename F>
char* guarded(F&& body) {
  try {
    body();
    return nullptr;
  } catch (const c10::Error& e) {
    return copy_message(e.what_without_backtrace());
  } catch (const std::exception& e) {
    return copy_message(e.what());
  } catch (...) {
    return copy_message("unknown C++ exception");
  }
}

// A pipe_tensor of a tensor; see engine.cc, which counts them.
void* hand_out(at::Tensor t);

inline at::Tensor& tensor(const void* t) {
  TORCH_CHECK(t != nullptr, "null tensor");
  return *static_cast<at::Tensor*>(const_cast<void*>(t));
}

}  // namespace engine

#endif
