// Package verification measures how well a distance tells whether two face images show
// one person.
//
// A [Trial] is one comparison: a distance and the truth. It is the squared Euclidean
// distance of two embeddings of length one, d = |e1 - e2|² = 2 - 2·cos(e1, e2), from 0
// (same direction) to 4 (opposite), smaller for more alike. A threshold t accepts the
// trials with d < t.
//
// FAR, the false accept rate, is the share of different-person trials that a threshold
// accepts; TAR, the true accept rate, the share of same-person trials. [ROC] is the one
// over the other for every threshold. [Rule.Evaluate] computes all figures of a list of
// trials: those of the ROC, and the cross-validated accuracy of the LFW protocol
// (Huang et al., "Labeled Faces in the Wild", University of Massachusetts TR 07-49,
// 2007, view 2), in which the threshold is chosen on nine [Folds] and applied to the
// tenth.
package verification
