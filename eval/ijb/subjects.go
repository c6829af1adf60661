package ijb

import "fmt"

// Subjects number the persons of templates: those that the lists of the 1:N protocol name, and
// beyond them those that pairs with the label 1 connect. notes say where the two contradict each
// other.
func (m *Meta) Subjects(p *Pairs, lists ...Enrolment) (subjects []int32, notes []string) {
	u := newUnion(len(m.Templates))
	known := make([]int32, len(m.Templates)) // 1 + the subject that a list names
	first := map[int32]int32{}               // template by subject
	twoNames := 0
	for _, e := range lists {
		for i, template := range e.Templates {
			subject := e.Subjects[i]
			if known[template] != 0 && known[template] != subject+1 {
				twoNames++
			}
			known[template] = subject + 1
			if other, ok := first[subject]; ok {
				u.join(other, template)
			} else {
				first[subject] = template
			}
		}
	}
	contradictions := 0
	for i, same := range p.Same {
		a, b := p.First[i], p.Second[i]
		if both := known[a] != 0 && known[b] != 0; both && same != (known[a] == known[b]) {
			contradictions++
		} else if same && !both {
			u.join(a, b)
		}
	}
	subjects = make([]int32, len(m.Templates))
	for i := range subjects {
		subjects[i] = u.root(int32(i))
	}
	if contradictions > 0 {
		notes = append(notes, fmt.Sprintf("the labels of %d of %d pairs contradict the subjects of the 1:N lists", contradictions, p.Len()))
	}
	if twoNames > 0 {
		notes = append(notes, fmt.Sprintf("%d templates have two subjects in the 1:N lists", twoNames))
	}
	return subjects, notes
}

// union joins things that belong together.
type union []int32

func newUnion(n int) union {
	u := make(union, n)
	for i := range u {
		u[i] = int32(i)
	}
	return u
}

func (u union) root(i int32) int32 {
	for u[i] != i {
		u[i] = u[u[i]]
		i = u[i]
	}
	return i
}

// join makes the smaller root that of both.
func (u union) join(a, b int32) {
	a, b = u.root(a), u.root(b)
	u[max(a, b)] = min(a, b)
}
