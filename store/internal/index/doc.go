// Package index leads from a crop's key and from its id to where the crop is. An index is made
// of what a [Source] tells: on disk, a [Badger] database whose files are sealed by a list of
// their checksums, and which is read without Badger, and in memory, a [Memory], for a dataset beside which nothing can be
// written. It can be made anew at any time, so that one that is damaged, or of another state
// of the dataset, is replaced and not mended.
package index
