#include "uncaught.h"

#include <unistd.h>

#include <cstdio>
#include <exception>

namespace engine {
namespace {

// Never freed: a thread may read it while the process ends.
const std::string* uncaught_means = nullptr;

[[noreturn]] void end() {
  std::string reason = "no exception";
  try {
    if (auto e = std::current_exception()) std::rethrow_exception(e);
  } catch (const std::exception& e) {
    reason = e.what();
  } catch (...) {
    reason = "an exception of another kind";
  }
  std::fprintf(stderr, "pipe: %s: %s\n", uncaught_means->c_str(), reason.c_str());
  std::fflush(stderr);
  _exit(1);  // destructors would wait for what has failed
}

}  // namespace

void end_on_uncaught(const std::string& what) {
  uncaught_means = new std::string(what);
  std::set_terminate(end);
}

}  // namespace engine
