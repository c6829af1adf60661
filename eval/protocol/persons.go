package protocol

// Persons are up to n of the comparisons that show one person each, spread over all, as
// indices of Faces. Nobody is in two, as far as identities tell.
func (p *pairs) Persons(n int) [][2]int {
	var all [][2]int
	met := map[int32]bool{}
	for _, pair := range p.compared {
		a, b := p.identities[pair.A], p.identities[pair.B]
		if pair.Same && pair.A != pair.B && !met[a] && !met[b] {
			met[a], met[b] = true, true
			all = append(all, [2]int{int(pair.A), int(pair.B)})
		}
	}
	if len(all) <= n {
		return all
	}
	some := make([][2]int, n)
	for i := range some {
		some[i] = all[i*len(all)/n]
	}
	return some
}
