package layer

import "facepipe/student/torch"

// window is what a step has of a sparse parameter: a leaf that holds some of its rows, each
// once. Gradients add up in the leaf, and the optimizer moves it. Then its rows are written
// back, and the next step has another window.
type window struct {
	scope       *torch.Scope
	leaf, index torch.Tensor
	rows        []int64
	place       map[int64]int64 // of each row in the leaf, nil while nobody has asked
}

// Rows are some rows of a sparse parameter, each named once, with their history. All of what
// a step asks for, in one micro-batch or another, is trained together.
func (p *Param) Rows(s *torch.Scope, rows []int64) torch.Tensor {
	if p.window == nil {
		p.window = &window{scope: s.Engine().NewScope()}
		p.look(s, rows)
		return p.window.leaf
	}
	return s.Rows(p.window.leaf, p.index(s, p.places(s, rows)))
}

// look has the window hold these rows.
func (p *Param) look(s *torch.Scope, rows []int64) {
	w := p.window
	w.index = s.Move(p.index(s, rows), w.scope)
	w.leaf = s.Move(s.Rows(p.tensor, w.index), w.scope)
	s.RequireGrad(w.leaf, true)
	w.rows, w.place = rows, nil
}

// places are where rows are in the window, which first takes in those that it does not have.
func (p *Param) places(s *torch.Scope, rows []int64) []int64 {
	w := p.window
	if w.place == nil {
		w.place = make(map[int64]int64, len(w.rows))
		for i, row := range w.rows {
			w.place[row] = int64(i)
		}
	}
	known := w.place
	var more []int64
	places := make([]int64, len(rows))
	for i, row := range rows {
		at, ok := known[row]
		if !ok {
			at = int64(len(known))
			known[row], more = at, append(more, row)
		}
		places[i] = at
	}
	if len(more) > 0 {
		p.grow(s, more)
		w.place = known
	}
	return places
}

// grow takes more rows into the window, which keeps the gradient that it has.
func (p *Param) grow(s *torch.Scope, more []int64) {
	w, had := p.window, s.Grad(p.window.leaf)
	p.look(s, append(w.rows[:len(w.rows):len(w.rows)], more...))
	if had.IsNone() {
		return
	}
	gained := s.ZerosLike(s.Slice(s.Detach(w.leaf), 0, len(w.rows)-len(more), len(w.rows)))
	s.Backward(s.Sum(s.Mul(w.leaf, s.Concat([]torch.Tensor{had, gained}, 0))))
}

// index is one of rows, on the device of the parameter.
func (p *Param) index(s *torch.Scope, rows []int64) torch.Tensor {
	return torch.FromDataLike(s, p.tensor, rows, len(rows))
}

// Leaf is the tensor whose gradient trains the parameter: it or, of a sparse one, the rows of
// this step. It is none if there are no such rows.
func (p *Param) Leaf() torch.Tensor {
	switch {
	case !p.Sparse:
		return p.tensor
	case p.window == nil:
		return torch.Tensor{}
	}
	return p.window.leaf
}

// Gradient is that of the leaf, none where there is none.
func (p *Param) Gradient(s *torch.Scope) torch.Tensor {
	leaf := p.Leaf()
	if leaf.IsNone() {
		return leaf
	}
	return s.Grad(leaf)
}

// Drawn picks the rows of the leaf from a tensor that is shaped like the parameter.
func (p *Param) Drawn(s *torch.Scope, all torch.Tensor) torch.Tensor {
	if !p.Sparse {
		return all
	}
	return s.Rows(all, p.window.index)
}

// WriteBack overwrites the rows of the leaf in a tensor that is shaped like the parameter with
// what Drawn has picked, now moved.
func (p *Param) WriteBack(s *torch.Scope, all, moved torch.Tensor) {
	if p.Sparse {
		s.Engine().NoGrad(func() { s.SetRows(all, p.window.index, moved) })
	}
}

// ClearGradient drops the gradient, and the rows of the step with it.
func (p *Param) ClearGradient(s *torch.Scope) {
	if !p.Sparse {
		s.ClearGrad(p.tensor)
	} else if p.window != nil {
		p.window.scope.Close()
		p.window = nil
	}
}
