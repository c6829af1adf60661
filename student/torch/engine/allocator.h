// A caching allocator for the large buffers of training on the CPU.
#ifndef PIPE_ALLOCATOR_H
#define PIPE_ALLOCATOR_H

namespace engine {

// Makes libtorch take its CPU buffers from the cache. Called once, before the
// first tensor.
void install_caching_allocator();
// Gives buffers that are kept, but not in use, back to the system.
void trim_caching_allocator();

}  // namespace engine

#endif
