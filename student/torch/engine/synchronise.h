// Batch normalisation over the batches of all ranks: its sums are brought together
// where pipe_engine_group_sync_batch_norm has named a group, and left alone elsewhere.
// Every rank must run the same layers in the same order.
#ifndef PIPE_SYNCHRONISE_H
#define PIPE_SYNCHRONISE_H

#include <ATen/ATen.h>

#include <vector>

namespace engine {

// Whether there is such a group.
bool batch_norm_is_synchronised();

// Turns the mean and biased variance of each channel over `rows` values of this rank
// into those over the values of all, and returns the number of these.
double synchronise_moments(double rows, std::vector<double>& mean, std::vector<double>& variance);

// Adds up n sums over the ranks, in place, and returns the sum of rows.
double synchronise_sums(double rows, double* sums, int64_t n);

// Training-mode batch normalisation over dimension 1 of x, synchronised, from ATen's
// operators: for devices that have no kernel of ours. The running statistics move by
// momentum.
at::Tensor synchronised_batch_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                   at::Tensor running_mean, at::Tensor running_var, double momentum, double eps);

}  // namespace engine

#endif
