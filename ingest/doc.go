// Package ingest turns photographs into a dataset of aligned face crops.
//
// A run takes the items of its sources one by one. It reads and decodes the photograph, finds
// the face's landmarks (given with the item, in a landmark file, or by a detector), aligns the
// face and appends the crop to the dataset. Without a detector and landmarks, photographs must
// be aligned crops already and pass through unchanged. What goes wrong with one item is a
// reject, with a stage and a reason, and stops nothing else.
//
// A pool of workers processes the items. Crops are appended in the order of their source, so
// that a dataset's bytes do not depend on the number of workers. A window of items and a
// budget of decoded pixels bound the memory.
package ingest
