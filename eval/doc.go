// Package eval measures models that embed faces, on a dataset's crops.
//
// [Run] embeds the crops that a protocol needs (eval/protocol) with one model after the
// other, computes the figures of eval/verification and writes a report (eval/report). A
// report names every switch that moves a figure, and digests of all that went in, so that
// two figures are compared only if they are comparable.
package eval
