// Package cohort says how well a model does on groups of faces: by an attribute that the dataset
// knows of each (age, sex, where somebody is from), or by what was measured of it (how far the
// head is turned, sharpness, size, the length of a teacher's embedding).
//
// All groups are held against one threshold, that of the whole test: a system has one. A group's
// FMR is the share of its comparisons of different people that the threshold accepts, its FNMR
// that of its comparisons of one person that it rejects; a comparison is a group's if both faces
// are. The matrix has the comparisons between two groups as well (Grother, Ngan and Hanaoka,
// "Face Recognition Vendor Test part 3: Demographic effects", NISTIR 8280, 2019). Most people who
// are taken for one another are of one group, so the matrix's diagonal is what to look at.
package cohort
