package teacher

import "facepipe/store"

// WithBegin has a run call begin when it begins to fill a shard.
func WithBegin(o Options, begin func(shard int)) Options {
	o.begin = begin
	return o
}

// BeginShare begins the part of a shard, as a worker of the plan in a folder does.
func BeginShare(ds *store.Dataset, info store.TeacherInfo, plan string, shard int) (*share, error) {
	s, err := openShares(ds, info, plan)
	if err != nil {
		return nil, err
	}
	w, err := s.open(shard)
	if err != nil {
		return nil, err
	}
	return w.(*share), nil
}
