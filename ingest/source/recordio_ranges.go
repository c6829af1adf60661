package source

import (
	"fmt"
	"slices"

	"facepipe/internal/recordio"
)

// rangeCheck compares insightface's ranges of keys, one an identity, with the labels of the
// images. It takes 16 bytes an identity.
type rangeCheck struct {
	runs    []keyRun
	label   float32 // of the last run
	highest uint64  // key of an image
	off     bool    // there is nothing to compare

	promised uint64 // record 0's first key behind the images, 0 if not known or inexact
	ranges   int
	wrong    int // ranges that do not fit
	inexact  int // those of them that float32 may have rounded
}

// keyRun is a run of images with one label: the keys of the first and the last one.
type keyRun struct{ first, last uint64 }

// maxRuns bounds the memory for images that do not stand in groups.
const maxRuns = 1 << 22

// image takes every image, by ascending keys.
func (c *rangeCheck) image(key uint64, label float32) {
	n := len(c.runs)
	if c.off || n > 0 && key <= c.highest || n == maxRuns {
		c.highest = max(c.highest, key)
		c.off, c.runs = true, nil
		return
	}
	c.highest = key
	if n > 0 && label == c.label {
		c.runs[n-1].last = key
		return
	}
	c.runs, c.label = append(c.runs, keyRun{key, key}), label
}

// add takes every record without an image. They come after the images, except record 0, whose
// range is not one of images.
func (c *rangeCheck) add(name recordName, from, to float32) {
	inexact := from >= recordio.MaxExact || to >= recordio.MaxExact
	if name.known && name.key == 0 || from > float32(c.highest) {
		if !inexact && from >= 1 {
			c.promised = uint64(from)
		}
		return
	}
	c.ranges++
	if c.fits(from, to) {
		return
	}
	c.wrong++
	if inexact {
		c.inexact++
	}
}

// fits says whether exactly the images of one run have keys of at least from and below to. Keys
// at the range's ends may be missing, as their images may be lost.
func (c *rangeCheck) fits(from, to float32) bool {
	if !(from >= 0 && to > from && to < 1<<62) {
		return false
	}
	begin, end := uint64(from), uint64(to)
	i, _ := slices.BinarySearchFunc(c.runs, begin, func(r keyRun, key uint64) int {
		if r.last < key {
			return -1
		}
		return 1
	})
	if i == len(c.runs) || c.runs[i].first >= end {
		return true // all images of it are lost
	}
	return c.runs[i].first >= begin && c.runs[i].last < end && (i+1 == len(c.runs) || c.runs[i+1].first >= end)
}

func (c *rangeCheck) notices() []string {
	if c.off {
		return nil
	}
	var out []string
	if c.promised > 0 && c.promised != c.highest+1 {
		out = append(out, fmt.Sprintf("record 0 says that images have the keys 1 to %d, but the highest key of one is %d", c.promised-1, c.highest))
	}
	if c.wrong > 0 {
		out = append(out, fmt.Sprintf("%d of %d ranges of keys do not fit the images' labels, %d of them beyond %d, where float32 does not hold every key: the labels were used",
			c.wrong, c.ranges, c.inexact, recordio.MaxExact))
	}
	return out
}
