// Package webdataset reads and writes WebDataset shards: tar archives, gzip-compressed or
// not, in which consecutive members whose names agree up to the first dot of the file
// name are one sample (0001.jpg, 0001.cls, 0001.json).
//
// Reading is made for damaged archives: what cannot be read is reported where it is, and
// reading goes on at the next header that is sound. archive/tar stops at the first error
// and does not tell where a member lies, which is what random reads of an archive need;
// tests compare the two.
//
// The formats of tar are those of POSIX.1-2001 (pax, "ustar" interchange) and GNU tar's
// manual, appendix "Tar Internals".
package webdataset
