package student

import (
	"facepipe/student/export"
)

// export writes the student with what a user must know to run it.
func (r *run) export(path string) error {
	s := r.model.engine.NewScope()
	defer s.Close()
	m := export.Model{Network: r.model.network, At: r.position(), Averaged: r.model.average != nil}
	err := r.model.withResult(func() (err error) {
		m.Values, err = m.Network.Values(s)
		return err
	})
	if err != nil {
		return err
	}
	form := export.DefaultForm()
	form.InputNorm = r.o.InputNorm
	return m.Write(path, form)
}
