// Package store keeps data sets of aligned faces and of what teachers say about
// them on disk.
package store
