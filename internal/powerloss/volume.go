package powerloss

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// Volume is a disk at one moment: what is durable, and what may be.
type Volume struct{ inodes []*inode }

// inode is a file or a folder.
type inode struct {
	folder bool

	// Of a file: all its bytes, and those as of its last sync.
	written, durable  []byte
	perm, durablePerm os.FileMode

	// Of a folder: the durable names, and changes in their order.
	names   names
	pending []names
}

func newVolume() *Volume {
	v := &Volume{}
	v.add(&inode{folder: true})
	return v
}

func (v *Volume) add(n *inode) int {
	if n.folder {
		n.names = names{}
	}
	v.inodes = append(v.inodes, n)
	return len(v.inodes) - 1
}

func (v *Volume) clone() *Volume {
	c := &Volume{}
	for _, n := range v.inodes {
		m := *n
		m.names, m.pending = maps.Clone(n.names), slices.Clone(n.pending)
		c.inodes = append(c.inodes, &m)
	}
	return c
}

func (v *Volume) apply(c call) {
	if c.make {
		v.add(&inode{folder: c.makeFolder, durablePerm: c.perm})
	}
	n := v.inodes[c.inode]
	// Never in place: clones share the bytes.
	n.written = slices.Concat(n.written, c.data)
	if c.perm != 0 {
		n.perm = c.perm
	}
	if c.names != nil {
		f := v.inodes[c.folder]
		f.pending = append(slices.Clip(f.pending), c.names)
	}
	if c.sync && c.syncNames {
		for _, change := range n.pending {
			change.apply(n.names)
		}
		n.pending = nil
	} else if c.sync {
		n.durable, n.durablePerm = n.written, n.perm
	}
}

func (change names) apply(to names) {
	for name, id := range change {
		if id == none {
			delete(to, name)
		} else {
			to[name] = id
		}
	}
}

// fates are what may become of a file that was not synced.
const (
	fateOld    = iota // as of its last sync; empty if there was none
	fateNew           // all of it survived
	fateCut           // its beginning did
	fateTorn          // some of its blocks did
	fateZeroes        // its length did
	fates
)

const blockBytes = 512

// unsettled is one change that may have survived or not.
type unsettled struct {
	inode  int
	change int // number of a pending change of names; -1 for a file's bytes
	ways   int
}

// unsettled lists the changes that may have survived or not, in the order of inodes.
func (v *Volume) unsettled() []unsettled {
	var all []unsettled
	for id, n := range v.inodes {
		for i := range n.pending {
			all = append(all, unsettled{id, i, 2})
		}
		if !n.folder && (!bytes.Equal(n.written, n.durable) || n.perm != n.durablePerm) {
			all = append(all, unsettled{id, -1, fates})
		}
	}
	return all
}

// States are what the disk may hold after the power was lost. They are all possible states if
// these are no more than limit. Else they are limit of them, the extremes first: nothing
// survived, everything, all but one change, one change alone. rng decides what a torn file
// holds.
func (v *Volume) States(limit int, rng *rand.Rand) []State {
	things := v.unsettled()
	total := 1
	for _, t := range things {
		if total *= t.ways; total > limit {
			return v.someStates(things, limit, rng)
		}
	}
	var states []State
	for number := range total {
		way := make([]int, len(things))
		for i, t := range things {
			way[i] = number % t.ways
			number /= t.ways
		}
		states = append(states, v.state(things, way, rng))
	}
	return states
}

func (v *Volume) someStates(things []unsettled, limit int, rng *rand.Rand) []State {
	nothing, everything := make([]int, len(things)), make([]int, len(things))
	for i := range things {
		everything[i] = 1 // fateNew, or the change was made
	}
	ways := [][]int{nothing, everything}
	for i, t := range things {
		for way := range t.ways {
			for _, extreme := range [][]int{nothing, everything} {
				w := slices.Clone(extreme)
				w[i] = way
				ways = append(ways, w)
			}
		}
	}
	for len(ways) < limit {
		w := make([]int, len(things))
		for i, t := range things {
			w[i] = rng.IntN(t.ways)
		}
		ways = append(ways, w)
	}
	var states []State
	for _, w := range ways {
		states = append(states, v.state(things, w, rng))
	}
	return states
}

// state is the disk if each change had the fate in way.
func (v *Volume) state(things []unsettled, way []int, rng *rand.Rand) State {
	fate := map[int]int{}
	folders := map[int]names{}
	for id, n := range v.inodes {
		fate[id] = fateNew
		if n.folder {
			folders[id] = maps.Clone(n.names)
		}
	}
	for i, t := range things {
		switch {
		case t.change < 0:
			fate[t.inode] = way[i]
		case way[i] == 1:
			v.inodes[t.inode].pending[t.change].apply(folders[t.inode])
		}
	}
	s := State{}
	v.collect(s, ".", 0, folders, fate, rng)
	return s
}

// collect adds what is in a folder to s.
func (v *Volume) collect(s State, path string, folder int, folders map[int]names, fate map[int]int, rng *rand.Rand) {
	for _, name := range slices.Sorted(maps.Keys(folders[folder])) {
		id := folders[folder][name]
		n, at := v.inodes[id], filepath.Join(path, name)
		if n.folder {
			s[at] = entry{folder: true}
			v.collect(s, at, id, folders, fate, rng)
			continue
		}
		e := entry{data: n.survivor(fate[id], rng), perm: n.perm}
		if fate[id] == fateOld {
			e.perm = n.durablePerm
		}
		s[at] = e
	}
}

// survivor is what is left of a file's bytes.
func (n *inode) survivor(fate int, rng *rand.Rand) []byte {
	switch fate {
	case fateOld:
		return n.durable
	case fateCut:
		return n.written[:rng.IntN(len(n.written)+1)]
	case fateZeroes:
		return make([]byte, len(n.written))
	case fateTorn:
		data := make([]byte, len(n.written))
		copy(data, n.durable)
		for at := 0; at < len(data); at += blockBytes {
			if rng.IntN(2) == 0 {
				copy(data[at:min(at+blockBytes, len(data))], n.written[at:])
			}
		}
		return data
	}
	return n.written
}
