package ort

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"

	yalue "github.com/yalue/onnxruntime_go"
)

// recordPlacement is the session option that makes the runtime remember which provider
// computes which node.
const recordPlacement = "session.record_ep_graph_assignment_info"

// placement counts the nodes of a model by the provider that computes them, as the
// runtime calls it, and by their operators.
type placement map[string]map[string]int

// placementOf asks the runtime, for which [recordPlacement] must be set. The nodes are those
// that are left after the basic optimizations of the graph.
func placementOf(session *yalue.DynamicAdvancedSession) (placement, error) {
	var subgraphs func(session uintptr, list **uintptr, n *uintptr) (status uintptr)
	var nodes func(subgraph uintptr, list **uintptr, n *uintptr) (status uintptr)
	var provider, operator func(of uintptr, text **byte) (status uintptr)
	purego.RegisterFunc(&subgraphs, table[sessionSubgraphs])
	purego.RegisterFunc(&nodes, table[subgraphNodes])
	purego.RegisterFunc(&provider, table[subgraphProvider])
	purego.RegisterFunc(&operator, table[nodeOperator])

	own := sessionOf(session)
	failed := false
	list := func(of uintptr, get func(uintptr, **uintptr, *uintptr) uintptr) []uintptr {
		var first *uintptr
		var n uintptr
		failed = get(of, &first, &n) != 0 || failed
		return unsafe.Slice(first, n)
	}
	text := func(of uintptr, get func(uintptr, **byte) uintptr) string {
		var s *byte
		failed = get(of, &s) != 0 || failed
		return unix.BytePtrToString(s)
	}
	p := placement{}
	for _, subgraph := range list(own, subgraphs) {
		name := text(subgraph, provider)
		if p[name] == nil {
			p[name] = map[string]int{}
		}
		for _, node := range list(subgraph, nodes) {
			p[name][text(node, operator)]++
		}
	}
	if failed {
		return nil, errors.New("ONNX Runtime does not tell which provider computes which node")
	}
	return p, nil
}

// placedElsewhere says what the provider of a session leaves to others; "" if nothing.
func placedElsewhere(session *yalue.DynamicAdvancedSession, o Options) string {
	first, err := o.provider()
	if err != nil || first.name == CPU {
		return ""
	}
	p, err := placementOf(session)
	if err != nil {
		return err.Error()
	}
	if parts := p.elsewhere(first.runtimeName); parts != "" {
		return fmt.Sprintf("%s leaves %s", first.name, parts)
	}
	return ""
}

// elsewhere says which nodes a provider leaves to others: "2 nodes to the processor (Concat,
// Gather)"; "" if none. It does not say of how many, as a provider that changes the layout of
// tensors does not report its own nodes.
func (p placement) elsewhere(provider string) string {
	var parts []string
	for _, other := range slices.Sorted(maps.Keys(p)) {
		if other != provider && len(p[other]) > 0 {
			nodes := fmt.Sprintf("%d nodes", total(p[other]))
			if nodes == "1 nodes" {
				nodes = "one node"
			}
			parts = append(parts, fmt.Sprintf("%s to %s (%s)", nodes, called(other), operatorList(p[other])))
		}
	}
	return strings.Join(parts, ", ")
}

func total(operators map[string]int) int {
	n := 0
	for _, count := range operators {
		n += count
	}
	return n
}

// called is the user's name for one of the runtime's providers.
func called(runtimeName string) string {
	i := slices.IndexFunc(providers, func(p provider) bool { return p.runtimeName == runtimeName })
	switch {
	case i < 0:
		return runtimeName
	case providers[i].name == CPU:
		return "the processor"
	}
	return providers[i].name
}

// maxOperators bounds how many operators a message names.
const maxOperators = 8

// operatorList names operators, the most frequent first: "Gather ×2, Concat".
func operatorList(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var list []string
	for i, name := range names {
		if i == maxOperators {
			list = append(list, "...")
			break
		}
		if counts[name] > 1 {
			name = fmt.Sprintf("%s ×%d", name, counts[name])
		}
		list = append(list, name)
	}
	return strings.Join(list, ", ")
}
