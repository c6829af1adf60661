// Package durable writes files that survive. Once a call has returned nil the file is complete
// under its name and stays so, through kill -9 and a loss of power. Before that the name has
// no file, or the one that was there before.
//
// A commit is always the same short list: create a temporary file (named ".tmp-*") in the
// folder of the target, write, fsync, rename or link, fsync of the folder. Without the fsync
// of the folder a new name may vanish.
//
// An [FS] is the few operations of a commit. Tests record their order or make one of them
// fail. A [Disk] commits through an FS; the package's functions use the operating system's. A
// [Lock] keeps a second process out of a folder. It ends by itself when its holder dies.
package durable
