// Package overlap finds the people and photographs of a test that a training set holds, by a
// teacher's embeddings of both.
//
// A name is no evidence: one person has several in two sets, and most sets have none. So faces
// are compared: the class centres of the training set's identities with those of the test's
// (with single photographs where the test does not know who it is), and every photograph with
// every other. What is as alike as a threshold is a hit.
//
// The threshold is chosen so that chance would give fewer than one hit over all comparisons
// ([Expected]). How alike different people are is taken from pairs that are known to be of
// different ones, within the test and within the training set, never from pairs of one person:
// see [Tail].
//
// Its limits. A teacher cannot judge what it memorised: it may have been trained on the test
// itself, and then tells its people apart better than any others. A set whose labels split a
// person in two has pairs of one person among those known to be different; the fit takes
// quantiles, which a few of them do not move, and [Tail].Beyond counts them. The tail is
// extrapolated where fewer pairs are known than are compared, and says nothing of groups that
// nobody in it is of: a teacher hardly tells small children apart, and a training set with many of
// them gives false hits with every child of a test that has few. Look-alikes, twins and parents
// may be hits, too: look at the list.
package overlap
