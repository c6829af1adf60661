// Package uncertainty says how far the figures of package verification can be trusted.
//
// Comparisons that have a person in common depend on one another: someone who is hard to
// tell apart spoils all of their comparisons. An interval that takes comparisons for
// independent is therefore too narrow. Two methods respect it (Fogliato, Patil and Perona,
// "Confidence Intervals for Error Rates in 1:1 Matching Tasks", International Journal of
// Computer Vision, 2024, arXiv 2306.01198):
//
//   - [FMR] and [FNMR] at a threshold that is fixed beforehand: a closed form of the variance
//     that sums up over identities and pairs of them, and Wilson's interval with it.
//   - [Summarize] and [Compare], for whatever has thresholds of its own: a bootstrap that
//     leaves out each identity with probability one half, and with it all of its comparisons
//     (double or nothing: what is kept counts twice, a comparison of two people four times).
//
// FMR is what package verification calls FAR, FNMR is 1 - TAR. Rates are 0 to 1, thresholds are
// squared distances; a trial is accepted if its distance is less. Everything random follows
// from a seed, whatever the number of processors.
package uncertainty
