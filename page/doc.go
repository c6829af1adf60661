// Package page shows what was found as one HTML page that stands alone: an evaluation or
// several, a study, a run, a dataset, a teacher's cache.
//
// A page answers first and proves after: a sentence, the figures, then the evidence in
// sections that have stable anchors. It needs no script and asks nothing of any network,
// which its Content-Security-Policy holds it to; pictures are inside. Everything that comes
// out of files is text to it: html/template quotes it, and characters that would steer a
// terminal or turn the direction of writing are shown by their numbers. Its size is bounded
// whatever it is of.
//
// [Make] finds out what lies at a path and describes it as a [Page]; a kind of subject is one
// file and a line in [Kinds]. [Page.HTML] renders, [Serve] does both again for every visitor.
package page
