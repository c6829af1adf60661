// What becomes of exceptions that nobody catches. c10d's own thread that watches NCCL throws one
// when a collective fails or its time is up, which would abort the process: a core dump and a
// signal, for what is another rank's end. Nothing of libtorch is in this file.
#ifndef PIPE_UNCAUGHT_H
#define PIPE_UNCAUGHT_H

#include <string>

namespace engine {

// From now on an exception that nobody catches ends the process with status 1, after a line on
// standard error: what, and what the exception says.
void end_on_uncaught(const std::string& what);

}  // namespace engine

#endif
