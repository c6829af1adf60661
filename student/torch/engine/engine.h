// The C ABI between pipe (Go) and the training engine (libtorch).
//
// The library holds no training logic. It offers tensors, the operators of the
// ATen dispatcher by name, autograd and a few process settings; networks and
// losses are written in Go on top. Rules of the border:
//
//  * No C++ exception and no abort crosses it. Every function that can fail
//    returns NULL on success or a message that the caller frees with
//    pipe_engine_free_string.
//  * A pipe_tensor is an owned reference; the caller releases each one that it
//    was given exactly once.
//  * Gradient mode and OpenMP's thread pool belong to the calling OS thread, so
//    a trainer stays on one thread.
#ifndef PIPE_ENGINE_H
#define PIPE_ENGINE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Raised whenever a function or a struct below changes; the Go side refuses
// any other number.
#define PIPE_ENGINE_ABI 7

typedef void* pipe_tensor;
typedef const void* pipe_op;

// One argument of an operator.
enum pipe_tag {
  PIPE_NONE = 0,         // None, for optional arguments
  PIPE_TENSOR = 1,       // p: pipe_tensor
  PIPE_INT = 2,          // i; also dtypes, layouts and memory formats
  PIPE_DOUBLE = 3,       // d
  PIPE_BOOL = 4,         // i
  PIPE_INT_LIST = 5,     // p: const int64_t*, i: length
  PIPE_TENSOR_LIST = 6,  // p: const pipe_tensor*, i: length
};

typedef struct {
  int64_t tag;
  int64_t i;
  double d;
  const void* p;
} pipe_value;

int pipe_engine_abi(void);
// The libtorch that the library was compiled against, such as "1.13.1".
const char* pipe_engine_torch_version(void);
// The libtorch that it runs on, "" if that does not say.
const char* pipe_engine_torch_loaded(void);
// The instruction set of the engine's own loops: "avx512", "avx2", or "baseline", which
// every processor of its kind has. $PIPE_SIMD, one of these, asks for less: for tests.
const char* pipe_engine_simd(void);
// What multiplies in convolutions in bfloat16 on the CPU: "onednn", or the engine's "own"
// loops, which always do where $PIPE_SIMD is set.
const char* pipe_engine_bfloat16(void);
void pipe_engine_free_string(char* s);
// Number of tensors handed out and not yet released, for leak tests.
int64_t pipe_engine_live_tensors(void);
// Gives memory that is kept for the next step back to the system.
void pipe_engine_trim(void);
void pipe_engine_set_threads(int64_t n);
int64_t pipe_engine_threads(void);
// Fails if a device such as "cpu" or "cuda:0" cannot be used here, and says why.
char* pipe_engine_try_device(const char* device);
// Number of CUDA devices that this process sees, 0 without libtorch's part for them.
int64_t pipe_engine_cuda_devices(void);
// Fails if a CUDA device does not run the engine's own kernels, and says why: libtorch's
// operators then do the same more slowly.
char* pipe_engine_try_kernels(const char* device);
// What was measured on this process's devices of the engine's own kernels beside libtorch's, a line
// for each shape, and which is in use; to be freed. Empty where nothing was.
char* pipe_engine_measured(void);
// How CUDA devices compute, from now on, in the whole process: whether float32 may be rounded
// to TF32's 10 bits in products of matrices and in convolutions, whether cuDNN measures its
// algorithms for each new shape, and whether it keeps to those that always give the same bits.
void pipe_engine_set_cuda_numbers(int tf32, int benchmark, int deterministic);

// Finds an operator of the dispatcher, e.g. ("aten::add", "Tensor").
char* pipe_engine_find_op(const char* name, const char* overload, pipe_op* out);
// Calls it. Missing trailing arguments take the schema's defaults. Results that
// are tensor lists are flattened; at most max_out tensors fit.
char* pipe_engine_call(pipe_op op, const pipe_value* args, int64_t n_args,
                       pipe_tensor* out, int64_t max_out, int64_t* n_out);

// A dense row-major array.
typedef struct {
  const void* data;
  const int64_t* shape;
  int64_t dtype, ndim;
} pipe_array;

// Copies n arrays into as many new tensors on a device, or on that of a tensor if one is given, in
// one transfer that nobody waits for.
char* pipe_engine_from_data(const pipe_array* arrays, int64_t n, const char* device,
                            pipe_tensor like, pipe_tensor* out);
// Copies a tensor of any layout and device to dst as dense row-major elements of
// its own dtype; bytes must be the exact size.
char* pipe_engine_to_data(pipe_tensor t, void* dst, int64_t bytes);
// Begins to copy a dense tensor; pipe_engine_fetched waits for that and not for what the device
// is given meanwhile, and releases what was begun. dst may be NULL, which waits for nothing.
typedef void* pipe_fetch;
char* pipe_engine_fetch(pipe_tensor t, pipe_fetch* out);
char* pipe_engine_fetched(pipe_fetch f, void* dst, int64_t bytes);
// How many calls so far returned only when a device had come to them, or would have if the
// processor were one: values that were read, and copies from memory that is not pinned.
int64_t pipe_engine_blocking_calls(void);
// Memory that the processor fills with a batch, and the same bytes on a device; on the processor
// one piece. It is written, sent, read by way of views, and done with, in turn; each but the views
// by any thread, one at a time.
typedef void* pipe_slot;
char* pipe_engine_slot_create(int64_t bytes, const char* device, pipe_slot* out);
// Waits until what was sent last has been copied. Fails before that is done with.
char* pipe_engine_slot_memory(pipe_slot s, void** memory);
// Begins the copy of the whole slot to the device, which nobody waits for.
char* pipe_engine_slot_send(pipe_slot s);
// The array that begins at a byte, as a tensor on the device, for the thread that trains. Nothing
// that the device is given after this is done before the copy.
char* pipe_engine_slot_view(pipe_slot s, int64_t dtype, int64_t from, const int64_t* shape,
                            int64_t ndim, pipe_tensor* out);
// Says that the device has been given all that reads what was sent. Views that remain keep their
// memory: the slot's may be another after this.
char* pipe_engine_slot_done(pipe_slot s);
void pipe_engine_slot_destroy(pipe_slot s);

// dtype, number of dimensions and shape (room for max_dim).
char* pipe_engine_info(pipe_tensor t, int64_t* dtype, int64_t* ndim, int64_t* shape,
                       int64_t max_dim);
void pipe_engine_release(pipe_tensor t);

char* pipe_engine_set_requires_grad(pipe_tensor t, int on);
// Runs autograd from a scalar; gradients accumulate in the leaves.
char* pipe_engine_backward(pipe_tensor loss);
// The gradient of a leaf; *out is NULL when there is none.
char* pipe_engine_grad(pipe_tensor t, pipe_tensor* out);
char* pipe_engine_clear_grad(pipe_tensor t);
// Turns gradient recording on or off for the calling thread.
void pipe_engine_set_grad_enabled(int on);

// A process group of c10d: several processes (ranks) that take part in the same
// collectives in the same order. See distributed.cc.
typedef void* pipe_group;
typedef void* pipe_work;
typedef void* pipe_buckets;

// The backends that the library was built with: "gloo", "gloo nccl" or "".
const char* pipe_engine_group_backends(void);
// Joins rank of size at a TCP store that rank 0 offers at host:port. address is the
// local address for Gloo's connections, or "" for Gloo's choice. device is where the
// tensors will be. Everybody must be there within join_ms; a collective may take
// wait_ms in memory, and device_wait_ms on a CUDA device, after which the process ends with
// status 1: a device that waits for a rank cannot be told to stop.
char* pipe_engine_group_create(const char* host, int64_t port, int64_t rank, int64_t size,
                               const char* address, const char* device, int64_t join_ms,
                               int64_t wait_ms, int64_t device_wait_ms, pipe_group* out);
// Leaves the group, when no collective is under way any more.
void pipe_engine_group_destroy(pipe_group g);
// Begins to replace a dense tensor by its sum over the ranks.
char* pipe_engine_group_all_reduce(pipe_group g, pipe_tensor t, pipe_work* out);
// Waits for what was begun, and releases it.
char* pipe_engine_group_wait(pipe_work w);
// Replaces a tensor by that of rank root.
char* pipe_engine_group_broadcast(pipe_group g, pipe_tensor t, int64_t root);
// Fills out, size times as long as t, with the ranks' t in their order.
char* pipe_engine_group_all_gather(pipe_group g, pipe_tensor t, pipe_tensor out);
// Returns once all ranks have called it.
char* pipe_engine_group_barrier(pipe_group g);
// Batch normalisation takes its statistics of all ranks of a group; NULL: of its own.
void pipe_engine_group_sync_batch_norm(pipe_group g);

// Watches the gradients of n leaves of one dtype and device. Leaf i is in bucket
// bucket[i] of 0, 1, ...: a bucket is summed over the ranks as one, while backward
// goes on, as soon as it and those before it are complete.
char* pipe_engine_buckets_create(pipe_group g, const pipe_tensor* leaves, int64_t n,
                                 const int64_t* bucket, pipe_buckets* out);
// The backward that comes next, and no other, is the one to sum the gradients of.
char* pipe_engine_buckets_arm(pipe_buckets b);
// Waits for the sums and gives leaf i its sum times scale[i], which is a view of its bucket: it
// holds until the next armed backward. A leaf without gradient on every rank has none afterwards.
char* pipe_engine_buckets_finish(pipe_buckets b, const double* scale);
// How many buckets' sums, of the gradients that were finished last, had begun before
// that: while their backward was under way.
int64_t pipe_engine_buckets_early(pipe_buckets b);
void pipe_engine_buckets_destroy(pipe_buckets b);

#ifdef __cplusplus
}
#endif

#endif
