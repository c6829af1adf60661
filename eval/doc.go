// Package eval measures models that embed faces, on pairs of a dataset's crops.
//
// A [PairSet] is a list of pairs (eval/pairlist) with every image found in a dataset.
// [Run] embeds its crops with one model after the other, computes the figures of
// eval/verification and writes a [Report]: report.json, report.md and roc.svg
// (eval/plot). A report names every switch that moves a figure, and digests of all
// that went in, so that two figures are compared only if they are comparable.
package eval
