// The Gloo types that c10d's ProcessGroupGloo.hpp names.
//
// Builds of libtorch have Gloo inside, but its headers come neither with PyTorch's
// wheels nor with Debian's libtorch-dev. c10d's header only holds pointers to these
// types, whose layout therefore does not matter to us; nothing of them is made or
// called here but Context::setTimeout, which has been what it is below since 2018.
#ifndef PIPE_GLOO_NAMES_H
#define PIPE_GLOO_NAMES_H

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

namespace transport {
class Device {
 public:
  virtual ~Device() = 0;
};
class UnboundBuffer {
 public:
  virtual ~UnboundBuffer() = 0;
};
}  // namespace transport

namespace rendezvous {
// c10d derives a class from it in its header, which needs the functions' names.
class Store {
 public:
  using Bytes = std::vector<char>;
  static constexpr std::chrono::milliseconds kDefaultTimeout = std::chrono::seconds(30);
  virtual ~Store() = default;
  virtual void set(const std::string& key, const Bytes& value) = 0;
  virtual Bytes get(const std::string& key) = 0;
  virtual void wait(const std::vector<std::string>& keys) = 0;
  virtual void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) = 0;
  virtual bool has_v2_support() = 0;
  virtual std::vector<Bytes> multi_get(const std::vector<std::string>& keys) = 0;
  virtual void multi_set(const std::vector<std::string>& keys, const std::vector<Bytes>& values) = 0;
  virtual void append(const std::string& key, const Bytes& value) = 0;
  virtual int64_t add(const std::string& key, int64_t value) = 0;
};
}  // namespace rendezvous

}  // namespace gloo

#endif
