// Package ingest turns photographs into a dataset of aligned face crops.
//
// A run takes the items of its sources one by one: it reads and decodes the
// photograph, finds the face's landmarks (given with the item, in a landmark file,
// or by a detector), aligns the face and appends the crop to the dataset. A
// photograph that is already an aligned crop passes through unchanged where there
// is no detector and no landmarks. What goes wrong with one item is a reject, with
// a stage and a reason, and stops nothing else.
//
// Items are processed by a pool of workers and appended in the order of their
// source, so that a dataset's bytes depend on its inputs and not on the number of
// workers. What is in memory is bounded by a window of items and by the number of
// pixels that are decoded at once.
package ingest
