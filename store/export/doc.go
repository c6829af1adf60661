// Package export writes a dataset out in the forms that other programs read.
//
//   - folder: OUT/IDENTITY/IMAGE, crops without an identity in OUT itself.
//   - webdataset: tar files of samples, NNNNNNNNN.jpg (or another ending) with .cls, the
//     label in decimal, and .json, what else is known.
//   - recordio: train.rec, train.idx, train.lst and property, as insightface reads them.
//     Crops are grouped by identity; those without one are left out.
//   - npy: a teacher's embeddings and what belongs to them as NumPy arrays.
//
// Images keep their bytes; only raw pixels become PNG. So what is exported can be
// ingested again and gives crops of the same ids.
//
// An export appears under its name when all of it is durable. Until then it lies in a
// folder beside it, which the next run of the same command removes.
package export
