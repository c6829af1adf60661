// Package webdataset reads and writes WebDataset shards: tar archives, gzip-compressed or
// not, in which consecutive members whose names agree up to the first dot of the file
// name are one sample (0001.jpg, 0001.cls, 0001.json).
//
// Reading is made for damaged archives. It reports what cannot be read, with the place, and
// goes on at the next sound header. archive/tar stops at the first error, and does not say
// where a member lies, which random reads need. Tests compare the two.
//
// The formats of tar are those of POSIX.1-2001 (pax, "ustar" interchange) and GNU tar's
// manual, appendix "Tar Internals".
package webdataset
