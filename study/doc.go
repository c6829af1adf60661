// Package study trains many students that differ in a few settings, measures them alike, and
// says which differences are real.
//
// A [Study] is read from a YAML file: settings that all runs share, axes along which they
// differ, a budget, validation and tests. [Run] makes its rows one after another, each a run
// folder of package student, and writes the table after every one. What a row has reached is
// told by its files alone, so a study that was killed goes on with the same command, and one
// whose axes grew trains only what is new.
//
// Rows of one seed begin with the same weights and see the same crops in the same order,
// mirrored alike, whatever their loss. Seeds are interleaved: the first seed of all rows comes
// before the second of any, so that half a study can be compared.
package study
