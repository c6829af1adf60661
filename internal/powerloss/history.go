package powerloss

import (
	"fmt"
	"os"
)

// History is what was done to a disk, call by call.
type History struct {
	start *Volume
	born  int // inodes made since
	calls []call
}

// none is the inode of a name that is taken away.
const none = -1

// names are changes to a folder that become durable together or not at all.
type names map[string]int

// call is one change. It concerns an inode, the names in a folder, or both.
type call struct {
	what, path string

	inode      int
	make       bool // the inode is new
	makeFolder bool
	data       []byte // appended to the file
	perm       os.FileMode

	folder int
	names  names

	sync      bool // what is known of the inode becomes durable:
	syncNames bool // its names, or else its bytes
}

// Len is the number of calls.
func (h *History) Len() int { return len(h.calls) }

// Describe is call i in words.
func (h *History) Describe(i int) string {
	return fmt.Sprintf("%s %s", h.calls[i].what, h.calls[i].path)
}

// Syncs are the numbers of the calls that make something durable.
func (h *History) Syncs() []int {
	var syncs []int
	for i, c := range h.calls {
		if c.sync {
			syncs = append(syncs, i)
		}
	}
	return syncs
}

// After is the disk after the first n calls. The syncs whose numbers are in lost did nothing,
// as if the program had left them out.
func (h *History) After(n int, lost ...int) *Volume {
	v := h.start.clone()
	ignored := map[int]bool{}
	for _, i := range lost {
		ignored[i] = true
	}
	for i, c := range h.calls[:n] {
		if !c.sync || !ignored[i] {
			v.apply(c)
		}
	}
	return v
}
