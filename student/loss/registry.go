package loss

import (
	"fmt"
	"slices"
	"strings"
)

// Loss is an entry of the registry: a loss that can be asked for by its name.
type Loss struct {
	Name string
	// About says in one line what it does, Source where it is from.
	About, Source string
	// Formula is what it computes, in lines of plain text with the symbols explained. Letters
	// that the package's documentation explains need no words.
	Formula string
	// Needs is what the data must have.
	Needs Needs
	// Own is whether it looks at the embedding as the student gives it, and not bridged to
	// the teacher's size.
	Own bool
	// Rate is the peak learning rate that suits it, 0 for the usual one.
	Rate float64

	// defaults are its settings where nothing is said of them.
	defaults settings
	// bare losses were there before names had prefixes: alone they have none.
	bare bool
}

// All are the losses that there are. Each has a file of its own.
func All() []Loss {
	return []Loss{
		unifiedLoss,
		cosineLoss,
		l2Loss,
		hfcLoss,
		angularLoss,
		unitL2Loss,
		spLoss,
		cckdLoss,
		rkdLoss,
		pktLoss,
		darkrankLoss,
		arcfaceLoss,
		cosfaceLoss,
		softmaxLoss,
		adafaceLoss,
		magfaceLoss,
		couplefaceLoss,
		icdLoss,
		tripletLoss,
		ekdLoss,
		proxylessLoss,
		margindistillLoss,
		adadistillLoss,
		kdLoss,
		gkdLoss,
		snnLoss,
	}
}

// Names lists the losses.
func Names() []string {
	var names []string
	for _, l := range All() {
		names = append(names, l.Name)
	}
	return names
}

// find is the loss of a name. An unknown one is an error that lists the known ones.
func find(name string) (Loss, error) {
	all := All()
	i := slices.IndexFunc(all, func(l Loss) bool { return l.Name == name })
	if i < 0 {
		return Loss{}, fmt.Errorf("loss %q is none of %v", name, Names())
	}
	return all[i], nil
}

// Needs is a set of what losses ask of the data.
type Needs uint

// What a loss may need.
const (
	TeacherEmbedding  Needs = 1 << iota // a teacher's embedding of each crop
	MirroredEmbedding                   // and of its mirror image
	Labels                              // identities
	IdentityVectors                     // a vector of each identity in the teacher's space: see [Proxies]
	Neighbours                          // each crop's nearest others, by the teacher: see [Near]
	Norms                               // embeddings whose lengths differ
)

// String lists what is needed.
func (n Needs) String() string {
	var list []string
	for i, text := range []string{"a teacher's embeddings", "its embeddings of mirrored crops", "labels",
		"a teacher's classifier or class centres", "neighbours", "a teacher's embeddings of different lengths"} {
		if n&(1<<i) != 0 {
			list = append(list, text)
		}
	}
	return strings.Join(list, ", ")
}
