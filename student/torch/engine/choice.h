// Which of two ways to one result a device takes: the one that took less time when both were
// tried.
#ifndef PIPE_CHOICE_H
#define PIPE_CHOICE_H

#include <functional>
#include <string>

namespace engine {

// In milliseconds.
struct Timing {
  double own, other;
};

// Whether the engine's own way is the one for what is named. Only the first time it is
// measured.
bool own_is_faster(const std::string& name, const std::function<Timing()>& measure);

// What was measured so far: a line for each name, in the order of the names.
std::string measured();

}  // namespace engine

#endif
