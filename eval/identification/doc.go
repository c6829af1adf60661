// Package identification computes the figures of protocols with many comparisons: IJB's of
// templates, 1:1 and 1:N, all pairs of a set as MFR compares them, and probes among distractors as
// MegaFace does.
//
// A comparison's score is the cosine of two embeddings. The [Verify] of lists gives distances as
// package verification has them, to the same bits. [Identify] finds candidates by products in
// single precision and decides by cosines in double precision wherever single could err: its
// counts are those of comparing all in double precision. [AllPairs] and [Distractors] compare more
// than can be kept: scores are products of unit vectors in single precision, and counted in steps
// of [Resolution]; the counts at each threshold that is told are exact for these scores. None
// depends on the number of processors.
//
// FPIR, the false positive identification rate, is the share of searches without a mate in the
// gallery that find somebody; TPIR, the true positive identification rate (1 - FNIR), the share of
// searches with a mate that find it, first and above the threshold.
package identification
